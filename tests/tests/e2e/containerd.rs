//! containerd's own client, of two versions, at the door of containerd's API.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use tests::host::{Host, Outcome, executable, fixture, path_text, run_with_input, signal};
use tests::peers::{Ctr, ctrs, program};

const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// The flag without which newer ones ask the server to do what older ones do themselves.
fn local(ctr: &Ctr<'_>) -> &'static [&'static str] {
    if ctr.version == "1.6" { &[] } else { &["--local"] }
}

#[test]
fn ctr_finds_a_containerd_with_what_it_needs() {
    let host = Host::empty();
    for ctr in ctrs(&host) {
        let version = ctr.ok(&["version"]);
        assert!(version.contains("Server:\n  Version:  v2."), "{version}");
        let plugins = ctr.ok(&["plugins", "ls"]);
        for (kind, id) in [
            ("io.containerd.snapshotter.v1", "overlayfs"),
            ("io.containerd.runtime.v2", "task"),
            ("io.containerd.grpc.v1", "tasks"),
        ] {
            let is_there = plugins.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words[..2] == [kind, id] && words[3] == "ok"
            });
            assert!(is_there, "{kind}.{id} in {plugins}");
        }
    }
}

#[test]
fn ctr_runs_containers_of_images_that_came_through_the_other_door() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        let run = |flags: &[&str], id: &str, command: &[&str]| ctr.container("default", flags, id, command);
        assert_eq!(ctr.ok(&run(&["--rm", BUSYBOX], "one", &["echo", "hello"])), "hello");
        assert_eq!(ctr.run(&run(&["--rm", BUSYBOX], "two", &["sh", "-c", "exit 5"])).code, 5);
        ctr.fails(&run(&["--rm", "nosuch:1"], "three", &["true"]), "not found");
        ctr.fails(&run(&["--rm", BUSYBOX], "bad/name", &["true"]), "must match");
        ctr.fails(&run(&["--rm", BUSYBOX], "four", &["/no/such"]), "/no/such");
        assert!(ctr.table(&["containers", "ls"]).is_empty(), "what was not made left nothing");
        assert_eq!(ctr.table(&["snapshots", "ls"]).len(), 1, "but the image's own");
    }
}

#[test]
fn a_task_of_ctr_lives_as_containerds() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        let run = ctr.container("default", &["-d", BUSYBOX], "box", &["sleep", "1000"]);
        ctr.ok(&run);
        ctr.fails(&run, "already exists");
        let status = || ctr.table(&["tasks", "ls"]).concat();
        assert_eq!(status()[0], "box");
        assert_eq!(status()[2], "RUNNING");
        assert_eq!(ctr.table(&["tasks", "ps", "box"])[0][0], status()[1]);
        assert_eq!(ctr.ok(&["tasks", "exec", "--exec-id", "sh", "box", "echo", "inside"]), "inside");
        assert_eq!(ctr.run(&["tasks", "exec", "--exec-id", "sh", "box", "sh", "-c", "exit 3"]).code, 3);
        ctr.ok(&["tasks", "pause", "box"]);
        assert_eq!(status()[2], "PAUSED");
        ctr.ok(&["tasks", "resume", "box"]);
        let metrics = ctr.ok(&["tasks", "metrics", "box"]);
        assert!(metrics.contains("memory.usage_in_bytes") || metrics.contains("memory.usage"), "{metrics}");
        ctr.fails(&["tasks", "kill", "nobody"], "not found");
        ctr.fails(&["containers", "rm", "box"], "cannot delete");
        ctr.ok(&["tasks", "kill", "-s", "KILL", "box"]);
        host.until("the task has ended", || status()[2] == "STOPPED");
        let removed = ctr.run(&["tasks", "rm", "box"]);
        assert!(removed.stderr.contains("exit code 137"), "{removed:?}");
        ctr.ok(&["containers", "rm", "box"]);
        assert!(status().is_empty());
    }
}

#[test]
fn streams_mounts_and_networks_are_what_ctr_says() {
    let host = Host::start();
    let folder = host.path().join("given");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "given\n").unwrap();
    let mount = format!("type=bind,src={},dst=/given,options=rbind:ro", path_text(&folder));
    for ctr in ctrs(&host) {
        let flags = ["--null-io", "--net-host", "-d", "--mount", &mount, "--env", "A=b", BUSYBOX];
        host.ok(&["-n", "k8s.io", "run", "--rm", "--net", "none", "busybox", "true"]);
        ctr.ok(&ctr.container("k8s.io", &flags, "pod", &["sh", "-c", "echo unseen; sleep 1000"]));
        let exec = |script: &str| {
            ctr.ok(&["-n", "k8s.io", "tasks", "exec", "--exec-id", "x", "pod", "sh", "-c", script])
        };
        assert_eq!(
            exec("echo $A; cat /given/file; touch /given/x 2>/dev/null || echo read-only"),
            "b\ngiven\nread-only"
        );
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        assert_eq!(exec("readlink /proc/self/ns/net"), path_text(&own), "the host's network");
        let log = host.path().join(format!("log-{}", ctr.version));
        let uri = format!("file://{}", path_text(&log));
        let flags = ["-d", "--log-uri", &uri, BUSYBOX];
        ctr.ok(&ctr.container("default", &flags, "logged", &["sh", "-c", "echo kept; sleep 1000"]));
        host.until("the line is in the file", || std::fs::read(&log).is_ok_and(|text| text == b"kept\n"));
        assert_eq!(ctr.table(&["tasks", "ls"]).len(), 1, "the other namespace's are not shown");
        for (namespace, id) in [("k8s.io", "pod"), ("default", "logged")] {
            ctr.run(&["-n", namespace, "tasks", "rm", "--force", id]);
            ctr.ok(&["-n", namespace, "containers", "rm", id]);
        }
    }
}

/// By labels, for the snapshotter to map the files' owners, and by a copy of the image whose files the client gave away.
#[test]
fn a_container_of_ctr_has_users_of_its_own() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        // The older one cannot mount what the labels make, whoever made it.
        let ways: &[&[&str]] = if ctr.version == "1.6" { &[&[]] } else { &[&["--remap-labels"], &[]] };
        for labels in ways {
            let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
            let run = ctr.container(
                "default",
                &[&maps[..], labels, &["-d", BUSYBOX]].concat(),
                "mapped",
                &["sleep", "1000"],
            );
            ctr.ok(&run);
            let pid = &ctr.table(&["tasks", "ls"])[0][1];
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            assert!(status.contains("\nUid:\t100000\t") && status.contains("\nGid:\t200000\t"), "{status}");
            let script =
                "id -u; stat -c %u:%g /bin/busybox; touch /new && stat -c %u:%g /new; cat /proc/self/uid_map";
            let said = ctr.ok(&["tasks", "exec", "--exec-id", "x", "mapped", "sh", "-c", script]);
            let words: Vec<&str> = said.split_whitespace().collect();
            assert_eq!(words, ["0", "0:0", "0:0", "0", "100000", "65536"], "{} {labels:?}", ctr.version);
            ctr.run(&["tasks", "rm", "--force", "mapped"]);
            ctr.ok(&["containers", "rm", "mapped"]);
        }
    }
}

#[test]
fn images_go_out_and_come_in_through_the_client() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        let images = |words: &[&str]| {
            let (head, rest) = words.split_at(1);
            ctr.run(&[&["images"], head, local(&ctr), rest].concat())
        };
        assert_eq!(images(&["tag", BUSYBOX, "pause:3.2"]).code, 0);
        let again = images(&["tag", BUSYBOX, "pause:3.2"]);
        assert!(again.stderr.contains("image \"pause:3.2\": already exists"), "{again:?}");
        assert_eq!(images(&["tag", "--force", BUSYBOX, "pause:3.2"]).code, 0);
        let tar = host.path().join(format!("{}.tar", ctr.version));
        let exported = images(&["export", path_text(&tar), "pause:3.2"]);
        assert_eq!(exported.code, 0, "{exported:?}");
        let import = [&["-n", "other", "images", "import"], local(&ctr), &[path_text(&tar)]].concat();
        ctr.ok(&import);
        let listed = ctr.table(&["-n", "other", "images", "ls"]);
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0][0].as_str(), listed[0][5].as_str()), ("pause:3.2", "linux/amd64"));
        let checked = ctr.ok(&["-n", "other", "images", "check"]);
        assert!(checked.contains("complete (2/2)"), "{checked}");
        assert_eq!(
            ctr.ok(&ctr.container("other", &["--rm", "pause:3.2"], "x", &["echo", "unpacked"])),
            "unpacked"
        );
        // The other door has it, too.
        let shown = host.ok(&["-n", "other", "images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert_eq!(shown, "pause:3.2");
        ctr.ok(&["-n", "other", "images", "rm", "--sync", "pause:3.2"]);
        assert!(ctr.table(&["-n", "other", "content", "ls"]).is_empty(), "nothing holds it any more");
        assert!(ctr.table(&["-n", "other", "snapshots", "ls"]).is_empty());
        ctr.ok(&["images", "rm", "pause:3.2"]);
        let none = ctr.run(&["images", "rm", "nosuch:1"]);
        assert!(none.stderr.contains("nosuch:1: image not found"), "{none:?}");
    }
}

#[test]
fn containers_of_the_docker_door_are_seen_and_deleted_here() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        let id = host.ok(&["run", "-d", "--net", "none", "--name", "box", "busybox", "sleep", "1000"]);
        assert_eq!(ctr.table(&["containers", "ls"])[0][..2], [id.clone(), "busybox".into()]);
        assert_eq!(ctr.table(&["tasks", "ls"])[0][2], "RUNNING");
        assert!(ctr.ok(&["containers", "info", &id]).contains("\"nerdctl/name\": \"box\""));
        ctr.fails(&["tasks", "exec", "--exec-id", "x", &id, "true"], "made at another door");
        ctr.ok(&["tasks", "kill", "-s", "KILL", &id]);
        host.until("it has ended", || ctr.table(&["tasks", "ls"]).is_empty());
        ctr.ok(&["containers", "rm", &id]);
        assert_eq!(host.ok(&["ps", "-aq"]), "");
    }
}

#[test]
fn containers_of_this_door_are_seen_and_deleted_at_the_docker_door() {
    let host = Host::start();
    let shown = || host.ok(&["ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.State}}"]);
    let state = || host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]);
    for ctr in ctrs(&host) {
        let own = host.ok(&["run", "-d", "--net", "none", "--name", "own", "busybox", "sleep", "1000"]);
        ctr.ok(&ctr.container("default", &["-d", "--label", "tier=web", BUSYBOX], "box", &["sleep", "1000"]));
        assert_eq!(shown(), format!("box box {BUSYBOX} running\n{} own busybox running", &own[..12]));
        assert_eq!(host.ok(&["ps", "-q", "--filter", "label=tier=web"]), "box");
        assert_eq!(host.ok(&["-n", "other", "ps", "-aq"]), "", "namespaces are apart");
        let status = host.ok(&["ps", "--filter", "name=box", "--format", "{{.Status}} {{.Command}}"]);
        assert!(status.starts_with("Up ") && status.ends_with("\"sleep 1000\""), "{status}");
        assert_eq!(
            host.ok(&["inspect", "-f", "{{.Path}} {{.Args}} {{.Config.Labels.tier}}", "box"]),
            "sleep [1000] web"
        );
        let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
        assert_eq!(ctr.table(&["tasks", "ls"])[0][1], pid);
        assert!(host.ok(&["top", "box"]).contains("sleep 1000"));
        // What only its client can do says so, and does nothing.
        for words in
            [&["exec", "box", "true"][..], &["start", "box"], &["logs", "box"], &["rename", "box", "b"]]
        {
            host.fails(words, 1, "was made by a client of containerd's API");
        }
        host.fails(
            &["rm", "box"],
            1,
            "container is running: stop the container before removing or force remove",
        );
        host.ok(&["pause", "box"]);
        assert_eq!(state(), "paused 0");
        host.ok(&["unpause", "box"]);
        let mut waiter = host.command(&["wait", "box"]);
        let waiter = waiter.stdout(Stdio::piped()).spawn().expect("corten runs");
        host.ok(&["stop", "-t", "1", "box"]);
        assert_eq!(state(), "exited 137", "a first process without a handler does not hear of SIGTERM");
        assert_eq!(waiter.wait_with_output().unwrap().stdout, b"137\n");
        assert_eq!(ctr.table(&["tasks", "ls"])[0][2], "STOPPED");
        host.ok(&["stop", "box"]);
        host.ok(&["rm", "box"]);
        host.fails(&["inspect", "box"], 1, "no such object: box");
        assert!(ctr.table(&["tasks", "ls"]).iter().all(|task| task[0] != "box"));
        ctr.ok(&ctr.container("default", &["-d", BUSYBOX], "box", &["sleep", "1000"]));
        host.ok(&["kill", "box"]);
        host.until("it has ended", || state() == "exited 137");
        host.ok(&["rm", "box"]);
        ctr.ok(&ctr.container("default", &["-d", BUSYBOX], "box", &["sleep", "1000"]));
        host.ok(&["pause", "box"]);
        host.ok(&["rm", "-f", "box", "own"]);
        assert_eq!(shown(), "");
        assert_eq!(ctr.table(&["containers", "ls"]).len(), 0);
    }
}

#[test]
fn tasks_outlive_the_daemon() {
    let mut host = Host::start();
    let [_, ctr] = ctrs(&host);
    ctr.ok(&ctr.container("default", &["-d", BUSYBOX], "box", &["sleep", "1000"]));
    let before = ctr.table(&["tasks", "ls"]);
    host.kill_daemon();
    host.start_daemon();
    for ctr in ctrs(&host) {
        assert_eq!(ctr.table(&["tasks", "ls"]), before);
        assert_eq!(ctr.ok(&["tasks", "exec", "--exec-id", "x", "box", "echo", "again"]), "again");
    }
    let [ctr, _] = ctrs(&host);
    ctr.run(&["tasks", "rm", "--force", "box"]);
    ctr.ok(&["containers", "rm", "box"]);
}

#[test]
fn a_runtime_tells_what_it_can_do() {
    let host = Host::empty();
    // Older ones do not ask.
    let ctrs = ctrs(&host);
    let ctr = ctrs.iter().find(|ctr| ctr.version != "1.6").expect("a newer one");
    let told = ctr.ok(&["plugins", "inspect-runtime"]);
    assert!(told.contains("io.containerd.corten.v1") && told.contains("\"rro\""), "{told}");
    ctr.fails(&["plugins", "inspect-runtime", "--runtime", "io.containerd.none.v9"], "not installed");
}

#[test]
fn a_task_that_is_gone_leaves_nothing_open_in_the_daemon() {
    let host = Host::start();
    let [ctr, _] = ctrs(&host);
    let open = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", host.daemon_pid())).expect("the daemon's own");
        let paths = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        paths.filter(|path| path.starts_with(host.state().join("io.containerd.runtime.v2.task"))).count()
    };
    ctr.ok(&ctr.container("default", &["-d", BUSYBOX], "box", &["sleep", "1000"]));
    assert_eq!(open(), 1, "the log of its shim");
    ctr.run(&["tasks", "rm", "--force", "box"]);
    ctr.ok(&["containers", "rm", "box"]);
    host.until("it is closed", || open() == 0);
}

#[test]
fn what_a_shim_says_is_shown_by_the_next_daemon_too() {
    let mut host = Host::start();
    let log = host.state().join("io.containerd.runtime.v2.task/default/box/log");
    let say = |words: &str| {
        // One that nobody reads is not opened, instead of waiting for a reader.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let opened = fs::OpenOptions::new().write(true).custom_flags(flags).open(&log);
        let mut fifo = opened.expect("the daemon reads it");
        writeln!(fifo, "{words}").expect("it takes a line");
    };
    let run = ["-d", BUSYBOX];
    let [ctr, _] = ctrs(&host);
    ctr.ok(&ctr.container("default", &run, "box", &["sleep", "1000"]));
    say("the first words");
    host.until("it is shown", || host.daemon_log_tail().contains("shim: the first words"));
    host.kill_daemon();
    host.start_daemon();
    say("the second words");
    host.until("it is shown", || host.daemon_log_tail().contains("shim: the second words"));
    let [ctr, _] = ctrs(&host);
    ctr.run(&["tasks", "rm", "--force", "box"]);
    ctr.ok(&["containers", "rm", "box"]);
}

#[test]
fn leases_namespaces_and_events_are_containerds() {
    let host = Host::start();
    for ctr in ctrs(&host) {
        ctr.ok(&["leases", "create", "--id", "mine", "a=b"]);
        let leases = ctr.table(&["leases", "ls"]);
        assert_eq!(leases.len(), 1);
        assert!(leases[0][2].contains("a=b"), "{leases:?}");
        ctr.ok(&["leases", "rm", "mine"]);
        ctr.ok(&["namespaces", "create", "team", "tier=web"]);
        ctr.fails(&["namespaces", "create", "team"], "already exists");
        assert_eq!(ctr.table(&["namespaces", "ls"]).concat(), ["default", "team", "tier=web"]);
        ctr.ok(&["-n", "team", "leases", "create", "--id", "held"]);
        ctr.ok(&["-n", "team", "leases", "rm", "held"]);
        ctr.ok(&["namespaces", "rm", "team"]);
        let mut events = tests::host::Lines::of(ctr.command(&["events"]));
        // Whoever says something over and over is heard once the other listens.
        let topics = std::thread::scope(|scope| {
            let heard = scope.spawn(|| {
                let mut topics = Vec::new();
                while topics.last().is_none_or(|topic| topic != "/containers/delete") {
                    let line = events.next_line().expect("events come");
                    topics
                        .push(line.split_whitespace().find(|word| word.starts_with('/')).unwrap().to_owned());
                }
                topics
            });
            while !heard.is_finished() {
                ctr.ok(&ctr.container("default", &["--rm", BUSYBOX], "told", &["true"]));
            }
            heard.join().unwrap()
        });
        signal(events.pid(), rustix::process::Signal::TERM);
        let order = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];
        let at: Vec<_> = order.iter().map(|topic| topics.iter().position(|other| other == topic)).collect();
        assert!(at.is_sorted() && at.last().is_some_and(Option::is_some), "{topics:?}");
    }
}

#[test]
fn labels_say_which_tasks_run() {
    let host = Host::start();
    let [_, ctr] = ctrs(&host);
    let log = host.path().join("restarted");
    let uri = format!("containerd.io/restart.loguri=file://{}", log.display());
    let run = |flags: &[&str], id: &str, command: &[&str]| {
        ctr.ok(&ctr.container("default", &[&["-d", "--label"], flags, &[BUSYBOX]].concat(), id, command));
    };
    let (status, policy) =
        ("containerd.io/restart.status=running", "containerd.io/restart.policy=on-failure:2");
    run(&[status, "--label", policy, "--label", &uri], "fails", &["sh", "-c", "echo again; exit 3"]);
    run(&["containerd.io/restart.status=stopped"], "stays", &["sleep", "1000"]);
    let tasks = || ctr.table(&["tasks", "ls"]);
    host.until("the one that must not run is gone", || tasks().iter().all(|task| task[0] != "stays"));
    let is_ended = || tasks().iter().any(|task| task[0] == "fails" && task[2] == "STOPPED");
    host.until("the other was started twice more", || {
        std::fs::read(&log).is_ok_and(|text| text == b"again\nagain\n") && is_ended()
    });
    assert!(ctr.ok(&["containers", "info", "fails"]).contains("\"containerd.io/restart.count\": \"2\""));
    ctr.run(&["tasks", "rm", "fails"]);
    ctr.ok(&["containers", "rm", "fails", "stays"]);
}

#[test]
fn labels_of_an_image_are_no_orders() {
    let host = Host::start();
    let changes = [
        "maintainer=me",
        "containerd.io/restart.status=running",
        "containerd.io/restart.loguri=binary:///bin/sh",
    ]
    .map(|label| format!("LABEL {label}"));
    let tar = fixture("busybox.tar");
    let flags = changes.iter().flat_map(|change| ["-c", change]);
    host.ok(&["import"].into_iter().chain(flags).chain([path_text(&tar), "labelled:1"]).collect::<Vec<_>>());
    let own = host.ok(&["create", "--network", "none", "labelled:1", "true"]);
    let ctr = |words: &[&str]| {
        let socket = host.state().join("corten.sock");
        let mut command = Command::new(executable("corten"));
        command.args(["ctr", "--address", path_text(&socket)]).args(words);
        let outcome = run_with_input(command, b"");
        assert_eq!(outcome.code, 0, "{words:?}: {outcome:?}");
        outcome.stdout
    };
    ctr(&["containers", "create", "docker.io/library/labelled:1", "box", "true"]);
    for id in ["box", &own] {
        let info = ctr(&["containers", "info", id]);
        assert!(info.contains("\"maintainer\": \"me\"") && !info.contains("restart"), "{info}");
    }
    ctr(&["containers", "rm", "box"]);
    host.ok(&["rm", &own]);
}

/// Debian's dockerd with Corten as its containerd.
struct Dockerd {
    child: Child,
    socket: PathBuf,
}

impl Dockerd {
    /// Without networks of its own.
    fn start(host: &Host) -> Dockerd {
        Dockerd::run(host, Command::new(program("old/bin/dockerd")), &["--bridge", "none"])
    }

    /// With its bridge, in a network namespace of its own.
    fn start_with_bridge(host: &Host) -> Dockerd {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(program("old/bin/dockerd"));
        Dockerd::run(host, command, &["--bip", "172.31.250.1/24"])
    }

    fn run(host: &Host, mut command: Command, network: &[&str]) -> Dockerd {
        let folder = host.path().join("dockerd");
        let at = |name: &str| path_text(&folder.join(name)).to_owned();
        let containerd = host.state().join("corten.sock");
        let child = command
            .args([
                "--containerd",
                path_text(&containerd),
                "--data-root",
                &at("root"),
                "--exec-root",
                &at("state"),
            ])
            .args(["--pidfile", &at("pid"), "--host", &format!("unix://{}", at("docker.sock"))])
            .args(["--cgroup-parent", host.cgroup(), "--storage-driver", "overlay2"])
            .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"])
            .args(network)
            .stderr(Stdio::null())
            .spawn()
            .expect("dockerd runs");
        let dockerd = Dockerd { child, socket: folder.join("docker.sock") };
        host.until("dockerd answers", || dockerd.docker(&["version"]).code == 0);
        dockerd
    }

    fn docker(&self, arguments: &[&str]) -> Outcome {
        self.docker_with_input(arguments, b"")
    }

    fn docker_with_input(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut command = Command::new(program("old/bin/docker"));
        command.arg("--host").arg(format!("unix://{}", path_text(&self.socket))).args(arguments);
        run_with_input(command, input)
    }

    fn import_busybox(&self) {
        let tar = std::fs::read(fixture("busybox.tar")).expect("it is there");
        assert_eq!(self.docker_with_input(&["import", "-", "busybox"], &tar).code, 0);
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.docker(arguments);
        assert_eq!(outcome.code, 0, "docker {arguments:?}: {outcome:?}");
        outcome.stdout.trim_end().to_owned()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        signal(self.child.id(), rustix::process::Signal::TERM);
        self.child.wait().expect("dockerd is reaped");
    }
}

#[test]
fn dockerd_runs_its_containers_on_it() {
    let host = Host::empty();
    let docker = Dockerd::start(&host);
    docker.import_busybox();
    let run = ["run", "--rm", "-i", "--network", "none", "busybox"];
    let piped = docker.docker_with_input(&[&run[..], &["cat"]].concat(), b"piped");
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "piped"), "{piped:?}");
    assert_eq!(docker.docker(&[&run[..], &["sh", "-c", "exit 4"]].concat()).code, 4);
    docker.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"]);
    assert_eq!(docker.ok(&["exec", "box", "echo", "inside"]), "inside");
    assert_eq!(docker.docker(&["exec", "box", "sh", "-c", "exit 6"]).code, 6);
    assert!(docker.ok(&["top", "box"]).contains("sleep 1000"));
    assert!(docker.ok(&["stats", "--no-stream", "--format", "{{.PIDs}}", "box"]).contains('1'));
    docker.ok(&["update", "--memory", "64m", "--memory-swap", "64m", "box"]);
    docker.ok(&["pause", "box"]);
    let status = || docker.ok(&["inspect", "-f", "{{.State.Status}}", "box"]);
    assert_eq!(status(), "paused");
    docker.ok(&["unpause", "box"]);
    let [_, ctr] = ctrs(&host);
    assert_eq!(ctr.table(&["-n", "moby", "tasks", "ls"]).len(), 1, "it is containerd's");
    let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    docker.ok(&["restart", "-t", "0", "box"]);
    assert_eq!(status(), "running");
    assert_ne!(docker.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]), pid);
    docker.ok(&["kill", "box"]);
    host.until("dockerd knows of the end", || status() == "exited");
    assert_eq!(docker.ok(&["inspect", "-f", "{{.State.ExitCode}}", "box"]), "137");
    docker.ok(&["rm", "box"]);
    assert!(ctr.table(&["-n", "moby", "containers", "ls"]).is_empty());
}

#[test]
fn dockerd_connects_its_containers_by_a_hook() {
    let host = Host::empty();
    let docker = Dockerd::start_with_bridge(&host);
    docker.import_busybox();
    let serve = "mkdir /www && echo found > /www/index.html && exec httpd -f -h /www";
    docker.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", serve]);
    let address = docker.ok(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]);
    assert!(docker.ok(&["exec", "web", "ip", "addr", "show", "eth0"]).contains(&address));
    let get = format!("until wget -q -O - http://{address}/; do sleep 0.1; done");
    assert_eq!(docker.ok(&["run", "--rm", "busybox", "timeout", "20", "sh", "-c", &get]), "found");
    docker.ok(&["rm", "-f", "web"]);
}
