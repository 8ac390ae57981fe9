//! Tasks of containerd's clients: any shim that speaks containerd's shim protocol, version 2 or 3.
//!
//! ```text
//!             start           Create           Delete, Shutdown
//!   (none) ─────────▶ shim ─────────▶ task ──────────────────▶ (none)
//!                       └─ the shim is lost ─▶ `delete`, exit and deletion are published ─▶ (none)
//! ```
//!
//! A shim belongs to a container of a namespace; its bundle is
//! `<state>/io.containerd.runtime.v2.task/<namespace>/<id>`, as tools and shims expect it. What a client asks of a task is
//! passed on to its shim as it is, and what the shim answers is passed back: these messages are the shim's own. Shims publish
//! what happens by themselves, over a socket of the daemon ([`forward`]); only for one that died the engine speaks.
//!
//! `io.containerd.runc.v2` is Corten's own shim, unless its options name another program than runc.

mod bootstrap;
mod bundle;
pub mod forward;
mod log;
mod recovery;
mod resolve;
mod sandboxes;
mod shim;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::code::Code;
use api::events::{TaskDelete, TaskExit};
use api::task::{CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse, ShutdownRequest};
use api::time::timestamp;
use api::types::{Mount, RuntimeInfo};
use prost_types::Any;

use crate::error::{Error, Result};
use crate::exchange::{Envelope, Exchange, Subscription};
pub use bootstrap::ttrpc_address;
use bundle::Bundle;
pub use resolve::OWN;
use sandboxes::Sandboxes;
pub use sandboxes::{NewSandbox, Sandbox};
use shim::Shim;
pub use shim::Task;

/// Exit status of a task whose end nobody saw: 128 and SIGKILL.
const UNKNOWN_EXIT: u32 = 137;
/// What a shim has for its answer to a question that is asked of many (containerd's `io.containerd.timeout.task.state`): one that hangs
/// must not hide the others.
pub const STATE_TIMEOUT: Duration = Duration::from_secs(2);
/// What a shim has to tell of a deletion.
const TOLD_TIMEOUT: Duration = Duration::from_secs(1);

/// Where tasks live, and what their shims are told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bundles: `io.containerd.runtime.v2.task` below it.
    pub state: PathBuf,
    /// Working directories of bundles.
    pub root: PathBuf,
    /// Corten's own shim.
    pub shim: PathBuf,
    /// containerd's API; its ttrpc services are at the same path with `.ttrpc`.
    pub address: PathBuf,
}

/// A container of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    id: String,
}

/// A task to come.
#[derive(Debug, Clone, Default)]
pub struct NewTask {
    /// `io.containerd.runc.v2`, or the path of a shim.
    pub runtime: String,
    /// Of the runtime; opaque but for those of runc.
    pub options: Option<Any>,
    /// The OCI specification, as JSON in its envelope.
    pub spec: Any,
    pub rootfs: Vec<Mount>,
    pub terminal: bool,
    /// Addresses of streams, as shims understand them.
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    /// The sandbox that it is to be in, or empty.
    pub sandbox: String,
}

/// All tasks.
#[derive(Debug)]
pub struct Runtimes {
    config: Config,
    exchange: Arc<Exchange>,
    tasks: Mutex<HashMap<Key, Slot>>,
    sandboxes: Sandboxes,
}

/// The place of a task.
#[derive(Debug, Clone)]
enum Slot {
    /// Its shim is being started, or its end cleaned up.
    Taken,
    Task(Arc<Task>),
}

impl Runtimes {
    pub(crate) fn new(config: Config, exchange: Arc<Exchange>) -> Runtimes {
        Runtimes { config, exchange, tasks: Mutex::default(), sandboxes: Sandboxes::default() }
    }

    /// Starts a shim and creates the task in it; its first process's id.
    ///
    /// # Errors
    /// `AlreadyExists` for a container that has a task, and whatever the shim says.
    pub async fn create(self: &Arc<Self>, namespace: &str, id: &str, new: NewTask) -> Result<u32> {
        let key = Key { namespace: namespace.to_owned(), id: id.to_owned() };
        self.take(&key)?;
        let runtimes = self.clone();
        to_the_end(async move {
            match runtimes.launch(&key, new).await {
                Ok(task) => {
                    let pid = task.pid();
                    runtimes.put(&key, Some(Slot::Task(task.clone())));
                    runtimes.end_if_late(&task).await;
                    runtimes.watch(key, task);
                    Ok(pid)
                }
                Err(error) => {
                    runtimes.put(&key, None);
                    Err(error)
                }
            }
        })
        .await
    }

    async fn launch(&self, key: &Key, new: NewTask) -> Result<Arc<Task>> {
        let sandbox = self.sandbox_of(key, &new.sandbox)?;
        let binary = match sandbox.as_ref().and_then(|sandbox| sandbox.keeper()) {
            Some(keeper) => keeper.to_owned(),
            None => resolve::binary(&new.runtime, new.options.as_ref(), &self.config.shim)?,
        };
        let bundle = Bundle::of(&self.config, key).create(&new.spec).await?;
        let joined = match &sandbox {
            Some(sandbox) => sandbox.join(&bundle).await,
            None => Ok(None),
        };
        let options = new.options.as_ref();
        let started = match joined {
            Ok(None) => bootstrap::start(&self.config, key, &bundle, &binary, options).await,
            Ok(Some(shim)) => Ok(shim),
            Err(error) => Err(error),
        };
        let shim = match started {
            Ok(shim) => shim,
            Err(error) => {
                bundle.remove().await;
                return Err(error);
            }
        };
        let group = sandbox.map(|sandbox| sandbox.group());
        let request = CreateTaskRequest {
            id: key.id.clone(),
            bundle: bundle.path().display().to_string(),
            rootfs: new.rootfs,
            terminal: new.terminal,
            stdin: new.stdin,
            stdout: new.stdout,
            stderr: new.stderr,
            options: new.options,
            ..CreateTaskRequest::default()
        };
        match shim.call::<_, CreateTaskResponse>("Create", &request).await {
            Ok(created) => {
                let task = Task::new(key.namespace.clone(), key.id.clone(), shim, bundle, created.pid);
                Ok(Arc::new(task.within(group)))
            }
            // The shim is the sandbox's, which goes on.
            Err(error) if group.is_some_and(|group| group.shares_shim) => {
                bundle.remove().await;
                Err(error)
            }
            Err(error) => {
                self.discard(key, shim, bundle, &binary).await;
                Err(error)
            }
        }
    }

    /// What a runtime tells about itself.
    ///
    /// # Errors
    /// `InvalidArgument` for a runtime that is not installed, and whatever its shim says.
    pub async fn info(&self, runtime: &str, options: Option<&Any>) -> Result<RuntimeInfo> {
        let binary = resolve::binary(runtime, options, &self.config.shim)?;
        bootstrap::info(&binary, options).await
    }

    /// Ends a shim whose task was not made.
    async fn discard(&self, key: &Key, shim: Shim, bundle: Bundle, binary: &std::path::Path) {
        let request = ShutdownRequest { id: key.id.clone(), now: true };
        if shim.call::<_, ()>("Shutdown", &request).await.is_err() {
            // It is gone, or hangs: its own `delete` removes what is left.
            drop(bootstrap::delete(&self.config, key, &bundle, binary).await);
        }
        bundle.remove().await;
    }

    /// The task of a container.
    ///
    /// # Errors
    /// `NotFound`, in containerd's words.
    pub fn get(&self, namespace: &str, id: &str) -> Result<Arc<Task>> {
        let key = Key { namespace: namespace.to_owned(), id: id.to_owned() };
        match self.lock().get(&key) {
            Some(Slot::Task(task)) => Ok(task.clone()),
            _ => Err(Error::Task { message: format!("task {id} not found"), code: Code::NotFound }),
        }
    }

    /// All tasks of a namespace, or of all, by id.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<Task>> {
        let mut tasks: Vec<Arc<Task>> = self
            .lock()
            .iter()
            .filter(|(key, _)| namespace.is_none_or(|namespace| key.namespace == namespace))
            .filter_map(|(_, slot)| match slot {
                Slot::Task(task) => Some(task.clone()),
                Slot::Taken => None,
            })
            .collect();
        tasks.sort_by(|one, other| one.id().cmp(other.id()));
        tasks
    }

    /// Deletes a task that has ended, its shim and its bundle.
    pub async fn delete(self: &Arc<Self>, task: &Arc<Task>) -> Result<DeleteResponse> {
        let (runtimes, task) = (self.clone(), task.clone());
        to_the_end(async move { runtimes.take_down(&task).await }).await
    }

    async fn take_down(&self, task: &Arc<Task>) -> Result<DeleteResponse> {
        let id = task.id().to_owned();
        let request = DeleteRequest { id: id.clone(), exec_id: String::new() };
        let is_own = task.bundle().shim().is_some_and(|shim| shim == self.config.shim);
        let told = (!is_own).then(|| self.exchange.subscribe());
        let deleted: DeleteResponse = task.call("Delete", &request).await?;
        // From here on its end is no loss.
        task.mark_deleted();
        if let Some(told) = told {
            // containerd's shim answers first, and loses what it has not said when it is shut down.
            drop(tokio::time::timeout(TOLD_TIMEOUT, until_deletion(told, task)).await);
        }
        if !task.group().is_some_and(|group| group.shares_shim) {
            drop(task.call::<_, ()>("Shutdown", &ShutdownRequest { id, now: false }).await);
        }
        task.bundle().remove().await;
        self.put(&Key { namespace: task.namespace().to_owned(), id: task.id().to_owned() }, None);
        Ok(deleted)
    }

    /// Cleans up after a shim that ends before its task was deleted.
    fn watch(self: &Arc<Self>, key: Key, task: Arc<Task>) {
        let runtimes = self.clone();
        tokio::spawn(async move {
            task.closed().await;
            if task.was_deleted() {
                return;
            }
            tracing::warn!(namespace = key.namespace, container = key.id, "a shim is lost");
            runtimes.bury(&key, task.bundle(), task.pid()).await;
        });
    }

    /// Removes what a lost shim left, and says how its task ended.
    async fn bury(&self, key: &Key, bundle: &Bundle, pid: u32) {
        let answer = match bundle.shim() {
            Some(binary) => bootstrap::delete(&self.config, key, bundle, &binary).await.ok(),
            None => None,
        };
        let ended = answer.unwrap_or(DeleteResponse { pid, exit_status: UNKNOWN_EXIT, exited_at: None });
        let pid = if ended.pid == 0 { pid } else { ended.pid };
        let exited_at = ended.exited_at.or_else(|| Some(timestamp(crate::clock::now_ns())));
        let exit = TaskExit {
            container_id: key.id.clone(),
            id: key.id.clone(),
            pid,
            exit_status: ended.exit_status,
            exited_at,
        };
        self.exchange.publish(&key.namespace, "/tasks/exit", &exit);
        let deletion = TaskDelete {
            container_id: key.id.clone(),
            pid,
            exit_status: ended.exit_status,
            exited_at,
            ..TaskDelete::default()
        };
        bundle.remove_socket();
        bundle.remove().await;
        self.put(key, None);
        self.exchange.publish(&key.namespace, "/tasks/delete", &deletion);
    }

    fn take(&self, key: &Key) -> Result<()> {
        let mut tasks = self.lock();
        // A sandbox has a shim, too, and shims are told apart by these two words.
        if tasks.contains_key(key) || self.sandboxes.has(key) {
            let message = format!("task {}: already exists", key.id);
            return Err(Error::Task { message, code: Code::AlreadyExists });
        }
        tasks.insert(key.clone(), Slot::Taken);
        Ok(())
    }

    fn put(&self, key: &Key, slot: Option<Slot>) {
        let mut tasks = self.lock();
        match slot {
            Some(slot) => drop(tasks.insert(key.clone(), slot)),
            None => drop(tasks.remove(key)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Slot>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a task's deletion is told.
async fn until_deletion(mut told: Subscription, task: &Task) {
    let is_it = |event: &Envelope| {
        let deletion = api::any::unpack::<TaskDelete>(&event.event).and_then(Result::ok);
        event.namespace == task.namespace()
            && deletion.is_some_and(|deletion| deletion.container_id == task.id())
    };
    while told.next().await.is_some_and(|event| !is_it(&event)) {}
}

/// Does what was begun, also when the client that asked for it hangs up: it must not leave half a task.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(Error::Task { message: format!("the work ended badly: {error}"), code: Code::Internal })
    })
}
