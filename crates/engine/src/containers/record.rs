//! A container in memory, and the index of all of them. The database has the same facts; this is what is asked.
//!
//! A record's facts never change, except its name. Its life ([`Live`]) is in a watch channel: everybody may look and
//! wait, but only the holder of the record's `turn` changes the state. A turn is held for the whole of a start, a
//! removal, or the recording of an exit with its teardown; so these never overlap, whoever asks for them. Signals,
//! execs and looks need no turn.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{MutexGuard, watch};
use tokio::task::JoinHandle;

use super::attach::PendingAttach;
use super::health::Health;
use super::spec::{ContainerSpec, EndpointSpec};
use super::state::{LastExit, State};
use super::stats::Sampler;
use super::update::Changed;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::namespaces::Namespace;
use crate::networks::NetworkState;
use crate::restart::Backoff;
use crate::tasks::Task;

/// A container.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) namespace: Namespace,
    pub(crate) id: String,
    pub(crate) created_ns: i64,
    /// Digest of the image's configuration.
    pub(crate) image_id: String,
    pub(crate) spec: Arc<ContainerSpec>,
    /// Whether it ran when the last engine noted its state.
    pub(crate) ran: bool,
    name: Mutex<String>,
    turn: tokio::sync::Mutex<Turn>,
    pub(crate) live: watch::Sender<Live>,
    /// Whether the shim may still write to the log.
    pub(crate) log_open: watch::Sender<bool>,
    /// Clients that attached before the start.
    pub(crate) pending: Mutex<Vec<PendingAttach>>,
    /// Its figures, while somebody reads them.
    pub(crate) sampler: Sampler,
}

/// What a container is called: its id is its own in all namespaces, its name in one.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) namespace: Namespace,
    pub(crate) id: String,
    pub(crate) name: String,
}

/// The right to change a container's state.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) backoff: Backoff,
    /// A commit that the last holder did not wait for.
    pub(crate) storing: Option<JoinHandle<()>>,
}

/// What changes in a container's life.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) state: State,
    pub(crate) last: LastExit,
    /// How many runs have ended since the engine opened.
    pub(crate) exits: u64,
    /// How often its policy restarted it since a client started it.
    pub(crate) restart_count: u32,
    /// Somebody asked it to end; its policy has no say until somebody starts it.
    pub(crate) was_stopped: bool,
    pub(crate) task: Option<Arc<Task>>,
    /// None: it has no health check, or was never started.
    pub(crate) health: Option<Arc<Health>>,
    /// Limits and policy that count in place of the specification's.
    pub(crate) changed: Option<Arc<Changed>>,
    /// The networks that it is to be connected to.
    pub(crate) endpoints: Vec<EndpointSpec>,
    /// Its network while it runs; empty otherwise.
    pub(crate) network: Arc<NetworkState>,
    /// The container does not exist any more.
    pub(crate) is_gone: bool,
}

/// What of [`Live`] is stored with the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredState {
    pub(crate) phase: Phase,
    pub(crate) last: LastExit,
    pub(crate) restart_count: u32,
    pub(crate) was_stopped: bool,
    /// None: those of the specification; nobody has connected or disconnected it.
    pub(crate) endpoints: Option<Vec<EndpointSpec>>,
    pub(crate) health: Option<Health>,
    /// None: nobody has updated it.
    pub(crate) changed: Option<Changed>,
}

/// The state, as far as it outlives the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    #[default]
    Created,
    /// Or paused.
    Running,
    /// Its policy is about to start it.
    Restarting,
    Exited,
    Dead,
}

/// What of a [`Record`] is stored and never changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredSpec {
    pub(crate) image_id: String,
    pub(crate) spec: ContainerSpec,
}

impl Record {
    pub(crate) fn new(identity: Identity, created_ns: i64, stored: StoredSpec, state: StoredState) -> Record {
        let live = Live {
            state: match state.phase {
                Phase::Created => State::Created,
                Phase::Running | Phase::Exited => State::Exited,
                Phase::Restarting => State::Restarting,
                Phase::Dead => State::Dead,
            },
            last: state.last,
            exits: 0,
            restart_count: state.restart_count,
            was_stopped: state.was_stopped,
            changed: state.changed.map(Arc::new),
            task: None,
            health: state.health.map(Arc::new),
            endpoints: state.endpoints.unwrap_or_else(|| stored.spec.networking.endpoints.clone()),
            network: Arc::default(),
            is_gone: false,
        };
        Record {
            ran: state.phase == Phase::Running,
            namespace: identity.namespace,
            id: identity.id,
            created_ns,
            image_id: stored.image_id,
            spec: Arc::new(stored.spec),
            name: Mutex::new(identity.name),
            turn: tokio::sync::Mutex::default(),
            live: watch::Sender::new(live),
            log_open: watch::Sender::new(false),
            pending: Mutex::default(),
            sampler: Sampler::default(),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the turn. What its last holder stored is in the database then.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, Turn> {
        let mut turn = self.turn.lock().await;
        if let Some(storing) = turn.storing.take() {
            // A failure was logged where it happened.
            drop(storing.await);
        }
        turn
    }

    /// The task of a container that runs (or is paused).
    pub(crate) fn task(&self) -> Result<Arc<Task>> {
        let live = self.live.borrow();
        match (&live.state, &live.task) {
            (State::Running(_) | State::Paused(_), Some(task)) => Ok(task.clone()),
            (State::Restarting, _) => Err(Error::Conflict(format!(
                "Container {} is restarting, wait until the container is running",
                self.id
            ))),
            _ => Err(Error::Conflict(format!("Container {} is not running", self.id))),
        }
    }

    /// Refuses to do something with the files of a container that is going.
    pub(crate) fn refuse_if_going(&self, verb: &str) -> Result<()> {
        let why = match self.live.borrow().state {
            State::Dead => "which is Dead",
            State::Removing => "which is being removed",
            _ => return Ok(()),
        };
        Err(Error::Conflict(format!("You cannot {verb} container {} {why}", self.id)))
    }

    /// What is to be stored of the life.
    pub(crate) fn stored_state(&self) -> StoredState {
        let live = self.live.borrow();
        StoredState {
            phase: match live.state {
                State::Created => Phase::Created,
                State::Running(_) | State::Paused(_) => Phase::Running,
                State::Restarting => Phase::Restarting,
                State::Exited => Phase::Exited,
                State::Removing | State::Dead => Phase::Dead,
            },
            last: live.last.clone(),
            restart_count: live.restart_count,
            was_stopped: live.was_stopped,
            endpoints: Some(&live.endpoints)
                .filter(|endpoints| **endpoints != self.spec.networking.endpoints)
                .cloned(),
            health: live.health.as_deref().cloned(),
            changed: live.changed.as_deref().cloned(),
        }
    }

    /// What events say of it.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.spec.labels.clone();
        attributes.insert("image".into(), self.spec.image.clone());
        attributes.insert("name".into(), self.name());
        attributes
    }

    /// Clients that wait to be attached; they wait no more.
    pub(crate) fn take_pending(&self) -> Vec<PendingAttach> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// Tells what happened to a container.
    pub(crate) fn publish_container(&self, record: &Record, action: &str) {
        self.publish_container_with(record, action, record.attributes());
    }

    /// The same with more to say than what is always said.
    pub(crate) fn publish_container_with(
        &self,
        record: &Record,
        action: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let what = (record.id.as_str(), attributes);
        self.events.publish(Some(&record.namespace), Kind::Container, action, what);
    }
}

/// All containers, by id and name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: BTreeMap<String, Arc<Record>>,
    /// Name to id; a name is taken before its container is there.
    names: HashMap<(Namespace, String), String>,
}

impl Index {
    /// The container of a namespace with that id, name, or unique prefix of its id.
    pub(crate) fn find(&self, namespace: &Namespace, text: &str) -> Result<Arc<Record>> {
        let inner = self.lock();
        let is_here = |record: &&Arc<Record>| record.namespace == *namespace;
        let name = text.strip_prefix('/').unwrap_or(text);
        let by_name = || inner.names.get(&(namespace.clone(), name.to_owned()));
        let by_id = inner.by_id.get(text).filter(is_here);
        if let Some(record) = by_id.or_else(|| by_name().and_then(|id| inner.by_id.get(id))) {
            return Ok(record.clone());
        }
        let missing = || Error::NoSuchContainer(text.to_owned());
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let from = (Bound::Included(text), Bound::Unbounded);
        let matches = inner.by_id.range::<str, _>(from).take_while(|(id, _)| id.starts_with(text));
        let mut matches = matches.map(|(_, record)| record).filter(is_here);
        match (matches.next(), matches.next()) {
            (Some(record), None) => Ok(record.clone()),
            (Some(_), Some(_)) => Err(Error::AmbiguousContainer(text.to_owned())),
            (None, _) => Err(missing()),
        }
    }

    /// The container with that id, in whichever namespace.
    pub(crate) fn by_id(&self, id: &str) -> Result<Arc<Record>> {
        self.lock().by_id.get(id).cloned().ok_or_else(|| Error::NoSuchContainer(id.to_owned()))
    }

    /// Those of all namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        self.lock().by_id.values().cloned().collect()
    }

    /// Those of a namespace.
    pub(crate) fn all_in(&self, namespace: &Namespace) -> Vec<Arc<Record>> {
        let inner = self.lock();
        inner.by_id.values().filter(|record| record.namespace == *namespace).cloned().collect()
    }

    /// Takes a name for a container to come.
    pub(crate) fn reserve(&self, namespace: &Namespace, name: &str, id: &str) -> Result<()> {
        let mut inner = self.lock();
        let key = (namespace.clone(), name.to_owned());
        if let Some(owner) = inner.names.get(&key) {
            return Err(Error::NameInUse { name: name.to_owned(), id: owner.clone() });
        }
        inner.names.insert(key, id.to_owned());
        Ok(())
    }

    /// Gives a reserved name back.
    pub(crate) fn release(&self, namespace: &Namespace, name: &str) {
        self.lock().names.remove(&(namespace.clone(), name.to_owned()));
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, record: Arc<Record>) {
        let mut inner = self.lock();
        inner.names.insert((record.namespace.clone(), record.name()), record.id.clone());
        inner.by_id.insert(record.id.clone(), record);
    }

    pub(crate) fn remove(&self, record: &Record) {
        let name = record.name();
        let mut inner = self.lock();
        inner.by_id.remove(&record.id);
        inner.names.remove(&(record.namespace.clone(), name));
    }

    /// After [`Index::reserve`] of the new name.
    pub(crate) fn rename(&self, record: &Record, name: &str) {
        let old = std::mem::replace(
            &mut *record.name.lock().unwrap_or_else(PoisonError::into_inner),
            name.to_owned(),
        );
        self.release(&record.namespace, &old);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, name: &str) -> Arc<Record> {
        let identity = Identity { namespace: Namespace::default(), id: id.into(), name: name.into() };
        Arc::new(Record::new(identity, 0, StoredSpec::default(), StoredState::default()))
    }

    fn reserve(index: &Index, name: &str, id: &str) -> Result<()> {
        index.reserve(&Namespace::default(), name, id)
    }

    fn find(index: &Index, text: &str) -> Result<Arc<Record>> {
        index.find(&Namespace::default(), text)
    }

    #[test]
    fn containers_are_found_by_id_name_and_unique_prefix() {
        let index = Index::default();
        for (id, name) in [("aa11", "web"), ("aa22", "bb"), ("bb33", "db")] {
            reserve(&index, name, id).unwrap();
            index.insert(record(id, name));
        }
        let cases = [
            ("aa11", Ok("aa11")),
            ("web", Ok("aa11")),
            ("/web", Ok("aa11")),
            ("aa2", Ok("aa22")),
            ("bb", Ok("aa22")),
            ("bb3", Ok("bb33")),
        ];
        for (text, expected) in cases {
            assert_eq!(
                find(&index, text).map(|found| found.id.clone()).map_err(drop),
                expected.map(str::to_owned),
                "{text}"
            );
        }
        assert!(matches!(find(&index, "aa"), Err(Error::AmbiguousContainer(_))));
        for text in ["", "/", "cc", "we", "AA11", "aa11x"] {
            assert!(matches!(find(&index, text), Err(Error::NoSuchContainer(_))), "{text}");
        }
    }

    #[test]
    fn a_name_is_taken_from_its_reservation_to_its_release() {
        let index = Index::default();
        reserve(&index, "web", "aa11").unwrap();
        assert!(matches!(reserve(&index, "web", "bb22"), Err(Error::NameInUse { id, .. }) if id == "aa11"));
        assert!(matches!(find(&index, "web"), Err(Error::NoSuchContainer(_))));
        let web = record("aa11", "web");
        index.insert(web.clone());
        reserve(&index, "other", "aa11").unwrap();
        index.rename(&web, "other");
        assert!(find(&index, "web").is_err());
        reserve(&index, "web", "bb22").unwrap();
        index.remove(&web);
        assert!(find(&index, "other").is_err());
        reserve(&index, "other", "cc33").unwrap();
    }

    #[test]
    fn a_namespace_sees_its_own() {
        let index = Index::default();
        let other = Namespace::parse("k8s.io").unwrap();
        index.insert(record("aa11", "web"));
        let identity = Identity { namespace: other.clone(), id: "aa22".into(), name: "web".into() };
        index.insert(Arc::new(Record::new(identity, 0, StoredSpec::default(), StoredState::default())));
        assert!(index.reserve(&other, "web", "x").is_err() && index.reserve(&other, "db", "x").is_ok());
        for (text, here, there) in [("web", "aa11", "aa22"), ("aa", "aa11", "aa22")] {
            assert_eq!(find(&index, text).unwrap().id, here);
            assert_eq!(index.find(&other, text).unwrap().id, there);
        }
        assert!(find(&index, "aa22").is_err() && index.by_id("aa22").is_ok());
        assert_eq!((index.all().len(), index.all_in(&other).len()), (2, 1));
    }

    #[test]
    fn what_is_stored_can_be_read_by_an_older_and_a_newer_engine() {
        let newer = r#"{"phase":"exited","last":{"code":3,"news":1},"future":true}"#;
        let state: StoredState = serde_json::from_str(newer).unwrap();
        assert_eq!((state.phase, state.last.code), (Phase::Exited, 3));
        assert_eq!(serde_json::from_str::<StoredState>("{}").unwrap(), StoredState::default());
        assert_eq!(serde_json::from_str::<StoredSpec>("{}").unwrap(), StoredSpec::default());
    }
}
