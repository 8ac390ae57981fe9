//! A sandbox without a process: a name under which tasks belong together, kept by a shim of its own
//! (`containerd.runtime.sandbox.v1.Sandbox`).
//!
//! ```text
//! (none) ──create──▶ Created ──start──▶ Ready ──stop──▶ Stopped ──shutdown──▶ the shim is over
//!                        └─────────────────stop────────────▲
//! ```
//!
//! It has nothing to run in, so that it takes no root file system and no options: whoever gives some wants another runtime. Its tasks
//! have shims of their own, and the daemon ends them with it.

use std::collections::HashMap;

use api::sandbox::{
    CreateSandboxRequest, CreateSandboxResponse, PingRequest, PingResponse, PlatformResponse,
    SandboxMetricsResponse, SandboxStatusRequest, SandboxStatusResponse, ShutdownSandboxResponse,
    StartSandboxResponse, StopSandboxResponse, WaitSandboxResponse,
};
use api::time::timestamp;
use api::ttrpc::Response;
use api::types::{Metric, Platform};

use crate::error::{Error, Result};
use crate::log::now_ns;
use crate::process::Waiter;
use crate::service::{no_method, read};
use crate::shim::Shim;

/// What clients of containerd call a sandbox that runs, and one that does not.
const READY: &str = "SANDBOX_READY";
const NOT_READY: &str = "SANDBOX_NOTREADY";

/// The sandbox of a shim.
#[derive(Debug)]
pub(crate) struct Sandbox {
    state: State,
    created_ns: i64,
    /// What its maker said of it.
    netns_path: String,
    annotations: HashMap<String, String>,
    pub(crate) waiters: Vec<Waiter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    Ready,
    Stopped { at_ns: i64 },
}

impl Shim {
    /// Handles a call; `None` when its answer comes with the sandbox's end.
    pub(crate) fn sandbox_call(
        &mut self,
        method: &str,
        payload: &[u8],
        waiter: Waiter,
    ) -> Result<Option<Response>> {
        if method == "CreateSandbox" {
            self.create_sandbox(read(payload)?)?;
            return Ok(Some(Response::success(&CreateSandboxResponse {})));
        }
        let id = self.id();
        // All requests begin with the id, and this one ends there.
        let PingRequest { sandbox_id } = read(payload)?;
        let sandbox = self.sandbox.as_mut().filter(|_| sandbox_id == id).ok_or(Error::NoSandbox)?;
        let answer = match method {
            "StartSandbox" => Response::success(&sandbox.start()?),
            "Platform" => Response::success(&PlatformResponse { platform: Some(platform()) }),
            "PingSandbox" => Response::success(&PingResponse {}),
            "SandboxStatus" => Response::success(&sandbox.status(&read(payload)?)),
            "SandboxMetrics" => {
                let metrics = Metric { timestamp: Some(timestamp(now_ns())), id, ..Metric::default() };
                Response::success(&SandboxMetricsResponse { metrics: Some(metrics) })
            }
            "WaitSandbox" => match sandbox.ended() {
                Some(ended) => Response::success(&ended),
                None => {
                    sandbox.waiters.push(waiter);
                    return Ok(None);
                }
            },
            "StopSandbox" => {
                self.stop_sandbox();
                Response::success(&StopSandboxResponse {})
            }
            "ShutdownSandbox" => {
                self.stop_sandbox();
                self.close();
                Response::success(&ShutdownSandboxResponse {})
            }
            _ => return Err(no_method(api::SANDBOX_SERVICE, method)),
        };
        Ok(Some(answer))
    }

    fn create_sandbox(&mut self, request: CreateSandboxRequest) -> Result<()> {
        let id = self.bound.as_ref().ok_or(Error::NotBound)?.id.clone();
        if request.sandbox_id != id {
            return Err(Error::OtherContainer { id });
        }
        if self.sandbox.is_some() || self.container.is_some() {
            return Err(Error::SandboxExists { id });
        }
        if !request.rootfs.is_empty() {
            return Err(Error::Unsupported { what: "a root file system of a sandbox".into() });
        }
        if let Some(options) = request.options.filter(|options| !options.type_url.is_empty()) {
            return Err(Error::UnknownOptions { type_url: options.type_url });
        }
        let CreateSandboxRequest { netns_path, annotations, .. } = request;
        let (state, created_ns) = (State::Created, now_ns());
        self.sandbox = Some(Sandbox { state, created_ns, netns_path, annotations, waiters: Vec::new() });
        Ok(())
    }

    fn stop_sandbox(&mut self) {
        let Some(sandbox) = &mut self.sandbox else { return };
        if sandbox.ended().is_none() {
            sandbox.state = State::Stopped { at_ns: now_ns() };
        }
        let answer = Response::success(&sandbox.ended().unwrap_or_default());
        for waiter in std::mem::take(&mut sandbox.waiters) {
            self.answer(waiter.client, waiter.stream, &answer);
        }
    }
}

impl Sandbox {
    fn start(&mut self) -> Result<StartSandboxResponse> {
        match self.state {
            State::Created => self.state = State::Ready,
            State::Ready => return Err(Error::SandboxIs("started already")),
            State::Stopped { .. } => return Err(Error::SandboxIs("stopped")),
        }
        // It has no process, and is what its maker said.
        Ok(StartSandboxResponse {
            created_at: Some(timestamp(self.created_ns)),
            ..StartSandboxResponse::default()
        })
    }

    fn ended(&self) -> Option<WaitSandboxResponse> {
        let State::Stopped { at_ns } = self.state else { return None };
        Some(WaitSandboxResponse { exit_status: 0, exited_at: Some(timestamp(at_ns)) })
    }

    fn status(&self, request: &SandboxStatusRequest) -> SandboxStatusResponse {
        let mut info = HashMap::new();
        if request.verbose {
            info.clone_from(&self.annotations);
            info.insert("netns_path".to_owned(), self.netns_path.clone());
        }
        SandboxStatusResponse {
            sandbox_id: request.sandbox_id.clone(),
            state: if self.state == State::Ready { READY } else { NOT_READY }.to_owned(),
            info,
            created_at: Some(timestamp(self.created_ns)),
            exited_at: self.ended().and_then(|ended| ended.exited_at),
            ..SandboxStatusResponse::default()
        }
    }
}

/// What its tasks are for.
fn platform() -> Platform {
    let oci::platform::Platform { os, architecture, variant, .. } = oci::platform::Platform::host();
    Platform { os, architecture, variant, ..Platform::default() }
}
