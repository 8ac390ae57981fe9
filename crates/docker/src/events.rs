//! `/events`: one JSON object per line, for as long as the client listens.

use api::docker::event::{Actor, Event};
use engine::events::{EventFilter, Kind};

use crate::answer::{self, Answer, Failure};
use crate::request::{Request, labels};
use crate::when;

const FILTERS: [&str; 6] = ["type", "event", "container", "image", "volume", "label"];

pub(crate) fn events(request: &Request) -> Answer {
    let time = |name: &str| request.query(name).map(when::parse).transpose();
    let mut filters = request.filters(&FILTERS)?;
    let mut take = |name: &str| filters.remove(name).unwrap_or_default();
    let filter = EventFilter {
        kinds: kinds(&take("type"))?,
        actions: take("event"),
        containers: take("container"),
        images: take("image"),
        volumes: take("volume"),
        labels: labels(&take("label")),
    };
    let mut stream = request.engine.events(time("since")?, time("until")?, filter);
    let (sender, response) = answer::stream("application/json");
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = sender.closed() => return,
            };
            let Some(event) = event else { return };
            if sender.send(answer::line(&wire(event))).await.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

fn kinds(names: &[String]) -> Result<Vec<Kind>, Failure> {
    names
        .iter()
        .map(|name| match name.as_str() {
            "container" => Ok(Kind::Container),
            "image" => Ok(Kind::Image),
            "volume" => Ok(Kind::Volume),
            _ => Err(Failure::bad(format!("invalid filter 'type={name}'"))),
        })
        .collect()
}

fn wire(event: engine::events::Event) -> Event {
    let is_container = event.kind == Kind::Container;
    // The fields of old clients: volumes never had them.
    let (status, id) = match event.kind {
        Kind::Volume => (String::new(), String::new()),
        Kind::Container | Kind::Image => (event.action.clone(), event.id.clone()),
    };
    let from =
        if is_container { event.attributes.get("image").cloned().unwrap_or_default() } else { String::new() };
    Event {
        status,
        id,
        from,
        kind: event.kind.as_str().into(),
        action: event.action,
        actor: Actor { id: event.id, attributes: event.attributes },
        scope: "local".into(),
        time: event.time_ns / 1_000_000_000,
        time_nano: event.time_ns,
    }
}
