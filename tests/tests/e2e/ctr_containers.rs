//! The containers' half of `corten ctr`: metrics, attaching, documents, runtimes, shims; on a containerd of Debian, and
//! beside containerd's own `ctr` where both have the command.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::host::{Host, PATIENCE, executable, path_text, run_with_input};
use tests::peers;

use super::ctr::{Containerd, rootfs};

/// Names that other tests, and this one run twice, do not use: runc keeps what it knows in one folder of the machine.
fn name(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

/// Waits until the task has ended.
fn stopped(daemon: &Containerd, id: &str) {
    let started = Instant::now();
    let is_stopped = |line: &str| line.starts_with(id) && line.contains("STOPPED");
    while !daemon.ok(&["tasks", "ls"]).lines().any(is_stopped) {
        assert!(started.elapsed() < PATIENCE, "task {id} ends");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Both are the same, now or soon.
fn alike(what: &str, pair: impl Fn() -> (String, String)) {
    let started = Instant::now();
    loop {
        let (ours, theirs) = pair();
        if started.elapsed() > PATIENCE || ours == theirs {
            assert_eq!(ours, theirs, "{what}");
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn metrics_are_what_containerds_ctr_shows() {
    let daemon = Containerd::start();
    let (id, root) = (name("metrics"), rootfs(daemon.path()));
    let cgroup = format!("/corten-ctr-{id}");
    daemon.ok(&["run", "-d", "--null-io", "--rootfs", "--cgroup", &cgroup, &root, &id, "sleep", "1000"]);
    // A process that does not run counts nothing up, but the kernel gives memory back a while later.
    daemon.ok(&["tasks", "pause", &id]);
    let json = ["tasks", "metrics", "--format", "json", &id];
    alike("the metrics as JSON", || (daemon.ok(&json), daemon.theirs(&json).stdout));
    let table = ["t", "metric", &id];
    let shown = |text: String| {
        assert!(text.starts_with("ID") && text.contains(&id), "{text}");
        // The first lines hold the time.
        text.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>()
    };
    alike("the metrics", || (shown(daemon.ok(&table)), shown(daemon.theirs(&table).stdout)));
    daemon.same(&format!("tasks metrics --format yaml {id}"));
    daemon.same("tasks metrics nope");
    daemon.ok(&["tasks", "resume", &id]);
    daemon.ours(&["tasks", "rm", "-f", &id]);
    let outcome = daemon.ours(&["tasks", "metrics", &id]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.starts_with("ctr: no running task found: "), "{}", outcome.stderr);
    daemon.ok(&["containers", "rm", &id]);
}

#[test]
fn attaching_shows_what_was_written_before_and_ends_with_the_task() {
    let daemon = Containerd::start();
    let (id, root) = (name("attach"), rootfs(daemon.path()));
    let (pipes, cgroup) = (daemon.path().join("pipes"), format!("/corten-ctr-{id}"));
    let run = |script: &str| {
        let pipes = path_text(&pipes);
        let flags = ["run", "-d", "--rootfs", "--fifo-dir", pipes, "--cgroup", &cgroup, &root, &id];
        daemon.ok(&[&flags[..], &["sh", "-c", script]].concat());
    };
    run("echo early; read line; echo \"got $line\"; echo wrong >&2; exit 5");
    let words = ["tasks", "attach", &id];
    let outcome = daemon.ask(&executable("corten"), &["ctr"], &words, b"hello\n");
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (5, "early\ngot hello\n", "wrong\n")
    );
    // Who saw its end has deleted the task, and the pipes.
    assert_eq!(daemon.ok(&["tasks", "ls", "-q"]), "");
    assert_eq!(std::fs::read_dir(&pipes).expect("the folder of the pipes").count(), 0);
    daemon.ok(&["containers", "rm", &id]);
    // One that has ended before is told of just the same.
    run("exit 4");
    stopped(&daemon, &id);
    assert_eq!(daemon.ours(&words).code, 4);
    daemon.same("tasks attach nope");
    daemon.ok(&["containers", "rm", &id]);
}

/// The document of a container that `program` makes with `flags`, or what it says when it makes none.
fn document(daemon: &Containerd, program: &Path, before: &[&str], flags: &[&str]) -> Result<Value, String> {
    let id = name("document");
    let root = path_text(daemon.path()).to_owned();
    let words = [&["containers", "create", "--rootfs"], flags, &[&root, &id, "true"]].concat();
    let outcome = daemon.ask(program, before, &words, b"");
    if outcome.code != 0 {
        return Err(outcome.stderr);
    }
    let text = daemon.ok(&["containers", "info", "--spec", &id]);
    daemon.ok(&["containers", "rm", &id]);
    Ok(serde_json::from_str(&text).expect("a document"))
}

#[test]
fn documents_are_those_of_containerds_ctr() {
    let daemon = Containerd::start();
    let file = |name: &str, text: &str| {
        let path = daemon.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path_text(&path).to_owned()
    };
    let variables = file("variables", "ONE=1\nTWO=2\n\n# not one\n");
    let filter = file("filter", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]}"#);
    let lines = [
        "",
        "--tty --env A=b --env ONE=x --env-file VARIABLES --label a=b --label c --cwd /tmp",
        "--privileged",
        "--net-host --read-only --hostname h",
        "--cap-add CAP_SYS_ADMIN --cap-add CAP_KILL --cap-drop CAP_MKNOD",
        "--cap-add SYS_ADMIN",
        "--seccomp --seccomp-profile FILTER",
        "--seccomp-profile FILTER",
        "--apparmor-profile one --rdt-class two",
        "--cpu-quota 1000 --cpu-period 2000 --memory-limit 1000000",
        "--cpu-period 2000",
        "--device /dev/null --device /dev/net",
        "--rootfs-propagation shared --allow-new-privs",
        "--with-ns network:/proc/1/ns/net --with-ns cgroup:/proc/1/ns/cgroup",
        "--with-ns nothing:/proc/1/ns/net",
        "--annotation a=b",
        "--annotation a",
        "--mount type=bind,src=/tmp,dst=/host,options=rbind:ro",
        "--user 1000:1001",
        "--runtime io.containerd.other.v2 --runtime-config-path /nothing",
        "--runtime io.containerd.other.v2 --runc-binary crun",
        "--runc-systemd-cgroup",
    ];
    let peer = peers::program("bin/ctr");
    for line in lines {
        let line = line.replace("VARIABLES", &variables).replace("FILTER", &filter);
        let flags: Vec<&str> = line.split_whitespace().collect();
        let theirs = document(&daemon, &peer, &[], &flags);
        let mut ours = document(&daemon, &executable("corten"), &["ctr"], &flags);
        if let Ok(ours) = &mut ours {
            // A folder has no image to say where programs are: here they are found all the same.
            let env = ours["process"]["env"].as_array_mut().expect("variables");
            assert!(env.remove(0).as_str().expect("text").starts_with("PATH="), "{env:?}");
            if env.is_empty() {
                ours["process"].as_object_mut().expect("a process").remove("env");
            }
        }
        if line.starts_with("--runtime") && theirs.is_err() {
            assert!(ours.is_err(), "ctr containers create {line}");
            continue;
        }
        assert_eq!(ours, theirs, "ctr containers create {line}");
    }
    let shown = daemon.ask(&peer, &[], &["-n", "some", "oci", "spec"], b"").stdout;
    assert_eq!(daemon.ok(&["-n", "some", "oci", "spec"]), shown);
}

#[test]
fn the_default_filter_follows_the_capabilities() {
    let daemon = Containerd::start();
    let names = |flags: &[&str]| {
        let document = document(&daemon, &executable("corten"), &["ctr"], flags).expect("a container");
        let filter = document["linux"]["seccomp"].clone();
        assert_eq!(filter["defaultAction"], "SCMP_ACT_ERRNO");
        filter["syscalls"].to_string()
    };
    assert!(!names(&["--seccomp"]).contains("\"mount\""));
    assert!(names(&["--seccomp", "--cap-add", "CAP_SYS_ADMIN"]).contains("\"mount\""));
}

#[test]
fn what_only_run_has_is_in_the_dumped_document() {
    let daemon = Containerd::start();
    let (id, root) = (name("dump"), rootfs(daemon.path()));
    let (dump, cgroup) = (daemon.path().join("dump.json"), format!("/corten-ctr-{id}"));
    let flags = "--cpus 0.5 --cpuset-cpus 0 --cpuset-mems 0 --cpu-shares 512 --rlimit-nofile 100:200";
    let flags: Vec<&str> = flags.split(' ').collect();
    let before = ["run", "--rm", "--no-pivot", "--rootfs", "--cgroup", &cgroup];
    let pipes = path_text(&daemon.path().join("pipes")).to_owned();
    let dumped = ["--fifo-dir", &pipes, "--dump-config", path_text(&dump)];
    let words = [&before[..], &dumped, &flags, &[&root, &id, "sh", "-c", "ulimit -n; ulimit -Hn"]].concat();
    assert_eq!(daemon.ok(&words), "100\n200\n");
    let text = std::fs::read_to_string(&dump).expect("the document is written");
    let document: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(
        document["linux"]["resources"]["cpu"],
        json!({"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"})
    );
    // The document is the whole of another container, as it is.
    let words = ["run", "--rm", "--fifo-dir", &pipes, "--config", path_text(&dump), &id];
    assert_eq!(daemon.ok(&words), "100\n200\n");
    for (words, text) in [
        (
            &["run", "--cpus", "1", "--cpu-quota", "5", "--rootfs", &root, &id, "true"][..],
            "should be used separately",
        ),
        (&["run", "--rlimit-nofile", "1:x", "--rootfs", &root, &id, "true"], "failed to parse rlimit-nofile"),
        (&["run", "--uidmap", "0:1", "--rootfs", &root, &id, "true"], "container-id:host-id:size"),
        (&["run", "--uidmap", "0:1:1", "--rootfs", &root, &id, "true"], "--uidmap and --gidmap go together"),
        (&["run", "--config", path_text(&dump), &id, "true"], "only container id should be provided"),
        (&["run", "--config", &root, &id], "read "),
        (
            &["run", "--privileged-without-host-devices", "--rootfs", &root, &id, "true"],
            "without 'privileged'",
        ),
        (&["run", "--device", "a.b/c=d", "--rootfs", &root, &id, "true"], "Container Device Interface"),
        (&["run", "--device", "/nothing", "--rootfs", &root, &id, "true"], "device /nothing: No such file"),
    ] {
        let outcome = daemon.ours(words);
        assert_eq!(outcome.code, 1, "{words:?}");
        assert!(outcome.stderr.contains(text), "{words:?}: {}", outcome.stderr);
    }
    assert_eq!(daemon.ok(&["containers", "ls", "-q"]), "");
}

/// The copy of the image is the same snapshot, whichever program made it.
#[test]
fn an_images_files_are_given_to_the_containers_users() {
    let host = Host::start();
    let (id, address) = (name("given"), host.state().join("corten.sock"));
    let cgroup = format!("{}/{id}", host.cgroup());
    let ask = |program: &Path, before: &[&str], words: &[&str]| {
        let mut command = Command::new(program);
        command.args(before).args(["--address", path_text(&address)]).args(words);
        let outcome = run_with_input(command, b"");
        assert_eq!(outcome.code, 0, "{words:?}: {outcome:?}");
        outcome.stdout
    };
    let ours = |words: &[&str]| ask(&executable("corten"), &["ctr"], words);
    let maps = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let words = [
        &["run", "-d", "--cgroup", &cgroup],
        &maps[..],
        &["docker.io/library/busybox:latest", &id, "sleep", "1000"],
    ];
    let words = words.concat();
    let parents = || -> Vec<String> {
        let listed = ours(&["snapshots", "ls"]);
        let of_container = listed.lines().filter(|line| line.starts_with(&id));
        of_container.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
    };
    let mut seen = Vec::new();
    for (program, before) in [(executable("corten"), &["ctr"][..]), (peers::program("bin/ctr"), &[])] {
        ask(&program, before, &words);
        let script =
            "id -u; stat -c %u:%g /bin/busybox /etc/passwd; stat -c %a /tmp; touch /etc/new && echo made";
        let exec = ["tasks", "exec", "--exec-id", "x", &id, "sh", "-c", script];
        assert_eq!(ours(&exec), "0\n0:0\n0:0\n1777\nmade\n");
        seen.extend(parents());
        // Its exit code is the task's.
        let mut remove = Command::new(executable("corten"));
        remove.args(["ctr", "--address", path_text(&address), "tasks", "rm", "--force", &id]);
        run_with_input(remove, b"");
        ours(&["containers", "rm", &id]);
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(ours(&["leases", "ls", "-q"]), "");
    let nobody = [
        &["run", "--uidmap", "5:1:1", "--gidmap", "0:1:65536"][..],
        &["docker.io/library/busybox:latest", &id, "true"],
    ];
    let mut command = Command::new(executable("corten"));
    command.args(["ctr", "--address", path_text(&address)]).args(nobody.concat());
    let refused = run_with_input(command, b"");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("give the image's files to the container's users"), "{}", refused.stderr);
    assert!(!ours(&["snapshots", "ls"]).contains("-remap"), "what was begun is gone");
}

#[test]
fn the_options_of_runc_reach_the_shim() {
    let daemon = Containerd::start();
    let (id, root) = (name("options"), rootfs(daemon.path()));
    let cgroup = format!("/corten-ctr-{id}");
    let run = |flags: &[&str]| {
        let before = ["run", "--rm", "--null-io", "--rootfs", "--cgroup", &cgroup];
        daemon.ours(&[&before[..], flags, &[&root, &id, "sh", "-c", "exit 6"]].concat())
    };
    let (program, used) = (daemon.path().join("other-runc"), daemon.path().join("used"));
    let text = format!("#!/bin/sh\n: > {}\nexec runc \"$@\"\n", used.display());
    std::fs::write(&program, text).expect("a program");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it can be executed");
    assert_eq!(run(&["--runc-binary", path_text(&program)]).code, 6);
    assert!(used.exists(), "the program in place of runc is executed");
    let outcome = run(&["--runc-binary", "/bin/false"]);
    assert!(outcome.code == 1 && outcome.stderr.contains("/bin/false"), "{}", outcome.stderr);
    let elsewhere = daemon.path().join("runc");
    assert_eq!(run(&["--runc-root", path_text(&elsewhere)]).code, 6);
    assert!(elsewhere.exists(), "runc keeps its state where it is told");
    let outcome = run(&["--runtime-config-path", "/nothing"]);
    assert!(outcome.code == 1 && outcome.stderr.contains("has no configuration file"), "{}", outcome.stderr);
    assert_eq!(daemon.ok(&["containers", "ls", "-q"]), "");
}

#[test]
fn a_shim_is_asked_past_the_daemon() {
    let daemon = Containerd::start();
    let (id, root) = (name("shim"), rootfs(daemon.path()));
    let cgroup = format!("/corten-ctr-{id}");
    daemon.ok(&["run", "-d", "--null-io", "--rootfs", "--cgroup", &cgroup, &root, &id, "sleep", "1000"]);
    let shim = |words: &[&str]| daemon.ours(&[&["shim", "--id", &id], words].concat());
    let state: Value = serde_json::from_str(&shim(&["state"]).stdout).expect("a state");
    assert_eq!((&state["id"], &state["status"]), (&json!(id), &json!(2)));
    let theirs = daemon.theirs(&["shim", "--id", &id, "state"]).stdout;
    let theirs: Value = serde_json::from_str(&theirs).expect("a state");
    assert_eq!((&state["pid"], &state["bundle"]), (&theirs["pid"], &theirs["bundle"]));
    // Debian's shim speaks the second version only.
    let outcome = shim(&["state", "--api-version", "3"]);
    assert!(outcome.code == 1 && outcome.stderr.contains("not implemented"), "{}", outcome.stderr);
    assert_eq!(shim(&["state", "--api-version", "2"]).code, 0);
    for words in [["start", &id], ["delete", &id]] {
        let outcome = shim(&words);
        assert!(outcome.code == 1 && outcome.stderr.contains("a running process"), "{}", outcome.stderr);
    }
    let process = daemon.path().join("process.json");
    let text = r#"{"args":["sh","-c","echo from the shim > /said"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}"#;
    std::fs::write(&process, text).expect("a file");
    let outcome = shim(&["exec", "--spec", path_text(&process), "more"]);
    assert!(outcome.stdout.starts_with("exec running with pid "), "{outcome:?}");
    let (said, started) = (Path::new(&root).join("said"), Instant::now());
    while std::fs::read_to_string(&said).unwrap_or_default() != "from the shim\n" {
        assert!(started.elapsed() < PATIENCE, "the process writes");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A shim that has a task stays.
    assert_eq!(shim(&["shutdown"]).code, 0);
    assert_eq!(shim(&["state"]).code, 0);
    for (words, text) in [
        (&["shim", "state"][..], "shim ID (--id) or address (--shim-address) must be specified"),
        (&["shim", "--id", "nope", "state"], "fail to connect to container shim"),
        (&["shim", "--id", &id, "exec", "more"], "--spec"),
    ] {
        let outcome = daemon.ours(words);
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{words:?}: {}", outcome.stderr);
    }
    daemon.ours(&["tasks", "rm", "-f", &id]);
    daemon.ok(&["containers", "rm", &id]);
}

#[test]
fn sandboxes_that_are_not_there_are_told_of() {
    let host = Host::empty();
    let ours = |words: &[&str]| {
        let mut command = Command::new(executable("corten"));
        command.args(["ctr", "-a", path_text(&host.state().join("corten.sock"))]).args(words);
        run_with_input(command, b"")
    };
    assert_eq!(ours(&["sandboxes", "ls"]).stdout, "ID CREATED RUNTIME \n");
    for (words, text) in [
        (&["sb", "info", "nope"][..], "failed to load sandbox nope: "),
        (&["sb", "info"], "sandbox id must be provided"),
        (&["sb", "rm", "nope"], "failed to remove sandbox nope"),
        (&["sb", "run", "/nothing", "one"], "read /nothing: No such file"),
        (&["sb", "run", "one"], "must be provided"),
    ] {
        let outcome = ours(words);
        assert!(outcome.code == 1 && outcome.stderr.contains(text), "{words:?}: {}", outcome.stderr);
    }
}
