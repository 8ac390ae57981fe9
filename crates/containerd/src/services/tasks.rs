//! `containerd.services.tasks.v1`: what clients ask of a task goes to its shim, and the shim's answer back to them.

use std::borrow::Cow;
use std::sync::Arc;

use api::code::Code;
use api::task as shim;
use api::types::{Descriptor, Metric};
use engine::containers::WaitCondition;
use engine::runtimes::{NewTask, STATE_TIMEOUT, Task};
use grpc::tasks::{
    CheckpointTaskRequest, CheckpointTaskResponse, CloseIoRequest, CreateTaskRequest, CreateTaskResponse,
    DeleteProcessRequest, DeleteResponse, DeleteTaskRequest, ExecProcessRequest, GetRequest, GetResponse,
    KillRequest, ListPidsRequest, ListPidsResponse, ListTasksRequest, ListTasksResponse, MetricsRequest,
    MetricsResponse, PauseTaskRequest, ResizePtyRequest, ResumeTaskRequest, StartRequest, StartResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse, tasks_server,
};
use prost_types::Any;
use store::space::containers::Container;
use tonic::{Request, Response, Status};

use crate::door::Door;
use crate::filter::Adaptor;
use crate::services::foreign;
use crate::services::opaque::any;
use crate::{request, status, time};

/// Runs containers' tasks.
#[derive(Debug)]
pub(crate) struct Tasks(pub(crate) Door);

/// What a call is about.
enum Target {
    Task(Arc<Task>),
    Elsewhere(Box<Elsewhere>),
}

/// A container of another door, and who looks after it.
struct Elsewhere {
    containers: engine::containers::Containers,
    container: engine::containers::Container,
}

impl Elsewhere {
    /// Its process as clients of containerd see it; what was executed in it is seen only at its own door.
    fn process(&self, exec: &str) -> Result<shim::Process, Status> {
        let process = foreign::task(&self.container).filter(|_| exec.is_empty());
        process.ok_or_else(|| Status::not_found(format!("task {} not found", self.container.id)))
    }
}

impl Tasks {
    /// The task of a container, which must be there.
    async fn target<T>(&self, request: &Request<T>, id: &str) -> Result<Target, Status> {
        let namespace = request::namespace(request)?;
        let missing = match self.0.engine().runtimes().get(&namespace, id) {
            Ok(task) => return self.container(&namespace, id).await.map(|_| Target::Task(task)),
            Err(error) => status::of_engine(&error),
        };
        match foreign::find(&self.0, &namespace, id).await? {
            Some(container) => {
                let containers = foreign::scope(&self.0, &namespace)?.containers();
                Ok(Target::Elsewhere(Box::new(Elsewhere { containers, container })))
            }
            None => self.container(&namespace, id).await.and(Err(missing)),
        }
    }

    /// The same for what is done only to tasks of this door's containers.
    async fn task<T>(&self, request: &Request<T>, id: &str) -> Result<Arc<Task>, Status> {
        match self.target(request, id).await? {
            Target::Task(task) => Ok(task),
            Target::Elsewhere(_) => {
                let text = format!("container {id:?} was made at another door: this is possible only there");
                Err(status::with_suffix(Code::FailedPrecondition, text))
            }
        }
    }

    async fn container(&self, namespace: &str, id: &str) -> Result<Container, Status> {
        let missing = format!("container {id:?} in namespace {namespace:?}");
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        match self.0.attempt(move |store| store.space(&namespace).containers().get(&id)).await? {
            Err(store::Error::NotFound { .. }) => Err(status::with_suffix(Code::NotFound, missing)),
            found => found.map_err(|error| status::of_store(&error)),
        }
    }
}

/// What the shim knows of a process.
async fn process(task: &Task, exec: &str) -> Result<shim::Process, Status> {
    let state = done(task.state(exec).await)?;
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

/// What the engine did, or its error in containerd's form.
fn done<T>(result: engine::Result<T>) -> Result<T, Status> {
    result.map_err(|error| status::of_engine(&error))
}

/// Passes a request on to the shim.
async fn pass<Q: prost::Message, M: prost::Message + Default>(
    task: &Task,
    method: &str,
    message: &Q,
) -> Result<M, Status> {
    done(task.call(method, message).await)
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
        let own = container.runtime_options.map(any);
        let new = NewTask {
            runtime: if asked.runtime_path.is_empty() { container.runtime } else { asked.runtime_path },
            options: asked.options.filter(|options| !options.type_url.is_empty()).or(own),
            spec: container.spec.map(any).unwrap_or_default(),
            rootfs: asked.rootfs,
            terminal: asked.terminal,
            stdin: asked.stdin,
            stdout: asked.stdout,
            stderr: asked.stderr,
            sandbox: container.sandbox,
        };
        let pid = done(self.0.engine().runtimes().create(&namespace, &asked.container_id, new).await)?;
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
        let deleted = done(self.0.engine().runtimes().delete(&task).await)?;
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
        let GetRequest { container_id, exec_id } = request.get_ref();
        let process = match self.target(&request, container_id).await? {
            Target::Task(task) => process(&task, exec_id).await?,
            Target::Elsewhere(other) => other.process(exec_id)?,
        };
        Ok(Response::new(GetResponse { process: Some(process) }))
    }

    async fn list(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let namespace = request::namespace(&request)?;
        let tasks = self.0.engine().runtimes().list(Some(&namespace));
        let asked = tasks.iter().map(|task| async {
            // A shim that does not answer must not hide all others.
            tokio::time::timeout(STATE_TIMEOUT, process(task, "")).await.ok()?.ok()
        });
        let mut tasks: Vec<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        tasks.extend(foreign::tasks(&self.0, &namespace).await?);
        Ok(Response::new(ListTasksResponse { tasks }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<()>, Status> {
        let target = self.target(&request, &request.get_ref().container_id).await?;
        let KillRequest { container_id: id, exec_id, signal, all } = request.into_inner();
        let killed = match target {
            Target::Task(task) => pass(&task, "Kill", &shim::KillRequest { id, exec_id, signal, all }).await,
            Target::Elsewhere(other) => {
                other.process(&exec_id)?;
                done(other.containers.kill(&id, &signal.to_string()).await)
            }
        };
        killed.map(Response::new)
    }

    async fn exec(&self, request: Request<ExecProcessRequest>) -> Result<Response<()>, Status> {
        let asked = request.get_ref();
        if asked.exec_id.is_empty() {
            return Err(Status::invalid_argument("exec id cannot be empty"));
        }
        let task = self.task(&request, &asked.container_id).await?;
        request::check_identifier(&asked.exec_id).map_err(|error| {
            Status::new(error.code(), format!("invalid exec id {}: {}", asked.exec_id, error.message()))
        })?;
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
        let target = self.target(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        let paused = match target {
            Target::Task(task) => pass(&task, "Pause", &shim::PauseRequest { id }).await,
            Target::Elsewhere(other) => {
                other.process("")?;
                done(other.containers.pause(&id).await)
            }
        };
        paused.map(Response::new)
    }

    async fn resume(&self, request: Request<ResumeTaskRequest>) -> Result<Response<()>, Status> {
        let target = self.target(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        let resumed = match target {
            Target::Task(task) => pass(&task, "Resume", &shim::ResumeRequest { id }).await,
            Target::Elsewhere(other) => {
                other.process("")?;
                done(other.containers.unpause(&id).await)
            }
        };
        resumed.map(Response::new)
    }

    async fn list_pids(
        &self,
        request: Request<ListPidsRequest>,
    ) -> Result<Response<ListPidsResponse>, Status> {
        let target = self.target(&request, &request.get_ref().container_id).await?;
        let id = request.into_inner().container_id;
        let processes = match target {
            Target::Task(task) => {
                let listed: shim::PidsResponse = pass(&task, "Pids", &shim::PidsRequest { id }).await?;
                listed.processes
            }
            Target::Elsewhere(other) => {
                other.process("")?;
                let pids = done(other.containers.processes(&id).await)?;
                pids.into_iter().map(|pid| shim::ProcessInfo { pid, info: None }).collect()
            }
        };
        Ok(Response::new(ListPidsResponse { processes }))
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
        let filter = request::filter(&request.get_ref().filters)?;
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
        let target = self.target(&request, &request.get_ref().container_id).await?;
        let WaitRequest { container_id: id, exec_id } = request.into_inner();
        let (exit_status, exited_at) = match target {
            Target::Task(task) => {
                let asked = shim::WaitRequest { id, exec_id };
                let ended: shim::WaitResponse = pass(&task, "Wait", &asked).await?;
                (ended.exit_status, ended.exited_at)
            }
            Target::Elsewhere(other) => {
                other.process(&exec_id)?;
                let exit = done(other.containers.wait(&id, WaitCondition::NotRunning).await)?.await;
                (u32::try_from(exit.code).unwrap_or_default(), None)
            }
        };
        Ok(Response::new(WaitResponse { exit_status, exited_at }))
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
    let options = options.and_then(api::any::unpack::<api::runc::CheckpointOptions>);
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
