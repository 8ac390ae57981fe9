//! Tasks of containerd's clients, in shims that were started for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use api::code::Code;
use api::events::{TaskDelete, TaskExit};
use api::task::{KillRequest, StartRequest, StartResponse, WaitRequest, WaitResponse};
use api::types::Mount;
use engine::exchange::{Envelope, Subscription};
use engine::runtimes::{NewTask, Runtimes, Task, forward, ttrpc_address};
use oci::runtime_spec::{Linux, Namespace, NamespaceKind, Process, Root, Spec};
use tokio::net::UnixListener;

use crate::host::Host;

const RUNTIME: &str = "io.containerd.runc.v2";

/// A task that runs `script` in a busybox of its own.
fn new_task(host: &Host, id: &str, script: &str) -> NewTask {
    let image = host.root().join("task-image");
    fs::create_dir_all(image.join("bin")).unwrap();
    fs::create_dir_all(image.join("proc")).unwrap();
    // One that runs cannot be written.
    if !image.join("bin/busybox").exists() {
        fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
    }
    for applet in ["sh", "sleep", "echo"] {
        drop(symlink("busybox", image.join("bin").join(applet)));
    }
    let kinds = [NamespaceKind::Pid, NamespaceKind::Mount, NamespaceKind::Ipc];
    let spec = Spec {
        oci_version: "1.1.0".into(),
        process: Some(Process {
            args: ["sh", "-c", script].map(str::to_owned).into(),
            cwd: "/".into(),
            env: vec!["PATH=/bin".into()],
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), ..Root::default() }),
        linux: Some(Linux {
            namespaces: kinds.map(|kind| Namespace { kind, path: None }).into(),
            // Beside the engine's own: what is below its parent and not known to it is killed.
            cgroups_path: format!("{}-{id}", host.cgroup_parent()),
            ..Linux::default()
        }),
        ..Spec::default()
    };
    let mount = Mount {
        r#type: "bind".into(),
        source: image.display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Mount::default()
    };
    NewTask {
        runtime: RUNTIME.into(),
        spec: api::any::pack_json(api::any::SPEC, &spec).unwrap(),
        rootfs: vec![mount],
        ..NewTask::default()
    }
}

/// Serves what shims publish, as the daemon does.
fn publish(host: &Host) -> Subscription {
    let address = ttrpc_address(&host.state().join("corten.sock"));
    drop(fs::remove_file(&address));
    let exchange = host.opened().exchange().clone();
    tokio::spawn(forward::serve(UnixListener::bind(address).unwrap(), exchange));
    host.opened().exchange().subscribe()
}

async fn next(events: &mut Subscription) -> Arc<Envelope> {
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, events.next()).await.expect("an event comes").unwrap()
}

async fn start(task: &Task) -> u32 {
    let request = StartRequest { id: task.id().into(), exec_id: String::new() };
    task.call::<_, StartResponse>("Start", &request).await.unwrap().pid
}

async fn wait(task: &Task) -> u32 {
    let request = WaitRequest { id: task.id().into(), exec_id: String::new() };
    task.call::<_, WaitResponse>("Wait", &request).await.unwrap().exit_status
}

async fn create(runtimes: &Arc<Runtimes>, host: &Host, id: &str, script: &str) -> Arc<Task> {
    let pid = runtimes.create("here", id, new_task(host, id, script)).await.unwrap();
    assert_ne!(pid, 0);
    runtimes.get("here", id).unwrap()
}

fn nothing_is_left(host: &Host) {
    let bundles = host.state().join("io.containerd.runtime.v2.task/here");
    let left: Vec<_> = fs::read_dir(&bundles).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bundles.to_str().unwrap()), "{mounts}");
}

#[test]
fn a_task_lives_from_creation_to_deletion_and_its_shim_says_so() {
    let mut host = Host::new();
    host.phase(async |host| {
        let mut events = publish(host);
        let runtimes = host.opened().runtimes();
        let task = create(runtimes, host, "one", "exit 7").await;
        let twice = runtimes.create("here", "one", new_task(host, "one", "true")).await.unwrap_err();
        assert_eq!(
            (twice.code(), twice.to_string().as_str()),
            (Code::AlreadyExists, "task one: already exists")
        );
        assert_eq!(start(&task).await, task.pid());
        assert_eq!(wait(&task).await, 7);
        let deleted = runtimes.delete(&task).await.unwrap();
        assert_eq!((deleted.pid, deleted.exit_status), (task.pid(), 7));
        let mut topics = Vec::new();
        while topics.last().is_none_or(|topic| topic != "/tasks/delete") {
            let event = next(&mut events).await;
            assert_eq!(event.namespace, "here");
            topics.push(event.topic.clone());
        }
        assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
        let gone = runtimes.get("here", "one").unwrap_err();
        assert_eq!((gone.code(), gone.to_string().as_str()), (Code::NotFound, "task one not found"));
        nothing_is_left(host);
    });
    host.finish();
}

#[test]
fn a_task_that_cannot_be_made_leaves_nothing() {
    let mut host = Host::new();
    host.phase(async |host| {
        let runtimes = host.opened().runtimes();
        let nothing = Mount { source: "/nonexistent".into(), ..new_task(host, "one", "").rootfs.remove(0) };
        let new = NewTask { rootfs: vec![nothing], ..new_task(host, "one", "true") };
        runtimes.create("here", "one", new).await.unwrap_err();
        let new = NewTask { runtime: "io.containerd.nobody.v9".into(), ..new_task(host, "one", "true") };
        let error = runtimes.create("here", "one", new).await.unwrap_err();
        assert!(error.to_string().contains("containerd-shim-nobody-v9"), "{error}");
        let new = NewTask { runtime: "/bin/false".into(), ..new_task(host, "one", "true") };
        let error = runtimes.create("here", "one", new).await.unwrap_err();
        assert!(error.to_string().contains("failed to start shim"), "{error}");
        nothing_is_left(host);
        // The place is free again.
        let task = create(runtimes, host, "one", "true").await;
        start(&task).await;
        wait(&task).await;
        runtimes.delete(&task).await.unwrap();
    });
    host.finish();
}

#[test]
fn a_lost_shim_is_cleaned_up_and_told_in_its_place() {
    let mut host = Host::new();
    host.phase(async |host| {
        let mut events = publish(host);
        let runtimes = host.opened().runtimes();
        let task = create(runtimes, host, "one", "sleep 1000").await;
        start(&task).await;
        let shim = parent(task.pid());
        while next(&mut events).await.topic != "/tasks/start" {}
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(shim).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        let exit = next(&mut events).await;
        let exit: TaskExit = api::any::unpack(&exit.event).unwrap().unwrap();
        assert_eq!((exit.id.as_str(), exit.exit_status), ("one", 137));
        let deletion = next(&mut events).await;
        let deletion: TaskDelete = api::any::unpack(&deletion.event).unwrap().unwrap();
        assert_eq!(deletion.container_id, "one");
        assert_eq!(runtimes.get("here", "one").unwrap_err().code(), Code::NotFound);
        // Who has it now may take his time to reap it.
        let status = fs::read_to_string(format!("/proc/{}/status", task.pid())).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "its process is gone, too: {status}");
        nothing_is_left(host);
    });
    host.finish();
}

#[test]
fn the_next_daemon_finds_the_task_and_buries_what_died_meanwhile() {
    let mut host = Host::new();
    let mut shims = Vec::new();
    host.phase(async |host| {
        let _events = publish(host);
        let runtimes = host.opened().runtimes();
        for id in ["stays", "dies"] {
            let task = create(runtimes, host, id, "sleep 1000").await;
            start(&task).await;
            shims.push(parent(task.pid()));
        }
    });
    let dies = rustix::process::Pid::from_raw(shims[1]).unwrap();
    rustix::process::kill_process(dies, rustix::process::Signal::KILL).unwrap();
    host.phase(async |host| {
        let _events = publish(host);
        let runtimes = host.opened().runtimes();
        let found: Vec<String> =
            runtimes.list(Some("here")).iter().map(|task| task.id().to_owned()).collect();
        assert_eq!(found, ["stays"]);
        let task = runtimes.get("here", "stays").unwrap();
        let kill = KillRequest { id: "stays".into(), signal: 9, ..KillRequest::default() };
        task.call::<_, ()>("Kill", &kill).await.unwrap();
        assert_eq!(wait(&task).await, 137);
        runtimes.delete(&task).await.unwrap();
        nothing_is_left(host);
    });
    host.finish();
}

/// The process that has `pid` as its child.
fn parent(pid: u32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}
