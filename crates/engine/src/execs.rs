//! Processes that are executed in a running container.
//!
//! ```text
//! Created ──start──▶ Running ──▶ Ended        (a start that fails: Ended, with 126 or 127)
//! ```
//!
//! Execs are not stored: they end with the container's run, and what is known of them is dropped some minutes after the
//! end, when clients have asked for the exit code.

mod check;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::shim::ExecOptions;
use api::task::WaitResponse;
pub(crate) use check::CheckEnd;
use oci::runtime_spec::{ConsoleSize, Process};

use crate::clock;
use crate::containers::record::Record;
use crate::containers::start::open_files_max;
use crate::containers::state::State;
use crate::containers::{AttachOptions, AttachStream, merge, plan};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Kind;
use crate::namespaces::Namespace;
use crate::tasks::{Ended, Reply, Task};

/// Most execs that are known at once.
const EXECS_MAX: usize = 100_000;
/// How long an exec that has ended, or was never started, is remembered.
const KEEP_NS: i64 = 300 * 1_000_000_000;
/// How often the table is looked through for those.
const SWEEP_NS: i64 = 10 * 1_000_000_000;
/// The exit code of an exec whose container went away under it.
const LOST_EXIT_CODE: i32 = 137;

/// The execs of the engine, by their id.
#[derive(Debug, Clone)]
pub struct Execs {
    pub(crate) engine: Arc<Engine>,
    pub(crate) namespace: Namespace,
}

/// What to execute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to the container's.
    pub env: Vec<String>,
    /// Empty: the container's.
    pub working_dir: String,
    /// Empty: the container's.
    pub user: String,
    pub terminal: bool,
    pub attach: AttachOptions,
    pub privileged: bool,
    /// Height and width in characters.
    pub console_size: Option<(u16, u16)>,
    /// Docker's detach sequence as the client gave it; kept for inspect only.
    pub detach_keys: String,
}

/// An exec at one moment.
#[derive(Debug, Clone)]
pub struct Exec {
    pub id: String,
    pub container_id: String,
    pub spec: Arc<ExecSpec>,
    pub running: bool,
    /// None: not ended (or not started).
    pub exit_code: Option<i32>,
    /// In the host's PID namespace; 0 when not started.
    pub pid: u32,
}

/// All execs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    inner: Mutex<TableInner>,
}

#[derive(Debug, Default)]
struct TableInner {
    entries: HashMap<String, Arc<Entry>>,
    swept_ns: i64,
}

#[derive(Debug)]
struct Entry {
    id: String,
    container: Arc<Record>,
    spec: Arc<ExecSpec>,
    created_ns: i64,
    /// How long it may run.
    timeout: Option<Duration>,
    state: Mutex<ExecState>,
}

#[derive(Debug, Clone)]
enum ExecState {
    Created,
    /// Between the request to start it and the shim's answer.
    Starting,
    Running {
        pid: u32,
        task: Arc<Task>,
    },
    Ended {
        pid: u32,
        code: i32,
        at_ns: i64,
    },
}

impl Execs {
    fn find(&self, exec: &str) -> Result<Arc<Entry>> {
        let entry = self.engine.execs.find(exec)?;
        match entry.container.namespace == self.namespace {
            true => Ok(entry),
            false => Err(Error::NoSuchExec(exec.to_owned())),
        }
    }

    /// Notes what to execute in a running container; returns the exec's id.
    pub async fn create(&self, container: &str, spec: ExecSpec) -> Result<String> {
        let record = self.engine.index.find(&self.namespace, container)?;
        if spec.args.is_empty() {
            return Err(Error::InvalidArgument("No exec command specified".into()));
        }
        if !spec.working_dir.is_empty() && !spec.working_dir.starts_with('/') {
            return Err(Error::InvalidArgument(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                spec.working_dir
            )));
        }
        executable(&record)?;
        let entry = Arc::new(Entry {
            id: crate::random::hex::<32>(),
            container: record,
            spec: Arc::new(spec),
            created_ns: clock::now_ns(),
            timeout: None,
            state: Mutex::new(ExecState::Created),
        });
        self.engine.execs.insert(entry.clone())?;
        self.engine.publish_exec("exec_create", &entry, BTreeMap::new());
        Ok(entry.id.clone())
    }

    /// Starts it and connects to its streams (attached before it starts, so nothing is missed).
    pub async fn start(&self, exec: &str, console_size: Option<(u16, u16)>) -> Result<AttachStream> {
        let entry = self.find(exec)?;
        let stream = self.engine.start_exec(&entry, console_size, Some(entry.spec.attach)).await?;
        Ok(stream.expect("it was asked for"))
    }

    /// Starts it with nobody attached.
    pub async fn start_detached(&self, exec: &str) -> Result<()> {
        let entry = self.find(exec)?;
        self.engine.start_exec(&entry, None, None).await.map(drop)
    }

    /// What is known of it.
    pub async fn inspect(&self, exec: &str) -> Result<Exec> {
        let entry = self.find(exec)?;
        // A client whose stream has ended asks at once; the shim may know what we have not heard yet.
        if let ExecState::Running { task, .. } = entry.state()
            && let Ok(code) = task.exit_code(&entry.id).await
        {
            self.engine.exec_ended(&entry, code);
        }
        let (running, exit_code, pid) = match entry.state() {
            ExecState::Created | ExecState::Starting => (false, None, 0),
            ExecState::Running { pid, .. } => (true, None, pid),
            ExecState::Ended { pid, code, .. } => (false, Some(code), pid),
        };
        Ok(Exec {
            id: entry.id.clone(),
            container_id: entry.container.id.clone(),
            spec: entry.spec.clone(),
            running,
            exit_code,
            pid,
        })
    }

    /// Sets the size of its terminal, in characters.
    pub async fn resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        let entry = self.find(exec)?;
        match entry.state() {
            ExecState::Running { task, .. } => task.resize(&entry.id, height, width).await,
            _ => Err(Error::Conflict(format!("exec {exec} is not running"))),
        }
    }
}

impl Engine {
    async fn start_exec(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        console_size: Option<(u16, u16)>,
        attach: Option<AttachOptions>,
    ) -> Result<Option<AttachStream>> {
        let task = executable(&entry.container)?;
        entry.begin()?;
        match self.run_exec(entry, &task, console_size, attach).await {
            Ok((stream, pid, exit)) => {
                entry.set(ExecState::Running { pid, task: task.clone() });
                self.publish_exec("exec_start", entry, BTreeMap::new());
                self.watch_exec(entry.clone(), task, exit);
                Ok(stream)
            }
            Err(error) => {
                let code = error.exit_code().unwrap_or(LOST_EXIT_CODE);
                entry.set(ExecState::Ended { pid: 0, code, at_ns: clock::now_ns() });
                // It may not exist at all.
                drop(task.delete(&entry.id).await);
                Err(error)
            }
        }
    }

    async fn run_exec(
        &self,
        entry: &Entry,
        task: &Task,
        console_size: Option<(u16, u16)>,
        attach: Option<AttachOptions>,
    ) -> Result<(Option<AttachStream>, u32, Reply<WaitResponse>)> {
        let size = console_size.or(entry.spec.console_size);
        let options = ExecOptions { wait_attach: attach.is_some(), ..self.exec_options(entry, size)? };
        let (stream, pid, exit) = task.exec(&entry.id, entry.spec.terminal, &options, attach).await?;
        Ok((stream.map(AttachStream::connected), pid, exit))
    }

    /// The same confinement as the container's first process, and what the exec changes of it.
    fn exec_options(&self, entry: &Entry, size: Option<(u16, u16)>) -> Result<ExecOptions> {
        let (spec, of) = (&*entry.spec, &*entry.container.spec);
        let is_privileged = spec.privileged || of.privileged;
        let capabilities = runtime::defaults::capabilities::resolve(&of.cap_add, &of.cap_drop, is_privileged)
            .map_err(|error| Error::InvalidArgument(error.to_string()))?;
        let working_dir = [&spec.working_dir, &of.working_dir].into_iter().find(|path| !path.is_empty());
        let env = merge::merge_env(&of.env, &spec.env);
        let process = Process {
            terminal: spec.terminal,
            console_size: size.map(|(height, width)| ConsoleSize { height, width }),
            args: spec.args.clone(),
            env: plan::environment(&env, spec.terminal, &self.hostname(of)),
            cwd: working_dir.map_or("/".to_owned(), |path| merge::clean_path(path)),
            capabilities: Some(plan::capability_sets(capabilities)),
            rlimits: plan::rlimits(&of.ulimits, open_files_max()),
            no_new_privileges: of.no_new_privileges,
            oom_score_adj: Some(of.resources.oom_score_adj.unwrap_or_default()),
            ..Process::default()
        };
        let (height, width) = size.unwrap_or_default();
        Ok(ExecOptions {
            process: serde_json::to_vec(&process).expect("a process is JSON"),
            user: if spec.user.is_empty() { of.user.clone() } else { spec.user.clone() },
            group_add: of.group_add.clone(),
            set_home: true,
            open_stdin: spec.attach.stdin,
            stdin_once: true,
            width: width.into(),
            height: height.into(),
            wait_attach: false,
            privileged: is_privileged,
            timeout_ms: entry
                .timeout
                .map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)),
        })
    }

    fn watch_exec(self: &Arc<Self>, entry: Arc<Entry>, task: Arc<Task>, exit: Reply<WaitResponse>) {
        let engine = self.clone();
        tokio::spawn(async move {
            let code = match exit.get("wait for an exec").await {
                Ok(exit) => Ended::from(&exit).code,
                Err(_) => LOST_EXIT_CODE,
            };
            engine.exec_ended(&entry, code);
            // The container may have ended before, and with it all its execs.
            drop(task.delete(&entry.id).await);
        });
    }

    fn exec_ended(&self, entry: &Entry, code: i32) {
        if entry.end(code) {
            self.publish_exec("exec_die", entry, BTreeMap::from([("exitCode".to_owned(), code.to_string())]));
        }
    }

    fn publish_exec(&self, action: &str, entry: &Entry, more: BTreeMap<String, String>) {
        let mut attributes = entry.container.attributes();
        attributes.insert("execID".into(), entry.id.clone());
        attributes.extend(more);
        let action = match action {
            "exec_die" => action.to_owned(),
            action => format!("{action}: {}", entry.spec.args.join(" ")),
        };
        self.events.publish(
            Some(&entry.container.namespace),
            Kind::Container,
            &action,
            (&entry.container.id, attributes),
        );
    }
}

/// The task of a container in which something can be executed.
fn executable(record: &Record) -> Result<Arc<Task>> {
    if matches!(record.live.borrow().state, State::Paused(_)) {
        return Err(Error::Conflict(format!(
            "Container {} is paused, unpause the container before exec",
            record.name()
        )));
    }
    record.task()
}

impl Table {
    fn find(&self, id: &str) -> Result<Arc<Entry>> {
        self.lock().entries.get(id).cloned().ok_or_else(|| Error::NoSuchExec(id.to_owned()))
    }

    fn insert(&self, entry: Arc<Entry>) -> Result<()> {
        let mut inner = self.lock();
        let now_ns = entry.created_ns;
        if now_ns - inner.swept_ns > SWEEP_NS || inner.entries.len() >= EXECS_MAX {
            inner.entries.retain(|_, entry| entry.is_worth_keeping(now_ns));
            inner.swept_ns = now_ns;
        }
        if inner.entries.len() >= EXECS_MAX {
            return Err(Error::Conflict(format!(
                "{EXECS_MAX} execs are known already; wait until some have ended"
            )));
        }
        inner.entries.insert(entry.id.clone(), entry);
        Ok(())
    }

    fn remove(&self, id: &str) {
        self.lock().entries.remove(id);
    }

    /// The running execs of a container.
    pub(crate) fn running(&self, container: &str) -> Vec<String> {
        let inner = self.lock();
        let alive = inner.entries.values().filter(|entry| {
            entry.container.id == container && !matches!(entry.state(), ExecState::Ended { .. })
        });
        alive.map(|entry| entry.id.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TableInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn state(&self) -> ExecState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: ExecState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// An exec is started once.
    fn begin(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            ExecState::Created => {
                *state = ExecState::Starting;
                Ok(())
            }
            ExecState::Ended { .. } => {
                Err(Error::Conflict(format!("Error: Exec command {} has already run", self.id)))
            }
            ExecState::Starting | ExecState::Running { .. } => {
                Err(Error::Conflict(format!("Error: Exec command {} is already running", self.id)))
            }
        }
    }

    /// False: that is known already.
    fn end(&self, code: i32) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ExecState::Running { pid, .. } = *state else { return false };
        *state = ExecState::Ended { pid, code, at_ns: clock::now_ns() };
        true
    }

    fn is_worth_keeping(&self, now_ns: i64) -> bool {
        match self.state() {
            ExecState::Starting | ExecState::Running { .. } => true,
            ExecState::Created => self.created_ns + KEEP_NS > now_ns,
            ExecState::Ended { at_ns, .. } => at_ns + KEEP_NS > now_ns,
        }
    }
}
