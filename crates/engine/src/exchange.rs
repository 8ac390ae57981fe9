//! Events of containerd's services: published with a topic, passed to everybody who subscribed before.
//!
//! There is no history and no gap: a subscriber gets everything from its subscription on, in the order of publication.
//! One that does not read is let go when too much waits for it, because containerd's clients subscribe again and look.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prost::{Message, Name};
use prost_types::Any;
use store::space::identifier;
use tokio::sync::mpsc;

use crate::clock::now_ns;
use crate::error::{Error, Result};

/// Bytes of events that wait for one subscriber.
const WAITING_MAX_BYTES: usize = 64 << 20;
/// What an event costs beside its text and its payload.
const OVERHEAD_BYTES: usize = 128;

/// An event, as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    pub timestamp_ns: i64,
    pub namespace: String,
    /// `/tasks/start`
    pub topic: String,
    /// The message of the topic; opaque to whoever passes it on.
    pub event: Any,
}

/// Where events are published.
#[derive(Debug, Default)]
pub struct Exchange {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    sender: mpsc::UnboundedSender<Arc<Envelope>>,
    waiting: Arc<AtomicUsize>,
}

/// What was published since.
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::UnboundedReceiver<Arc<Envelope>>,
    waiting: Arc<AtomicUsize>,
}

impl Exchange {
    /// Publishes an event of ours.
    pub fn publish<M: Message + Name>(&self, namespace: &str, topic: &str, event: &M) {
        self.send(Envelope {
            timestamp_ns: now_ns(),
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
            event: api::any::pack(event),
        });
    }

    /// Publishes what somebody else says.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a topic that is none, in containerd's words.
    pub fn forward(&self, envelope: Envelope) -> Result<()> {
        check_topic(&envelope.topic)?;
        self.send(envelope);
        Ok(())
    }

    /// Whether anybody would hear of an event.
    pub fn is_heard(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Everything that is published from now on.
    pub fn subscribe(&self) -> Subscription {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        self.lock().push(Subscriber { sender, waiting: waiting.clone() });
        Subscription { receiver, waiting }
    }

    fn send(&self, envelope: Envelope) {
        let size = envelope.size();
        let envelope = Arc::new(envelope);
        // Under the lock, so that all subscribers see the same order.
        self.lock().retain(|subscriber| {
            let waiting = subscriber.waiting.fetch_add(size, Ordering::Relaxed);
            waiting + size <= WAITING_MAX_BYTES && subscriber.sender.send(envelope.clone()).is_ok()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next event; `None` for a subscriber that was let go.
    pub async fn next(&mut self) -> Option<Arc<Envelope>> {
        let envelope = self.receiver.recv().await?;
        self.waiting.fetch_sub(envelope.size(), Ordering::Relaxed);
        Some(envelope)
    }
}

impl Envelope {
    fn size(&self) -> usize {
        OVERHEAD_BYTES + self.namespace.len() + self.topic.len() + self.event.value.len()
    }
}

/// `/` and identifiers between slashes.
fn check_topic(topic: &str) -> Result<()> {
    let invalid = |why: &str| Err(Error::InvalidArgument(format!("envelope topic {topic:?}: {why}")));
    if topic.is_empty() {
        return invalid("must not be empty");
    }
    let Some(rest) = topic.strip_prefix('/') else {
        return invalid("must start with '/'");
    };
    if rest.is_empty() {
        return invalid("must have at least one component");
    }
    for part in rest.split('/') {
        if let Err(error) = identifier::check(part) {
            return invalid(&format!("failed validation on component {part:?}: {error}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use api::events::{TaskOom, TaskStart};

    use super::*;

    fn oom(exchange: &Exchange, id: &str) {
        exchange.publish("default", "/tasks/oom", &TaskOom { container_id: id.into() });
    }

    #[tokio::test]
    async fn who_subscribes_misses_nothing_from_then_on() {
        let exchange = Exchange::default();
        oom(&exchange, "before");
        let mut early = exchange.subscribe();
        exchange.publish("moby", "/tasks/start", &TaskStart { container_id: "one".into(), pid: 1 });
        let mut late = exchange.subscribe();
        oom(&exchange, "last");
        let first = early.next().await.unwrap();
        assert_eq!((first.namespace.as_str(), first.topic.as_str()), ("moby", "/tasks/start"));
        assert_eq!(first.event.type_url, "containerd.events.TaskStart");
        assert_eq!(early.next().await.unwrap(), late.next().await.unwrap());
    }

    #[tokio::test]
    async fn who_does_not_read_is_let_go_and_others_are_not() {
        let exchange = Exchange::default();
        let mut slow = exchange.subscribe();
        let mut quick = exchange.subscribe();
        let big = "x".repeat(WAITING_MAX_BYTES / 8);
        for _ in 0..9 {
            oom(&exchange, &big);
            assert!(quick.next().await.is_some());
        }
        let mut count = 0;
        while slow.next().await.is_some() {
            count += 1;
        }
        assert!((1..9).contains(&count), "{count}");
        assert_eq!(exchange.lock().len(), 1);
    }

    #[test]
    fn a_topic_is_a_path_of_identifiers() {
        for good in ["/tasks/exit", "/a", "/x-1/y.z"] {
            check_topic(good).unwrap();
        }
        for bad in ["", "tasks", "/", "/tasks/", "/tasks//exit", "/t asks", &format!("/{}", "x".repeat(77))] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
    }
}
