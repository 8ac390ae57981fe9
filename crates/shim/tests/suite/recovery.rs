//! The daemon dies, the shim goes on.

use std::os::fd::AsFd;

use api::code::Code;
use api::shim::{CreateOptions, ExecOptions};
use api::task::*;

use crate::fixture::*;

#[test]
fn what_a_daemon_asked_as_it_died_is_not_done() {
    const STOP: i32 = 19;
    const CONTINUE: i32 = 18;
    let mut bundle = Bundle::new();
    bundle.process().args = shell("sleep 1000");
    let mut shim = Shim::spare(bundle);
    let pidfd = linux::pidfd::open(shim.pid).unwrap();
    let signal = |number| linux::pidfd::send_signal(pidfd.as_fd(), number).unwrap();
    // Everything is in the shim's socket when it sees the end of its daemon.
    signal(STOP);
    let (bind, create) = (shim.bind_request(), shim.create_request(&CreateOptions::default(), false));
    let start = StartRequest { id: shim.bundle.id.clone(), exec_id: String::new() };
    shim.client.send(api::SHIM_SERVICE, "Bind", &bind).unwrap();
    shim.client.send(SERVICE_V3, "Create", &create).unwrap();
    shim.client.send(SERVICE_V3, "Start", &start).unwrap();
    shim.cut();
    signal(CONTINUE);
    shim.until_over();
    shim.bundle.assert_nothing_left();
}

#[test]
fn a_new_daemon_finds_everything_as_it_is() {
    let mut shim = Shim::script("for i in $(seq 1 20); do echo $i; sleep 0.02; done; exit 11");
    let pid = shim.start("").unwrap();
    shim.send_wait("");
    // The connection breaks in the middle of a frame, as when its process is killed.
    let hello = shim.reconnect();
    assert_eq!((hello.pid, hello.container_id.as_str()), (shim.pid, shim.bundle.id.as_str()));
    assert_eq!(shim.state("").unwrap().pid, pid);
    assert_eq!(shim.wait(""), 11);
    assert_eq!(shim.logged("stdout").lines().count(), 20);
}

#[test]
fn an_end_while_nobody_looks_is_told_later() {
    let mut shim = Shim::script("exit 12");
    let request = StartRequest { id: shim.bundle.id.clone(), exec_id: String::new() };
    shim.client.send(SERVICE_V3, "Start", &request).unwrap();
    shim.reconnect();
    assert_eq!(shim.wait(""), 12);
    let record = shim::ExitRecord::read(&shim.socket("")).unwrap();
    shim.reconnect();
    assert_eq!(shim.status(), Status::Stopped);
    assert_eq!(shim.exit("").unwrap().exit_status, record.exit_status);
    assert_eq!(shim.wait(""), 12);
}

#[test]
fn execs_of_a_daemon_that_is_gone_run_on_and_are_forgotten_at_their_end() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let directory = format!("/proc/{}/fd", shim.pid);
    let descriptors = || std::fs::read_dir(&directory).unwrap().count();
    let before = descriptors();
    // One that is over, one that was never started, one whose output nobody has come for, one that runs.
    assert_eq!(shim.exec_script("over", "mkfifo /go").1, 0);
    let options = shim.exec_options(&["true"]);
    shim.exec("never", &options, false).unwrap();
    let options = ExecOptions {
        wait_attach: true,
        ..shim.exec_options(&["sh", "-c", "yes | head -c 4000000; echo > /go"])
    };
    shim.exec("unseen", &options, false).unwrap();
    shim.start("unseen").unwrap();
    let options = shim.exec_options(&["sh", "-c", "cat /go /go"]);
    shim.exec("runs", &options, false).unwrap();
    shim.start("runs").unwrap();
    shim.reconnect();
    for gone in ["over", "never"] {
        assert_eq!(code_of(shim.state(gone)), Code::NotFound, "{gone}");
    }
    eventually("the one that nobody looks at has ended", || shim.state("unseen").is_err());
    assert_eq!(shim.state("runs").unwrap().status(), Status::Running);
    assert_eq!(shim.exec_script("new", "echo > /go").1, 0);
    eventually("it is forgotten at its end", || shim.state("runs").is_err());
    shim.delete("new").unwrap();
    eventually("the descriptors are back", || descriptors() <= before);
}

#[test]
fn a_check_of_a_daemon_that_is_gone_is_ended_before_the_next_one() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let script = "sleep 1000 & sleep 1000 & sleep 1000; true";
    let options = ExecOptions { timeout_ms: 600_000, ..shim.exec_options(&["sh", "-c", script]) };
    shim.exec("check", &options, false).unwrap();
    shim.start("check").unwrap();
    let request = PidsRequest { id: shim.bundle.id.clone() };
    let processes = |shim: &mut Shim| {
        let pids: PidsResponse = shim.client.call(SERVICE_V3, "Pids", &request).unwrap();
        pids.processes.len()
    };
    eventually("all of it runs", || processes(&mut shim) == 5);
    shim.reconnect();
    eventually("nothing of it runs", || processes(&mut shim) == 1);
    assert_eq!(code_of(shim.state("check")), Code::NotFound);
}
