//! `containerd.services.sandbox.v1.Controller`: sandboxes that run, by the sandboxer `shim`, the only one there is.
//!
//! What a sandbox is its shim knows ([`engine::runtimes`]); here requests are checked and answered as containerd does. A request that
//! names no sandboxer means this one, and one to start what only has a record makes it first: containerd refuses both, and its own
//! `ctr sandboxes run` does nothing else. Nor is it a failure then if what is to be shut down is not there.

use std::sync::Arc;

use api::code::Code;
use api::events::{SandboxCreate, SandboxExit, SandboxStart};
use api::sandbox as shim;
use engine::runtimes::{NewSandbox, Runtimes, Sandbox};
use grpc::sandbox::controller_server;
use grpc::sandbox::{
    ControllerCreateRequest, ControllerCreateResponse, ControllerMetricsRequest, ControllerMetricsResponse,
    ControllerPlatformRequest, ControllerPlatformResponse, ControllerShutdownRequest,
    ControllerShutdownResponse, ControllerStartRequest, ControllerStartResponse, ControllerStatusRequest,
    ControllerStatusResponse, ControllerStopRequest, ControllerStopResponse, ControllerUpdateRequest,
    ControllerUpdateResponse, ControllerWaitRequest, ControllerWaitResponse,
};
use prost_types::{Any, Timestamp};
use store::space::sandboxes as space;
use tonic::{Request, Response, Result, Status};

use super::{not_found, parsed};
use crate::Door;
use crate::services::opaque::any;
use crate::{request, status, time};

/// What containerd calls what we do.
const SANDBOXER: &str = "shim";
/// Go's first moment, which containerd tells of what never was.
const NEVER: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Controller(pub(crate) Door);

impl Controller {
    fn runtimes(&self) -> &Arc<Runtimes> {
        self.0.engine().runtimes()
    }

    /// A sandbox that is there.
    fn sandbox<T>(&self, request: &Request<T>, sandboxer: &str, id: &str) -> Result<Arc<Sandbox>> {
        let namespace = checked(request, sandboxer)?;
        self.runtimes().sandbox(&namespace, id).map_err(|_| Status::not_found("not found"))
    }

    /// Makes a sandbox of what was told of it. Who listens hears of `id`, as the request calls it.
    async fn make(&self, namespace: &str, id: &str, told: space::Sandbox, new: NewSandbox) -> Result<()> {
        request::check_identifier(&told.id).map_err(|error| {
            Status::invalid_argument(format!("invalid task id {}: {}", told.id, error.message()))
        })?;
        let runtime_options = told.runtime_options.map(any);
        let new = NewSandbox { runtime: told.runtime, runtime_options, spec: told.spec.map(any), ..new };
        done(self.runtimes().create_sandbox(namespace, &told.id, new).await)?;
        let event = SandboxCreate { sandbox_id: id.to_owned() };
        self.0.exchange().publish(namespace, "/sandboxes/create", &event);
        Ok(())
    }

    /// What the store has of a sandbox whose creation does not say what it is.
    async fn stored(&self, namespace: &str, id: &str) -> Result<space::Sandbox> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        let found = self.0.attempt(move |store| store.space(&namespace).sandboxes().get(&id)).await?;
        found.map_err(|error| match &error {
            store::Error::NotFound { name, .. } => status::with_suffix(Code::NotFound, not_found(name)),
            _ => status::of_store(&error),
        })
    }
}

#[tonic::async_trait]
impl controller_server::Controller for Controller {
    async fn create(
        &self,
        request: Request<ControllerCreateRequest>,
    ) -> Result<Response<ControllerCreateResponse>> {
        let namespace = checked(&request, &request.get_ref().sandboxer)?;
        let asked = request.into_inner();
        let told = match asked.sandbox {
            Some(sandbox) => parsed(Some(sandbox)),
            None => self.stored(&namespace, &asked.sandbox_id).await?,
        };
        let (rootfs, options, netns_path, annotations) =
            (asked.rootfs, asked.options, asked.netns_path, asked.annotations);
        let new = NewSandbox { rootfs, options, netns_path, annotations, ..NewSandbox::default() };
        self.make(&namespace, &asked.sandbox_id, told, new).await?;
        Ok(Response::new(ControllerCreateResponse { sandbox_id: asked.sandbox_id }))
    }

    async fn start(
        &self,
        request: Request<ControllerStartRequest>,
    ) -> Result<Response<ControllerStartResponse>> {
        let namespace = checked(&request, &request.get_ref().sandboxer)?;
        let ControllerStartRequest { sandbox_id: id, sandboxer } = request.into_inner();
        if sandboxer.is_empty()
            && self.runtimes().sandbox(&namespace, &id).is_err()
            && let Ok(told) = self.stored(&namespace, &id).await
        {
            self.make(&namespace, &id, told, NewSandbox::default()).await?;
        }
        let sandbox = self.runtimes().sandbox(&namespace, &id);
        let sandbox = sandbox.map_err(|_| Status::unknown(format!("unable to find sandbox {id:?}")))?;
        let started = done(self.runtimes().start_sandbox(&sandbox).await)?;
        self.0.exchange().publish(&namespace, "/sandboxes/start", &SandboxStart { sandbox_id: id.clone() });
        let (address, version) = sandbox.endpoint();
        Ok(Response::new(ControllerStartResponse {
            sandbox_id: id,
            pid: started.pid,
            created_at: started.created_at.or(Some(Timestamp::default())),
            address,
            version,
            spec: started.spec,
            ..ControllerStartResponse::default()
        }))
    }

    async fn platform(
        &self,
        request: Request<ControllerPlatformRequest>,
    ) -> Result<Response<ControllerPlatformResponse>> {
        let ControllerPlatformRequest { sandbox_id, sandboxer } = request.get_ref().clone();
        let sandbox = self.sandbox(&request, &sandboxer, &sandbox_id)?;
        let asked = shim::PlatformRequest { sandbox_id };
        let found: shim::PlatformResponse =
            pass(&sandbox, "Platform", &asked, "failed to get sandbox platform").await?;
        Ok(Response::new(ControllerPlatformResponse { platform: found.platform }))
    }

    async fn stop(
        &self,
        request: Request<ControllerStopRequest>,
    ) -> Result<Response<ControllerStopResponse>> {
        let namespace = checked(&request, &request.get_ref().sandboxer)?;
        let ControllerStopRequest { sandbox_id, timeout_secs, sandboxer: _ } = request.into_inner();
        // What is not there has stopped.
        if let Ok(sandbox) = self.runtimes().sandbox(&namespace, &sandbox_id) {
            done(self.runtimes().stop_sandbox(&sandbox, timeout_secs).await)?;
        }
        Ok(Response::new(ControllerStopResponse {}))
    }

    async fn wait(
        &self,
        request: Request<ControllerWaitRequest>,
    ) -> Result<Response<ControllerWaitResponse>> {
        let ControllerWaitRequest { sandbox_id, sandboxer } = request.get_ref().clone();
        let sandbox = self.sandbox(&request, &sandboxer, &sandbox_id)?;
        let what = format!("failed to wait sandbox {sandbox_id}");
        let asked = shim::WaitSandboxRequest { sandbox_id: sandbox_id.clone() };
        let ended: shim::WaitSandboxResponse = pass(&sandbox, "WaitSandbox", &asked, &what).await?;
        let shim::WaitSandboxResponse { exit_status, exited_at } = ended;
        let namespace = request::namespace(&request)?;
        self.0.exchange().publish(
            &namespace,
            "/sandboxes/exit",
            &SandboxExit { sandbox_id, exit_status, exited_at },
        );
        Ok(Response::new(ControllerWaitResponse { exit_status, exited_at }))
    }

    async fn status(
        &self,
        request: Request<ControllerStatusRequest>,
    ) -> Result<Response<ControllerStatusResponse>> {
        let ControllerStatusRequest { sandbox_id, verbose, sandboxer } = request.get_ref().clone();
        let namespace = checked(&request, &sandboxer)?;
        let Ok(sandbox) = self.runtimes().sandbox(&namespace, &sandbox_id) else {
            return Ok(Response::new(ControllerStatusResponse {
                sandbox_id,
                created_at: Some(NEVER),
                exited_at: Some(time::timestamp(store::now_ns())),
                extra: Some(Any::default()),
                ..ControllerStatusResponse::default()
            }));
        };
        let what = format!("failed to query sandbox {sandbox_id} status");
        let asked = shim::SandboxStatusRequest { sandbox_id, verbose };
        let found: shim::SandboxStatusResponse = pass(&sandbox, "SandboxStatus", &asked, &what).await?;
        let (address, version) = sandbox.endpoint();
        Ok(Response::new(ControllerStatusResponse {
            sandbox_id: found.sandbox_id,
            pid: found.pid,
            state: found.state,
            info: found.info,
            // containerd tells the first moment of 1970 of what has not been yet.
            created_at: found.created_at.or(Some(Timestamp::default())),
            exited_at: found.exited_at.or(Some(Timestamp::default())),
            extra: found.extra.or(Some(Any::default())),
            address,
            version,
        }))
    }

    async fn shutdown(
        &self,
        request: Request<ControllerShutdownRequest>,
    ) -> Result<Response<ControllerShutdownResponse>> {
        let ControllerShutdownRequest { sandbox_id, sandboxer } = request.get_ref().clone();
        let sandbox = match self.sandbox(&request, &sandboxer, &sandbox_id) {
            // `ctr sandboxes rm` would never get rid of the record.
            Err(error) if sandboxer.is_empty() && error.code() == tonic::Code::NotFound => {
                return Ok(Response::new(ControllerShutdownResponse {}));
            }
            sandbox => sandbox?,
        };
        done(self.runtimes().shut_sandbox_down(&sandbox).await)?;
        Ok(Response::new(ControllerShutdownResponse {}))
    }

    async fn metrics(
        &self,
        request: Request<ControllerMetricsRequest>,
    ) -> Result<Response<ControllerMetricsResponse>> {
        let ControllerMetricsRequest { sandbox_id, sandboxer } = request.get_ref().clone();
        let sandbox = self.sandbox(&request, &sandboxer, &sandbox_id)?;
        let asked = shim::SandboxMetricsRequest { sandbox_id };
        let found: shim::SandboxMetricsResponse =
            pass(&sandbox, "SandboxMetrics", &asked, "failed to get sandbox metrics").await?;
        Ok(Response::new(ControllerMetricsResponse { metrics: found.metrics }))
    }

    async fn update(
        &self,
        request: Request<ControllerUpdateRequest>,
    ) -> Result<Response<ControllerUpdateResponse>> {
        checked(&request, &request.get_ref().sandboxer)?;
        if request.get_ref().sandbox.is_none() {
            return Err(Status::unknown("sandbox can not be nil"));
        }
        // containerd says that it was done, and does nothing.
        let text =
            "a sandbox of a shim cannot be changed while it runs: its record can, with the store's Update";
        Err(status::with_suffix(Code::Unimplemented, text))
    }
}

/// The namespace of a call that names our sandboxer.
fn checked<T>(request: &Request<T>, sandboxer: &str) -> Result<String> {
    let namespace = request::namespace(request)?;
    match sandboxer {
        "" | SANDBOXER => Ok(namespace),
        other => Err(Status::not_found(format!("not found: failed to get sandbox controller by {other}"))),
    }
}

/// Asks the shim; `what` stands before what it says of a failure.
async fn pass<Q: prost::Message, M: prost::Message + Default>(
    sandbox: &Sandbox,
    method: &str,
    message: &Q,
    what: &str,
) -> Result<M> {
    let answered = sandbox.call(method, message).await;
    answered.map_err(|error| status::with_suffix(error.code(), format!("{what}: {}", error.chain())))
}

fn done<T>(result: engine::Result<T>) -> Result<T> {
    result.map_err(|error| status::of_engine(&error))
}
