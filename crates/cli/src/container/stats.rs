//! `stats`: what containers use, painted anew while somebody looks.
//!
//! ```text
//! list ─▶ one stream for each container ─▶ its latest reading ─┐
//! events (without names): streams come and go                  ├─▶ the table, twice a second
//! ```

mod reading;

use std::cell::RefCell;
use std::pin::Pin;
use std::time::Duration;

use api::docker::container::ContainerSummary;
use api::docker::event::Event;
use api::docker::stats::Stats;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::Method;

use crate::client::{Body, Client, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch};
use crate::lines::Lines;
use crate::output;
use crate::template::{Format, Listing};
use reading::{COLUMNS, Reading, TITLES};

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    operands: Operands::at_least(0),
    flags: || {
        vec![
            switch("all", "Show all containers (default shows just running)").short('a'),
            crate::template::flag(),
            switch("no-stream", "Disable streaming stats and only pull the first result"),
            switch("no-trunc", "Do not truncate output"),
        ]
    },
    refused: &[],
    run,
};

/// Between two paintings.
const PACE: Duration = Duration::from_millis(500);
/// From the corner of the screen; the rest of each line, and of the screen, is cleared as it is painted.
const HOME: &str = "\u{1b}[H";
const CLEAR: &str = "\u{1b}[2J";
const CLEAR_LINE: &str = "\u{1b}[K\n";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// What is known of each container, in the order in which they came.
#[derive(Debug, Default)]
struct Board {
    readings: RefCell<Vec<Reading>>,
}

type Watch<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let format = Format::parse(given.text("format").unwrap_or_default());
    let names: Vec<String> = given.operands().into_iter().map(str::to_owned).collect();
    let (all, cut) = (given.switch("all"), !given.switch("no-trunc"));
    cli.with_client(async |client| {
        let board = Board::default();
        if given.switch("no-stream") {
            let names = if names.is_empty() { listed(client, all).await? } else { names };
            let first: FuturesUnordered<_> = names.iter().map(|name| board.look(client, name)).collect();
            board.begin(&names);
            let results: Vec<Result<(), Error>> = first.collect().await;
            results.into_iter().collect::<Result<(), Error>>()?;
            output::print(&board.render(&format, cut)?)?;
            return Ok(0);
        }
        watch(client, &board, (names, all), |board| {
            let text = board.render(&format, cut)?;
            Ok(text.lines().map(|line| format!("{line}{CLEAR_LINE}")).collect())
        })
        .await
    })
}

/// Ids of the containers that are shown when none is named.
async fn listed(client: &Client, all: bool) -> Result<Vec<String>, Error> {
    let path = Path::new("/containers/json").query_if("all", all.then_some("1"));
    let list: Vec<ContainerSummary> = client.get(path).await?;
    Ok(list.into_iter().map(|container| container.id).collect())
}

/// Paints until somebody ends it, or none of the named containers is left.
async fn watch(
    client: &Client,
    board: &Board,
    (names, all): (Vec<String>, bool),
    paint: impl Fn(&Board) -> Result<String, Error>,
) -> Result<u8, Error> {
    let is_named = !names.is_empty();
    // Before the list: what starts in between is in one of both.
    let mut events = match is_named {
        true => None,
        false => Some(Lines::new(client.stream(Method::GET, events_path(), Body::empty()).await?)),
    };
    let names = if is_named { names } else { listed(client, all).await? };
    if is_named {
        // One that does not exist is told at once.
        for name in &names {
            client.get_text(Path::of("containers", name, "/json")).await?;
        }
    }
    board.begin(&names);
    let mut watches: FuturesUnordered<Watch<'_>> =
        names.into_iter().map(|name| Box::pin(board.follow(client, name)) as Watch<'_>).collect();
    let mut ticks = tokio::time::interval(PACE);
    output::print(CLEAR)?;
    loop {
        tokio::select! {
            _ = ticks.tick() => output::print(&format!("{HOME}{}{CLEAR_BELOW}", paint(board)?))?,
            Some(()) = watches.next(), if !watches.is_empty() => {
                if is_named && watches.is_empty() {
                    return Ok(0);
                }
            }
            event = next_event(&mut events) => match event? {
                Some(event) => match event.action.as_str() {
                    "start" if board.add(&event.actor.id) => {
                        watches.push(Box::pin(board.follow(client, event.actor.id)));
                    }
                    "create" if all && board.add(&event.actor.id) => {
                        watches.push(Box::pin(board.follow(client, event.actor.id)));
                    }
                    "die" if !all => board.remove(&event.actor.id),
                    "destroy" => board.remove(&event.actor.id),
                    _ => {}
                },
                None => return Ok(0),
            },
        }
    }
}

fn events_path() -> Path {
    Path::new("/events").query("filters", r#"{"type":["container"]}"#)
}

/// None: the daemon ends. Without a stream it never comes.
async fn next_event(events: &mut Option<Lines>) -> Result<Option<Event>, Error> {
    let Some(events) = events else { return std::future::pending().await };
    let Some(line) = events.next().await? else { return Ok(None) };
    serde_json::from_slice(&line).map(Some).map_err(Error::Answer)
}

impl Board {
    fn begin(&self, names: &[String]) {
        for name in names {
            // One that is named twice is shown once.
            let _is_new = self.add(name);
        }
    }

    /// False: it is there.
    fn add(&self, name: &str) -> bool {
        let mut readings = self.readings.borrow_mut();
        let is_new = !readings.iter().any(|reading| reading.asked == name);
        if is_new {
            readings.push(Reading { asked: name.to_owned(), stats: None });
        }
        is_new
    }

    fn remove(&self, id: &str) {
        self.readings.borrow_mut().retain(|reading| reading.asked != id);
    }

    /// False: it is not shown any more.
    fn set(&self, name: &str, stats: Option<Stats>) -> bool {
        let mut readings = self.readings.borrow_mut();
        let found = readings.iter_mut().find(|reading| reading.asked == name);
        found.map(|reading| reading.stats = stats).is_some()
    }

    /// One reading of one container.
    async fn look(&self, client: &Client, name: &str) -> Result<(), Error> {
        let path = Path::of("containers", name, "/stats").query("stream", "0");
        // Each on a connection of its own: the daemon takes a second for it.
        let mut lines = Lines::new(client.stream(Method::GET, path, Body::empty()).await?);
        if let Some(line) = lines.next().await? {
            self.set(name, Some(serde_json::from_slice(&line).map_err(Error::Answer)?));
        }
        Ok(())
    }

    /// All readings of one container, to its end.
    async fn follow(&self, client: &Client, name: String) {
        let path = Path::of("containers", &name, "/stats").query("stream", "1");
        let Ok(body) = client.stream(Method::GET, path, Body::empty()).await else {
            self.set(&name, None);
            return;
        };
        let mut lines = Lines::new(body);
        while let Ok(Some(line)) = lines.next().await {
            if !self.set(&name, serde_json::from_slice(&line).ok()) {
                return;
            }
        }
        self.set(&name, None);
    }

    fn render(&self, format: &Format, cut: bool) -> Result<String, Error> {
        let rows = self.readings.borrow().iter().map(|reading| reading.row(cut)).collect();
        Ok(Listing { columns: COLUMNS, titles: TITLES, rows }.render(format)?)
    }
}
