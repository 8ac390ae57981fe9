//! Whatever comes over the sockets, the container goes on.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use api::code::Code;
use api::task::*;
use api::ttrpc::{Request, encode_request};

use crate::fixture::*;

/// The shim hangs up and says nothing.
fn assert_closed(stream: &mut UnixStream) {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        // What it has not read breaks the connection.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn nonsense_on_the_task_socket_ends_its_connection_alone() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let huge = [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 1, 1, 0]].concat();
    let no_message = [&4_u32.to_be_bytes()[..], &[0, 0, 0, 1, 1, 0], &[0xff; 4]].concat();
    for bytes in [vec![0xaa; 4096], huge, no_message, b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = UnixStream::connect(shim.socket("task.sock")).unwrap();
        stream.write_all(&bytes).unwrap();
        assert_closed(&mut stream);
        assert_eq!(shim.status(), Status::Running);
    }
}

#[test]
fn half_frames_and_silence_cost_nothing() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let whole = encode_request(1, &Request::new(SERVICE_V3, "State", &StateRequest::default())).unwrap();
    let streams: Vec<UnixStream> = (0..whole.len())
        .step_by(3)
        .map(|cut| {
            let mut stream = UnixStream::connect(shim.socket("task.sock")).unwrap();
            stream.write_all(&whole[..cut]).unwrap();
            stream
        })
        .collect();
    assert_eq!(shim.status(), Status::Running);
    drop(streams);
    assert_eq!(shim.status(), Status::Running);
}

#[test]
fn unknown_methods_and_requests_that_are_none_are_refused() {
    let mut shim = Shim::spare(Bundle::new());
    for (service, method) in [("nobody.Nothing", "State"), (SERVICE_V3, "Fly"), (api::SHIM_SERVICE, "Fly")] {
        assert_eq!(code_of(shim.client.call::<()>(service, method, &())), Code::Unimplemented);
    }
    // An id where a number belongs.
    let wrong = WaitRequest { id: "x".into(), exec_id: "y".into() };
    assert_eq!(code_of(shim.client.call::<()>(api::SHIM_SERVICE, "Hello", &wrong)), Code::InvalidArgument);
}

#[test]
fn nonsense_on_the_attach_socket_ends_its_connection_alone() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    for bytes in
        [vec![0xff; 64], 5_u32.to_le_bytes().to_vec(), [&2_u32.to_le_bytes()[..], &[0xff; 2]].concat()]
    {
        let mut stream = UnixStream::connect(shim.socket("attach.sock")).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_closed(&mut stream);
    }
    let request = api::shim::AttachRequest { exec_id: "nobody".into(), ..Default::default() };
    let refused = shim::client::attach(&shim.socket("attach.sock"), &request);
    assert_eq!(refused.unwrap_err().to_string(), "the process does not exist");
    assert_eq!(shim.status(), Status::Running);
}

#[test]
fn more_clients_than_places_wait_for_their_turn() {
    let mut shim = Shim::script("sleep 1000");
    shim.start("").unwrap();
    let streams: Vec<UnixStream> =
        (0..300).map(|_| UnixStream::connect(shim.socket("task.sock")).unwrap()).collect();
    assert_eq!(shim.status(), Status::Running);
    drop(streams);
    shim.reconnect();
    assert_eq!(shim.status(), Status::Running);
}
