//! What happened, in order: the last of it in memory, the rest as it comes.

use std::collections::BTreeMap;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Container,
    Image,
    Volume,
}

impl Kind {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Volume => "volume",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Strictly increasing.
    pub time_ns: i64,
    pub kind: Kind,
    /// `create`, `start`, `die`, `exec_create: /bin/sh`, …
    pub action: String,
    /// Id of the container or image, name of the volume.
    pub id: String,
    pub attributes: BTreeMap<String, String>,
}

/// Which events: those that match one of each list that is not empty.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub kinds: Vec<Kind>,
    pub actions: Vec<String>,
    /// Names or ids.
    pub containers: Vec<String>,
    pub images: Vec<String>,
    pub volumes: Vec<String>,
    /// All of them must match; no value: any.
    pub labels: Vec<(String, Option<String>)>,
}

/// The events since a moment, then those that come.
#[derive(Debug)]
pub struct EventStream {}

impl EventStream {
    /// The next event; None when `until` has passed or the engine ends.
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}

impl crate::Engine {
    /// Subscribes; what happens after this returned is not missed.
    pub fn events(&self, _since_ns: Option<i64>, _until_ns: Option<i64>, _filter: EventFilter) -> EventStream {
        todo!()
    }
}
