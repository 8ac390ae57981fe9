//! The services: containerd's Task (v2 and v3, whose messages are the same) and our extension.
//!
//! Calls of one connection are handled strictly in order, so that a client may send Bind, Create, Start and Wait in one
//! write. Only Wait is answered later. Here a call becomes a message and an answer becomes a call's; what is done about it is
//! in [`crate::task`].

use std::path::PathBuf;

use api::shim::{BindRequest, BindResponse, ExitRequest, ExitResponse, HelloRequest, HelloResponse};
use api::task::{
    ConnectResponse, PidsResponse, ProcessInfo, SERVICE_V2, SERVICE_V3, ShutdownRequest, StateRequest,
    StateResponse, StatsResponse, Status, WaitRequest, WaitResponse,
};
use api::ttrpc::Response;
use prost::Message;

use crate::connection::Call;
use crate::error::{Error, Result, chain};
use crate::process::{Process, State, Waiter};
use crate::record::ExitRecord;
use crate::shim::{Bound, FIRST, Shim};
use crate::stats;

/// Our version of the extension.
pub const VERSION: u32 = 1;

/// The answer to a wait.
pub(crate) fn wait_response(exit: ExitRecord) -> Response {
    Response::success(&WaitResponse { exit_status: exit.exit_status, exited_at: Some(exit.timestamp()) })
}

pub(crate) fn failure(error: &Error) -> Response {
    Response::failure(error.code(), chain(error))
}

impl Shim {
    /// Handles a call; `None` when its answer comes later.
    pub(crate) fn call(&mut self, client: u64, call: &Call) -> Option<Response> {
        let request = &call.request;
        let payload = request.payload.as_slice();
        let answered = match (request.service.as_str(), request.method.as_str()) {
            (SERVICE_V2 | SERVICE_V3, "Wait") => {
                self.wait_for(payload, Waiter { client, stream: call.stream }).transpose()?
            }
            (SERVICE_V2 | SERVICE_V3, "Exec") => {
                read(payload).and_then(|request| self.exec(client, request)).map(|()| Response::success(&()))
            }
            (SERVICE_V2 | SERVICE_V3, method) => self.task_call(method, payload),
            (api::SANDBOX_SERVICE, method) => {
                self.sandbox_call(method, payload, Waiter { client, stream: call.stream }).transpose()?
            }
            (api::SHIM_SERVICE, method) => self.shim_call(method, payload),
            (service, method) => Err(no_method(service, method)),
        };
        Some(answered.unwrap_or_else(|error| failure(&error)))
    }

    fn shim_call(&mut self, method: &str, payload: &[u8]) -> Result<Response> {
        match method {
            "Hello" => {
                // Whatever its version: ours is what counts until there is a second one.
                let _: HelloRequest = read(payload)?;
                let (pid, container_id) = (std::process::id(), self.id());
                Ok(Response::success(&HelloResponse { version: VERSION, pid, container_id }))
            }
            "Bind" => self.bind_call(read(payload)?),
            "Exit" => self.exit(&read(payload)?),
            _ => Err(no_method(api::SHIM_SERVICE, method)),
        }
    }

    fn task_call(&mut self, method: &str, payload: &[u8]) -> Result<Response> {
        let done = |()| Response::success(&());
        match method {
            "State" => self.state(&read(payload)?),
            // A task in it has a shim of its own.
            "Create" if self.sandbox.is_some() => Err(Error::SandboxExists { id: self.id() }),
            "Create" => Ok(Response::success(&self.create(read(payload)?)?)),
            "Start" => Ok(Response::success(&self.start(&read(payload)?)?)),
            "Delete" => Ok(Response::success(&self.delete(&read(payload)?)?)),
            "Pids" => self.pids(),
            "Pause" => self.pause().map(done),
            "Resume" => self.resume().map(done),
            "Kill" => self.kill(&read(payload)?).map(done),
            "ResizePty" => self.resize(&read(payload)?).map(done),
            "CloseIO" => self.close_io(&read(payload)?).map(done),
            "Update" => self.update(&read(payload)?).map(done),
            "Stats" => self.stats(),
            "Connect" => Ok(Response::success(&ConnectResponse {
                shim_pid: std::process::id(),
                task_pid: self.processes.get(FIRST).map_or(0, Process::pid),
                version: env!("CARGO_PKG_VERSION").into(),
            })),
            "Shutdown" => self.shutdown(&read(payload)?).map(done),
            "Checkpoint" => Err(Error::Unsupported { what: "to checkpoint a container".into() }),
            _ => Err(no_method(SERVICE_V3, method)),
        }
    }

    fn bind_call(&mut self, request: BindRequest) -> Result<Response> {
        if let Some(bound) = &self.bound {
            return Err(Error::OtherContainer { id: bound.id.clone() });
        }
        // The request of a daemon that died meanwhile: its successor takes this shim for one that ends by itself.
        if self.is_over() {
            return Err(Error::Orphaned);
        }
        if request.id.is_empty() || request.bundle.is_empty() {
            return Err(Error::Missing { what: "a container" });
        }
        let BindRequest { namespace, id, bundle, cgroup } = request;
        self.bind(Bound { namespace, id, bundle: PathBuf::from(bundle), cgroup });
        Ok(Response::success(&BindResponse {}))
    }

    /// `None`: the answer comes with the end.
    fn wait_for(&mut self, payload: &[u8], waiter: Waiter) -> Result<Option<Response>> {
        let request: WaitRequest = read(payload)?;
        let process = self.process_mut(&request.exec_id)?;
        if let Some(exit) = process.exit() {
            return Ok(Some(wait_response(exit)));
        }
        process.waiters.push(waiter);
        Ok(None)
    }

    fn exit(&self, request: &ExitRequest) -> Result<Response> {
        let exit = self.process(&request.exec_id)?.exit().ok_or(Error::NotEnded)?;
        Ok(Response::success(&ExitResponse {
            exit_status: exit.exit_status,
            exited_at: Some(exit.timestamp()),
            oom_killed: exit.oom_killed,
        }))
    }

    fn state(&self, request: &StateRequest) -> Result<Response> {
        let process = self.process(&request.exec_id)?;
        let bound = self.bound.clone().unwrap_or_default();
        let status = match &process.state {
            State::Created(_) => Status::Created,
            State::Running(_) if self.container()?.is_paused()? => Status::Paused,
            State::Running(_) | State::Ending { .. } => Status::Running,
            State::Stopped(_) => Status::Stopped,
        };
        let exit = process.exit();
        let paths = process.paths.clone();
        Ok(Response::success(&StateResponse {
            id: bound.id,
            bundle: bound.bundle.display().to_string(),
            pid: process.pid(),
            status: status.into(),
            stdin: paths.stdin,
            stdout: paths.stdout,
            stderr: paths.stderr,
            terminal: process.terminal,
            exit_status: exit.map_or(0, |exit| exit.exit_status),
            exited_at: exit.map(|exit| exit.timestamp()),
            exec_id: request.exec_id.clone(),
        }))
    }

    fn pids(&self) -> Result<Response> {
        let pids = self.container()?.processes()?;
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid, info: None }).collect();
        Ok(Response::success(&PidsResponse { processes }))
    }

    fn stats(&self) -> Result<Response> {
        let metrics = stats::metrics(&self.container()?.stats()?);
        Ok(Response::success(&StatsResponse { stats: Some(metrics) }))
    }

    /// With a task, or a sandbox, the shim stays: whoever asks has not deleted it.
    fn shutdown(&mut self, request: &ShutdownRequest) -> Result<()> {
        if self.container.is_none() && self.sandbox.is_none() || request.now {
            self.close();
        }
        Ok(())
    }

    /// The container's name; empty while the shim is spare.
    pub(crate) fn id(&self) -> String {
        self.bound.as_ref().map(|bound| bound.id.clone()).unwrap_or_default()
    }

    pub(crate) fn process(&self, exec: &str) -> Result<&Process> {
        self.processes.get(exec).ok_or_else(|| no_process(exec))
    }

    pub(crate) fn process_mut(&mut self, exec: &str) -> Result<&mut Process> {
        self.processes.get_mut(exec).ok_or_else(|| no_process(exec))
    }

    pub(crate) fn container(&self) -> Result<&runtime::Container> {
        self.container.as_ref().ok_or(Error::NoTask)
    }
}

pub(crate) fn read<M: Message + Default>(payload: &[u8]) -> Result<M> {
    M::decode(payload).map_err(|source| Error::Message { what: "request", source })
}

pub(crate) fn no_method(service: &str, method: &str) -> Error {
    Error::NoMethod { service: service.to_owned(), method: method.to_owned() }
}

pub(crate) fn no_process(exec: &str) -> Error {
    if exec == FIRST { Error::NoTask } else { Error::NoExec { exec: exec.to_owned() } }
}
