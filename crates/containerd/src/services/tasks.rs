//! `containerd.services.tasks.v1`: what clients ask of a task goes to its shim, and the shim's answer back to them.

use api::any;
use api::code::Code;
use api::task as shim;
use api::types::{Descriptor, Metric};
use engine::containers::WaitCondition;
use engine::runtimes::{NewTask, Task};
use grpc::tasks::{
    CheckpointTaskRequest, CheckpointTaskResponse, CloseIoRequest, CreateTaskRequest, CreateTaskResponse,
    DeleteProcessRequest, DeleteResponse, DeleteTaskRequest, ExecProcessRequest, GetRequest, GetResponse,
    KillRequest, ListPidsRequest, ListPidsResponse, ListTasksRequest, ListTasksResponse, MetricsRequest,
    MetricsResponse, PauseTaskRequest, ResizePtyRequest, ResumeTaskRequest, StartRequest, StartResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse, tasks_server,
};
use prost_types::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use store::space::containers::Container;
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::filter::{Adaptor, Filter};
use crate::services::foreign;
use crate::{request, status, time};

/// What a shim has for one answer in a list: containerd's `io.containerd.timeout.task.state`.
const STATE_TIMEOUT: Duration = Duration::from_secs(2);

/// A container of another door that runs: who looks after it, and its task as clients of containerd see it.
struct Elsewhere {
    containers: engine::containers::Containers,
    process: shim::Process,
}

/// Runs containers' tasks.
#[derive(Debug)]
pub(crate) struct Tasks(pub(crate) Door);

impl Tasks {
    /// The task that a call is about, whose container must be there.
    async fn task<T>(&self, request: &Request<T>, id: &str) -> Result<Arc<Task>, Status> {
        let namespace = request::namespace(request)?;
        if self.foreign(&namespace, id).await?.is_some() {
            let text = format!("container {id:?} was made at another door: this is possible only there");
            return Err(status::with_suffix(Code::FailedPrecondition, text));
        }
        self.container(&namespace, id).await?;
        self.0.engine().runtimes().get(&namespace, id).map_err(|error| status::of_engine(&error))
    }

    /// The container of that id, if it was made at another door.
    async fn foreign(
        &self,
        namespace: &str,
        id: &str,
    ) -> Result<Option<engine::containers::Container>, Status> {
        // Most are not, and have a task in here.
        match self.0.engine().runtimes().get(namespace, id) {
            Ok(_) => Ok(None),
            Err(_) => foreign::find(&self.0, namespace, id).await,
        }
    }

    /// The same in the engine, if the container was made at another door and runs.
    async fn elsewhere<T>(
        &self,
        request: &Request<T>,
        id: &str,
        exec: &str,
    ) -> Result<Option<Elsewhere>, Status> {
        let namespace = request::namespace(request)?;
        let Some(container) = self.foreign(&namespace, id).await? else { return Ok(None) };
        match foreign::task(&container).filter(|_| exec.is_empty()) {
            Some(process) => {
                let containers = foreign::scope(&self.0, &namespace)?.containers();
                Ok(Some(Elsewhere { containers, process }))
            }
            None => Err(Status::not_found(format!("task {id} not found"))),
        }
    }

    async fn container(&self, namespace: &str, id: &str) -> Result<Container, Status> {
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        self.0.blocking(move |store| store.space(&namespace).containers().get(&id)).await
    }

    async fn process(&self, task: &Task, exec: &str) -> Result<shim::Process, Status> {
        let state = self.0.engine().runtimes().state(task, exec).await;
        let state = state.map_err(|error| status::of_engine(&error))?;
        Ok(shim::Process {
            id: if exec.is_empty() { state.id } else { state.exec_id },
            pid: state.pid,
            status: state.status,
            stdin: state.stdin,
            stdout: state.stdout,
            stderr: state.stderr,
            terminal: state.terminal,
            exit_status: state.exit_status,
            exited_at: state.exited_at,
            ..shim::Process::default()
        })
    }
}

/// Passes a request on to the shim.
async fn pass<Q: prost::Message, M: prost::Message + Default>(
    task: &Task,
    method: &str,
    message: &Q,
) -> Result<M, Status> {
    task.call(method, message).await.map_err(|error| status::of_engine(&error))
}

#[tonic::async_trait]
impl tasks_server::Tasks for Tasks {
    async fn create(
        &self,
        request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let asked = request.into_inner();
        refuse(&asked)?;
        let container = self.container(&namespace, &asked.container_id).await?;
        let own = container.runtime_options.map(|own| Any { type_url: own.type_url, value: own.value });
        let spec = container.spec.unwrap_or_default();
        let new = NewTask {
            runtime: if asked.runtime_path.is_empty() { container.runtime } else { asked.runtime_path },
            options: asked.options.filter(|options| !options.type_url.is_empty()).or(own),
            spec: Any { type_url: spec.type_url, value: spec.value },
            rootfs: asked.rootfs,
            terminal: asked.terminal,
            stdin: asked.stdin,
            stdout: asked.stdout,
            stderr: asked.stderr,
            checkpoint: String::new(),
        };
        let created = self.0.engine().runtimes().create(&namespace, &asked.container_id, new).await;
        let pid = created.map_err(|error| status::of_engine(&error))?;
        Ok(Response::new(CreateTaskResponse { container_id: asked.container_id, pid }))
    }

    async fn start(&self, request: Request<StartRequest>) -> Result<Response<StartResponse>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let StartRequest { container_id: id, exec_id } = request.into_inner();
        let started: shim::StartResponse = pass(&task, "Start", &shim::StartRequest { id, exec_id }).await?;
        Ok(Response::new(StartResponse { pid: started.pid }))
    }

    async fn delete(&self, request: Request<DeleteTaskRequest>) -> Result<Response<DeleteResponse>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let deleted = self.0.engine().runtimes().delete(&task).await;
        let deleted = deleted.map_err(|error| status::of_engine(&error))?;
        Ok(Response::new(DeleteResponse {
            id: request.into_inner().container_id,
            pid: deleted.pid,
            exit_status: deleted.exit_status,
            exited_at: deleted.exited_at,
        }))
    }

    async fn delete_process(
        &self,
        request: Request<DeleteProcessRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let DeleteProcessRequest { container_id: id, exec_id } = request.into_inner();
        let asked = shim::DeleteRequest { id, exec_id: exec_id.clone() };
        let deleted: shim::DeleteResponse = pass(&task, "Delete", &asked).await?;
        Ok(Response::new(DeleteResponse {
            id: exec_id,
            pid: deleted.pid,
            exit_status: deleted.exit_status,
            exited_at: deleted.exited_at,
        }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        if let Some(other) =
            self.elsewhere(&request, &request.get_ref().container_id, &request.get_ref().exec_id).await?
        {
            return Ok(Response::new(GetResponse { process: Some(other.process) }));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let process = self.process(&task, &request.get_ref().exec_id).await?;
        Ok(Response::new(GetResponse { process: Some(process) }))
    }

    async fn list(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let tasks = self.0.engine().runtimes().list(Some(&namespace));
        let asked = tasks.iter().map(|task| async {
            // A shim that does not answer must not hide all others.
            tokio::time::timeout(STATE_TIMEOUT, self.process(task, "")).await.ok()?.ok()
        });
        let mut tasks: Vec<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        tasks.extend(foreign::tasks(&self.0, &namespace).await?);
        Ok(Response::new(ListTasksResponse { tasks }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<()>, Status> {
        if let Some(other) =
            self.elsewhere(&request, &request.get_ref().container_id, &request.get_ref().exec_id).await?
        {
            let signal = request.get_ref().signal.to_string();
            let killed = other.containers.kill(&other.process.id, &signal).await;
            return killed.map(Response::new).map_err(|error| status::of_engine(&error));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let KillRequest { container_id: id, exec_id, signal, all } = request.into_inner();
        pass(&task, "Kill", &shim::KillRequest { id, exec_id, signal, all }).await.map(Response::new)
    }

    async fn exec(&self, request: Request<ExecProcessRequest>) -> Result<Response<()>, Status> {
        request::check_identifier("exec", &request.get_ref().exec_id)?;
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let asked = request.into_inner();
        let asked = shim::ExecProcessRequest {
            id: asked.container_id,
            exec_id: asked.exec_id,
            terminal: asked.terminal,
            stdin: asked.stdin,
            stdout: asked.stdout,
            stderr: asked.stderr,
            spec: asked.spec,
        };
        pass(&task, "Exec", &asked).await.map(Response::new)
    }

    async fn resize_pty(&self, request: Request<ResizePtyRequest>) -> Result<Response<()>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let ResizePtyRequest { container_id: id, exec_id, width, height } = request.into_inner();
        pass(&task, "ResizePty", &shim::ResizePtyRequest { id, exec_id, width, height })
            .await
            .map(Response::new)
    }

    async fn close_io(&self, request: Request<CloseIoRequest>) -> Result<Response<()>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let CloseIoRequest { container_id: id, exec_id, stdin } = request.into_inner();
        pass(&task, "CloseIO", &shim::CloseIoRequest { id, exec_id, stdin }).await.map(Response::new)
    }

    async fn pause(&self, request: Request<PauseTaskRequest>) -> Result<Response<()>, Status> {
        if let Some(other) = self.elsewhere(&request, &request.get_ref().container_id, "").await? {
            let paused = other.containers.pause(&other.process.id).await;
            return paused.map(Response::new).map_err(|error| status::of_engine(&error));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        pass(&task, "Pause", &shim::PauseRequest { id }).await.map(Response::new)
    }

    async fn resume(&self, request: Request<ResumeTaskRequest>) -> Result<Response<()>, Status> {
        if let Some(other) = self.elsewhere(&request, &request.get_ref().container_id, "").await? {
            let resumed = other.containers.unpause(&other.process.id).await;
            return resumed.map(Response::new).map_err(|error| status::of_engine(&error));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        pass(&task, "Resume", &shim::ResumeRequest { id }).await.map(Response::new)
    }

    async fn list_pids(
        &self,
        request: Request<ListPidsRequest>,
    ) -> Result<Response<ListPidsResponse>, Status> {
        if let Some(other) = self.elsewhere(&request, &request.get_ref().container_id, "").await? {
            let pids = other.containers.processes(&other.process.id).await;
            let pids = pids.map_err(|error| status::of_engine(&error))?;
            let processes = pids.into_iter().map(|pid| shim::ProcessInfo { pid, info: None }).collect();
            return Ok(Response::new(ListPidsResponse { processes }));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        let listed: shim::PidsResponse = pass(&task, "Pids", &shim::PidsRequest { id }).await?;
        Ok(Response::new(ListPidsResponse { processes: listed.processes }))
    }

    async fn checkpoint(
        &self,
        request: Request<CheckpointTaskRequest>,
    ) -> Result<Response<CheckpointTaskResponse>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let CheckpointTaskRequest { container_id: id, options, .. } = request.into_inner();
        let path = checkpoint_path(options.as_ref());
        if path.is_empty() {
            return Err(Status::unimplemented(
                "checkpoints are not kept as images yet, hint: name a directory with --image-path: not implemented",
            ));
        }
        let asked = shim::CheckpointTaskRequest { id, path, options };
        pass::<_, ()>(&task, "Checkpoint", &asked).await?;
        Ok(Response::new(CheckpointTaskResponse { descriptors: Vec::<Descriptor>::new() }))
    }

    async fn update(&self, request: Request<UpdateTaskRequest>) -> Result<Response<()>, Status> {
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let UpdateTaskRequest { container_id: id, resources, annotations } = request.into_inner();
        pass(&task, "Update", &shim::UpdateTaskRequest { id, resources, annotations })
            .await
            .map(Response::new)
    }

    async fn metrics(&self, request: Request<MetricsRequest>) -> Result<Response<MetricsResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let filter = Filter::parse(&request.get_ref().filters).map_err(|error| status::of_filter(&error))?;
        let tasks = self.0.engine().runtimes().list(Some(&namespace));
        let wanted = tasks.iter().filter(|task| filter.matches(&Fields(task)));
        let asked = wanted.map(|task| async {
            let request = shim::StatsRequest { id: task.id().to_owned() };
            let stats = tokio::time::timeout(STATE_TIMEOUT, task.call("Stats", &request)).await;
            let stats: shim::StatsResponse = stats.ok()?.ok()?;
            let timestamp = Some(time::timestamp(time::now_ns()));
            Some(Metric { timestamp, id: task.id().to_owned(), data: stats.stats })
        });
        let metrics = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        Ok(Response::new(MetricsResponse { metrics }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        if let Some(other) =
            self.elsewhere(&request, &request.get_ref().container_id, &request.get_ref().exec_id).await?
        {
            let exit = other.containers.wait(&other.process.id, WaitCondition::NotRunning).await;
            let exit = exit.map_err(|error| status::of_engine(&error))?.await;
            let exit_status = u32::try_from(exit.code).unwrap_or_default();
            return Ok(Response::new(WaitResponse { exit_status, exited_at: None }));
        }
        let task = self.task(&request, &request.get_ref().container_id).await?;
        let WaitRequest { container_id: id, exec_id } = request.into_inner();
        let ended: shim::WaitResponse = pass(&task, "Wait", &shim::WaitRequest { id, exec_id }).await?;
        Ok(Response::new(WaitResponse { exit_status: ended.exit_status, exited_at: ended.exited_at }))
    }
}

/// What a creation asks for that is not there.
fn refuse(asked: &CreateTaskRequest) -> Result<(), Status> {
    let what = match asked {
        asked if asked.checkpoint.is_some() => "to begin with a checkpoint",
        asked if !asked.task_api_address.is_empty() => "a task that runs already (task_api_address)",
        _ => return Ok(()),
    };
    Err(Status::unimplemented(format!("{what} is not supported yet: not implemented")))
}

/// The directory that the options of a checkpoint name.
fn checkpoint_path(options: Option<&Any>) -> String {
    let options = options.and_then(any::unpack::<api::runc::CheckpointOptions>);
    options.and_then(Result::ok).map(|options| options.image_path).unwrap_or_default()
}

/// What filters of metrics look at.
struct Fields<'a>(&'a Task);

impl Adaptor for Fields<'_> {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["id"] => Some(self.0.id().into()),
            ["namespace"] => Some(self.0.namespace().into()),
            _ => None,
        }
    }
}
