//! Processes beside the first one.

use std::io::Write;

use api::code::Code;
use api::shim::ExecOptions;
use api::task::*;

use crate::fixture::*;

#[test]
fn execs_run_in_the_container_with_their_own_exits() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    assert_eq!(shim.exec_script("one", "echo out; echo err >&2; exit 3"), ("out\nerr\n".into(), 3));
    assert_eq!(shim.exec_script("two", "cat /proc/1/comm"), ("sleep\n".into(), 0));
    assert_eq!(shim.state("one").unwrap().status(), Status::Stopped);
    assert_eq!(shim.exit("one").unwrap().exit_status, 3);
    let again = shim.exec_options(&["true"]);
    assert_eq!(code_of(shim.exec("one", &again, false)), Code::AlreadyExists);
    assert_eq!(shim.delete("one").unwrap().exit_status, 3);
    assert_eq!(code_of(shim.exit("one")), Code::NotFound);
    // What execs print is not the container's output.
    assert!(shim.log().is_empty());
}

#[test]
fn an_exec_runs_as_whom_it_is_told() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let options = ExecOptions {
        user: "me".into(),
        set_home: true,
        ..shim.exec_options(&["sh", "-c", "id -u; echo $HOME"])
    };
    shim.exec("me", &options, false).unwrap();
    let mut output = shim.attach("me", OUTPUT).0;
    shim.start("me").unwrap();
    assert_eq!(frames(&mut output), [(1, "1000\n/home/me\n".into())]);
}

#[test]
fn an_exec_that_cannot_start_is_refused_and_forgotten() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    for (program, code) in [("nothing", Code::NotFound), ("/etc/not-executable", Code::PermissionDenied)] {
        let options = shim.exec_options(&[program]);
        shim.exec("bad", &options, false).unwrap();
        let waited = shim.send_wait("bad");
        let mut output = shim.attach("bad", OUTPUT).0;
        assert_eq!(code_of(shim.start("bad")), code);
        assert_eq!(frames(&mut output), []);
        assert_eq!(code_of(shim.client.receive::<WaitResponse>(waited)), Code::NotFound);
        assert_eq!(code_of(shim.state("bad")), Code::NotFound);
    }
    assert_eq!(shim.exec_script("good", "exit 0").1, 0);
}

#[test]
fn a_grandchild_that_keeps_the_output_does_not_keep_the_exec() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    assert_eq!(shim.exec_script("parent", "sleep 1000 & echo left"), ("left\n".into(), 0));
}

#[test]
fn signals_reach_the_exec_alone() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let options = shim.exec_options(&["sleep", "1000"]);
    shim.exec("sleeper", &options, false).unwrap();
    assert_eq!(code_of(shim.kill("sleeper", 15)), Code::FailedPrecondition);
    shim.start("sleeper").unwrap();
    shim.kill("sleeper", 15).unwrap();
    assert_eq!(shim.wait("sleeper"), 143);
    assert_eq!(code_of(shim.kill("sleeper", 15)), Code::NotFound);
    assert_eq!(shim.status(), Status::Running);
}

#[test]
fn the_end_of_the_container_is_the_end_of_its_execs() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let options = shim.exec_options(&["sleep", "1000"]);
    shim.exec("sleeper", &options, false).unwrap();
    shim.start("sleeper").unwrap();
    let created = shim.exec_options(&["true"]);
    shim.exec("created", &created, false).unwrap();
    let (sleeper, never) = (shim.send_wait("sleeper"), shim.send_wait("created"));
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    assert_eq!(shim.client.receive::<WaitResponse>(sleeper).unwrap().exit_status, 137);
    let late = shim.exec_options(&["true"]);
    assert_eq!(code_of(shim.exec("late", &late, false)), Code::FailedPrecondition);
    shim.delete("").unwrap();
    assert_eq!(code_of(shim.client.receive::<WaitResponse>(never)), Code::NotFound);
}

#[test]
fn an_exec_can_have_a_terminal_of_a_size() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let script = "tty; stty size; read line; stty size; echo got $line";
    let options =
        ExecOptions { open_stdin: true, width: 91, height: 33, ..shim.exec_options(&["sh", "-c", script]) };
    shim.exec("terminal", &options, true).unwrap();
    let (mut stream, tty) = shim.attach("terminal", ALL);
    assert!(tty);
    shim.start("terminal").unwrap();
    assert!(read_until(&mut stream, "33 91\r\n").contains("/dev/pts/"));
    let resize =
        ResizePtyRequest { id: shim.bundle.id.clone(), exec_id: "terminal".into(), width: 100, height: 50 };
    let _: () = shim.client.call(SERVICE_V3, "ResizePty", &resize).unwrap();
    stream.write_all(b"text\n").unwrap();
    let text = read_until(&mut stream, "got text\r\n");
    assert!(text.contains("50 100\r\n"), "{text}");
    assert_eq!(shim.wait("terminal"), 0);
}

#[test]
fn many_execs_leave_no_descriptors() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let directory = format!("/proc/{}/fd", shim.pid);
    let count = || std::fs::read_dir(&directory).unwrap().count();
    let before = count();
    for number in 0..20 {
        let exec = format!("exec-{number}");
        assert_eq!(shim.exec_script(&exec, "exit 0").1, 0);
        shim.delete(&exec).unwrap();
    }
    // Those of the attachers go when the turn is over.
    eventually("the descriptors are back", || count() <= before);
}
