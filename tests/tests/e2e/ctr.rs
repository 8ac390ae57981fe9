//! `corten ctr` beside containerd's own `ctr`, on one daemon: a containerd of Debian in folders of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::host::{Outcome, PATIENCE, executable, path_text, run_with_input};

/// The machine's containerd, which both programs ask.
pub(crate) struct Containerd(tests::containerd::Containerd);

impl Containerd {
    pub(crate) fn start() -> Containerd {
        Containerd(tests::containerd::Containerd::start(Path::new("containerd"), ""))
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.socket()
    }

    pub(crate) fn ask(&self, program: &Path, before: &[&str], words: &[&str], input: &[u8]) -> Outcome {
        let mut command = Command::new(program);
        command.args(before).args(["--address", path_text(&self.socket())]).args(words);
        command.env_remove("CONTAINERD_ADDRESS").env_remove("CONTAINERD_NAMESPACE");
        run_with_input(command, input)
    }

    pub(crate) fn theirs(&self, words: &[&str]) -> Outcome {
        self.ask(Path::new("ctr"), &[], words, b"")
    }

    pub(crate) fn ours(&self, words: &[&str]) -> Outcome {
        self.ask(&executable("corten"), &["ctr"], words, b"")
    }

    /// What a command of ours prints, which succeeds.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let outcome = self.ours(words);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{words:?}");
        outcome.stdout
    }

    /// Both programs say the same, on stdout and stderr, and end with the same code.
    pub(crate) fn same(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (theirs, ours) = (self.theirs(&words), self.ours(&words));
        assert_eq!(ours.stdout, theirs.stdout, "stdout of ctr {line}");
        assert_eq!(without_time(&ours.stderr), without_time(&theirs.stderr), "stderr of ctr {line}");
        assert_eq!(ours.code, theirs.code, "code of ctr {line}");
    }
}

/// A line of the log without when it was written.
fn without_time(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("time=").and_then(|rest| rest.split_once(' ')) {
        Some((_, rest)) => format!("{rest}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A blob's digest, as `sha256sum` says it of `text`.
const BLOB: &[u8] = b"{\"a\": 1}\n";

#[test]
fn corten_ctr_says_what_containerds_ctr_says() {
    let daemon = Containerd::start();
    let stored = daemon.ask(&executable("corten"), &["ctr"], &["content", "ingest", "blob"], BLOB);
    assert_eq!((stored.code, stored.stderr.as_str()), (0, ""));
    let digest = daemon.ok(&["content", "ls", "-q"]).trim().to_owned();
    assert_eq!(daemon.ok(&["content", "get", &digest]).as_bytes(), BLOB);
    daemon.ok(&["content", "label", &digest, "one=1", "two="]);
    daemon.ok(&["namespaces", "create", "other", "color=red", "shape=round"]);
    daemon.ok(&["leases", "create", "-id", "held", "-x=0", "why=test"]);
    daemon.ok(&["snapshots", "prepare", "base-active"]);
    daemon.ok(&["snapshots", "commit", "base", "base-active"]);
    daemon.ok(&["snapshots", "view", "top", "base"]);
    daemon.ok(&["snapshots", "--snapshotter=native", "prepare", "native-one"]);
    let lines = [
        "content ls -q",
        "content active",
        "content get sha256:abc",
        "content ingest",
        "namespaces ls",
        "ns ls -q",
        "ns create",
        "ns create other",
        "leases ls",
        "leases ls -q",
        "leases rm nope",
        "snapshots ls",
        "snapshot --snapshotter native ls",
        "snapshots tree",
        "snapshots info top",
        "snapshots info nope",
        "snapshots mounts /mnt top",
        "snapshots usage -b base top",
        "snapshots rm base",
        "containers ls",
        "c ls -q",
        "c info nope",
        "c info",
        "images ls",
        "i ls -q",
        "i rm nope",
        "tasks ls",
        "t ls -q",
        "t kill nope",
        "t ps nope",
        "t pause nope",
        "t resume nope",
        "t rm nope",
        "plugins ls",
        "plugin ls id==overlayfs",
        "-n other content ls",
        "bogus",
        "i bogus",
    ];
    for line in lines {
        daemon.same(line);
    }
    daemon.ok(&["snapshots", "rm", "top", "base"]);
    assert_eq!(daemon.ok(&["snapshots", "tree"]), "");
    assert_eq!(daemon.ok(&["leases", "rm", "held"]), "held\n");
    assert_eq!(daemon.ok(&["content", "rm", &digest]), format!("{digest}\n"));
    assert_eq!(daemon.ok(&["content", "ls", "-q"]), "");
}

#[test]
fn an_edited_blob_is_another_blob() {
    let daemon = Containerd::start();
    daemon.ask(&executable("corten"), &["ctr"], &["content", "ingest", "blob"], BLOB);
    let digest = daemon.ok(&["content", "ls", "-q"]).trim().to_owned();
    let edited = daemon.ok(&["content", "edit", "--editor", "sed -i s/1/2/", &digest]).trim().to_owned();
    assert_ne!(edited, digest);
    assert_eq!(daemon.ok(&["content", "get", &edited]), "{\"a\": 2}\n");
    let failed = daemon.ours(&["content", "edit", "--editor", "false", &digest]);
    assert_eq!((failed.code, failed.stderr.as_str()), (1, "ctr: the editor \"false\" failed\n"));
}

#[test]
fn the_namespace_is_taken_behind_the_command_too() {
    let daemon = Containerd::start();
    daemon.ask(&executable("corten"), &["ctr"], &["-n", "other", "content", "ingest", "blob"], BLOB);
    assert_eq!(daemon.ok(&["content", "ls", "-q"]), "");
    let digest = daemon.ok(&["content", "ls", "-q", "-n", "other"]);
    assert_eq!(digest, daemon.ok(&["-n=other", "content", "ls", "-q"]));
    assert!(digest.starts_with("sha256:"), "{digest}");
}

#[test]
fn what_is_not_there_is_refused_with_a_reason() {
    let daemon = Containerd::start();
    for (words, text) in [
        (
            &["pprof", "heap"][..],
            "ctr: ctr pprof is not supported: there is no Go in this daemon; use perf\n",
        ),
        (&["--debug", "version"], "ctr: --debug is not supported: this client logs nothing; leave it out\n"),
    ] {
        let outcome = daemon.ask(&executable("corten"), &["ctr"], &[], b"");
        assert_eq!(outcome.code, 0, "help needs no command");
        let mut command = Command::new(executable("corten"));
        command.arg("ctr").args(words);
        let outcome = run_with_input(command, b"");
        assert_eq!((outcome.code, outcome.stderr.as_str()), (1, text), "{words:?}");
    }
    let mut command = Command::new(executable("corten"));
    command.args(["ctr", "-a", path_text(&daemon.path().join("nothing")), "version"]);
    let outcome = run_with_input(command, b"");
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("failed to connect") && outcome.stderr.contains("hint: "),
        "{}",
        outcome.stderr
    );
}

/// A root file system of busybox in `folder`.
pub(crate) fn rootfs(folder: &Path) -> String {
    let root = folder.join("rootfs");
    std::fs::create_dir(&root).expect("a folder");
    let busybox = tests::host::fixture("busybox.tar");
    let unpacked = Command::new("tar").args(["-xf", path_text(&busybox), "-C", path_text(&root)]).status();
    assert!(unpacked.expect("tar is installed").success(), "busybox is unpacked");
    path_text(&root).to_owned()
}

#[test]
fn a_container_runs_to_its_end_and_its_exit_code_is_ours() {
    let daemon = Containerd::start();
    // runc keeps what it knows by namespace and id in one folder of the machine.
    let id = format!("one-{}", std::process::id());
    let root = rootfs(daemon.path());
    let pipes = path_text(&daemon.path().join("pipes")).to_owned();
    let cgroup = format!("/corten-ctr-{}", std::process::id());
    let run = |words: &[&str], input: &[u8]| {
        let before = ["run", "--rm", "--rootfs", "--fifo-dir", &pipes, "--cgroup", &cgroup];
        daemon.ask(&executable("corten"), &["ctr"], &[&before[..], words].concat(), input)
    };
    let script = "read line; echo \"$line $A\"; echo wrong >&2; pwd; exit 7";
    let outcome = run(&["--env", "A=b,c", "--cwd", "/tmp", &root, &id, "sh", "-c", script], b"hello\n");
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (7, "hello b,c\n/tmp\n", "wrong\n")
    );
    // The end of our input is the end of the process's.
    let outcome = run(&["-read-only", &root, &id, "cat"], b"to the end");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "to the end"));
    let outcome = run(&[&root, &id, "/nothing"], b"");
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("ctr: "), "{}", outcome.stderr);
    // Nothing is left: no container, no task, no pipes.
    assert_eq!(daemon.ok(&["containers", "ls", "-q"]), "");
    assert_eq!(daemon.ok(&["tasks", "ls", "-q"]), "");
    assert_eq!(std::fs::read_dir(&pipes).expect("the folder of the pipes").count(), 0);
}

#[test]
fn a_detached_task_takes_execs_and_signals_and_is_deleted() {
    let daemon = Containerd::start();
    // runc keeps what it knows by namespace and id in one folder of the machine.
    let id = format!("one-{}", std::process::id());
    let root = rootfs(daemon.path());
    let pipes = path_text(&daemon.path().join("pipes")).to_owned();
    let cgroup = format!("/corten-ctr-d-{}", std::process::id());
    daemon.ok(&["run", "-d", "--null-io", "--rootfs", "--cgroup", &cgroup, &root, &id, "sleep", "1000"]);
    for line in ["tasks ls", "tasks ps ID", "c ls", "c info --spec ID", "t rm ID"] {
        daemon.same(&line.replace("ID", &id));
    }
    let exec =
        ["tasks", "exec", "--fifo-dir", &pipes, "--exec-id", "more", &id, "sh", "-c", "echo more; exit 3"];
    let outcome = daemon.ours(&exec);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (3, "more\n", ""));
    assert_eq!(std::fs::read_dir(&pipes).expect("the folder of the pipes").count(), 0);
    daemon.ok(&["tasks", "pause", &id]);
    assert!(daemon.ok(&["tasks", "ls"]).contains("PAUSED"));
    daemon.ok(&["tasks", "resume", &id]);
    daemon.ok(&["tasks", "kill", "-s", "KILL", &id]);
    let started = Instant::now();
    while !daemon.ok(&["tasks", "ls"]).contains("STOPPED") {
        assert!(started.elapsed() < PATIENCE, "a killed task stops");
        std::thread::sleep(Duration::from_millis(20));
    }
    let deleted = daemon.ours(&["tasks", "rm", &id]);
    assert!(
        deleted.code == 0 && deleted.stderr.contains(&format!("task {id} exit with non-zero exit code 137")),
        "{}",
        deleted.stderr
    );
    daemon.ok(&["containers", "rm", &id]);
    assert_eq!(daemon.ok(&["containers", "ls", "-q"]), "");
}
