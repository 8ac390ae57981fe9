//! The daemon may die at any instruction.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tests::host::Host;

#[test]
fn containers_live_on_and_exits_while_the_daemon_was_dead_are_known() {
    let mut host = Host::start();
    host.ok(&["run", "-d", "--name", "stays", "--network", "none", "busybox", "sleep", "1000"]);
    host.ok(&[
        "run",
        "-d",
        "--name",
        "ends",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "sleep 0.5; echo last words; exit 23",
    ]);
    host.ok(&["run", "-d", "--name", "killed", "--network", "none", "busybox", "sleep", "1000"]);
    let victim = host.ok(&["inspect", "-f", "{{.State.Pid}}", "killed"]);
    host.ok(&["run", "-d", "--rm", "--name", "vanishes", "--network", "none", "busybox", "sleep", "0.5"]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "stays"]);
    host.kill_daemon();
    tests::host::signal(victim.parse().expect("a pid"), rustix::process::Signal::KILL);
    thread::sleep(Duration::from_secs(1));
    host.start_daemon();
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "stays"]),
        format!("{pid} running")
    );
    host.until("the ends are known", || {
        host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends"]) == "exited 23"
            && host.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "killed"]) == "exited 137"
    });
    assert_eq!(host.ok(&["logs", "ends"]), "last words");
    host.until("the one with --rm is gone", || !host.ok(&["ps", "-a"]).contains("vanishes"));
    assert_eq!(host.ok(&["exec", "stays", "echo", "still here"]), "still here");
}

#[test]
fn a_graceful_stop_leaves_containers_running() {
    let mut host = Host::start();
    host.ok(&["run", "-d", "--name", "stays", "--network", "none", "busybox", "sleep", "1000"]);
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "stays"]);
    assert!(host.stop_daemon().success());
    host.start_daemon();
    assert_eq!(host.ok(&["inspect", "-f", "{{.State.Pid}}", "stays"]), pid);
}

#[test]
fn a_container_in_the_making_is_whole_or_gone_after_a_kill() {
    let mut host = Host::start();
    let rounds = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 60 } else { 12 };
    for round in 0..rounds {
        let name = format!("made-{round}");
        let mut run = host
            .command(&["run", "-d", "--name", &name, "--network", "none", "busybox", "sleep", "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("corten runs");
        // Every round kills a little later: 0.5 ms steps over the whole way from the request to the running process.
        thread::sleep(Duration::from_micros(500 * round));
        host.kill_daemon();
        run.wait().expect("it ends");
        host.start_daemon();
        let listed = host.ok(&["ps", "-a", "--filter", &format!("name={name}"), "--format", "{{.State}}"]);
        match listed.as_str() {
            "" => assert!(!host.run(&["inspect", &name]).stderr.is_empty()),
            "created" => host.ok(&["start", &name]).clear(),
            "running" => host.ok(&["exec", &name, "true"]).clear(),
            "exited" => host.ok(&["start", &name]).clear(),
            other => panic!("round {round}: {other}"),
        }
        if !listed.is_empty() {
            host.ok(&["rm", "-f", &name]);
        }
    }
}

#[test]
fn a_killed_shim_is_noticed() {
    let host = Host::start();
    host.ok(&["run", "-d", "--name", "orphan", "--network", "none", "busybox", "sleep", "1000"]);
    let pid: i32 = host.ok(&["inspect", "-f", "{{.State.Pid}}", "orphan"]).parse().expect("a pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    tests::host::signal(parent.parse().expect("a pid"), rustix::process::Signal::KILL);
    host.until("the loss is noticed", || {
        host.ok(&["inspect", "-f", "{{.State.Running}}", "orphan"]) == "false"
    });
    host.until("its process is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    host.ok(&["start", "orphan"]);
    assert_eq!(host.ok(&["exec", "orphan", "echo", "back"]), "back");
}

#[test]
fn always_restarting_containers_come_back_after_a_killed_daemon() {
    let mut host = Host::start();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "always",
        "--restart",
        "always",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "sleep 0.7; exit 1",
    ]);
    host.kill_daemon();
    thread::sleep(Duration::from_secs(1));
    host.start_daemon();
    host.until("it runs again", || host.ok(&["inspect", "-f", "{{.State.Running}}", "always"]) == "true");
}

#[test]
fn two_daemons_never_share_a_root() {
    let host = Host::start();
    let outcome = host.run(&["daemon", "--config", tests::host::path_text(&host.path().join("config.toml"))]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stderr.contains(&host.daemon_pid().to_string()), "it names who holds it: {outcome:?}");
}
