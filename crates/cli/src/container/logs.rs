//! `logs`: what a container has printed, and with `-f` what it prints.
//!
//! A follower outlives the daemon: it asks for timestamps (and takes them off again unless they are wanted), and when the
//! connection breaks it asks again for everything since the last entry that it has shown. It shows an entry only when it
//! has all of it, and each entry exactly once, because the times of a stream strictly increase.

mod entries;

use std::time::{Duration, Instant};

use hyper::Method;
use jiff::Timestamp;

use super::Container;
use crate::client::{Body, Client, Path};
use crate::command::{Cli, Command};
use crate::error::Error;
use crate::flags::{Given, Operands, switch, value};
use crate::{lines, time};
use entries::Entries;

pub(crate) const COMMAND: Command = Command {
    synopsis: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    operands: Operands::exactly(1),
    flags: || {
        vec![
            switch("details", "Show extra details provided to logs"),
            switch("follow", "Follow log output").short('f'),
            value(
                "since",
                "string",
                "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
            ),
            value("tail", "string", "Number of lines to show from the end of the logs (default \"all\")")
                .short('n'),
            switch("timestamps", "Show timestamps").short('t'),
            value(
                "until",
                "string",
                "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
            ),
        ]
    },
    refused: &[],
    run,
};

/// How long a follower tries to find a daemon again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it waits between two tries, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

fn run(cli: &Cli, given: &Given) -> Result<u8, Error> {
    let now = Timestamp::now();
    let moment = |flag| given.text(flag).map(|text| time::parse_moment(text, now)).transpose();
    let request = Request {
        is_following: given.switch("follow"),
        details: given.switch("details"),
        since: moment("since")?,
        until: moment("until")?,
        tail: given.text("tail").filter(|tail| *tail != "all").map(str::to_owned),
        began: now,
    };
    cli.with_client(async |client| show(client, given, request).await).map(|()| 0)
}

/// Which part of the log is wanted.
#[derive(Debug, Clone)]
struct Request {
    is_following: bool,
    details: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    tail: Option<String>,
    began: Timestamp,
}

impl Request {
    fn path(&self, id: &str, timestamps: bool) -> Path {
        let flag = |is_wanted: bool| is_wanted.then_some("1");
        Path::of("containers", id, "/logs")
            .query("stdout", "1")
            .query("stderr", "1")
            .query_if("follow", flag(self.is_following))
            .query_if("timestamps", flag(timestamps))
            .query_if("details", flag(self.details))
            .query_if("since", self.since.map(time::unix).as_deref())
            .query_if("until", self.until.map(time::unix).as_deref())
            .query_if("tail", self.tail.as_deref())
    }

    /// The rest, from `since` on.
    fn from(&self, since: Option<i128>) -> Request {
        let since = since.and_then(|since| Timestamp::from_nanosecond(since).ok());
        // With a tail and nothing shown there was nothing yet: what has come since is all of it.
        let since = since.or_else(|| self.tail.as_ref().map(|_| self.began)).or(self.since);
        Request { since, tail: None, ..self.clone() }
    }
}

async fn show(client: &Client, given: &Given, mut request: Request) -> Result<(), Error> {
    let container = Container::find(client, given.operand()).await?;
    let timestamps = given.switch("timestamps");
    let mut entries = Entries::new(container.config.tty, request.is_following, timestamps);
    let first =
        client.stream(Method::GET, request.path(&container.id, entries.are_stamped()), Body::empty()).await?;
    let mut result = print(first, &mut entries).await;
    let mut lost_at = Instant::now();
    let mut pause = PAUSE;
    while request.is_following {
        match result {
            Ok(()) => {
                if request.until.is_some() || !is_running(client, &container.id).await {
                    break;
                }
                lost_at = Instant::now();
            }
            Err(error) if error.is_lost_connection() && lost_at.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        let shown = entries.last_shown();
        request = request.from(entries.resume());
        let path = request.path(&container.id, entries.are_stamped());
        result = match client.stream(Method::GET, path, Body::empty()).await {
            Ok(body) => {
                let result = print(body, &mut entries).await;
                lost_at = Instant::now();
                result
            }
            // It was removed meanwhile, as `--rm` does: nothing more comes.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        };
        pause = if entries.last_shown() == shown { MAX_PAUSE.min(pause * 2) } else { PAUSE };
    }
    result?;
    entries.finish()
}

async fn print(mut body: hyper::body::Incoming, entries: &mut Entries) -> Result<(), Error> {
    while let Some(bytes) = lines::chunk(&mut body).await? {
        entries.feed(&bytes)?;
    }
    Ok(())
}

/// A log that ends while its container runs was cut by a daemon that stopped in good order.
async fn is_running(client: &Client, id: &str) -> bool {
    Container::find(client, id).await.is_ok_and(|container| container.state.running)
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::client::Path;
    use jiff::Timestamp;

    #[test]
    fn a_follower_asks_for_the_rest() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let request = Request {
            is_following: true,
            details: false,
            since: Some(second(5)),
            until: None,
            tail: Some("3".into()),
            began: second(100),
        };
        let base = Path::new("/containers/a/logs?stdout=1&stderr=1&follow=1&timestamps=1");
        let path = |request: &Request| format!("{:?}", request.path("a", true).into_uri());
        let text = |rest: &str| format!("{:?}", base.clone().into_uri()) + rest;
        assert_eq!(path(&request), text("&since=5.000000000&tail=3"));
        assert_eq!(path(&request.from(Some(7_000_000_009))), text("&since=7.000000009"));
        assert_eq!(path(&request.from(None)), text("&since=100.000000000"), "the tail was empty");
        let whole = Request { tail: None, ..request };
        assert_eq!(path(&whole.from(None)), text("&since=5.000000000"));
    }
}
