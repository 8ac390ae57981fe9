//! Many tasks of a client of containerd's, and a daemon that is killed while some of them end.

use std::collections::BTreeMap;

use rustix::process::Signal;
use tests::host::{Host, signal};
use tests::peers::{Ctr, ctrs};

const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// What a run starts at once.
const ABREAST: usize = 8;

/// Every task's process and state.
fn states(ctr: &Ctr<'_>) -> BTreeMap<String, (u32, String)> {
    let rows = ctr.table(&["tasks", "ls"]).into_iter();
    rows.map(|row| (row[0].clone(), (row[1].parse().expect("a number"), row[2].clone()))).collect()
}

/// The parent of a process: a task's shim.
fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

#[test]
fn a_crowd_of_tasks_is_what_it_is_after_the_daemon_was_killed() {
    let count = if std::env::var("CORTEN_TEST_FULL").is_ok_and(|full| full == "1") { 1000 } else { 48 };
    let mut host = Host::start();
    let names: Vec<String> = (0..count).map(|number| format!("task-{number}")).collect();
    std::thread::scope(|scope| {
        for lane in 0..ABREAST {
            let (host, names) = (&host, &names);
            scope.spawn(move || {
                let [_, ctr] = ctrs(host);
                for name in names.iter().skip(lane).step_by(ABREAST) {
                    ctr.ok(&ctr.container(
                        "default",
                        &["-d", "--null-io", BUSYBOX],
                        name,
                        &["sleep", "100000"],
                    ));
                }
            });
        }
    });
    let [_, ctr] = ctrs(&host);
    let before = states(&ctr);
    assert_eq!(before.len(), count);
    assert!(before.values().all(|(_, state)| state == "RUNNING"), "{before:?}");
    host.kill_daemon();
    // While nobody looks, every fourth task ends, and every eighth loses its shim.
    let ended: Vec<&String> = names.iter().skip(1).step_by(4).collect();
    let lost: Vec<&String> = names.iter().step_by(8).collect();
    for name in &ended {
        signal(before[*name].0, Signal::KILL);
    }
    for name in &lost {
        signal(parent(before[*name].0), Signal::KILL);
    }
    host.start_daemon();
    let [_, ctr] = ctrs(&host);
    let mut expected = before;
    for name in &ended {
        expected.get_mut(*name).expect("it was there").1 = "STOPPED".into();
    }
    expected.retain(|name, _| !lost.contains(&name));
    host.until("every task is what it is", || states(&ctr) == expected);
    let removed = ctr.run(&["tasks", "rm", ended[0]]);
    assert!(removed.stderr.contains("exit code 137"), "its end was seen: {removed:?}");
    ctr.fails(&["tasks", "kill", lost[0]], "not found");
    assert_eq!(ctr.table(&["containers", "ls"]).len(), count, "containers stay");
    let left: Vec<&str> =
        names.iter().filter(|name| *name != ended[0] && !lost.contains(name)).map(String::as_str).collect();
    ctr.run(&[&["tasks", "rm", "--force"], &left[..]].concat());
    assert!(states(&ctr).is_empty());
    ctr.ok(&[&["containers", "rm"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
}
