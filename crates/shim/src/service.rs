//! The services: containerd's Task (v2 and v3, whose messages are the same) and our extension.
//!
//! Calls of one connection are handled strictly in order, so that a client may send Bind, Create, Start and Wait in one write. Only
//! Wait is answered later.

use std::path::{Path, PathBuf};

use api::code::Code;
use api::shim::{
    BindRequest, BindResponse, CreateOptions, ExecOptions, ExitRequest, ExitResponse, HelloResponse,
};
use api::task::{
    CloseIoRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse,
    ExecProcessRequest, KillRequest, PidsResponse, ProcessInfo, ResizePtyRequest, SERVICE_V2, SERVICE_V3,
    StartRequest, StartResponse, StateRequest, StateResponse, Status, UpdateTaskRequest, WaitRequest,
    WaitResponse,
};
use api::ttrpc::Response;
use oci::mount::Mount;
use oci::runtime_spec::{NamespaceKind, Process as SpecProcess, Resources, Spec};
use prost::Message;
use runtime::{Create, Exec, Rootfs};

use crate::connection::Call;
use crate::log::Log;
use crate::process::{Birth, Child, ExecPlan, Process, State, size};
use crate::record::ExitRecord;
use crate::shim::{Bound, FIRST, Shim};
use crate::streams::{Streams, Wanted};

/// Our version of the extension.
const VERSION: u32 = 1;

/// A specification is a few kilobytes; a profile in it may be some hundred.
const SPEC_MAX: u64 = 16 << 20;

/// Processes beside the first one, at one time.
const EXECS_MAX: usize = 1024;

/// Why a call failed.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
}

type Result<T, E = Failure> = std::result::Result<T, E>;

fn failure(code: Code, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

impl From<runtime::Error> for Failure {
    fn from(error: runtime::Error) -> Failure {
        failure(error.code(), chain(&error))
    }
}

/// The text with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

/// The answer to a wait.
pub fn wait_response(exit: ExitRecord) -> Response {
    Response::success(&WaitResponse {
        exit_status: exit.exit_status,
        exited_at: Some(timestamp(exit.exited_at_ns)),
    })
}

fn timestamp(time_ns: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time_ns.div_euclid(1_000_000_000),
        nanos: i32::try_from(time_ns.rem_euclid(1_000_000_000)).expect("less than a second"),
    }
}

impl Shim {
    /// Handles a call; `None` when its answer comes later.
    pub fn call(&mut self, client: u64, call: &Call) -> Option<Response> {
        let request = &call.request;
        let answered = match (request.service.as_str(), request.method.as_str()) {
            (SERVICE_V2 | SERVICE_V3, "Wait") => return self.wait_call(client, call),
            (SERVICE_V2 | SERVICE_V3, method) => self.task_call(method, &request.payload),
            (api::SHIM_SERVICE, method) => self.shim_call(method, &request.payload),
            (service, _) => {
                Err(failure(Code::Unimplemented, format!("service {service} is not served here")))
            }
        };
        Some(answered.unwrap_or_else(|failure| Response::failure(failure.code, failure.message)))
    }

    fn shim_call(&mut self, method: &str, payload: &[u8]) -> Result<Response> {
        match method {
            "Hello" => Ok(Response::success(&HelloResponse {
                version: VERSION,
                pid: std::process::id(),
                container_id: self.bound.as_ref().map(|bound| bound.id.clone()).unwrap_or_default(),
            })),
            "Bind" => self.bind(read(payload)?),
            "Exit" => self.exit(&read(payload)?),
            _ => Err(no_method(method)),
        }
    }

    fn task_call(&mut self, method: &str, payload: &[u8]) -> Result<Response> {
        match method {
            "State" => self.state(&read(payload)?),
            "Create" => self.create(&read(payload)?),
            "Start" => self.start(&read(payload)?),
            "Delete" => self.delete(&read(payload)?),
            "Pids" => self.pids(),
            "Pause" => {
                self.container()?.pause()?;
                Ok(Response::success(&()))
            }
            "Resume" => {
                self.container()?.resume()?;
                Ok(Response::success(&()))
            }
            "Kill" => self.kill(&read(payload)?),
            "Exec" => self.exec(read(payload)?),
            "ResizePty" => self.resize(&read(payload)?),
            "CloseIO" => self.close_io(&read(payload)?),
            "Update" => self.update(&read(payload)?),
            "Connect" => Ok(Response::success(&ConnectResponse {
                shim_pid: std::process::id(),
                task_pid: self.processes.get(FIRST).map_or(0, Process::pid),
                version: env!("CARGO_PKG_VERSION").into(),
            })),
            "Shutdown" => {
                // With a container it stays: whoever asks has not deleted it.
                self.is_over = self.container.is_none();
                Ok(Response::success(&()))
            }
            "Checkpoint" | "Stats" => Err(failure(Code::Unimplemented, format!("{method} is not there yet"))),
            _ => Err(no_method(method)),
        }
    }

    fn bind(&mut self, request: BindRequest) -> Result<Response> {
        if let Some(bound) = &self.bound {
            return Err(failure(Code::FailedPrecondition, format!("this is the shim of {}", bound.id)));
        }
        self.bound = Some(Bound {
            namespace: request.namespace,
            id: request.id,
            bundle: PathBuf::from(request.bundle),
            cgroup: request.cgroup,
        });
        self.let_go_of_lifeline();
        Ok(Response::success(&BindResponse {}))
    }

    fn create(&mut self, request: &CreateTaskRequest) -> Result<Response> {
        let bound =
            self.bound.as_ref().ok_or_else(|| failure(Code::FailedPrecondition, "the shim is not bound"))?;
        if self.container.is_some() {
            return Err(failure(Code::AlreadyExists, format!("task {} already exists", bound.id)));
        }
        let options: CreateOptions = match &request.options {
            Some(any) => api::any::unpack(any)
                .ok_or_else(|| failure(Code::InvalidArgument, format!("options of type {}", any.type_url)))?
                .map_err(|error| failure(Code::InvalidArgument, error.to_string()))?,
            None => CreateOptions::default(),
        };
        let mut spec = read_spec(&bound.bundle)?;
        if !bound.cgroup.is_empty() {
            spec.linux.get_or_insert_default().cgroups_path.clone_from(&bound.cgroup);
        }
        let mounts: Vec<Mount> = request.rootfs.iter().map(mount).collect();
        let rootfs = Rootfs::mount(&mounts)?;
        identify(&mut spec, &rootfs, &options)?;
        let wanted = Wanted {
            terminal: request.terminal,
            stdin: options.open_stdin,
            size: size(options.width, options.height),
        };
        let (mut streams, stdio) = Streams::make(wanted).map_err(|error| no_streams(&error))?;
        self.log = open_log(&options)?;
        let created = runtime::create(Create {
            id: &bound.id,
            spec: &spec,
            rootfs,
            stdio,
            default_rlimits: &options.default_rlimits,
            ensure_cwd: options.ensure_cwd,
        })?;
        for warning in &created.warnings {
            eprintln!("{}", warning.0);
        }
        if let Some(master) = created.terminal {
            streams.set_terminal(master, options.open_stdin).map_err(|error| no_streams(&error))?;
        }
        let pid = created.container.pid();
        self.shares_pids = !has_own_pids(&spec);
        self.container = Some(created.container);
        let process = Process {
            state: State::Created(Birth::First(Child::First { pid })),
            streams,
            terminal: request.terminal,
            stdin_once: options.stdin_once,
            waiters: Vec::new(),
        };
        self.processes.insert(FIRST.to_owned(), process);
        Ok(Response::success(&CreateTaskResponse { pid }))
    }

    fn start(&mut self, request: &StartRequest) -> Result<Response> {
        let name = request.exec_id.as_str();
        let process = self.processes.get_mut(name).ok_or_else(|| no_process(name))?;
        let container = self.container.as_mut().ok_or_else(|| no_process(name))?;
        let State::Created(birth) = &mut process.state else {
            return Err(failure(Code::FailedPrecondition, "the process was started already"));
        };
        let child = match birth {
            Birth::First(child) => {
                container.start()?;
                Child::First { pid: child.pid() }
            }
            Birth::Exec(plan) => {
                let started = start_exec(container, plan);
                match started {
                    Ok((exec, terminal)) => {
                        if let Some(master) = terminal {
                            let stdin = plan.stdin;
                            process
                                .streams
                                .set_terminal(master, stdin)
                                .map_err(|error| no_streams(&error))?;
                        }
                        Child::Exec(exec)
                    }
                    Err(error) => {
                        self.processes.remove(name);
                        for attacher in self.attachers.values_mut().filter(|attacher| attacher.is_on(name)) {
                            attacher.finish();
                        }
                        return Err(error);
                    }
                }
            }
        };
        let pid = child.pid();
        process.state = State::Running(child);
        Ok(Response::success(&StartResponse { pid }))
    }

    fn exec(&mut self, request: ExecProcessRequest) -> Result<Response> {
        let name = request.exec_id;
        if name.is_empty() || self.processes.contains_key(&name) {
            return Err(failure(Code::AlreadyExists, format!("exec `{name}` already exists")));
        }
        if self.processes.len() > EXECS_MAX {
            return Err(failure(Code::ResourceExhausted, format!("more than {EXECS_MAX} execs at one time")));
        }
        self.container()?;
        let any = request.spec.ok_or_else(|| failure(Code::InvalidArgument, "an exec without a process"))?;
        let options: ExecOptions = match api::any::unpack(&any) {
            Some(options) => options.map_err(|error| failure(Code::InvalidArgument, error.to_string()))?,
            None => ExecOptions { process: any.value, ..ExecOptions::default() },
        };
        let process: SpecProcess = serde_json::from_slice(&options.process)
            .map_err(|error| failure(Code::InvalidArgument, format!("process: {error}")))?;
        let size = size(options.width, options.height);
        let wanted = Wanted { terminal: request.terminal, stdin: options.open_stdin, size };
        let (streams, stdio) = Streams::make(wanted).map_err(|error| no_streams(&error))?;
        let plan = ExecPlan {
            process,
            stdio: Some(stdio),
            user: options.user,
            group_add: options.group_add,
            set_home: options.set_home,
            stdin: options.open_stdin,
            privileged: options.privileged,
        };
        let process = Process {
            state: State::Created(Birth::Exec(Box::new(plan))),
            streams,
            terminal: request.terminal,
            stdin_once: options.stdin_once,
            waiters: Vec::new(),
        };
        self.processes.insert(name, process);
        Ok(Response::success(&()))
    }

    fn wait_call(&mut self, client: u64, call: &Call) -> Option<Response> {
        let request: WaitRequest = match read(&call.request.payload) {
            Ok(request) => request,
            Err(failure) => return Some(Response::failure(failure.code, failure.message)),
        };
        let Some(process) = self.processes.get_mut(&request.exec_id) else {
            let failure = no_process(&request.exec_id);
            return Some(Response::failure(failure.code, failure.message));
        };
        if let Some(exit) = process.exit() {
            return Some(wait_response(exit));
        }
        process.waiters.push((client, call.stream));
        None
    }

    fn exit(&self, request: &ExitRequest) -> Result<Response> {
        let process = self.processes.get(&request.exec_id).ok_or_else(|| no_process(&request.exec_id))?;
        let exit =
            process.exit().ok_or_else(|| failure(Code::FailedPrecondition, "the process has not ended"))?;
        Ok(Response::success(&ExitResponse {
            exit_status: exit.exit_status,
            exited_at: Some(timestamp(exit.exited_at_ns)),
            oom_killed: exit.oom_killed,
        }))
    }

    fn state(&self, request: &StateRequest) -> Result<Response> {
        let process = self.processes.get(&request.exec_id).ok_or_else(|| no_process(&request.exec_id))?;
        let is_paused =
            self.container.as_ref().is_some_and(|container| container.is_paused().unwrap_or(false));
        let status = match &process.state {
            State::Created(_) => Status::Created,
            State::Running(_) if is_paused => Status::Paused,
            State::Running(_) | State::Ending { .. } => Status::Running,
            State::Stopped(_) => Status::Stopped,
        };
        let exit = process.exit();
        let bound = self.bound.as_ref();
        Ok(Response::success(&StateResponse {
            id: bound.map(|bound| bound.id.clone()).unwrap_or_default(),
            bundle: bound.map(|bound| bound.bundle.display().to_string()).unwrap_or_default(),
            pid: process.pid(),
            status: status.into(),
            terminal: process.terminal,
            exit_status: exit.map_or(0, |exit| exit.exit_status),
            exited_at: exit.map(|exit| timestamp(exit.exited_at_ns)),
            exec_id: request.exec_id.clone(),
            ..StateResponse::default()
        }))
    }

    fn delete(&mut self, request: &DeleteRequest) -> Result<Response> {
        let name = request.exec_id.as_str();
        let process = self.processes.get(name).ok_or_else(|| no_process(name))?;
        let is_over = match process.state {
            State::Stopped(_) | State::Created(_) => true,
            State::Running(_) | State::Ending { .. } => false,
        };
        if !is_over {
            return Err(failure(Code::FailedPrecondition, "the process still runs"));
        }
        let exit = process.exit();
        let pid = process.pid();
        if name == FIRST {
            if let Some(container) = self.container.take() {
                container.destroy()?;
            }
            self.processes.clear();
            self.log = None;
        } else {
            self.processes.remove(name);
        }
        Ok(Response::success(&DeleteResponse {
            pid,
            exit_status: exit.map_or(137, |exit| exit.exit_status),
            exited_at: exit.map(|exit| timestamp(exit.exited_at_ns)),
        }))
    }

    fn kill(&mut self, request: &KillRequest) -> Result<Response> {
        let signal =
            i32::try_from(request.signal).map_err(|_| failure(Code::InvalidArgument, "no such signal"))?;
        let name = request.exec_id.as_str();
        let process = self.processes.get(name).ok_or_else(|| no_process(name))?;
        let ended = || failure(Code::NotFound, "process already finished");
        match &process.state {
            State::Created(Birth::First(_)) | State::Running(Child::First { .. }) => {
                let container = self.container.as_ref().ok_or_else(ended)?;
                let killed = if request.all { container.kill_all(signal) } else { container.kill(signal) };
                killed.map_err(|error| match error {
                    runtime::Error::NotRunning { .. } => ended(),
                    other => other.into(),
                })?;
            }
            State::Running(Child::Exec(exec)) => exec.kill(signal).map_err(|_| ended())?,
            State::Created(Birth::Exec(_)) => {
                return Err(failure(Code::FailedPrecondition, "the process was not started"));
            }
            State::Ending { .. } | State::Stopped(_) => return Err(ended()),
        }
        Ok(Response::success(&()))
    }

    fn pids(&self) -> Result<Response> {
        let processes = self.container()?.processes()?;
        let processes = processes.into_iter().map(|pid| ProcessInfo { pid, info: None }).collect();
        Ok(Response::success(&PidsResponse { processes }))
    }

    fn resize(&self, request: &ResizePtyRequest) -> Result<Response> {
        let process = self.processes.get(&request.exec_id).ok_or_else(|| no_process(&request.exec_id))?;
        let size = size(request.width, request.height);
        // A process without a terminal has no size to change; Docker's clients ask all the same.
        if let Some(terminal) = process.streams.terminal() {
            linux::pty::resize(terminal, size.width, size.height).map_err(|error| no_streams(&error))?;
        }
        Ok(Response::success(&()))
    }

    fn close_io(&mut self, request: &CloseIoRequest) -> Result<Response> {
        let process = self.processes.get_mut(&request.exec_id).ok_or_else(|| no_process(&request.exec_id))?;
        if request.stdin {
            process.streams.end_stdin();
        }
        Ok(Response::success(&()))
    }

    fn update(&self, request: &UpdateTaskRequest) -> Result<Response> {
        let any = request.resources.as_ref().ok_or_else(|| failure(Code::InvalidArgument, "no resources"))?;
        let resources: Resources = serde_json::from_slice(&any.value)
            .map_err(|error| failure(Code::InvalidArgument, format!("resources: {error}")))?;
        self.container()?.update(&resources)?;
        Ok(Response::success(&()))
    }

    fn container(&self) -> Result<&runtime::Container> {
        self.container.as_ref().ok_or_else(|| failure(Code::NotFound, "the container does not exist"))
    }
}

fn read<M: Message + Default>(payload: &[u8]) -> Result<M> {
    M::decode(payload).map_err(|error| failure(Code::InvalidArgument, error.to_string()))
}

fn no_method(method: &str) -> Failure {
    failure(Code::Unimplemented, format!("method {method} is not served here"))
}

fn no_process(name: &str) -> Failure {
    let what = if name.is_empty() { "the container".to_owned() } else { format!("exec `{name}`") };
    failure(Code::NotFound, format!("{what} does not exist"))
}

fn no_streams(error: &rustix::io::Errno) -> Failure {
    failure(Code::Internal, format!("make the process's streams: {error}"))
}

fn read_spec(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let failed = |error: &dyn std::fmt::Display| {
        failure(Code::InvalidArgument, format!("{}: {error}", path.display()))
    };
    let size = std::fs::metadata(&path).map_err(|error| failed(&error))?.len();
    if size > SPEC_MAX {
        return Err(failed(&"too large"));
    }
    let text = std::fs::read(&path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}

/// Whom the first process runs as, where that depends on the container's own files.
fn identify(spec: &mut Spec, rootfs: &Rootfs, options: &CreateOptions) -> Result<()> {
    let process = spec.process.as_mut().ok_or_else(|| failure(Code::InvalidArgument, "no process"))?;
    let identity = runtime::user::resolve(rootfs.as_fd(), &options.user, &options.group_add)
        .map_err(|error| failure(error.code(), chain(&error)))?;
    apply(process, identity, options.set_home);
    Ok(())
}

fn apply(process: &mut SpecProcess, identity: runtime::user::Identity, set_home: bool) {
    process.user.uid = identity.uid;
    process.user.gid = identity.gid;
    process.user.additional_gids = identity.additional_gids;
    if set_home && !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        process.env.push(format!("HOME={}", identity.home));
    }
}

fn start_exec(
    container: &runtime::Container,
    plan: &mut ExecPlan,
) -> Result<(runtime::Process, Option<std::os::fd::OwnedFd>)> {
    let stdio = plan
        .stdio
        .take()
        .ok_or_else(|| failure(Code::FailedPrecondition, "the process was started already"))?;
    let root = container.root()?;
    let identity = runtime::user::resolve(std::os::fd::AsFd::as_fd(&root), &plan.user, &plan.group_add)
        .map_err(|error| failure(error.code(), chain(&error)))?;
    apply(&mut plan.process, identity, plan.set_home);
    let request = Exec { process: &plan.process, stdio, default_rlimits: &[], privileged: plan.privileged };
    let mut exec = container.exec(request)?;
    for warning in &exec.warnings {
        eprintln!("{}", warning.0);
    }
    let terminal = exec.terminal.take();
    Ok((exec, terminal))
}

fn open_log(options: &CreateOptions) -> Result<Option<Log>> {
    let Some(log) = options.log.as_ref().filter(|log| !log.disabled && !log.path.is_empty()) else {
        return Ok(None);
    };
    let opened = Log::open(Path::new(&log.path), log.max_size_bytes, log.max_files);
    opened.map(Some).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull => Code::ResourceExhausted,
            _ => Code::Internal,
        };
        failure(code, format!("open the log {}: {error}", log.path))
    })
}

fn mount(mount: &api::types::Mount) -> Mount {
    Mount {
        kind: mount.r#type.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    }
}

/// Whether the container's first process is the first of a pid namespace.
fn has_own_pids(spec: &Spec) -> bool {
    let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.any(|namespace| namespace.kind == NamespaceKind::Pid && namespace.path.is_none())
}
