//! Sandboxes of containerd's clients, by containerd's own client. That of 1.6 knows none.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tests::host::{Host, PATIENCE, path_text};
use tests::peers::{Ctr, ctrs};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// What a sandbox is made of, and the words that make it.
fn run(host: &Host, id: &str) -> Vec<String> {
    let pod = host.path().join("pod.json");
    fs::write(&pod, r#"{"ociVersion":"1.0.2","hostname":"pod"}"#).expect("it is written");
    ["sandboxes", "run", path_text(&pod), id].map(str::to_owned).into()
}

/// Starts a container in a sandbox.
fn start_in(ctr: &Ctr<'_>, sandbox: &str, id: &str) {
    ctr.ok(&ctr.container("default", &["-d", "--sandbox", sandbox, BUSYBOX], id, &["sleep", "1000"]));
}

/// What `tasks ls` says of each task.
fn tasks(ctr: &Ctr<'_>) -> Vec<(String, String)> {
    ctr.table(&["tasks", "ls"]).into_iter().map(|words| (words[0].clone(), words[2].clone())).collect()
}

fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The bundle of a sandbox.
fn bundle(host: &Host, id: &str) -> PathBuf {
    host.state().join("io.containerd.sandbox.controller.v1.shim/default").join(id)
}

/// The process that serves a sandbox.
fn shim_of(host: &Host, id: &str) -> i32 {
    let is_it = |arguments: &[u8]| {
        let words: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
        let address = host.state().join("corten.sock");
        words.contains(&path_text(&address).as_bytes())
            && words.windows(2).any(|pair| pair == [&b"-id"[..], id.as_bytes()])
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found =
        pids.filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is_it(&line)));
    found.next().expect("a shim runs")
}

#[test]
fn ctr_runs_a_sandbox_and_what_is_in_it_ends_with_it() {
    let host = Host::start();
    let [_, ctr] = ctrs(&host);
    assert_eq!(ctr.ok(&run(&host, "pod")), "pod");
    ctr.fails(&run(&host, "pod"), "already exists");
    let sandboxes = ctr.table(&["sandboxes", "ls"]).concat();
    assert_eq!(
        (sandboxes[0].as_str(), sandboxes.last().map(String::as_str)),
        ("pod", Some("io.containerd.runc.v2"))
    );
    ctr.fails(
        &ctr.container("default", &["--sandbox", "none", BUSYBOX], "no", &["true"]),
        "can't find sandbox none",
    );
    start_in(&ctr, "pod", "one");
    start_in(&ctr, "pod", "two");
    ctr.ok(&ctr.container("default", &["-d", BUSYBOX], "other", &["sleep", "1000"]));
    ctr.fails(&run(&host, "other"), "already running");
    assert!(tasks(&ctr).iter().all(|(_, status)| status == "RUNNING"));
    ctr.ok(&["tasks", "kill", "-s", "KILL", "two"]);
    eventually("it ends", || tasks(&ctr).contains(&("two".into(), "STOPPED".into())));
    ctr.ok(&["tasks", "rm", "two"]);
    assert!(bundle(&host, "pod").exists(), "the sandbox stays when a task in it goes");
    let removed = ctr.run(&["sandboxes", "rm", "pod"]);
    assert!(removed.stderr.contains("deleted: pod"), "{removed:?}");
    eventually("its task ends with it", || tasks(&ctr).contains(&("one".into(), "STOPPED".into())));
    assert!(tasks(&ctr).contains(&("other".into(), "RUNNING".into())), "who is not in it is left alone");
    assert!(!bundle(&host, "pod").exists() && ctr.table(&["sandboxes", "ls"]).len() == 1);
    for id in ["one", "other"] {
        ctr.ok(&["tasks", "rm", "-f", id]);
    }
}

#[test]
fn a_sandbox_outlives_the_daemon_and_is_gone_with_its_shim() {
    let mut host = Host::start();
    {
        let [_, ctr] = ctrs(&host);
        ctr.ok(&run(&host, "pod"));
        ctr.ok(&run(&host, "lost"));
        ctr.ok(&run(&host, "late"));
        start_in(&ctr, "pod", "one");
        start_in(&ctr, "lost", "two");
        start_in(&ctr, "late", "three");
    }
    host.kill_daemon();
    let late = rustix::process::Pid::from_raw(shim_of(&host, "late")).expect("a process");
    rustix::process::kill_process(late, rustix::process::Signal::KILL).expect("it is killed");
    host.start_daemon();
    let [_, ctr] = ctrs(&host);
    let stopped = |id: &str| tasks(&ctr).contains(&(id.to_owned(), "STOPPED".to_owned()));
    eventually("what was in it ended", || stopped("three"));
    assert!(!bundle(&host, "late").exists());
    assert!(tasks(&ctr).contains(&("one".into(), "RUNNING".into())));
    let lost = rustix::process::Pid::from_raw(shim_of(&host, "lost")).expect("a process");
    rustix::process::kill_process(lost, rustix::process::Signal::KILL).expect("it is killed");
    eventually("a lost sandbox ends what is in it", || stopped("two") && !bundle(&host, "lost").exists());
    ctr.fails(
        &ctr.container("default", &["--sandbox", "lost", BUSYBOX], "no", &["true"]),
        "can't find sandbox lost",
    );
    for id in ["pod", "lost", "late"] {
        let removed = ctr.run(&["sandboxes", "rm", "-f", id]);
        assert!(removed.stderr.contains(&format!("deleted: {id}")), "{removed:?}");
    }
    eventually("the task ended with its sandbox", || stopped("one"));
    ctr.ok(&run(&host, "pod"));
    let removed = ctr.run(&["sandboxes", "rm", "pod"]);
    assert!(removed.stderr.contains("deleted: pod"), "{removed:?}");
    for id in ["one", "two", "three"] {
        ctr.ok(&["tasks", "rm", id]);
    }
}

#[test]
fn of_many_who_make_a_sandbox_at_once_one_does() {
    let host = Host::empty();
    let [_, ctr] = ctrs(&host);
    let made: Vec<bool> = thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(|| ctr.run(&run(&host, "pod")).code == 0)).collect();
        all.into_iter().map(|one| one.join().expect("it ends")).collect()
    });
    assert_eq!(made.iter().filter(|is_made| **is_made).count(), 1, "{made:?}");
    let removed: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| ctr.run(&["sandboxes", "rm", "pod"]).stderr)).collect();
        all.into_iter().map(|one| one.join().expect("it ends")).collect()
    });
    assert!(removed.iter().any(|text| text.contains("deleted: pod")), "{removed:?}");
    assert!(ctr.table(&["sandboxes", "ls"]).is_empty() && !bundle(&host, "pod").exists());
}
