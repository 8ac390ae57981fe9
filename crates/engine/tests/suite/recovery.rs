//! An engine that is gone without a farewell, and the one that comes after it.
//!
//! The engine is "killed" by dropping the runtime that it runs on: its tasks end where they are.

use std::time::Duration;

use engine::containers::spec::RestartPolicy;
use engine::containers::{Status, WaitCondition};

use crate::host::{Host, names, with_host};

async fn status(host: &Host, container: &str) -> Status {
    host.engine().containers().inspect(container).await.unwrap().state.status
}

#[test]
fn containers_run_on_and_their_ends_are_known() {
    let mut host = Host::new();
    let mut pid = 0;
    host.phase(async |host| {
        let stays = host.run("stays", "echo before; sleep 1000").await;
        host.run("ends", "sleep 0.2; echo last words; exit 23").await;
        host.run("done", "exit 5").await;
        host.wait("done", WaitCondition::NotRunning).await;
        let brief = host.create_with("brief", "sleep 0.2", |spec| spec.auto_remove = true).await;
        host.engine().containers().start(&brief).await.unwrap();
        pid = host.engine().containers().inspect(&stays).await.unwrap().state.pid;
    });
    std::thread::sleep(Duration::from_millis(400));
    host.phase(async |host| {
        let containers = host.engine().containers();
        assert_eq!(containers.inspect("stays").await.unwrap().state.pid, pid);
        assert_eq!(status(host, "stays").await, Status::Running);
        let done = containers.inspect("done").await.unwrap().state;
        assert_eq!((done.status, done.exit_code), (Status::Exited, 5));
        assert!(done.finished_ns.is_some());
        assert_eq!(host.wait("ends", WaitCondition::NotRunning).await.code, 23);
        host.until("the one with --rm is gone", async || containers.inspect("brief").await.is_err()).await;
        containers.stop("stays", Some(0), None).await.unwrap();
        assert!(containers.start("stays").await.unwrap());
    });
    host.finish();
}

#[test]
fn what_no_row_names_is_removed() {
    let mut host = Host::new();
    host.phase(async |host| {
        host.create("kept", "true").await;
        // The parent of all control groups comes with the first run.
        host.output("true", |_| {}).await;
    });
    let stray = "ab".repeat(32);
    std::fs::create_dir_all(host.root().join("containers").join(&stray)).unwrap();
    std::fs::create_dir_all(host.state().join("bundles").join(&stray)).unwrap();
    std::fs::create_dir_all(host.state().join("shims/0123456789abcdef")).unwrap();
    let groups: Vec<_> = host.cgroups().into_iter().map(|group| group.join(&stray)).collect();
    assert!(!groups.is_empty());
    groups.iter().for_each(|group| std::fs::create_dir(group).unwrap());
    let orphan = host.root().join("volumes/orphan/_data");
    std::fs::create_dir_all(&orphan).unwrap();
    host.phase(async |host| {
        assert_eq!(names(&host.root().join("containers")).len(), 1);
        assert!(names(&host.state().join("bundles")).is_empty());
        assert!(!host.state().join("shims/0123456789abcdef").exists());
        assert!(groups.iter().all(|group| !group.exists()));
        assert!(orphan.exists(), "a volume without a row may be somebody's data");
        assert_eq!(status(host, "kept").await, Status::Created);
    });
    host.finish();
}

#[test]
fn a_lost_shim_is_noticed_and_nothing_of_it_runs_on() {
    with_host(async |host| {
        let id = host.run("orphan", "sleep 1000").await;
        let pid = host.engine().containers().inspect(&id).await.unwrap().state.pid;
        kill(parent_of(pid));
        assert_eq!(host.wait(&id, WaitCondition::NotRunning).await.code, 137);
        host.until("its process is gone", async || !std::path::Path::new(&format!("/proc/{pid}")).exists())
            .await;
        assert!(host.engine().containers().start(&id).await.unwrap());
    });
}

#[test]
fn a_shim_that_was_lost_while_no_engine_looked_is_noticed_too() {
    let mut host = Host::new();
    let mut pid = 0;
    host.phase(async |host| {
        let id = host.run("orphan", "sleep 1000").await;
        pid = host.engine().containers().inspect(&id).await.unwrap().state.pid;
    });
    kill(parent_of(pid));
    host.phase(async |host| {
        let seen = host.engine().containers().inspect("orphan").await.unwrap().state;
        assert_eq!((seen.status, seen.exit_code), (Status::Exited, 137));
        host.until("its process is gone", async || !std::path::Path::new(&format!("/proc/{pid}")).exists())
            .await;
        assert!(host.engine().containers().start("orphan").await.unwrap());
    });
    host.finish();
}

#[test]
fn policies_hold_across_engines() {
    let mut host = Host::new();
    host.phase(async |host| {
        let containers = host.engine().containers();
        let policies = [
            ("ended", "sleep 0.1; exit 1", RestartPolicy::Always),
            ("stopped", "sleep 1000", RestartPolicy::Always),
            ("rests", "sleep 1000", RestartPolicy::UnlessStopped),
        ];
        for (name, script, policy) in policies {
            host.create_with(name, script, |spec| spec.restart = policy).await;
            containers.start(name).await.unwrap();
        }
        for name in ["stopped", "rests"] {
            containers.stop(name, Some(0), None).await.unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    host.phase(async |host| {
        for name in ["ended", "stopped"] {
            host.until(name, async || status(host, name).await == Status::Running).await;
        }
        assert_eq!(status(host, "rests").await, Status::Exited);
    });
    host.finish();
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
