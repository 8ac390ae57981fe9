//! What happened, in order: the last of it in memory, the rest as it comes.
//!
//! One lock orders everything: an event gets its time, joins the history and goes to the subscribers in one critical
//! section, so that times are strictly increasing and every subscriber sees the same order. Events are not stored; they
//! tell what happened while somebody could listen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::clock;
use crate::namespaces::Namespace;
use crate::prune::has_labels;

/// How many events a subscriber may ask for after the fact, and how many it may lag behind before it is let go.
const HISTORY: usize = 1024;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Network => "network",
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
    /// None: of what belongs to the machine.
    pub namespace: Option<Namespace>,
    /// `create`, `start`, `die`, `exec_create: /bin/sh`, …
    pub action: String,
    /// Id of the container or image, name of the volume.
    pub id: String,
    pub attributes: BTreeMap<String, String>,
}

/// Which events: those that match one of each list that is not empty.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// The namespace's own, and those of what belongs to the machine.
    pub namespace: Option<Namespace>,
    pub kinds: Vec<Kind>,
    pub actions: Vec<String>,
    /// Names or ids.
    pub containers: Vec<String>,
    pub images: Vec<String>,
    pub volumes: Vec<String>,
    /// Names or ids.
    pub networks: Vec<String>,
    /// All of them must match; no value: any.
    pub labels: Vec<(String, Option<String>)>,
}

/// Where events come together.
#[derive(Debug)]
pub(crate) struct Events {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    last_ns: i64,
    history: VecDeque<Arc<Event>>,
    sender: broadcast::Sender<Arc<Event>>,
}

/// The events since a moment, then those that come.
#[derive(Debug)]
pub struct EventStream {
    backlog: VecDeque<Arc<Event>>,
    receiver: broadcast::Receiver<Arc<Event>>,
    until_ns: Option<i64>,
    filter: EventFilter,
}

impl Events {
    pub(crate) fn new() -> Events {
        let (sender, _) = broadcast::channel(HISTORY);
        Events { inner: Mutex::new(Inner { last_ns: 0, history: VecDeque::new(), sender }) }
    }

    /// Tells everybody.
    pub(crate) fn publish(
        &self,
        namespace: Option<&Namespace>,
        kind: Kind,
        action: &str,
        (id, attributes): (&str, BTreeMap<String, String>),
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let time_ns = clock::now_ns().max(inner.last_ns + 1);
        inner.last_ns = time_ns;
        let event = Arc::new(Event {
            time_ns,
            kind,
            namespace: namespace.cloned(),
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
        });
        if inner.history.len() == HISTORY {
            inner.history.pop_front();
        }
        inner.history.push_back(event.clone());
        // Nobody listens: that is no error.
        drop(inner.sender.send(event));
    }

    pub(crate) fn listeners(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).sender.receiver_count()
    }

    pub(crate) fn subscribe(
        &self,
        since_ns: Option<i64>,
        until_ns: Option<i64>,
        filter: EventFilter,
    ) -> EventStream {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that gives only an end wants what was before it.
        let since_ns = since_ns.or(until_ns.map(|_| 0));
        let backlog = match since_ns {
            Some(since_ns) => {
                inner.history.iter().filter(|event| event.time_ns >= since_ns).cloned().collect()
            }
            None => VecDeque::new(),
        };
        EventStream { backlog, receiver: inner.sender.subscribe(), until_ns, filter }
    }
}

impl EventStream {
    /// The next event; None when `until` has passed or the engine ends.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => self.receive().await?,
            };
            if self.until_ns.is_some_and(|until_ns| event.time_ns > until_ns) {
                return None;
            }
            if self.filter.matches(&event) {
                return Some(Event::clone(&event));
            }
        }
    }

    async fn receive(&mut self) -> Option<Arc<Event>> {
        let received = match self.until_ns {
            None => self.receiver.recv().await,
            Some(until_ns) => {
                let left_ns = u64::try_from(until_ns.saturating_sub(clock::now_ns())).unwrap_or(0);
                tokio::time::timeout(Duration::from_nanos(left_ns), self.receiver.recv()).await.ok()?
            }
        };
        // A subscriber that does not read is let go: it can ask again from where it was, and sees no gap.
        received.ok()
    }
}

impl EventFilter {
    fn matches(&self, event: &Event) -> bool {
        let name = event.attributes.get("name").map_or("", String::as_str);
        let image = event.attributes.get("image").map_or("", String::as_str);
        let is_named = |wanted: &[String], kind: Kind| {
            wanted.is_empty()
                || (event.kind == kind
                    && wanted
                        .iter()
                        .any(|text| text == name || (!text.is_empty() && event.id.starts_with(text))))
        };
        let is_action = |wanted: &String| {
            // `exec_start` stands for `exec_start: /bin/sh`.
            event.action == *wanted || event.action.split_once(':').is_some_and(|(word, _)| word == wanted)
        };
        let is_image = self.images.is_empty()
            || self.images.iter().any(|wanted| {
                let found = if event.kind == Kind::Image { name } else { image };
                found == wanted || found.split(':').next() == Some(wanted) || event.id == *wanted
            });
        let is_here = match (&self.namespace, &event.namespace) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        };
        is_here
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.actions.is_empty() || self.actions.iter().any(is_action))
            && is_named(&self.containers, Kind::Container)
            && is_named(&self.volumes, Kind::Volume)
            && is_named(&self.networks, Kind::Network)
            && is_image
            && has_labels(&event.attributes, &self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(events: &Events, kind: Kind, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let attributes =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        events.publish(None, kind, action, (id, attributes));
    }

    async fn all(mut stream: EventStream) -> Vec<String> {
        let mut actions = Vec::new();
        while let Some(event) = stream.next().await {
            actions.push(event.action);
        }
        actions
    }

    #[tokio::test]
    async fn history_and_present_join_without_gap_or_repetition() {
        let events = Events::new();
        for number in 0..2 * HISTORY {
            publish(&events, Kind::Container, &number.to_string(), "a", &[]);
        }
        let mut stream = events.subscribe(Some(0), None, EventFilter::default());
        publish(&events, Kind::Container, "last", "a", &[]);
        let mut last_ns = 0;
        for number in HISTORY..2 * HISTORY {
            let event = stream.next().await.unwrap();
            assert_eq!(event.action, number.to_string());
            assert!(event.time_ns > last_ns);
            last_ns = event.time_ns;
        }
        assert_eq!(stream.next().await.unwrap().action, "last");
        drop(events);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn who_does_not_read_is_let_go() {
        let events = Events::new();
        let mut slow = events.subscribe(None, None, EventFilter::default());
        let mut quick = events.subscribe(None, None, EventFilter::default());
        for number in 0..=HISTORY {
            publish(&events, Kind::Container, &number.to_string(), "a", &[]);
            assert!(quick.next().await.is_some());
        }
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn an_end_in_the_past_ends_the_stream() {
        let events = Events::new();
        publish(&events, Kind::Container, "before", "a", &[]);
        let stream = events.subscribe(None, Some(clock::now_ns()), EventFilter::default());
        publish(&events, Kind::Container, "after", "a", &[]);
        assert_eq!(all(stream).await, ["before"]);
    }

    #[tokio::test]
    async fn filters_select_by_kind_action_name_image_and_label() {
        let events = Events::new();
        publish(
            &events,
            Kind::Container,
            "start",
            "aa11",
            &[("name", "web"), ("image", "busybox:1"), ("tier", "x")],
        );
        publish(&events, Kind::Container, "exec_start: sh", "bb22", &[("name", "db"), ("image", "redis")]);
        publish(&events, Kind::Image, "tag", "sha256:1", &[("name", "busybox:1")]);
        publish(&events, Kind::Volume, "create", "data", &[]);
        let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let cases = [
            (EventFilter::default(), &["start", "exec_start: sh", "tag", "create"][..]),
            (
                EventFilter { kinds: vec![Kind::Volume, Kind::Image], ..EventFilter::default() },
                &["tag", "create"],
            ),
            (EventFilter { actions: text(&["exec_start"]), ..EventFilter::default() }, &["exec_start: sh"]),
            (
                EventFilter { containers: text(&["web", "bb"]), ..EventFilter::default() },
                &["start", "exec_start: sh"],
            ),
            (EventFilter { images: text(&["busybox"]), ..EventFilter::default() }, &["start", "tag"]),
            (EventFilter { volumes: text(&["data"]), ..EventFilter::default() }, &["create"]),
            (
                EventFilter { labels: vec![("tier".into(), Some("x".into()))], ..EventFilter::default() },
                &["start"],
            ),
            (EventFilter { labels: vec![("tier".into(), Some("y".into()))], ..EventFilter::default() }, &[]),
        ];
        for (filter, expected) in cases {
            let what = format!("{filter:?}");
            let stream = events.subscribe(Some(0), Some(clock::now_ns()), filter);
            assert_eq!(all(stream).await, expected, "{what}");
        }
    }
}
