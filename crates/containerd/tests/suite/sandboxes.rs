//! Sandboxes of a shim that keeps its tasks itself: one of the test, which says what it was asked.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use api::code::Code as ShimCode;
use api::sandbox as shim;
use api::task;
use api::ttrpc::{FrameDecoder, Request as Call, Response as Answer, encode_response};
use api::types::{Platform, Sandbox, sandbox::Runtime};
use futures_util::StreamExt as _;
use grpc::containers::containers_client::ContainersClient;
use grpc::containers::{Container, CreateContainerRequest, container};
use grpc::events::SubscribeRequest;
use grpc::events::events_client::EventsClient;
use grpc::sandbox::controller_client::ControllerClient;
use grpc::sandbox::*;
use grpc::tasks::tasks_client::TasksClient;
use grpc::tasks::{CreateTaskRequest, DeleteTaskRequest};
use prost::Message as _;
use prost_types::{Any, Timestamp};
use tonic::Code;

use crate::served::{Served, told, within};

/// A shim whose executable only says where the test listens.
struct Shim {
    program: PathBuf,
    starts: PathBuf,
    calls: Receiver<String>,
}

impl Shim {
    fn new(served: &Served) -> Shim {
        let at = |name: &str| served.directory.path().join(name);
        let (program, socket, starts) = (at("shim"), at("shim.sock"), at("starts"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *start) echo x >>{}; printf '{{\"version\":3,\"address\":\"unix://{}\",\"protocol\":\"ttrpc\"}}';; esac\n",
            starts.display(),
            socket.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Shim { program, starts, calls }
    }

    /// What it was asked since the last time.
    fn calls(&self) -> Vec<String> {
        self.calls.try_iter().collect()
    }

    /// How often it was started.
    fn starts(&self) -> usize {
        fs::read_to_string(&self.starts).map_or(0, |text| text.lines().count())
    }
}

fn serve(mut stream: UnixStream, calls: &Sender<String>) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        decoder.push(&buffer[..length]);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let call = frame.request().unwrap();
            let _ = calls.send(call.method.clone());
            if stream.write_all(&encode_response(frame.stream, &answer(&call))).is_err() {
                return;
            }
        }
    }
}

/// One sandbox in which everything works; one called `bad` does not start.
fn answer(call: &Call) -> Answer {
    let id = shim::PingRequest::decode(call.payload.as_slice()).unwrap().sandbox_id;
    match call.method.as_str() {
        "CreateSandbox" if id == "refused" => Answer::failure(ShimCode::Unimplemented, "no sandboxes"),
        "StartSandbox" if id == "bad" => Answer::failure(ShimCode::Internal, "it does not start"),
        "StartSandbox" => Answer::success(&shim::StartSandboxResponse {
            pid: 42,
            created_at: Some(Timestamp { seconds: 7, nanos: 0 }),
            ..Default::default()
        }),
        "Platform" => Answer::success(&shim::PlatformResponse {
            platform: Some(Platform { os: "linux".into(), ..Default::default() }),
        }),
        "WaitSandbox" => Answer::success(&shim::WaitSandboxResponse { exit_status: 3, exited_at: None }),
        "SandboxStatus" => Answer::success(&shim::SandboxStatusResponse {
            sandbox_id: id,
            state: "SANDBOX_READY".into(),
            ..Default::default()
        }),
        "Create" => Answer::success(&task::CreateTaskResponse { pid: 43 }),
        _ => Answer::success(&()),
    }
}

fn create(shim: &Shim, id: &str) -> ControllerCreateRequest {
    let runtime = Some(Runtime { name: shim.program.display().to_string(), options: None });
    let spec = Some(Any { type_url: "x/Spec".into(), value: b"{\"hostname\":\"pod\"}".to_vec() });
    let sandbox = Sandbox { sandbox_id: id.into(), runtime, spec, ..Default::default() };
    ControllerCreateRequest {
        sandbox_id: id.into(),
        sandbox: Some(sandbox),
        sandboxer: "shim".into(),
        ..Default::default()
    }
}

/// The words of a call about a sandbox that has no more to say than is in these fields.
macro_rules! about {
    ($message:ident, $id:expr $(, $field:ident)*) => {
        within($message { sandbox_id: $id.into(), sandboxer: "shim".into(), $($field: Default::default()),* })
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_in_a_sandbox_are_its_shims() {
    let served = Served::open().await;
    let shim = Shim::new(&served);
    let channel = served.channel().await;
    let mut sandboxes = ControllerClient::new(channel.clone());
    let mut tasks = TasksClient::new(channel.clone());
    let mut events = EventsClient::new(channel.clone());
    let mut events = events.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    sandboxes.create(within(create(&shim, "pod"))).await.unwrap();
    let started = sandboxes.start(about!(ControllerStartRequest, "pod")).await.unwrap().into_inner();
    let address = format!("ttrpc+unix://{}", served.directory.path().join("shim.sock").display());
    assert_eq!((started.pid, started.version, &started.address), (42, 3, &address));
    assert_eq!((shim.calls(), shim.starts()), (vec!["CreateSandbox".into(), "StartSandbox".into()], 1));
    let state = served.directory.path().join("state");
    let spec = state.join("io.containerd.sandbox.controller.v1.shim/one/pod/config.json");
    assert_eq!(fs::read_to_string(&spec).unwrap(), "{\"hostname\":\"pod\"}");
    let runtime = Some(container::Runtime { name: "io.containerd.runc.v2".into(), options: None });
    let container = Container {
        id: "box".into(),
        sandbox: "pod".into(),
        runtime,
        spec: Some(Any { type_url: "x/Spec".into(), value: b"{}".to_vec() }),
        ..Default::default()
    };
    let create_container = CreateContainerRequest { container: Some(container) };
    ContainersClient::new(channel).create(within(create_container)).await.unwrap();
    let message = CreateTaskRequest { container_id: "box".into(), ..Default::default() };
    assert_eq!(tasks.create(within(message)).await.unwrap().into_inner().pid, 43);
    assert_eq!((shim.calls(), shim.starts()), (vec!["Create".into()], 1), "no other shim was started");
    let bundle = state.join("io.containerd.runtime.v2.task/one/box");
    assert_eq!(fs::read_to_string(bundle.join("sandbox")).unwrap(), "pod");
    tasks.delete(within(DeleteTaskRequest { container_id: "box".into() })).await.unwrap();
    assert_eq!(shim.calls(), ["Delete"], "the shim goes on");
    assert!(!bundle.exists());
    let ended = sandboxes.wait(about!(ControllerWaitRequest, "pod")).await.unwrap().into_inner();
    assert_eq!(ended.exit_status, 3);
    let platform = sandboxes.platform(about!(ControllerPlatformRequest, "pod")).await.unwrap().into_inner();
    assert_eq!(platform.platform.unwrap().os, "linux");
    let status =
        sandboxes.status(about!(ControllerStatusRequest, "pod", verbose)).await.unwrap().into_inner();
    assert_eq!((status.state.as_str(), status.address), ("SANDBOX_READY", address));
    sandboxes.stop(about!(ControllerStopRequest, "pod", timeout_secs)).await.unwrap();
    sandboxes.shutdown(about!(ControllerShutdownRequest, "pod")).await.unwrap();
    let calls = ["WaitSandbox", "Platform", "SandboxStatus", "StopSandbox", "ShutdownSandbox", "Shutdown"];
    assert_eq!(shim.calls(), calls);
    assert!(!spec.exists());
    let mut topics = Vec::new();
    while topics.len() < 4 {
        topics.push(events.next().await.unwrap().unwrap().topic);
    }
    assert_eq!(topics, ["/sandboxes/create", "/sandboxes/start", "/containers/create", "/sandboxes/exit"]);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_found_by_the_next_daemon_and_lost_with_its_shim() {
    let mut served = Served::open().await;
    let shim = Shim::new(&served);
    let mut sandboxes = ControllerClient::new(served.channel().await);
    sandboxes.create(within(create(&shim, "pod"))).await.unwrap();
    drop(sandboxes);
    served = served.again().await;
    let mut sandboxes = ControllerClient::new(served.channel().await);
    let status =
        sandboxes.status(about!(ControllerStatusRequest, "pod", verbose)).await.unwrap().into_inner();
    assert_eq!((status.state.as_str(), shim.starts()), ("SANDBOX_READY", 1));
    sandboxes.shutdown(about!(ControllerShutdownRequest, "pod")).await.unwrap();
    sandboxes.create(within(create(&shim, "gone"))).await.unwrap();
    fs::remove_file(served.directory.path().join("shim.sock")).unwrap();
    drop(sandboxes);
    served = served.again().await;
    let mut sandboxes = ControllerClient::new(served.channel().await);
    let status =
        sandboxes.status(about!(ControllerStatusRequest, "gone", verbose)).await.unwrap().into_inner();
    assert_eq!((status.state.as_str(), status.address.as_str()), ("", ""));
    let all = served.directory.path().join("state/io.containerd.sandbox.controller.v1.shim/one");
    assert_eq!(fs::read_dir(all).unwrap().count(), 0);
    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_sandbox_is_told_in_containerds_words() {
    let served = Served::open().await;
    let shim = Shim::new(&served);
    let mut sandboxes = ControllerClient::new(served.channel().await);
    let mut failed = async |request: ControllerCreateRequest| told(sandboxes.create(within(request)).await);
    let named = |id: &str| create(&shim, id);
    let other = ControllerCreateRequest { sandboxer: "podsandbox".into(), ..named("a") };
    let text = "not found: failed to get sandbox controller by podsandbox";
    assert_eq!(failed(other).await, (Code::NotFound, text.to_owned()));
    let text = "invalid task id a/b: identifier \"a/b\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument";
    assert_eq!(failed(named("a/b")).await, (Code::InvalidArgument, text.to_owned()));
    let mut missing = named("a");
    missing.sandbox.as_mut().unwrap().runtime.as_mut().unwrap().name = "io.containerd.none.v1".into();
    let (code, text) = failed(missing).await;
    assert_eq!(code, Code::Unknown);
    assert!(text.starts_with("failed to start new shim for sandbox a: failed to resolve runtime path: runtime \"io.containerd.none.v1\" binary not installed"), "{text}");
    let (code, text) = failed(ControllerCreateRequest { sandbox: None, ..named("a") }).await;
    assert_eq!((code, text.as_str()), (Code::NotFound, "bucket \"a\" not found: not found"));
    let (code, text) = failed(named("refused")).await;
    assert_eq!(code, Code::Unimplemented);
    assert!(text.starts_with("failed to create sandbox refused: no sandboxes"), "{text}");
    let (mut one, mut other) = (sandboxes.clone(), sandboxes.clone());
    let (first, second) = tokio::join!(one.create(within(named("a"))), other.create(within(named("a"))));
    let failures: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
    assert_eq!(failures.len(), 1);
    let told_of = (failures[0].code(), failures[0].message());
    assert_eq!(told_of, (Code::AlreadyExists, "sandbox a already running: already exists"));
    sandboxes.create(within(named("bad"))).await.unwrap();
    let (code, text) = told(sandboxes.start(about!(ControllerStartRequest, "bad")).await);
    assert_eq!((code, text.as_str()), (Code::Internal, "failed to start sandbox bad: it does not start"));
    let found = told(sandboxes.start(about!(ControllerStartRequest, "bad")).await);
    assert_eq!(found, (Code::Unknown, "unable to find sandbox \"bad\"".to_owned()), "it was removed");
    let nothing = (Code::NotFound, "not found".to_owned());
    assert_eq!(told(sandboxes.wait(about!(ControllerWaitRequest, "no")).await), nothing);
    assert_eq!(told(sandboxes.shutdown(about!(ControllerShutdownRequest, "no")).await), nothing);
    assert_eq!(told(sandboxes.metrics(about!(ControllerMetricsRequest, "no")).await), nothing);
    sandboxes.stop(about!(ControllerStopRequest, "no", timeout_secs)).await.unwrap();
    let status = sandboxes.status(about!(ControllerStatusRequest, "no", verbose)).await.unwrap().into_inner();
    assert_eq!(status.created_at.unwrap().seconds, -62_135_596_800);
    let nil = told(sandboxes.update(about!(ControllerUpdateRequest, "a", sandbox, fields)).await);
    assert_eq!(nil, (Code::Unknown, "sandbox can not be nil".to_owned()));
    let update = ControllerUpdateRequest { sandbox: Some(Sandbox::default()), ..Default::default() };
    assert_eq!(told(sandboxes.update(within(update)).await).0, Code::Unimplemented);
    sandboxes.shutdown(about!(ControllerShutdownRequest, "a")).await.unwrap();

    served.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_a_killed_daemon_had_not_noted_is_ended() {
    let served = Served::open().await;
    let shim = Shim::new(&served);
    let (state, socket) = (served.directory.path().join("state"), served.directory.path().join("shim.sock"));
    let bundles = ["io.containerd.sandbox.controller.v1.shim", "io.containerd.runtime.v2.task"]
        .map(|kind| state.join(kind).join("one/pod"));
    for bundle in &bundles {
        fs::create_dir_all(bundle).unwrap();
        fs::write(bundle.join("address"), format!("unix://{}", socket.display())).unwrap();
    }
    let served = served.again().await;
    assert_eq!(shim.calls(), ["Shutdown", "Shutdown"]);
    assert!(bundles.iter().all(|bundle| !bundle.exists()));
    served.close().await;
}
