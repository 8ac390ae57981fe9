//! Containers that clients of containerd's API made, as other doors see them.
//!
//! Such a container is its client's record, and its task runs in a shim ([`crate::runtimes`]). What it is made of, how it is started
//! and where its output goes only the client knows. So everybody may look at it, signal, pause, stop and delete it, as
//! [`Guest`] does; anything else is refused by [`Error::MadeByClient`].

mod view;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api::code::Code;
use api::events::ContainerDelete;
use api::task::{KillRequest, PauseRequest, PidsRequest, PidsResponse, ResumeRequest};
use store::Labels;
use store::space::containers as space;

use crate::blocking::blocking;
use crate::containers::{Container, Exit, ListFilter, Processes, RemoveOptions, Status, WaitCondition, top};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::monitor;
use crate::namespaces::Namespace;
use crate::runtimes::{STATE_TIMEOUT, Task};
use crate::signals::{self, SIGKILL, SIGTERM};

/// How long a killed task may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where containerd's clients note the signal that the image wants for its end.
const STOP_SIGNAL_LABEL: &str = "io.containerd.image.config.stop-signal";

/// The guests of a namespace.
#[derive(Debug, Clone)]
pub struct Guests {
    pub(crate) engine: Arc<Engine>,
    pub(crate) namespace: Namespace,
}

/// A container that a client of containerd's API made.
#[derive(Debug)]
pub struct Guest {
    engine: Arc<Engine>,
    namespace: Namespace,
    record: space::Container,
}

impl Guests {
    /// Those that match, in no order.
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<Container>> {
        let guests = self.all().await?;
        let views = futures_util::future::join_all(guests.iter().map(Guest::view)).await;
        self.engine.matching(&self.namespace, filter, views)
    }

    /// The one of that name or id, or whose id alone begins so.
    ///
    /// # Errors
    /// [`Error::AmbiguousContainer`].
    pub async fn find(&self, text: &str) -> Result<Option<Guest>> {
        let mut guests = self.all().await?;
        let is_it = |guest: &Guest| {
            guest.record.id == text || view::name(&guest.record) == text.trim_start_matches('/')
        };
        if let Some(at) = guests.iter().position(is_it) {
            return Ok(Some(guests.swap_remove(at)));
        }
        guests.retain(|guest| !text.is_empty() && guest.record.id.starts_with(text));
        match guests.len() {
            0 | 1 => Ok(guests.pop()),
            _ => Err(Error::AmbiguousContainer(text.to_owned())),
        }
    }

    /// Why a container is not found: it may be a guest, to whom that cannot be done.
    pub async fn explain(&self, text: String) -> Error {
        match self.find(&text).await {
            Ok(Some(guest)) => Error::MadeByClient(guest.record.id),
            Ok(None) => Error::NoSuchContainer(text),
            Err(error) => error,
        }
    }

    async fn all(&self) -> Result<Vec<Guest>> {
        let (store, namespace) = (self.engine.store().clone(), self.namespace.clone());
        let found = blocking(move || store.space(namespace.as_str()).containers().list()).await?;
        let guest = |record| Guest { engine: self.engine.clone(), namespace: self.namespace.clone(), record };
        Ok(found.into_iter().map(guest).collect())
    }
}

impl Guest {
    /// Everything that is known about it.
    pub async fn view(&self) -> Container {
        let state = match self.task() {
            None => view::at_rest(),
            Some(task) => match tokio::time::timeout(STATE_TIMEOUT, task.state("")).await {
                Ok(Ok(state)) => view::state(&state, task.created_ns()),
                _ => view::unknown(),
            },
        };
        view::of(&self.record, state)
    }

    /// Sends a signal (name or number; empty: SIGKILL).
    pub async fn kill(&self, signal: &str) -> Result<()> {
        let number = if signal.is_empty() { SIGKILL } else { signals::parse(signal)? };
        if number == SIGKILL || number == self.stop_signal() {
            self.note_stop().await?;
        }
        let task = self.running("kill").await?;
        self.signal(&task, number).await
    }

    /// Sends the stop signal and, after the timeout, SIGKILL. Ok(false): it did not run.
    pub async fn stop(&self, timeout_s: Option<i64>, signal: Option<&str>) -> Result<bool> {
        let signal = match signal.filter(|signal| !signal.is_empty()) {
            Some(signal) => signals::parse(signal)?,
            None => self.stop_signal(),
        };
        self.note_stop().await?;
        let Ok(task) = self.running("stop").await else { return Ok(false) };
        self.signal(&task, signal).await?;
        let timeout_s = timeout_s.unwrap_or(self.engine.config.stop_timeout_s);
        let ended = end(&task);
        let in_time = match u64::try_from(timeout_s) {
            Err(_) => ended.await.is_ok(),
            Ok(seconds) => tokio::time::timeout(Duration::from_secs(seconds), ended).await.is_ok(),
        };
        if !in_time {
            self.kill_and_wait(&task).await?;
        }
        Ok(true)
    }

    /// Freezes its processes.
    pub async fn pause(&self) -> Result<()> {
        self.running("pause").await?.call("Pause", &PauseRequest { id: self.record.id.clone() }).await
    }

    /// Lets them go on.
    pub async fn unpause(&self) -> Result<()> {
        match self.task() {
            Some(task) => task.call("Resume", &ResumeRequest { id: self.record.id.clone() }).await,
            None => Err(Error::Conflict(format!("Container {} is not paused", self.record.id))),
        }
    }

    /// Removes its task and its record; what only they held goes with the next collection.
    pub async fn remove(&self, options: RemoveOptions) -> Result<()> {
        if let Some(task) = self.task() {
            if view::state(&task.state("").await?, 0).status != Status::Exited {
                if !options.force {
                    return Err(Error::Conflict(format!(
                        "cannot remove container \"{}\": container is running: stop the container before removing or force remove",
                        view::name(&self.record)
                    )));
                }
                self.note_stop().await?;
                self.kill_and_wait(&task).await?;
            }
            self.engine.runtimes().delete(&task).await?;
        }
        let (store, namespace, id) =
            (self.engine.store().clone(), self.namespace.clone(), self.record.id.clone());
        blocking(move || store.space(namespace.as_str()).containers().delete(&id)).await?;
        let event = ContainerDelete { id: self.record.id.clone() };
        self.engine.exchange().publish(self.namespace.as_str(), "/containers/delete", &event);
        self.engine.collect_later();
        Ok(())
    }

    /// A future of its end; one that does not run has ended.
    ///
    /// # Errors
    /// Only its client knows whether there will be another run, and when it goes.
    pub fn wait(&self, condition: WaitCondition) -> Result<impl Future<Output = Exit> + Send + use<>> {
        if condition != WaitCondition::NotRunning {
            return Err(Error::MadeByClient(self.record.id.clone()));
        }
        let task = self.task();
        Ok(async move {
            let code = match task {
                Some(task) => end(&task).await,
                None => Ok(0),
            };
            match code {
                Ok(code) => Exit { code, error: None },
                Err(error) => Exit { code: 0, error: Some(error.to_string()) },
            }
        })
    }

    /// What ps(1) with these arguments says of its processes. Empty: `-ef`.
    pub async fn top(&self, arguments: &str) -> Result<Processes> {
        let task = self.running("top").await?;
        let pids: PidsResponse = task.call("Pids", &PidsRequest { id: self.record.id.clone() }).await?;
        top::of(arguments, pids.processes.into_iter().map(|process| process.pid).collect()).await
    }

    fn task(&self) -> Option<Arc<Task>> {
        self.engine.runtimes().get(self.namespace.as_str(), &self.record.id).ok()
    }

    /// Its task, which has not ended.
    async fn running(&self, verb: &str) -> Result<Arc<Task>> {
        if let Some(task) = self.task()
            && view::state(&task.state("").await?, 0).status != Status::Exited
        {
            return Ok(task);
        }
        let id = &self.record.id;
        Err(Error::Conflict(format!("cannot {verb} container: {id}: container {id} is not running")))
    }

    fn stop_signal(&self) -> i32 {
        let label = self.record.labels.get(STOP_SIGNAL_LABEL);
        label.and_then(|label| signals::parse(label).ok()).unwrap_or(SIGTERM)
    }

    async fn signal(&self, task: &Task, signal: i32) -> Result<()> {
        let request = KillRequest {
            id: self.record.id.clone(),
            signal: signal.unsigned_abs(),
            ..KillRequest::default()
        };
        match task.call::<_, ()>("Kill", &request).await {
            // It has ended meanwhile.
            Err(error) if error.code() == Code::NotFound => Ok(()),
            sent => sent,
        }
    }

    async fn kill_and_wait(&self, task: &Task) -> Result<()> {
        self.signal(task, SIGKILL).await?;
        // A frozen process gets its signal when it is let go on.
        drop(task.call::<_, ()>("Resume", &ResumeRequest { id: self.record.id.clone() }).await);
        match tokio::time::timeout(KILL_TIMEOUT, end(task)).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Err(Error::Conflict(format!(
                "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                self.record.id
            ))),
        }
    }

    /// Notes that somebody wanted its end, where it would be started again otherwise.
    async fn note_stop(&self) -> Result<()> {
        if !self.record.labels.contains_key(monitor::STATUS) {
            return Ok(());
        }
        let (namespace, id) = (self.namespace.as_str(), &self.record.id);
        self.engine.set_guest_label(namespace, id, monitor::EXPLICITLY_STOPPED, "true").await.map(drop)
    }
}

impl Engine {
    /// Changes one label of a client's record; the record as it is then.
    pub(crate) async fn set_guest_label(
        &self,
        namespace: &str,
        id: &str,
        label: &str,
        value: &str,
    ) -> Result<space::Container> {
        let labels = Labels::from([(label.to_owned(), value.to_owned())]);
        let update = space::Container { id: id.to_owned(), labels, ..space::Container::default() };
        let (store, namespace, paths) =
            (self.store.clone(), namespace.to_owned(), vec![format!("labels.{label}")]);
        Ok(blocking(move || store.space(&namespace).containers().update(update, paths)).await?)
    }
}

/// The exit code of a task, when it has ended.
async fn end(task: &Task) -> Result<i32> {
    Ok(i32::try_from(task.end().await?).unwrap_or(i32::MAX))
}
