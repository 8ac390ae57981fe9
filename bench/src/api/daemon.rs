//! A daemon that speaks containerd's API, and containers in it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use grpc::containers::container::Runtime;
use grpc::containers::containers_client::ContainersClient;
use grpc::containers::{Container, CreateContainerRequest, DeleteContainerRequest, ListContainersRequest};
use grpc::events::events_client::EventsClient;
use grpc::events::{PublishRequest, SubscribeRequest};
use grpc::snapshots::snapshots_client::SnapshotsClient;
use grpc::snapshots::{Info, Kind, ListSnapshotsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest};
use grpc::tasks::tasks_client::TasksClient;
use grpc::tasks::{
    CreateTaskRequest, DeleteTaskRequest, KillRequest, ListTasksRequest, StartRequest, WaitRequest,
};
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

const NAMESPACE: &str = "default";
const SNAPSHOTTER: &str = "overlayfs";
const RUNTIME: &str = "io.containerd.runc.v2";
const SIGKILL: u32 = 9;
/// Topic of what is said to be heard.
const ECHO: &str = "/bench/echo";
/// Between two of them, and longer than one takes.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
type Service =
    InterceptedService<Channel, fn(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status>>;

/// A connection.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    channel: Channel,
    /// The image's topmost snapshot.
    image: String,
    /// The runtime's document, of which every container has a copy.
    spec: Value,
    /// Control group of all containers.
    cgroup: String,
}

fn in_namespace(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    Ok(request)
}

impl Daemon {
    /// Connects to `socket`; the daemon has one image.
    pub(crate) async fn connect(
        name: &str,
        socket: &str,
        spec: Value,
        cgroup: &str,
    ) -> Result<Daemon, Failure> {
        let channel = Endpoint::from_shared(format!("unix://{socket}"))?.connect().await?;
        let (name, cgroup) = (name.to_owned(), cgroup.to_owned());
        let mut daemon = Daemon { name, channel, image: String::new(), spec, cgroup };
        daemon.image = daemon.topmost().await?;
        Ok(daemon)
    }

    fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), in_namespace)
    }

    fn tasks(&self) -> TasksClient<Service> {
        TasksClient::new(self.service())
    }

    fn containers(&self) -> ContainersClient<Service> {
        ContainersClient::new(self.service())
    }

    fn snapshots(&self) -> SnapshotsClient<Service> {
        SnapshotsClient::new(self.service())
    }

    async fn topmost(&self) -> Result<String, Failure> {
        let request = ListSnapshotsRequest { snapshotter: SNAPSHOTTER.into(), filters: Vec::new() };
        let mut stream = self.snapshots().list(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = stream.message().await? {
            all.extend(answer.info);
        }
        let is_committed = |one: &&Info| one.kind() == Kind::Committed;
        let is_parent = |name: &str| all.iter().filter(is_committed).any(|other| other.parent == name);
        let top = all.iter().filter(is_committed).find(|one| !is_parent(&one.name));
        Ok(top.ok_or("there is no image")?.name.clone())
    }

    /// Makes container `id` and starts `words` in it.
    pub(crate) async fn start(&self, id: &str, words: &[&str]) -> Result<(), Failure> {
        let rootfs = self.prepare(id).await?;
        let mut spec = self.spec.clone();
        spec["process"]["args"] = json!(words);
        spec["linux"]["cgroupsPath"] = format!("{}/{id}", self.cgroup).into();
        let container = Container {
            id: id.into(),
            spec: Some(api::any::pack_json(api::any::SPEC, &spec)?),
            runtime: Some(Runtime { name: RUNTIME.into(), options: None }),
            snapshotter: SNAPSHOTTER.into(),
            snapshot_key: id.into(),
            ..Container::default()
        };
        self.containers().create(CreateContainerRequest { container: Some(container) }).await?;
        let request = CreateTaskRequest { container_id: id.into(), rootfs, ..CreateTaskRequest::default() };
        self.tasks().create(request).await?;
        self.tasks().start(StartRequest { container_id: id.into(), exec_id: String::new() }).await?;
        Ok(())
    }

    async fn prepare(&self, id: &str) -> Result<Vec<api::types::Mount>, Failure> {
        let request = PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.into(),
            key: id.into(),
            parent: self.image.clone(),
            // Until its container refers to it, it is garbage otherwise.
            labels: HashMap::from([("containerd.io/gc.root".into(), "bench".into())]),
        };
        Ok(self.snapshots().prepare(request).await?.into_inner().mounts)
    }

    /// Waits for the end of container `id` and deletes all of it.
    pub(crate) async fn finish(&self, id: &str) -> Result<(), Failure> {
        self.tasks().wait(WaitRequest { container_id: id.into(), exec_id: String::new() }).await?;
        self.tasks().delete(DeleteTaskRequest { container_id: id.into() }).await?;
        // The snapshot goes first: what no container refers to is garbage.
        let request = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.into(), key: id.into() };
        self.snapshots().remove(request).await?;
        self.containers().delete(DeleteContainerRequest { id: id.into() }).await?;
        Ok(())
    }

    /// Kills what runs in container `id`.
    pub(crate) async fn kill(&self, id: &str) -> Result<(), Failure> {
        let request = KillRequest { container_id: id.into(), signal: SIGKILL, ..KillRequest::default() };
        self.tasks().kill(request).await?;
        Ok(())
    }

    /// All containers' ids.
    pub(crate) async fn list(&self) -> Result<Vec<String>, Failure> {
        let answer = self.containers().list(ListContainersRequest::default()).await?.into_inner();
        Ok(answer.containers.into_iter().map(|container| container.id).collect())
    }

    /// Number of tasks that run.
    pub(crate) async fn running(&self) -> Result<usize, Failure> {
        let answer = self.tasks().list(ListTasksRequest::default()).await?.into_inner();
        Ok(answer.tasks.iter().filter(|task| task.status() == api::task::Status::Running).count())
    }

    /// Says something `count` times; how long each took until it was heard, in ms.
    pub(crate) async fn echo(&self, count: usize) -> Result<Vec<f64>, Failure> {
        let request = SubscribeRequest { filters: vec![format!("topic==\"{ECHO}\"")] };
        let mut client = EventsClient::new(self.service());
        // A Go server answers a subscription with its first event.
        let subscribed = tokio::spawn(async move { client.subscribe(request).await });
        while !subscribed.is_finished() {
            self.say().await?;
            tokio::time::sleep(PAUSE).await;
        }
        let mut heard = subscribed.await??.into_inner();
        while let Ok(early) = tokio::time::timeout(PAUSE, heard.message()).await {
            early?;
        }
        let mut times = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            self.say().await?;
            heard.message().await?.ok_or("the events ended")?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(PAUSE).await;
        }
        Ok(times)
    }

    async fn say(&self) -> Result<(), Failure> {
        let event = prost_types::Any { type_url: "bench.Echo".into(), value: Vec::new() };
        let request = PublishRequest { topic: ECHO.into(), event: Some(event) };
        EventsClient::new(self.service()).publish(request).await?;
        Ok(())
    }
}
