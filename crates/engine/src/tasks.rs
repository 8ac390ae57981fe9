//! Tasks: the engine's side of a shim.
//!
//! ```text
//! pool ──take──▶ Spare ──bind──▶ Task ──wait──▶ exit ──delete, shutdown──▶ gone
//! ```
//!
//! One connection per shim carries all calls; streams of bytes go over the shim's attach socket. The shim's directory
//! (`<state>/shims/<16 hex digits>`, short because the path of a socket is) is made by the pool and removed by
//! [`Task::shutdown`].

mod client;
mod pool;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::code::Code;
use api::shim::{
    AttachRequest, AttachResponse, BindRequest, BindResponse, CreateOptions, ExecOptions, ExitRequest,
    ExitResponse, HelloRequest, HelloResponse,
};
use api::task::{
    CreateTaskRequest, CreateTaskResponse, DeleteRequest, DeleteResponse, ExecProcessRequest, KillRequest,
    PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, SERVICE_V3, ShutdownRequest,
    StartRequest, StartResponse, StateRequest, StateResponse, WaitRequest, WaitResponse,
};
use api::time::of_timestamp;
use oci::mount::Mount;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::containers::AttachOptions;
use crate::containers::attach::PendingAttach;
use crate::error::{EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_NOT_STARTED, Error, Result};
use client::Batch;
pub(crate) use client::Client;
pub(crate) use client::Reply;
pub(crate) use pool::{Pool, Spare};

/// Our version of the shim's extension.
const PROTOCOL_VERSION: u32 = 1;
/// The answer to an attach is a short text at most.
const ATTACH_RESPONSE_MAX: usize = 64 << 10;
/// A shim answers at once. One that has not after this time hangs, and its container is taken for lost; on a machine that
/// is overloaded this must not happen.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// What failed when a container, or an exec, was not started, in dockerd's words: clients look for them.
const CREATE: &str = "failed to create task for container: OCI runtime create failed";
const EXEC: &str = "OCI runtime exec failed: exec failed";
/// How often a spare shim that should be ending is asked again.
const SPARE_POLL: Duration = Duration::from_millis(2);

/// A shim that belongs to a container.
#[derive(Debug)]
pub(crate) struct Task {
    container: String,
    directory: PathBuf,
    client: Client,
}

/// What a run needs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) namespace: String,
    pub(crate) bundle: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) rootfs: Vec<Mount>,
    pub(crate) terminal: bool,
    pub(crate) options: CreateOptions,
    /// Clients that wait for the streams. For a single one `options.wait_attach` is set.
    pub(crate) attaches: Vec<PendingAttach>,
    /// What paths of the specification name (`/proc/<pid>/fd/<n>`): open until the shim has it.
    pub(crate) held: Vec<OwnedFd>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) finished_ns: i64,
}

impl From<&WaitResponse> for Ended {
    fn from(exit: &WaitResponse) -> Ended {
        Ended {
            code: i32::try_from(exit.exit_status).unwrap_or(i32::MAX),
            finished_ns: exit.exited_at.as_ref().map_or_else(crate::clock::now_ns, of_timestamp),
        }
    }
}

/// What the shim knows about its container's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskState {
    pub(crate) pid: u32,
    pub(crate) status: TaskStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskStatus {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Task {
    /// Makes a spare shim the container's, creates and starts it: four requests in one write, unless several wait to be
    /// attached, who must be there before it starts.
    ///
    /// When it fails, nothing is left of the container and the shim is told to end.
    pub(crate) async fn launch(spare: Spare, container: &str, launch: Launch) -> Result<Launched> {
        let (directory, client, lifeline) = spare.into_parts();
        let task = Task { container: container.to_owned(), directory, client };
        match task.run(launch).await {
            Ok((pid, exit)) => {
                // From now on the shim lives as long as its container, whatever becomes of us.
                drop(lifeline);
                Ok(Launched { task, pid, exit })
            }
            Err(error) => {
                task.discard().await;
                drop(lifeline);
                pool::remove_directory(task.directory).await;
                Err(error)
            }
        }
    }

    async fn run(&self, launch: Launch) -> Result<(u32, Reply<WaitResponse>)> {
        let id = || self.container.clone();
        let bundle = launch.bundle.display().to_string();
        // Closed when the shim has opened what they name, or failed.
        let _held = launch.held;
        let bind = BindRequest {
            namespace: launch.namespace,
            id: id(),
            bundle: bundle.clone(),
            cgroup: launch.cgroup,
        };
        let create = CreateTaskRequest {
            id: id(),
            bundle,
            rootfs: launch.rootfs.into_iter().map(wire_mount).collect(),
            terminal: launch.terminal,
            options: Some(api::any::pack(&launch.options)),
            ..CreateTaskRequest::default()
        };
        let mut batch = self.client.batch();
        let bound: Reply<BindResponse> = batch.add(api::SHIM_SERVICE, "Bind", &bind)?;
        let created: Reply<CreateTaskResponse> = batch.add(SERVICE_V3, "Create", &create)?;
        if launch.attaches.len() > 1 {
            batch.send()?;
            bound.get("bind a shim").await?;
            created.get(CREATE).await.map_err(not_started)?;
            self.connect(launch.attaches).await;
            let mut batch = self.client.batch();
            let (started, exit) = self.add_start(&mut batch, "")?;
            batch.send()?;
            return Ok((started.get("start task").await.map_err(not_started)?.pid, exit));
        }
        let (started, exit) = self.add_start(&mut batch, "")?;
        batch.send()?;
        bound.get("bind a shim").await?;
        created.get(CREATE).await.map_err(not_started)?;
        // The shim keeps what is printed until then.
        self.connect(launch.attaches).await;
        Ok((started.get("start task").await.map_err(not_started)?.pid, exit))
    }

    async fn connect(&self, attaches: Vec<PendingAttach>) {
        for pending in attaches {
            let stream = attach(&self.directory, "", pending.options()).await;
            pending.connect(stream);
        }
    }

    fn add_start(
        &self,
        batch: &mut Batch<'_>,
        exec: &str,
    ) -> Result<(Reply<StartResponse>, Reply<WaitResponse>)> {
        let start = StartRequest { id: self.container.clone(), exec_id: exec.to_owned() };
        let wait = WaitRequest { id: self.container.clone(), exec_id: exec.to_owned() };
        Ok((batch.add(SERVICE_V3, "Start", &start)?, batch.add(SERVICE_V3, "Wait", &wait)?))
    }

    /// Takes up a shim that another engine started. None: it is spare and of no use.
    pub(crate) async fn adopt(directory: &Path) -> Result<Option<Task>> {
        let client = tokio::time::timeout(HELLO_TIMEOUT, Client::connect(&directory.join("task.sock")))
            .await
            .map_err(|_| Error::ShimLost)??;
        let asked = async {
            loop {
                match greet(&client).await? {
                    // Spare: it ends as soon as it notices that its daemon is gone, which takes until the last copy of the
                    // pipe to it is closed. Until then it may still be given a container.
                    container if container.is_empty() => tokio::time::sleep(SPARE_POLL).await,
                    container => return Ok(container),
                }
            }
        };
        match tokio::time::timeout(HELLO_TIMEOUT, asked).await.map_err(|_| Error::ShimLost)? {
            Ok(container) => Ok(Some(Task { container, directory: directory.to_owned(), client })),
            Err(Error::ShimLost) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// Begins to wait for the end of a process; an empty `exec` is the container's first.
    pub(crate) async fn wait(&self, exec: &str) -> Result<Reply<WaitResponse>> {
        let wait = WaitRequest { id: self.container.clone(), exec_id: exec.to_owned() };
        self.client.request(SERVICE_V3, "Wait", &wait).await
    }

    /// The exit code of a process that has ended.
    pub(crate) async fn exit_code(&self, exec: &str) -> Result<i32> {
        let request = ExitRequest { exec_id: exec.to_owned() };
        let answer: Reply<ExitResponse> = self.client.request(api::SHIM_SERVICE, "Exit", &request).await?;
        Ok(i32::try_from(answer.get("read an exit").await?.exit_status).unwrap_or(i32::MAX))
    }

    pub(crate) async fn state(&self) -> Result<TaskState> {
        let request = StateRequest { id: self.container.clone(), exec_id: String::new() };
        let answer: Reply<StateResponse> = self.client.request(SERVICE_V3, "State", &request).await?;
        let answer = answer.get("read the state of a task").await?;
        let status = match answer.status() {
            api::task::Status::Created | api::task::Status::Unknown => TaskStatus::Created,
            api::task::Status::Running => TaskStatus::Running,
            api::task::Status::Paused | api::task::Status::Pausing => TaskStatus::Paused,
            api::task::Status::Stopped => TaskStatus::Stopped,
        };
        Ok(TaskState { pid: answer.pid, status })
    }

    /// Sends a signal. Ok(false): the process has ended.
    pub(crate) async fn kill(&self, exec: &str, signal: i32) -> Result<bool> {
        let request = KillRequest {
            id: self.container.clone(),
            exec_id: exec.to_owned(),
            signal: signal.unsigned_abs(),
            all: false,
        };
        let answer: Reply<()> = self.client.request(SERVICE_V3, "Kill", &request).await?;
        match answer.get("send a signal").await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Code::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        let request = PauseRequest { id: self.container.clone() };
        let answer: Reply<()> = self.client.request(SERVICE_V3, "Pause", &request).await?;
        answer.get("pause a task").await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        let request = ResumeRequest { id: self.container.clone() };
        let answer: Reply<()> = self.client.request(SERVICE_V3, "Resume", &request).await?;
        answer.get("resume a task").await
    }

    pub(crate) async fn resize(&self, exec: &str, height: u16, width: u16) -> Result<()> {
        let request = ResizePtyRequest {
            id: self.container.clone(),
            exec_id: exec.to_owned(),
            width: width.into(),
            height: height.into(),
        };
        let answer: Reply<()> = self.client.request(SERVICE_V3, "ResizePty", &request).await?;
        answer.get("resize a terminal").await
    }

    pub(crate) async fn processes(&self) -> Result<Vec<u32>> {
        let request = PidsRequest { id: self.container.clone() };
        let answer: Reply<PidsResponse> = self.client.request(SERVICE_V3, "Pids", &request).await?;
        Ok(answer.get("list processes").await?.processes.into_iter().map(|process| process.pid).collect())
    }

    /// Adds a process, starts it, and connects to its streams; `options.wait_attach` makes the shim keep what is printed
    /// before that. Returns its pid and the reply that comes at its end.
    pub(crate) async fn exec(
        &self,
        exec: &str,
        terminal: bool,
        options: &ExecOptions,
        attached: Option<AttachOptions>,
    ) -> Result<(Option<UnixStream>, u32, Reply<WaitResponse>)> {
        let request = ExecProcessRequest {
            id: self.container.clone(),
            exec_id: exec.to_owned(),
            terminal,
            spec: Some(api::any::pack(options)),
            ..ExecProcessRequest::default()
        };
        let mut batch = self.client.batch();
        let added: Reply<()> = batch.add(SERVICE_V3, "Exec", &request)?;
        let (started, exit) = self.add_start(&mut batch, exec)?;
        batch.send()?;
        added.get("create exec").await.map_err(not_started)?;
        let pid = started.get(EXEC).await.map_err(not_started)?.pid;
        let stream = match attached {
            Some(options) => Some(attach(&self.directory, exec, options).await?),
            None => None,
        };
        Ok((stream, pid, exit))
    }

    /// Lets go of a process that has ended; of the first one only when its output is in the log.
    pub(crate) async fn delete(&self, exec: &str) -> Result<()> {
        let request = DeleteRequest { id: self.container.clone(), exec_id: exec.to_owned() };
        let answer: Reply<DeleteResponse> = self.client.request(SERVICE_V3, "Delete", &request).await?;
        answer.get("delete a task").await.map(drop)
    }

    /// Connects to the streams of a process.
    pub(crate) async fn attach(&self, exec: &str, options: AttachOptions) -> Result<UnixStream> {
        attach(&self.directory, exec, options).await
    }

    /// Ends the shim after [`Task::delete`].
    pub(crate) async fn shutdown(&self) {
        let request = ShutdownRequest { id: self.container.clone(), now: false };
        // A shim that is gone has done what it was asked.
        if let Ok(answer) = self.client.request::<_, ()>(SERVICE_V3, "Shutdown", &request).await {
            drop(answer.get("end a shim").await);
        }
    }

    /// Where the shim's sockets and its exit record are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Undoes a launch that failed.
    async fn discard(&self) {
        // Whichever of these has nothing to do says so; the shim's end is what counts.
        drop(self.kill("", crate::signals::SIGKILL).await);
        drop(self.delete("").await);
        self.shutdown().await;
    }
}

/// The container that a shim belongs to; empty for a spare one.
async fn greet(client: &Client) -> Result<String> {
    let hello = HelloRequest { version: PROTOCOL_VERSION };
    let answer: Reply<HelloResponse> = client.request(api::SHIM_SERVICE, "Hello", &hello).await?;
    Ok(answer.get("greet a shim").await?.container_id)
}

/// A task that runs.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) task: Task,
    pub(crate) pid: u32,
    pub(crate) exit: Reply<WaitResponse>,
}

/// Connects to the streams of a process through the shim in `directory`.
pub(crate) async fn attach(directory: &Path, exec: &str, options: AttachOptions) -> Result<UnixStream> {
    let failed = |source| Error::System { what: "attach to a shim", source };
    let mut stream = UnixStream::connect(directory.join("attach.sock")).await.map_err(failed)?;
    let request = AttachRequest {
        exec_id: exec.to_owned(),
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    };
    let length = u32::try_from(request.encoded_len()).expect("an exec's id is short");
    let mut bytes = length.to_le_bytes().to_vec();
    request.encode(&mut bytes).expect("a vector grows as needed");
    stream.write_all(&bytes).await.map_err(failed)?;
    let length = stream.read_u32_le().await.map_err(failed)? as usize;
    if length > ATTACH_RESPONSE_MAX {
        return Err(failed(std::io::ErrorKind::InvalidData.into()));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    let answer =
        AttachResponse::decode(answer.as_slice()).map_err(|error| failed(std::io::Error::other(error)))?;
    match answer.error.as_str() {
        "" => Ok(stream),
        message => {
            Err(Error::Shim { what: "attach", message: message.to_owned(), code: Code::FailedPrecondition })
        }
    }
}

/// Why a process was not started, with the exit code that Docker's clients end with.
fn not_started(error: Error) -> Error {
    let Error::Shim { what, message, code } = error else { return error };
    let exit_code = match code {
        Code::NotFound => EXIT_NOT_FOUND,
        Code::PermissionDenied => EXIT_NOT_EXECUTABLE,
        _ => EXIT_NOT_STARTED,
    };
    // dockerd looks users up itself, before any runtime has a part in it.
    if message.starts_with("unable to find user") || message.starts_with("unable to find group") {
        let exit_code = if what == EXEC { EXIT_NOT_EXECUTABLE } else { EXIT_NOT_STARTED };
        return Error::NotStarted { message, exit_code, code };
    }
    Error::NotStarted {
        message: format!("{what}: unable to start container process: {message}"),
        exit_code,
        code,
    }
}

fn wire_mount(mount: Mount) -> api::types::Mount {
    api::types::Mount {
        r#type: mount.kind,
        source: mount.source,
        target: mount.target,
        options: mount.options,
    }
}
