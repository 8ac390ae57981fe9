//! `GET /events`: what happened since a moment, then what happens, one JSON object per line.

use api::docker::event::{Actor, Event};
use engine::events::{EventFilter, EventStream, Kind};
use futures_util::stream::unfold;

use crate::call::Call;
use crate::error::Result;
use crate::filters::Filters;
use crate::reply::{self, Reply};
use crate::time;

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Filters by what never happens here: nothing passes them.
const OF_OTHERS: [&str; 6] = ["config", "daemon", "node", "plugin", "secret", "service"];

pub(crate) async fn stream(call: Call) -> Result<Reply> {
    let filters = Filters::parse(&call.query, &FILTERS)?;
    let (since, until) =
        (time::parse("since", call.query.text("since"))?, time::parse("until", call.query.text("until"))?);
    let filter = EventFilter {
        kinds: Vec::new(),
        namespace: None,
        actions: filters.values("event").to_vec(),
        containers: filters.values("container").to_vec(),
        images: filters.values("image").to_vec(),
        volumes: filters.values("volume").to_vec(),
        networks: filters.values("network").to_vec(),
        labels: filters.labels(),
    };
    let events = call.engine.events(since, until, filter);
    // Here and not in the engine: Docker has kinds that never happen here, and they are no reason to show all others.
    let kinds = filters.values("type").to_vec();
    let scopes = filters.values("scope");
    let is_asked_for_others = OF_OTHERS.iter().any(|name| !filters.values(name).is_empty());
    let local = (scopes.is_empty() || scopes.iter().any(|scope| scope == "local")) && !is_asked_for_others;
    let fits = move |event: &engine::events::Event| {
        local && (kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind.as_str()))
    };
    let peer = call.peer;
    Ok(reply::json_stream(unfold((events, fits), move |(mut events, fits)| {
        let peer = peer.clone();
        async move {
            let event = tokio::select! {
                event = next(&mut events, &fits) => event?,
                () = peer.gone() => return None,
            };
            Some((reply::line(&describe(event)), (events, fits)))
        }
    })))
}

async fn next(
    events: &mut EventStream,
    fits: &impl Fn(&engine::events::Event) -> bool,
) -> Option<engine::events::Event> {
    loop {
        let event = events.next().await?;
        if fits(&event) {
            return Some(event);
        }
    }
}

fn describe(event: engine::events::Event) -> Event {
    let (status, id, from) = match event.kind {
        Kind::Container => (
            event.action.clone(),
            event.id.clone(),
            event.attributes.get("image").cloned().unwrap_or_default(),
        ),
        Kind::Image => (event.action.clone(), event.id.clone(), String::new()),
        Kind::Network | Kind::Volume => Default::default(),
    };
    Event {
        status,
        id,
        from,
        kind: event.kind.as_str().into(),
        action: event.action,
        actor: Actor { id: event.id, attributes: event.attributes },
        scope: "local".into(),
        time: time::seconds(event.time_ns),
        time_nano: event.time_ns,
    }
}
