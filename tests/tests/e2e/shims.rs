//! Shims and daemons of others: containerd's shim with runc under Corten, Corten's shim under containerd. Both of two versions.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use tests::containerd::Containerd;
use tests::host::{Host, Lines, Outcome, executable, fixture, path_text, run_with_input, signal};
use tests::peers::{ctrs, program};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// A client with its daemon, a shim of somebody else's, and a name that nobody else gives to a container.
struct Bench<'a> {
    ask: &'a dyn Fn(&[&str]) -> Command,
    shim: &'a Path,
    cgroup: String,
    id: String,
}

impl Bench<'_> {
    fn run(&self, arguments: &[&str]) -> Outcome {
        run_with_input((self.ask)(arguments), b"")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "ctr {arguments:?} with {}: {outcome:?}", self.shim.display());
        outcome.stdout.trim_end_matches('\n').to_owned()
    }

    /// `ctr run` with the shim.
    fn container(&self, flags: &[&str], command: &[&str]) -> Outcome {
        let run = ["run", "--cgroup", &self.cgroup, "--runtime", path_text(self.shim)];
        self.run(&[&run, flags, &[BUSYBOX, &self.id], command].concat())
    }

    fn exec(&self, flags: &[&str], command: &[&str]) -> Outcome {
        self.run(&[&["tasks", "exec", "--exec-id", "more"], flags, &[&self.id], command].concat())
    }

    /// The words about the task.
    fn task(&self) -> Vec<String> {
        let listed = self.ok(&["tasks", "ls"]);
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(&self.id));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    fn pid(&self) -> u32 {
        self.task()[1].parse().expect("a process")
    }

    fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = std::time::Instant::now();
        while !condition() {
            assert!(begin.elapsed() < tests::host::PATIENCE, "waited in vain until {what}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn remove(&self) {
        self.ok(&["tasks", "kill", "-s", "KILL", &self.id]);
        self.until("the task has ended", || self.task()[2] == "STOPPED");
        let removed = self.run(&["tasks", "rm", &self.id]);
        assert!(removed.stderr.contains("exit code 137"), "{removed:?}");
        self.ok(&["containers", "rm", &self.id]);
    }
}

/// Everything that a task can be asked, while its daemon is killed by `restart`.
fn live(bench: &Bench<'_>, restart: &mut dyn FnMut()) {
    let ended = bench.container(&["--rm"], &["sh", "-c", "echo hello; exit 4"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, "hello\n"), "{ended:?}");
    let missing = bench.container(&["--rm"], &["/no/such"]);
    assert!(missing.code != 0 && missing.stderr.contains("/no/such"), "{missing:?}");
    let started = bench.container(&["-d"], &["sleep", "1000"]);
    assert_eq!(started.code, 0, "{started:?}");
    let pid = bench.pid();
    assert_eq!(bench.task()[2], "RUNNING");
    assert!(bench.ok(&["tasks", "ps", &bench.id]).contains(&pid.to_string()));
    let exec = bench.exec(&[], &["sh", "-c", "echo inside; exit 3"]);
    assert_eq!((exec.code, exec.stdout.as_str()), (3, "inside\n"), "{exec:?}");
    bench.ok(&["tasks", "pause", &bench.id]);
    assert_eq!(bench.task()[2], "PAUSED");
    bench.ok(&["tasks", "resume", &bench.id]);
    assert!(bench.ok(&["tasks", "metrics", &bench.id]).contains("memory.usage"));
    restart();
    assert_eq!((bench.pid(), bench.task()[2].as_str()), (pid, "RUNNING"), "it went on");
    assert_eq!(bench.exec(&[], &["echo", "again"]).stdout, "again\n");
    bench.remove();
}

/// A shim that is killed takes its container along, and all is told.
fn lose_the_shim(bench: &Bench<'_>) {
    let started = bench.container(&["-d"], &["sleep", "1000"]);
    assert_eq!(started.code, 0, "{started:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.pid())).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    signal(parent.trim().parse().expect("a process"), Signal::KILL);
    bench.until("the task is gone", || bench.task().is_empty());
    bench.ok(&["containers", "rm", &bench.id]);
}

/// The topics of a task's whole life, in their order.
fn told(bench: &Bench<'_>) -> Vec<String> {
    let mut events = Lines::of((bench.ask)(&["events"]));
    let pid = events.pid();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = heard.clone();
    let listener = std::thread::spawn(move || {
        while let Some(line) = events.next_line() {
            let topic = line.split_whitespace().find(|word| word.starts_with('/'));
            all.lock().expect("nobody panics").extend(topic.map(str::to_owned));
        }
        events.finish();
    });
    let has = |topic: &str| heard.lock().expect("nobody panics").iter().any(|other| other == topic);
    // Nobody says when the listener is there.
    bench.until("events are heard", || {
        bench.run(&["namespaces", "create", "noise"]);
        bench.run(&["namespaces", "rm", "noise"]);
        has("/namespaces/delete")
    });
    bench.container(&["-d"], &["sleep", "1000"]);
    bench.exec(&[], &["true"]);
    bench.remove();
    // A shim says it when it comes to it, the container's end is the daemon's word.
    bench.until("the end is heard", || has("/containers/delete") && has("/tasks/delete"));
    signal(pid, Signal::TERM);
    listener.join().expect("events are read");
    let topics = heard.lock().expect("nobody panics").clone();
    topics.into_iter().filter(|topic| topic.starts_with("/tasks/")).collect()
}

const LIFE: [&str; 7] = [
    "/tasks/create",
    "/tasks/start",
    "/tasks/exec-added",
    "/tasks/exec-started",
    "/tasks/exit",
    "/tasks/exit",
    "/tasks/delete",
];

/// containerd's own shims, of both versions.
fn theirs() -> [PathBuf; 2] {
    [program("old/libexec/containerd-shim-runc-v2"), program("libexec/containerd-shim-runc-v2")]
}

/// Unique on the machine: runc has one folder for all.
fn name(host: &Host, part: &str) -> String {
    let folder = host.path().file_name().and_then(|name| name.to_str()).expect("an ASCII name");
    format!("{}-{part}", folder.replace('.', "").trim_start_matches('-'))
}

#[test]
fn containerds_shims_run_containers_under_corten() {
    let mut host = Host::start();
    for at in 0..2 {
        for (number, shim) in theirs().iter().enumerate() {
            let [cgroup, id] = [host.cgroup().to_owned(), name(&host, &format!("{at}{number}"))];
            // The host is restarted in between, so that the client is made from where it is.
            let socket = host.state().join("corten.sock");
            let ctr = ["old/bin/ctr", "bin/ctr"][at];
            let ask = |words: &[&str]| {
                let mut command = Command::new(program(ctr));
                command.arg("--address").arg(&socket).args(words).stdin(Stdio::null());
                command
            };
            let cgroup = format!("{cgroup}/{id}");
            let bench = Bench { ask: &ask, shim, cgroup, id };
            live(&bench, &mut || {
                host.kill_daemon();
                host.start_daemon();
            });
            assert_eq!(told(&bench), LIFE, "{}", shim.display());
            lose_the_shim(&bench);
        }
    }
    let bundles = host.state().join("io.containerd.runtime.v2.task/default");
    let left = || std::fs::read_dir(&bundles).map_or(0, Iterator::count);
    host.until("no bundle is left", || left() == 0);
}

#[test]
fn another_runtime_than_runc_is_run_by_containerds_shim() {
    let host = Host::start();
    let said = host.path().join("said");
    let runtime = host.path().join("my-runtime");
    let text = format!("#!/bin/sh\necho \"$@\" >>{}\nexec runc \"$@\"\n", said.display());
    std::fs::write(&runtime, text).expect("a script");
    std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o755)).expect("it is ours");
    for (number, ctr) in ctrs(&host).iter().enumerate() {
        let id = name(&host, &format!("x{number}"));
        let run = |binary: &str| {
            ctr.run(&ctr.container(
                "default",
                &["--rm", "--runc-binary", binary, BUSYBOX],
                &id,
                &["echo", "hello"],
            ))
        };
        assert_eq!(run("runc").stdout, "hello\n", "Corten's own");
        assert!(!said.exists());
        let ended = run(path_text(&runtime));
        assert_eq!(ended.stdout, "hello\n", "{ended:?}");
        assert!(std::fs::read_to_string(&said).expect("it was run").contains(" create "));
        std::fs::remove_file(&said).expect("it is there");
        let missing = run("/no/such");
        assert!(missing.code != 0 && missing.stderr.contains("/no/such"), "{missing:?}");
    }
}

fn command_at(client: &str, socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program(client));
    command.arg("--address").arg(socket).args(words).stdin(Stdio::null());
    command
}

/// The image as an archive that every client reads.
fn archive(host: &Host) -> PathBuf {
    let file = host.path().join("busybox-image.tar");
    host.ok(&["import", path_text(&fixture("busybox.tar")), "busybox:latest"]);
    host.ok(&["save", "-o", path_text(&file), "busybox:latest"]);
    file
}

#[test]
fn cortens_shim_runs_containers_under_containerd() {
    let host = Host::empty();
    let image = archive(&host);
    let shim = executable("corten-shim");
    for (daemon, client, flags) in [
        ("old/libexec/containerd", "old/bin/ctr", &[][..]),
        ("libexec/containerd", "bin/ctr", &["--local"][..]),
    ] {
        let mut containerd = Containerd::start(&program(daemon), "");
        let import = [&["images", "import"], flags, &[path_text(&image)]].concat();
        let imported = run_with_input(command_at(client, &containerd.socket(), &import), b"");
        assert_eq!(imported.code, 0, "{imported:?}");
        let (folder, socket, cgroup) =
            (containerd.path().to_owned(), containerd.socket(), containerd.cgroup());
        let ask = |words: &[&str]| command_at(client, &socket, words);
        let bench = Bench { ask: &ask, shim: &shim, cgroup: format!("{cgroup}/box"), id: "box".into() };
        live(&bench, &mut || containerd.restart());
        assert_eq!(told(&bench), LIFE, "{daemon}");
        lose_the_shim(&bench);
        let log = folder.join("printed");
        let uri = format!("file://{}", log.display());
        let printed = bench.container(&["-d", "--log-uri", &uri], &["echo", "kept"]);
        assert_eq!(printed.code, 0, "{printed:?}");
        bench.until("the line is in the file", || std::fs::read(&log).is_ok_and(|text| text == b"kept\n"));
        bench.until("it has ended", || bench.task()[2] == "STOPPED");
        bench.ok(&["tasks", "rm", "box"]);
        bench.ok(&["containers", "rm", "box"]);
        let unknown = bench.container(&["-d", "--log-uri", "smoke:///signal"], &["true"]);
        assert!(unknown.stderr.contains("unknown STDIO scheme smoke"), "{unknown:?}");
        bench.ok(&["containers", "rm", "box"]);
        let bundles = folder.join("state/io.containerd.runtime.v2.task/default");
        bench.until("no bundle is left", || std::fs::read_dir(&bundles).expect("it was there").count() == 0);
        containerd.kill();
        bench.until("nothing is left", || tests::leaks::of_host(&folder, &cgroup).is_empty());
    }
}
