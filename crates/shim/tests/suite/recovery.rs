//! The daemon dies, the shim goes on.

use api::task::*;

use crate::fixture::*;

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
