//! Sandboxes of containerd's clients: shims that serve `containerd.runtime.sandbox.v1.Sandbox`, and what is in them.
//!
//! ```text
//!          create            start            stop              shutdown
//! (none) ─────────▶ Created ───────▶ Ready ─────────▶ Stopped ───────────▶ (none)
//!                       └─ the shim is lost ─▶ its tasks are ended ─▶ (none)
//! ```
//!
//! A shim of others keeps the tasks of its sandbox, too: they are created in it. Corten's own shim keeps one container, so that its
//! sandbox is a group: the tasks in it have shims of their own, and are killed when the sandbox stops.
//!
//! Which of these states a sandbox is in its shim knows. The bundle says how to reach that, so that the next daemon finds it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::SANDBOX_SERVICE;
use api::code::Code;
use api::sandbox::{
    CreateSandboxRequest, CreateSandboxResponse, SandboxStatusRequest, SandboxStatusResponse,
    ShutdownSandboxRequest, ShutdownSandboxResponse, StartSandboxRequest, StartSandboxResponse,
    StopSandboxRequest, StopSandboxResponse,
};
use api::task::{KillRequest, ShutdownRequest};
use api::types::Mount;
use prost_types::Any;

use super::bundle::{self, Bundle};
use super::log::Log;
use super::recovery::{LOAD_TIMEOUT, end_unknown};
use super::shim::{Address, Group, Shim};
use super::{Key, Runtimes, Task, bootstrap, resolve, to_the_end};
use crate::blocking::blocking;
use crate::error::{Error, Result};

const SIGKILL: u32 = 9;

/// A sandbox to come.
#[derive(Debug, Clone, Default)]
pub struct NewSandbox {
    /// As for a task.
    pub runtime: String,
    pub runtime_options: Option<Any>,
    /// An OCI specification, or whatever the shim makes a sandbox of.
    pub spec: Option<Any>,
    pub rootfs: Vec<Mount>,
    pub options: Option<Any>,
    pub netns_path: String,
    pub annotations: HashMap<String, String>,
}

/// All sandboxes; one that is being made or taken down has only its place.
#[derive(Debug, Default)]
pub(super) struct Sandboxes(Mutex<HashMap<Key, Option<Arc<Sandbox>>>>);

/// A sandbox: its shim, and how others reach that.
#[derive(Debug)]
pub struct Sandbox {
    key: Key,
    shim: Shim,
    address: Address,
    bundle: Bundle,
    binary: PathBuf,
    /// Its tasks have shims of their own.
    is_group: bool,
    /// Nothing is made in it any more.
    is_stopped: AtomicBool,
    is_over: AtomicBool,
}

impl Sandbox {
    /// Where its shim is, in containerd's form, and the version of the protocol.
    pub fn endpoint(&self) -> (String, u32) {
        (self.address.endpoint(), self.address.version)
    }

    /// Asks its shim.
    pub async fn call<Q: prost::Message, M: prost::Message + Default>(
        &self,
        method: &str,
        message: &Q,
    ) -> Result<M> {
        self.shim.ask(SANDBOX_SERVICE, method, message).await
    }

    /// The executable of the shim that keeps its tasks; none if they have their own.
    pub(super) fn keeper(&self) -> Option<&Path> {
        (!self.is_group).then_some(self.binary.as_path())
    }

    /// Puts a bundle into it; the shim of the bundle's task, unless that has its own.
    pub(super) async fn join(&self, bundle: &Bundle) -> Result<Option<Shim>> {
        bundle.join(&self.key.id).await?;
        if self.is_group {
            return Ok(None);
        }
        bundle.note(&self.binary, self.address.to_json()).await?;
        // What it says it says in the sandbox's own bundle.
        Shim::connect(&self.address, None).await.map(Some)
    }

    /// What a task that is made in it knows.
    pub(super) fn group(&self) -> Group {
        Group { sandbox: self.key.id.clone(), shares_shim: !self.is_group }
    }
}

impl Runtimes {
    /// Starts a shim and has it make a sandbox.
    ///
    /// # Errors
    /// `AlreadyExists` for one that is there, or a task of that name: their shims would be one. Whatever the shim says.
    pub async fn create_sandbox(self: &Arc<Self>, namespace: &str, id: &str, new: NewSandbox) -> Result<()> {
        let key = Key { namespace: namespace.to_owned(), id: id.to_owned() };
        self.take_sandbox(&key)?;
        let runtimes = self.clone();
        to_the_end(async move {
            let made = runtimes.launch_sandbox(&key, new).await;
            let (sandbox, made) = made.map_or_else(|error| (None, Err(error)), |made| (Some(made), Ok(())));
            runtimes.keep(key, sandbox);
            made
        })
        .await
    }

    async fn launch_sandbox(&self, key: &Key, new: NewSandbox) -> Result<Sandbox> {
        let failed = |error: Error| Error::Task {
            message: format!("failed to start new shim for sandbox {}: {}", key.id, error.chain()),
            code: Code::Unknown,
        };
        if new.runtime.is_empty() {
            let why = "failed to resolve runtime path: no runtime name".to_owned();
            return Err(failed(Error::InvalidArgument(why)));
        }
        let options = new.runtime_options.as_ref();
        let binary = resolve::binary(&new.runtime, options, &self.config.shim).map_err(failed)?;
        // A shim may read it, and finds nothing in it.
        let nothing = || Any { type_url: String::new(), value: b"{}".to_vec() };
        let spec = new.spec.filter(|spec| !spec.value.is_empty()).unwrap_or_else(nothing);
        let bundle = Bundle::of_sandbox(&self.config, key).create(&spec).await?;
        let started = bootstrap::start(&self.config, key, &bundle, &binary, options).await;
        let sandbox = match started.and_then(|shim| self.sandbox_in(key, shim, &bundle, binary)) {
            Ok(sandbox) => sandbox,
            Err(error) => {
                bundle.remove().await;
                return Err(failed(error));
            }
        };
        let request = CreateSandboxRequest {
            sandbox_id: key.id.clone(),
            bundle_path: bundle.path().display().to_string(),
            rootfs: new.rootfs,
            options: new.options,
            netns_path: new.netns_path,
            annotations: new.annotations,
        };
        match sandbox.call::<_, CreateSandboxResponse>("CreateSandbox", &request).await {
            Ok(_) => Ok(sandbox),
            Err(error) => {
                self.clear(&sandbox).await;
                Err(within(&format!("failed to create sandbox {}", key.id), &error))
            }
        }
    }

    fn sandbox_in(&self, key: &Key, shim: Shim, bundle: &Bundle, binary: PathBuf) -> Result<Sandbox> {
        let address = bundle.bootstrap().and_then(|text| Address::from_json(&text).ok());
        let address = address.ok_or_else(|| unknown("the address of its shim was not noted".into()))?;
        let is_group = binary == self.config.shim;
        let (key, bundle) = (key.clone(), bundle.clone());
        let (is_stopped, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Sandbox { key, shim, address, bundle, binary, is_group, is_stopped, is_over })
    }

    /// A sandbox.
    ///
    /// # Errors
    /// `NotFound`, in containerd's words.
    pub fn sandbox(&self, namespace: &str, id: &str) -> Result<Arc<Sandbox>> {
        let key = Key { namespace: namespace.to_owned(), id: id.to_owned() };
        let found = self.sandboxes.lock().get(&key).cloned().flatten();
        found.ok_or_else(|| Error::Task { message: "not found".into(), code: Code::NotFound })
    }

    /// Starts one; a sandbox that does not start is removed.
    pub async fn start_sandbox(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<StartSandboxResponse> {
        let (runtimes, sandbox) = (self.clone(), sandbox.clone());
        to_the_end(async move {
            let request = StartSandboxRequest { sandbox_id: sandbox.key.id.clone() };
            match sandbox.call("StartSandbox", &request).await {
                Ok(started) => Ok(started),
                Err(error) => {
                    let what = format!("failed to start sandbox {}", sandbox.key.id);
                    // Who starts it twice has it still.
                    if error.code() != Code::FailedPrecondition {
                        runtimes.end(&sandbox).await;
                    }
                    Err(within(&what, &error))
                }
            }
        })
        .await
    }

    /// Stops one, with the tasks in it.
    pub async fn stop_sandbox(self: &Arc<Self>, sandbox: &Arc<Sandbox>, timeout_secs: u32) -> Result<()> {
        let (runtimes, sandbox) = (self.clone(), sandbox.clone());
        to_the_end(async move {
            sandbox.is_stopped.store(true, Ordering::SeqCst);
            if sandbox.is_group {
                runtimes.kill_tasks(&sandbox.key).await;
            }
            let request = StopSandboxRequest { sandbox_id: sandbox.key.id.clone(), timeout_secs };
            match sandbox.call::<_, StopSandboxResponse>("StopSandbox", &request).await {
                Ok(_) => Ok(()),
                Err(error) if matches!(error.code(), Code::NotFound | Code::Unavailable) => Ok(()),
                Err(error) => Err(within("failed to stop sandbox", &error)),
            }
        })
        .await
    }

    /// Ends one: its tasks, its shim and its bundle.
    pub async fn shut_sandbox_down(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<()> {
        let (runtimes, sandbox) = (self.clone(), sandbox.clone());
        to_the_end(async move {
            sandbox.is_stopped.store(true, Ordering::SeqCst);
            if sandbox.is_group {
                runtimes.kill_tasks(&sandbox.key).await;
            }
            let request = ShutdownSandboxRequest { sandbox_id: sandbox.key.id.clone() };
            // From here on its end is no loss.
            sandbox.is_over.store(true, Ordering::Relaxed);
            let shut = sandbox.call::<_, ShutdownSandboxResponse>("ShutdownSandbox", &request).await;
            if let Err(error) = shut
                && error.code() != Code::Unavailable
            {
                sandbox.is_over.store(false, Ordering::Relaxed);
                return Err(within("failed to shutdown sandbox", &error));
            }
            runtimes.end(&sandbox).await;
            Ok(())
        })
        .await
    }

    /// Kills a task that was being made while its sandbox stopped.
    pub(super) async fn end_if_late(&self, task: &Task) {
        let Some(group) = task.group() else { return };
        let is_stopped = match self.sandbox(task.namespace(), &group.sandbox) {
            Ok(sandbox) => sandbox.is_stopped.load(Ordering::SeqCst),
            Err(_) => true,
        };
        if is_stopped {
            kill(task).await;
        }
    }

    /// Kills the tasks in a sandbox. Who made them deletes them.
    async fn kill_tasks(&self, key: &Key) {
        let is_within = |task: &Arc<Task>| task.group().is_some_and(|group| group.sandbox == key.id);
        for task in self.list(Some(&key.namespace)).into_iter().filter(is_within) {
            kill(&task).await;
        }
    }

    /// Removes a sandbox whose shim is to end, or has.
    async fn end(&self, sandbox: &Sandbox) {
        sandbox.is_over.store(true, Ordering::Relaxed);
        self.clear(sandbox).await;
        self.sandboxes.lock().remove(&sandbox.key);
    }

    /// Ends the shim, and removes what is left of it.
    async fn clear(&self, sandbox: &Sandbox) {
        let request = ShutdownRequest { id: sandbox.key.id.clone(), now: true };
        let shut = sandbox.shim.call::<_, ()>("Shutdown", &request).await;
        if sandbox.is_group {
            // Corten's own has nothing else, and its `delete` would look for a container.
            let socket = sandbox.address.path.clone();
            drop(blocking(move || std::fs::remove_file(socket)).await);
        } else if shut.is_err() {
            drop(bootstrap::delete(&self.config, &sandbox.key, &sandbox.bundle, &sandbox.binary).await);
        }
        sandbox.bundle.remove().await;
    }

    /// The sandbox that a task is to be in; none if it names none.
    pub(super) fn sandbox_of(&self, key: &Key, id: &str) -> Result<Option<Arc<Sandbox>>> {
        if id.is_empty() {
            return Ok(None);
        }
        let found = self.sandbox(&key.namespace, id);
        let found = found.and_then(|sandbox| match sandbox.is_stopped.load(Ordering::SeqCst) {
            true => Err(unknown("it has stopped".into())),
            false => Ok(sandbox),
        });
        found.map(Some).map_err(|_| unknown(format!("failed to start shim: can't find sandbox {id}")))
    }

    /// What a task that an earlier daemon made knows of its sandbox.
    pub(super) fn group_of(&self, key: &Key, bundle: &Bundle) -> Option<Group> {
        let sandbox = bundle.sandbox()?;
        let of_sandbox = Key { namespace: key.namespace.clone(), id: sandbox.clone() };
        let address = Bundle::of_sandbox(&self.config, &of_sandbox).bootstrap();
        Some(Group { sandbox, shares_shim: address.is_some() && address == bundle.bootstrap() })
    }

    /// Takes up every sandbox whose shim answers, and removes the others.
    pub(super) async fn recover_sandboxes(self: &Arc<Self>) {
        let mut found = tokio::task::JoinSet::new();
        for key in bundle::all_sandboxes(&self.config) {
            let runtimes = self.clone();
            runtimes.sandboxes.lock().insert(key.clone(), None);
            found.spawn(async move {
                let bundle = Bundle::of_sandbox(&runtimes.config, &key);
                let sandbox = runtimes.find(&key, &bundle).await;
                if sandbox.is_none() {
                    end_unknown(&bundle).await;
                    runtimes.bury_sandbox(&key, &bundle).await;
                }
                runtimes.keep(key, sandbox);
            });
        }
        while found.join_next().await.is_some() {}
    }

    /// The sandbox of a bundle, if its shim still has it.
    async fn find(&self, key: &Key, bundle: &Bundle) -> Option<Sandbox> {
        let address = Address::from_json(&bundle.bootstrap()?).ok()?;
        let log = Some(Log::follow(bundle, key));
        let connected = tokio::time::timeout(LOAD_TIMEOUT, Shim::connect(&address, log)).await;
        let sandbox = self.sandbox_in(key, connected.ok()?.ok()?, bundle, bundle.shim()?).ok()?;
        let request = SandboxStatusRequest { sandbox_id: key.id.clone(), verbose: false };
        let answered = sandbox.call::<_, SandboxStatusResponse>("SandboxStatus", &request);
        match tokio::time::timeout(LOAD_TIMEOUT, answered).await {
            Ok(Ok(status)) => {
                sandbox.is_stopped.store(status.exited_at.is_some(), Ordering::SeqCst);
                Some(sandbox)
            }
            _ => {
                self.clear(&sandbox).await;
                None
            }
        }
    }

    /// Removes what a lost shim left of a sandbox, and ends the tasks in it.
    async fn bury_sandbox(&self, key: &Key, bundle: &Bundle) {
        self.kill_tasks(key).await;
        if let Some(binary) = bundle.shim().filter(|binary| *binary != self.config.shim) {
            drop(bootstrap::delete(&self.config, key, bundle, &binary).await);
        }
        bundle.remove().await;
    }

    fn take_sandbox(&self, key: &Key) -> Result<()> {
        // In this order, as when a task is taken.
        let tasks = self.lock();
        let mut sandboxes = self.sandboxes.lock();
        if tasks.contains_key(key) || sandboxes.contains_key(key) {
            let message = format!("sandbox {} already running: already exists", key.id);
            return Err(Error::Task { message, code: Code::AlreadyExists });
        }
        sandboxes.insert(key.clone(), None);
        Ok(())
    }

    /// Keeps a sandbox, and watches its shim; without one its place is free again.
    fn keep(self: &Arc<Self>, key: Key, sandbox: Option<Sandbox>) {
        let Some(sandbox) = sandbox.map(Arc::new) else {
            self.sandboxes.lock().remove(&key);
            return;
        };
        self.sandboxes.lock().insert(key, Some(sandbox.clone()));
        let runtimes = self.clone();
        tokio::spawn(async move {
            sandbox.shim.closed().await;
            if sandbox.is_over.load(Ordering::Relaxed) {
                return;
            }
            tracing::warn!(namespace = sandbox.key.namespace, sandbox = sandbox.key.id, "a shim is lost");
            runtimes.bury_sandbox(&sandbox.key, &sandbox.bundle).await;
            runtimes.sandboxes.lock().remove(&sandbox.key);
        });
    }
}

impl Sandboxes {
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Option<Arc<Sandbox>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn kill(task: &Task) {
    let request =
        KillRequest { id: task.id().to_owned(), signal: SIGKILL, all: true, ..KillRequest::default() };
    if let Err(error) = task.call::<_, ()>("Kill", &request).await
        && error.code() != Code::NotFound
    {
        tracing::warn!(container = task.id(), error = error.chain(), "a sandbox's task is not killed");
    }
}

/// What a shim said, and what it was said to.
fn within(what: &str, error: &Error) -> Error {
    Error::Task { message: format!("{what}: {}", error.chain()), code: error.code() }
}

fn unknown(message: String) -> Error {
    Error::Task { message, code: Code::Unknown }
}
