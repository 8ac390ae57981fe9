//! What is done with a task: created, started, signalled, deleted; and with its execs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use api::events::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskIo, TaskPaused, TaskResumed, TaskStart,
};
use api::shim::{CreateOptions, ExecOptions};
use api::task::{
    CloseIoRequest, CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse, ExecProcessRequest,
    KillRequest, ResizePtyRequest, StartRequest, StartResponse, UpdateTaskRequest,
};
use linux::signal::SIGKILL;
use oci::mount::Mount;
use oci::runtime_spec::{NamespaceKind, Process as SpecProcess, Resources, Spec};
use runtime::cgroup::OomWatch;
use runtime::{Container, Create, Exec, Hooks, Rootfs, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::attach::Kept;
use crate::error::{Error, Result, chain};
use crate::files::Opened;
use crate::log::Log;
use crate::logger::Subject;
use crate::options::Wishes;
use crate::process::{Birth, Child, ExecPlan, Process, State, StdioPaths, Who, size};
use crate::runc_state::RuncState;
use crate::service::{failure, no_process};
use crate::shim::{Bound, FIRST, Shim};
use crate::streams::{Streams, Wanted};
use crate::{bootstrap, files, options};

/// A specification is a few kilobytes; a profile in it may be some hundred.
const SPEC_MAX: u64 = 16 << 20;

/// Processes beside the first one, at one time.
const EXECS_MAX: usize = 1024;

/// A process whose start fails has nothing left to do but to exit.
const START_FAILURE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The exit status of what was deleted before it ended by itself.
const KILLED_STATUS: u32 = 128 + SIGKILL as u32;

impl Shim {
    /// What the shim was bound to, if a task of it can be made as the request says.
    fn may_create(&self, request: &CreateTaskRequest) -> Result<&Bound> {
        let bound = self.bound.as_ref().ok_or(Error::NotBound)?;
        if request.id != bound.id {
            return Err(Error::OtherContainer { id: bound.id.clone() });
        }
        if self.container.is_some() {
            return Err(Error::TaskExists { id: bound.id.clone() });
        }
        if !request.checkpoint.is_empty() {
            return Err(Error::Unsupported { what: "to restore a checkpoint".into() });
        }
        Ok(bound)
    }

    pub(crate) fn create(&mut self, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        let bound = self.may_create(&request)?;
        let Wishes { is_ours, options, runc, root } = options::of_creation(request.options.as_ref())?;
        let mut spec = read_spec(bound)?;
        let rootfs = rootfs(bound, &request, &spec)?;
        if is_ours {
            let who = who(options.user.clone(), options.group_add.clone(), options.set_home);
            let process = spec.process.as_mut().ok_or(Error::Missing { what: "a process" })?;
            identify(process, rootfs.as_fd(), &who)?;
        }
        let wanted = Wanted {
            terminal: request.terminal,
            stdin: options.open_stdin || !request.stdin.is_empty(),
            size: size(options.width, options.height),
            owner: runc.owner,
        };
        let event = creation(&request);
        let paths = StdioPaths { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
        let (namespace, terminal) = (&bound.namespace, request.terminal);
        let opened = files::open(&paths, Subject { namespace, id: &bound.id, exec: FIRST, terminal })?;
        let (mut streams, stdio) = Streams::make(wanted).map_err(no_streams)?;
        let log = open_log(&options)?;
        let hooks = Hooks::of(&spec, &bound.id, &bound.bundle)?;
        let created = runtime::create(Create {
            id: &bound.id,
            spec: &spec,
            rootfs,
            stdio,
            default_rlimits: &options.default_rlimits,
            ensure_cwd: options.ensure_cwd,
            keep_keyring: runc.keep_keyring,
        })?;
        created.warnings.iter().for_each(|warning| eprintln!("{warning}"));
        if let Some(master) = created.terminal {
            streams.set_terminal(master, wanted.stdin).map_err(no_streams)?;
        }
        let pid = created.container.pid();
        if !is_ours {
            bootstrap::note_pid(bound, pid);
        }
        let container =
            prepare(created.container, hooks.as_ref()).inspect_err(|_| bootstrap::forget_pid(bound))?;
        if !is_ours {
            self.runc_state = RuncState::write(bound, &root, &spec, &container);
        }
        self.runc = runc;
        self.shares_pids = !has_own_pids(&spec);
        self.oom_watch = if self.publisher.is_some() { watch(&container) } else { None };
        self.container = Some(container);
        self.hooks = hooks.map(Box::new);
        self.log = log;
        let process = Process {
            state: State::Created(Birth::First { pid }),
            streams,
            terminal: request.terminal,
            // A fifo that ends has no other way to say so.
            stdin_once: options.stdin_once || !is_ours,
            paths,
            kept: options.wait_attach.then(Kept::new),
            waiters: Vec::new(),
            owner: None,
            due: None,
        };
        self.add_process(FIRST, process, opened);
        self.publish("/tasks/create", &TaskCreate { pid, ..event });
        Ok(CreateTaskResponse { pid })
    }

    pub(crate) fn exec(&mut self, client: u64, request: ExecProcessRequest) -> Result<()> {
        let exec = request.exec_id;
        if exec.is_empty() {
            return Err(Error::Missing { what: "the exec's id" });
        }
        if self.processes.contains_key(&exec) {
            return Err(Error::ExecExists { exec });
        }
        if self.processes.len() > EXECS_MAX {
            return Err(Error::TooManyExecs { max: EXECS_MAX });
        }
        if let State::Ending { .. } | State::Stopped(_) = self.process(FIRST)?.state {
            return Err(Error::NotStarted);
        }
        let (options, is_ours) = options::of_exec(request.spec)?;
        let process: SpecProcess = serde_json::from_slice(&options.process)
            .map_err(|source| Error::Document { what: "process", source })?;
        let wanted = Wanted {
            terminal: request.terminal,
            stdin: options.open_stdin || !request.stdin.is_empty(),
            size: exec_size(&options, &process),
            owner: self.runc.owner,
        };
        let paths = StdioPaths { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
        let bound = self.bound.as_ref().ok_or(Error::NotBound)?;
        let (namespace, terminal) = (&bound.namespace, request.terminal);
        let opened = files::open(&paths, Subject { namespace, id: &bound.id, exec: &exec, terminal })?;
        let (streams, stdio) = Streams::make(wanted).map_err(no_streams)?;
        let plan = ExecPlan {
            process,
            stdio,
            who: is_ours.then(|| who(options.user, options.group_add, options.set_home)),
            stdin: wanted.stdin,
            privileged: options.privileged,
            timeout: Some(Duration::from_millis(options.timeout_ms)).filter(|timeout| !timeout.is_zero()),
        };
        let process = Process {
            state: State::Created(Birth::Exec(Box::new(plan))),
            streams,
            terminal: request.terminal,
            stdin_once: options.stdin_once || !is_ours,
            paths,
            kept: options.wait_attach.then(Kept::new),
            waiters: Vec::new(),
            // containerd asks for what it made on a new connection, too.
            owner: is_ours.then_some(client),
            due: None,
        };
        self.add_process(&exec, process, opened);
        self.publish("/tasks/exec-added", &TaskExecAdded { container_id: self.id(), exec_id: exec });
        Ok(())
    }

    fn add_process(&mut self, name: &str, process: Process, opened: Opened) {
        self.processes.insert(name.to_owned(), process);
        for attacher in opened.attachers {
            self.add_attacher(attacher);
        }
        self.loggers.extend(opened.logger);
    }

    pub(crate) fn start(&mut self, request: &StartRequest) -> Result<StartResponse> {
        let exec = request.exec_id.as_str();
        let container_id = self.id();
        let pid = if exec == FIRST { self.start_first()? } else { self.start_exec(exec)? };
        if exec == FIRST {
            self.publish("/tasks/start", &TaskStart { container_id, pid });
        } else {
            let exec_id = exec.to_owned();
            self.publish("/tasks/exec-started", &TaskExecStarted { container_id, exec_id, pid });
        }
        Ok(StartResponse { pid })
    }

    fn start_first(&mut self) -> Result<u32> {
        let process = self.processes.get_mut(FIRST).ok_or(Error::NoTask)?;
        let container = self.container.as_mut().ok_or(Error::NoTask)?;
        let State::Created(Birth::First { pid }) = process.state else { return Err(Error::AlreadyStarted) };
        process.state = State::Running(Child::First { pid });
        begin(container, self.hooks.as_deref()).inspect_err(|_| {
            // The process ends by itself, and its end is noticed like any other: by now, so that it can be deleted.
            let mut end = [PollFd::from_borrowed_fd(container.pidfd(), PollFlags::IN)];
            if let Err(error) = poll(&mut end, Some(&START_FAILURE_TIMEOUT)) {
                eprintln!("the end of a process that was not started cannot be seen: {error}");
            }
        })?;
        if let Some(state) = &self.runc_state {
            state.started();
        }
        Ok(pid)
    }

    fn start_exec(&mut self, exec: &str) -> Result<u32> {
        let container = self.container.as_ref().ok_or(Error::NoTask)?;
        let process = self.processes.get_mut(exec).ok_or_else(|| Error::NoExec { exec: exec.to_owned() })?;
        let State::Created(Birth::Exec(plan)) = &mut process.state else { return Err(Error::AlreadyStarted) };
        let (stdin, timeout) = (plan.stdin, plan.timeout);
        let started = execute(container, plan, self.runc.keep_keyring).and_then(|(child, terminal)| {
            if let Some(master) = terminal {
                process.streams.set_terminal(master, stdin).map_err(no_streams)?;
            }
            Ok(child)
        });
        match started {
            Ok(child) => {
                let pid = child.pid;
                process.state = State::Running(Child::Exec(child));
                process.due = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                Ok(pid)
            }
            Err(error) => {
                if let Some(process) = self.processes.remove(exec) {
                    self.forget(exec, process);
                }
                Err(error)
            }
        }
    }

    /// A process that is no more, and was perhaps never: nobody may wait for it in vain.
    pub(crate) fn forget(&mut self, name: &str, process: Process) {
        for waiter in process.waiters {
            self.answer(waiter.client, waiter.stream, &failure(&Error::Deleted));
        }
        self.finish_outputs(name);
    }

    pub(crate) fn delete(&mut self, request: &DeleteRequest) -> Result<DeleteResponse> {
        let exec = request.exec_id.as_str();
        self.note_end(exec);
        match &self.process(exec)?.state {
            State::Running(_) => return Err(Error::NotEnded),
            // It has ended; who deletes it does not wait for what others may still print.
            State::Ending { .. } => self.conclude(exec),
            State::Created(_) | State::Stopped(_) => {}
        }
        let deleted = self.process(exec)?;
        let (pid, exit) = (deleted.pid(), deleted.exit());
        let unborn = matches!(deleted.state, State::Created(Birth::Exec(_)));
        if exec == FIRST {
            self.destroy()?;
        } else if let Some(process) = self.processes.remove(exec) {
            self.forget(exec, process);
        }
        // Of an exec that was never started there is nothing to tell.
        let without = if unborn { 0 } else { KILLED_STATUS };
        let exit_status = exit.map_or(without, |exit| exit.exit_status);
        let exited_at = exit.map(|exit| exit.timestamp());
        // Of an exec nothing is said, as by containerd's own shims: who hears it would take it for the task's.
        if exec == FIRST {
            let (container_id, id) = (self.id(), String::new());
            self.publish("/tasks/delete", &TaskDelete { container_id, pid, exit_status, exited_at, id });
        }
        Ok(DeleteResponse { pid, exit_status, exited_at })
    }

    /// Ends and forgets everything of the container. Its root goes last, because that may take long.
    fn destroy(&mut self) -> Result<()> {
        self.oom_watch = None;
        let destroyed = self.container.take().map_or(Ok(()), Container::destroy);
        // Their ends come now at the latest: nothing lives in a group that is gone.
        let execs: Vec<String> = self.processes.keys().filter(|name| *name != FIRST).cloned().collect();
        for exec in execs {
            if let Some(process) = self.processes.get_mut(&exec)
                && let State::Running(Child::Exec(child)) = &process.state
                && destroyed.is_ok()
                && let Ok(exit) = linux::pidfd::wait(child.pidfd.as_fd())
            {
                process.end(exit, false);
                self.conclude(&exec);
            }
        }
        for (name, process) in std::mem::take(&mut self.processes) {
            self.forget(&name, process);
        }
        if let Some(log) = &mut self.log {
            log.end();
        }
        if let Some(state) = self.runc_state.take() {
            state.remove();
        }
        if let (Some(hooks), Some(bound)) = (self.hooks.take(), &self.bound) {
            farewell(&hooks);
            bootstrap::forget_pid(bound);
        }
        Ok(destroyed?)
    }

    pub(crate) fn kill(&mut self, request: &KillRequest) -> Result<()> {
        let number = request.signal;
        let signal = i32::try_from(number).map_err(|_| Error::Signal { number })?;
        let process = self.process(&request.exec_id)?;
        let killed = match &process.state {
            State::Created(Birth::First { .. }) | State::Running(Child::First { .. }) => {
                let container = self.container()?;
                let killed = if request.all { container.kill_all(signal) } else { container.kill(signal) };
                // A frozen process would take its death when it is thawed.
                if signal == SIGKILL && killed.is_ok() && container.is_paused()? {
                    container.resume()?;
                }
                killed
            }
            State::Running(Child::Exec(exec)) => exec.kill(signal),
            State::Created(Birth::Exec(_)) => return Err(Error::NotStarted),
            State::Ending { .. } | State::Stopped(_) => return Err(Error::Ended),
        };
        killed.map_err(|error| match error {
            runtime::Error::NotRunning { .. } => Error::Ended,
            other => other.into(),
        })
    }

    pub(crate) fn pause(&mut self) -> Result<()> {
        // One that waits for its start could never be started: who starts it waits for its answer.
        match self.process("")?.state {
            State::Created(_) => return Err(Error::NotStarted),
            State::Running(_) | State::Ending { .. } => {}
            State::Stopped(_) => return Err(Error::Ended),
        }
        self.container()?.pause()?;
        self.publish("/tasks/paused", &TaskPaused { container_id: self.id() });
        Ok(())
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        let container = self.container()?;
        if !container.is_paused()? {
            return Err(Error::NotPaused);
        }
        container.resume()?;
        self.publish("/tasks/resumed", &TaskResumed { container_id: self.id() });
        Ok(())
    }

    pub(crate) fn resize(&self, request: &ResizePtyRequest) -> Result<()> {
        let size = size(request.width, request.height);
        // A process without a terminal has no size to change; Docker's clients ask all the same.
        let Some(terminal) = self.process(&request.exec_id)?.streams.terminal() else { return Ok(()) };
        linux::pty::resize(terminal, size.width, size.height)
            .map_err(|source| Error::System { what: "resize the terminal", source })
    }

    pub(crate) fn close_io(&mut self, request: &CloseIoRequest) -> Result<()> {
        let process = self.processes.get_mut(&request.exec_id).ok_or_else(|| no_process(&request.exec_id))?;
        if request.stdin {
            let of_process = self.attachers.values_mut().filter(|attacher| attacher.is_on(&request.exec_id));
            // What is in a fifo comes first; its end is noticed like any other.
            if of_process.filter_map(|attacher| attacher.let_end().then_some(())).count() == 0 {
                process.streams.end_stdin();
            }
        }
        Ok(())
    }

    pub(crate) fn update(&self, request: &UpdateTaskRequest) -> Result<()> {
        let any = request.resources.as_ref().ok_or(Error::Missing { what: "resources" })?;
        let resources: Resources = serde_json::from_slice(&any.value)
            .map_err(|source| Error::Document { what: "resources", source })?;
        Ok(self.container()?.update(&resources)?)
    }
}

/// `config.json` of the bundle, with the control group that the shim was bound to.
pub(crate) fn read_spec(bound: &Bound) -> Result<Spec> {
    let path = bound.bundle.join("config.json");
    let failed = |source| Error::File { what: "read", path: path.clone(), source };
    if std::fs::metadata(&path).map_err(failed)?.len() > SPEC_MAX {
        return Err(Error::TooLarge { path, max: SPEC_MAX });
    }
    let text = std::fs::read(&path).map_err(failed)?;
    let mut spec: Spec = serde_json::from_slice(&text)
        .map_err(|source| Error::Document { what: "config.json of the bundle", source })?;
    if !bound.cgroup.is_empty() {
        spec.linux.get_or_insert_default().cgroups_path.clone_from(&bound.cgroup);
    }
    Ok(spec)
}

/// Without it kills are told with the end of the task.
fn watch(container: &Container) -> Option<OomWatch> {
    container.watch_oom().unwrap_or_else(|error| {
        eprintln!("kills for want of memory are not watched for: {}", chain(&error));
        None
    })
}

/// Lets hooks see a container that was just made. One that they do not want is removed.
fn prepare(container: Container, hooks: Option<&Hooks>) -> Result<Container> {
    let Some(hooks) = hooks else { return Ok(container) };
    let Err(unwanted) = hooks.created(container.pid()) else { return Ok(container) };
    let destroyed = container.destroy();
    farewell(hooks);
    // What the hook said comes first; what is left of the container is in its group.
    destroyed.unwrap_or_else(|error| eprintln!("a container was not removed: {}", chain(&error)));
    Err(unwanted.into())
}

/// Starts the first process between its hooks. It is killed if they do not want it.
fn begin(container: &mut Container, hooks: Option<&Hooks>) -> runtime::Result<()> {
    let Some(hooks) = hooks else { return container.start() };
    let kill = |container: &Container| {
        // It may have ended by itself.
        let _ = container.kill(SIGKILL);
    };
    hooks.starting(container).inspect_err(|_| kill(container))?;
    container.start()?;
    hooks.started(container.pid()).inspect_err(|_| kill(container))
}

/// Tells the hooks of the end.
pub(crate) fn farewell(hooks: &Hooks) {
    hooks.stopped().iter().for_each(|error| eprintln!("{error}"));
}

/// What the request says to mount, else the directory that the specification names.
fn rootfs(bound: &Bound, request: &CreateTaskRequest, spec: &Spec) -> Result<Rootfs> {
    if request.rootfs.is_empty() {
        let root = spec.root.as_ref().ok_or(Error::Missing { what: "a root" })?;
        return Ok(Rootfs::bind(&bound.bundle.join(&root.path))?);
    }
    let mount = |mount: &api::types::Mount| Mount {
        kind: mount.r#type.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    };
    Ok(Rootfs::mount(&request.rootfs.iter().map(mount).collect::<Vec<_>>())?)
}

fn creation(request: &CreateTaskRequest) -> TaskCreate {
    TaskCreate {
        container_id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: request.rootfs.clone(),
        io: Some(TaskIo {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        }),
        ..TaskCreate::default()
    }
}

fn who(user: String, group_add: Vec<String>, set_home: bool) -> Who {
    Who { user, group_add, set_home }
}

/// Fills in what depends on the container's own files.
fn identify(process: &mut SpecProcess, root: BorrowedFd<'_>, who: &Who) -> Result<()> {
    // Without a name the numbers of the specification hold, which are also looked up.
    let numbers = || format!("{}:{}", process.user.uid, process.user.gid);
    let user = if who.user.is_empty() && process.user.uid != 0 { numbers() } else { who.user.clone() };
    let identity = runtime::user::resolve(root, &user, &who.group_add)?;
    process.user.uid = identity.uid;
    process.user.gid = identity.gid;
    process.user.additional_gids = identity.additional_gids;
    if who.set_home && !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        process.env.push(format!("HOME={}", identity.home));
    }
    Ok(())
}

fn execute(
    container: &Container,
    plan: &mut ExecPlan,
    keep_keyring: bool,
) -> Result<(runtime::Process, Option<OwnedFd>)> {
    if let Some(who) = &plan.who {
        let root = container.root()?;
        identify(&mut plan.process, root.as_fd(), who)?;
    }
    let stdio = std::mem::replace(&mut plan.stdio, Stdio::Null);
    let (process, privileged) = (&plan.process, plan.privileged);
    let mut child =
        container.exec(Exec { process, stdio, default_rlimits: &[], privileged, keep_keyring })?;
    child.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let terminal = child.terminal.take();
    Ok((child, terminal))
}

/// Our options say the size, containerd's clients put it into the process.
fn exec_size(options: &ExecOptions, process: &SpecProcess) -> runtime::TerminalSize {
    match process.console_size {
        Some(console) if (options.width, options.height) == (0, 0) => {
            runtime::TerminalSize { width: console.width, height: console.height }
        }
        _ => size(options.width, options.height),
    }
}

fn open_log(options: &CreateOptions) -> Result<Option<Log>> {
    options.log.as_ref().map_or(Ok(None), Log::open)
}

fn no_streams(source: Errno) -> Error {
    Error::System { what: "make the process's streams", source }
}

/// Whether the container's first process is the first of a pid namespace.
fn has_own_pids(spec: &Spec) -> bool {
    let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path.is_none())
}
