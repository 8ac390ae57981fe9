//! What containers use and may use, from the command line.

use std::io::Read;
use std::process::Stdio;

use tests::host::Host;

#[test]
fn what_containers_use_is_shown_once_or_as_it_changes() {
    let host = Host::start();
    host.ok(&["run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done"]);
    host.ok(&["create", "--name", "rest", "busybox", "true"]);
    let once = host.ok(&["stats", "--no-stream"]);
    let lines: Vec<&str> = once.lines().collect();
    assert!(lines[0].starts_with("CONTAINER ID   NAME      CPU %"), "{once}");
    assert!(lines.len() == 2 && lines[1].contains("busy") && lines[1].contains("/ 64MiB"), "{once}");
    let share = host.ok(&["stats", "--no-stream", "--format", "{{.CPUPerc}}", "busy"]);
    let share: f64 = share.trim_end_matches('%').parse().expect("a number");
    assert!(share > 1.0, "a busy container uses its processor: {share}");
    let all = host.ok(&["stats", "-a", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]);
    assert!(all.lines().any(|line| line == "rest 0B / 0B"), "{all}");
    host.fails(&["stats", "--no-stream", "nothing"], 1, "No such container: nothing");
    host.fails(&["stats", "nothing"], 1, "No such container: nothing");
    // As it changes: the table is painted again, and a container that ends is painted no more.
    let mut live = host.command(&["stats"]).stdout(Stdio::piped()).spawn().expect("corten");
    let mut stdout = live.stdout.take().expect("it was asked for");
    let mut seen = String::new();
    let mut until = |text: &str| {
        let mut piece = [0; 4096];
        while !seen.contains(text) {
            let length = stdout.read(&mut piece).expect("it is readable");
            assert!(length > 0, "it ended before {text:?}: {seen}");
            seen += &String::from_utf8_lossy(&piece[..length]);
        }
        seen.clear();
    };
    until("busy");
    host.ok(&["run", "-d", "--name", "later", "busybox", "sleep", "1000"]);
    until("later");
    host.ok(&["rm", "-f", "busy", "rest"]);
    until("\u{1b}[H");
    until("later");
    live.kill().expect("it runs");
    live.wait().expect("it is reaped");
    host.ok(&["rm", "-f", "later"]);
}

#[test]
fn limits_are_changed_and_survive_the_daemon() {
    let mut host = Host::start();
    host.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    assert_eq!(host.ok(&["update", "-m", "64m", "--memory-swap", "-1", "--pids-limit", "5", "one"]), "one");
    host.fails(&["update", "one"], 1, "you must provide one or more flags when using this command");
    host.fails(&["update", "-m", "64m", "one", "nothing"], 1, "No such container: nothing");
    host.fails(&["update", "-m", "many", "one"], 125, "invalid size: 'many'");
    host.kill_daemon();
    host.start_daemon();
    let shown = [
        "inspect",
        "-f",
        "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}",
        "one",
    ];
    assert_eq!(host.ok(&shown), format!("{} -1 5", 64 << 20));
    let table = host.ok(&["top", "one", "-o", "pid,args"]);
    assert!(table.starts_with("PID") && table.ends_with("sleep 1000"), "{table}");
    host.ok(&["update", "--restart", "always", "one"]);
    host.ok(&["exec", "one", "kill", "-9", "1"]);
    host.ok(&["kill", "one"]);
    host.ok(&["rm", "-f", "one"]);
}

/// A parent of control groups that is gone when the test is.
struct Parent(String);

impl Parent {
    /// The group's directories, in whichever hierarchies it is.
    fn groups(&self, below: &str) -> Vec<std::path::PathBuf> {
        let roots = std::fs::read_dir("/sys/fs/cgroup").expect("cgroups are mounted");
        let roots = roots.flatten().map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
        roots.map(|root| root.join(&self.0).join(below)).filter(|group| group.is_dir()).collect()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        for group in self.groups("") {
            let _ = std::fs::remove_dir(group);
        }
    }
}

#[test]
fn a_container_below_another_parent_is_met_and_ended_as_any_other() {
    let parent = Parent(format!("corten-e2e-parent-{}", std::process::id()));
    let mut host = Host::start();
    let flags = [
        "--cgroup-parent",
        &parent.0,
        "--cgroupns",
        "host",
        "--cpu-quota",
        "50000",
        "--memory-reservation",
        "32m",
    ];
    let id = host.ok(&[&["run", "-d", "--name", "far"], &flags[..], &["busybox", "sleep", "1000"]].concat());
    assert!(!parent.groups(&id).is_empty());
    assert!(host.ok(&["exec", "far", "cat", "/proc/1/cgroup"]).contains(&format!("/{}/{id}", parent.0)));
    // A daemon that comes back lets it run.
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.ok(&["exec", "far", "echo", "on"]), "on");
    // One that comes back without the shim ends what is left.
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "far"]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("it has a parent");
    host.kill_daemon();
    tests::host::signal(shim.parse().expect("a number"), rustix::process::Signal::KILL);
    host.start_daemon();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "far"]), "exited 137");
    assert_eq!(parent.groups(&id), Vec::<std::path::PathBuf>::new());
    let own = format!("{}/x", host.cgroup());
    host.fails(&["create", "--cgroup-parent", &own, "busybox", "true"], 1, "where only containers are");
    host.fails(&["create", "--cgroupns", "mine", "busybox"], 125, "--cgroupns: invalid CGROUP mode");
    host.ok(&["rm", "far"]);
}
