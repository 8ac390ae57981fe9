//! Tasks in every wrong order, and what is told of them.

use api::types::Mount;
use grpc::containers::container::Runtime;
use grpc::containers::containers_client::ContainersClient;
use grpc::containers::{Container, CreateContainerRequest, DeleteContainerRequest};
use grpc::events::PublishRequest;
use grpc::events::events_client::EventsClient;
use grpc::tasks::tasks_client::TasksClient;
use grpc::tasks::{
    CloseIoRequest, CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest,
    GetRequest, KillRequest, ListPidsRequest, ListTasksRequest, MetricsRequest, PauseTaskRequest,
    ResizePtyRequest, ResumeTaskRequest, StartRequest, UpdateTaskRequest, WaitRequest,
};
use prost_types::Any;
use serde_json::{Value, json};
use tests::host::{fixture, path_text};

use super::talk::{Side, Talk, say, survive};

/// What runs: it ends when it is told to.
const WORDS: [&str; 3] = ["sh", "-c", "trap 'exit 3' TERM; while true; do sleep 0.01; done"];

fn process(words: &[&str]) -> Value {
    json!({"user": {"uid": 0, "gid": 0}, "args": words, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true})
}

fn document(side: &Side, id: &str) -> Value {
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.1.0",
        "process": process(&WORDS),
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        "linux": {"cgroupsPath": format!("{}/{id}", side.cgroup), "namespaces": namespaces},
    })
}

/// Unpacks a root file system for all tasks.
fn root(talk: &Talk) -> Vec<Mount> {
    let root = talk.folder().join("rootfs");
    std::fs::create_dir(&root).expect("a folder");
    let tar = std::process::Command::new("tar")
        .arg("-xf")
        .arg(fixture("busybox.tar"))
        .arg("-C")
        .arg(&root)
        .status();
    assert!(tar.expect("tar runs").success());
    let options = vec!["rbind".to_owned(), "ro".to_owned()];
    vec![Mount { r#type: "bind".into(), source: path_text(&root).into(), options, ..Mount::default() }]
}

/// Both have a container of that id.
async fn container(talk: &Talk, id: &str) {
    for side in talk.sides() {
        let container = Container {
            id: id.into(),
            runtime: Some(Runtime { name: "io.containerd.runc.v2".into(), options: None }),
            spec: Some(api::any::pack_json(api::any::SPEC, &document(&side, id)).expect("JSON")),
            ..Container::default()
        };
        let request = CreateContainerRequest { container: Some(container) };
        ContainersClient::new(talk.service(&side)).create(request).await.expect("it is made");
    }
}

pub(crate) async fn tasks(talk: &mut Talk) {
    type Client<T> = TasksClient<T>;
    talk.within("");
    say!(talk, "tasks: without a namespace", Client, list, ListTasksRequest::default());
    talk.within("red");
    let rootfs = root(talk);
    let id = "box".to_owned();
    let create = |id: &str| CreateTaskRequest {
        container_id: id.into(),
        rootfs: rootfs.clone(),
        ..CreateTaskRequest::default()
    };
    let start = |exec: &str| StartRequest { container_id: id.clone(), exec_id: exec.into() };
    let kill = |exec: &str, signal| KillRequest {
        container_id: id.clone(),
        exec_id: exec.into(),
        signal,
        all: false,
    };
    let get = |exec: &str| GetRequest { container_id: id.clone(), exec_id: exec.into() };
    let wait = |exec: &str| WaitRequest { container_id: id.clone(), exec_id: exec.into() };
    let delete = || DeleteTaskRequest { container_id: id.clone() };
    say!(talk, "tasks: create without a container", Client, create, create("box"));
    say!(talk, "tasks: get without a container", Client, get, get(""));
    container(talk, "box").await;
    say!(talk, "tasks: start none", Client, start, start(""));
    say!(talk, "tasks: kill none", Client, kill, kill("", 15));
    say!(talk, "tasks: wait for none", Client, wait, wait(""));
    say!(talk, "tasks: delete none", Client, delete, delete());
    say!(talk, "tasks: create", Client, create, create("box"));
    say!(talk, "tasks: create again", Client, create, create("box"));
    say!(talk, "tasks: get a created one", Client, get, get(""));
    say!(talk, "tasks: pause a created one", Client, pause, PauseTaskRequest { container_id: id.clone() });
    say!(talk, "tasks: start", Client, start, start(""));
    say!(talk, "tasks: start again", Client, start, start(""));
    say!(talk, "tasks: get", Client, get, get(""));
    say!(talk, "tasks: list", Client, list, ListTasksRequest::default());
    say!(talk, "tasks: delete a running one", Client, delete, delete());
    say!(talk, "tasks: pause", Client, pause, PauseTaskRequest { container_id: id.clone() });
    say!(talk, "tasks: get a paused one", Client, get, get(""));
    say!(talk, "tasks: resume", Client, resume, ResumeTaskRequest { container_id: id.clone() });
    say!(talk, "tasks: resume again", Client, resume, ResumeTaskRequest { container_id: id.clone() });
    say!(
        talk,
        "tasks: processes of none",
        Client,
        list_pids,
        ListPidsRequest { container_id: "none".into() }
    );
    let size = |exec: &str| ResizePtyRequest {
        container_id: id.clone(),
        exec_id: exec.into(),
        width: 80,
        height: 25,
    };
    say!(talk, "tasks: resize one without a terminal", Client, resize_pty, size(""));
    say!(
        talk,
        "tasks: close its input",
        Client,
        close_io,
        CloseIoRequest { container_id: id.clone(), exec_id: String::new(), stdin: true }
    );
    survive!(
        talk,
        Client,
        update,
        UpdateTaskRequest { container_id: id.clone(), ..UpdateTaskRequest::default() }
    );
    let metrics = |filter: &str| MetricsRequest { filters: vec![filter.into()] };
    say!(talk, "tasks: metrics of none", Client, metrics, metrics("id==none"));
    execs(talk, &id).await;
    say!(talk, "tasks: kill with a bad signal", Client, kill, kill("", 500));
    say!(talk, "tasks: kill", Client, kill, kill("", 15));
    say!(talk, "tasks: wait", Client, wait, wait(""));
    say!(talk, "tasks: wait again", Client, wait, wait(""));
    say!(talk, "tasks: kill one that has ended", Client, kill, kill("", 9));
    say!(talk, "tasks: get one that has ended", Client, get, get(""));
    say!(
        talk,
        "tasks: pause one that has ended",
        Client,
        pause,
        PauseTaskRequest { container_id: id.clone() }
    );
    say!(talk, "tasks: delete", Client, delete, delete());
    say!(talk, "tasks: delete again", Client, delete, delete());
    say!(talk, "tasks: list none", Client, list, ListTasksRequest::default());
    say!(
        talk,
        "tasks: delete the container",
        ContainersClient,
        delete,
        DeleteContainerRequest { id: id.clone() }
    );
}

async fn execs(talk: &mut Talk, id: &str) {
    type Client<T> = TasksClient<T>;
    let exec = |exec: &str, words: &[&str]| ExecProcessRequest {
        container_id: id.into(),
        exec_id: exec.into(),
        spec: Some(api::any::pack_json(api::any::PROCESS, &process(words)).expect("JSON")),
        ..ExecProcessRequest::default()
    };
    let start = |exec: &str| StartRequest { container_id: id.into(), exec_id: exec.into() };
    let get = |exec: &str| GetRequest { container_id: id.into(), exec_id: exec.into() };
    let wait = |exec: &str| WaitRequest { container_id: id.into(), exec_id: exec.into() };
    let kill =
        |exec: &str| KillRequest { container_id: id.into(), exec_id: exec.into(), signal: 9, all: false };
    let delete = |exec: &str| DeleteProcessRequest { container_id: id.into(), exec_id: exec.into() };
    say!(talk, "execs: without id", Client, exec, exec("", &["true"]));
    say!(talk, "execs: with a bad id", Client, exec, exec("a/b", &["true"]));
    survive!(talk, Client, exec, ExecProcessRequest { spec: None, ..exec("bare", &[]) });
    say!(talk, "execs: start none", Client, start, start("none"));
    say!(talk, "execs: get none", Client, get, get("none"));
    say!(talk, "execs: delete none", Client, delete_process, delete("none"));
    say!(talk, "execs: make", Client, exec, exec("x", &["sh", "-c", "exit 7"]));
    say!(talk, "execs: make again", Client, exec, exec("x", &["true"]));
    say!(talk, "execs: get one that was made", Client, get, get("x"));
    say!(talk, "execs: kill one that does not run", Client, kill, kill("x"));
    say!(talk, "execs: start", Client, start, start("x"));
    say!(talk, "execs: wait", Client, wait, wait("x"));
    say!(talk, "execs: start one that has ended", Client, start, start("x"));
    say!(talk, "execs: kill one that has ended", Client, kill, kill("x"));
    say!(talk, "execs: delete", Client, delete_process, delete("x"));
    say!(talk, "execs: delete again", Client, delete_process, delete("x"));
    say!(talk, "execs: make one of nothing", Client, exec, exec("y", &["/no/such"]));
    say!(talk, "execs: start nothing", Client, start, start("y"));
    say!(talk, "execs: delete nothing", Client, delete_process, delete("y"));
}

pub(crate) async fn events(talk: &mut Talk) {
    type Client<T> = EventsClient<T>;
    let publish = |topic: &str| PublishRequest {
        topic: topic.into(),
        event: Some(Any { type_url: "conversation.Word".into(), value: Vec::new() }),
    };
    talk.within("");
    say!(talk, "events: publish without a namespace", Client, publish, publish("/a"));
    talk.within("red");
    say!(talk, "events: publish", Client, publish, publish("/a/b"));
    say!(talk, "events: publish without a topic", Client, publish, publish(""));
    say!(talk, "events: publish to a bad topic", Client, publish, publish("a"));
    say!(talk, "events: publish to a worse topic", Client, publish, publish("/a b"));
    say!(
        talk,
        "events: publish nothing",
        Client,
        publish,
        PublishRequest { topic: "/a".into(), event: None }
    );
}
