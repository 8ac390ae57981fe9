//! Attaching by WebSocket.

use std::io::Read;

use serde_json::json;

use crate::client::{self, Open};
use crate::door::{Door, with_busybox};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

fn connect(door: &Door, path: &str) -> Open {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let open = client::open(&door.socket(), request.as_bytes());
    assert_eq!(open.status, 101, "{}", open.head);
    assert!(open.head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{}", open.head);
    open
}

/// A masked frame of a client.
fn send(open: &mut Open, first: u8, payload: &[u8]) {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 9, 8, 7, 6];
    frame.extend(payload.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    open.write(&frame);
}

fn receive(open: &mut Open) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    open.reader.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            open.reader.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    open.reader.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

/// Everything up to the close, which has to be a normal one; the kind of its messages, and the text.
fn until_close(open: &mut Open) -> (u8, String) {
    let (mut kind, mut text) = (0, Vec::new());
    loop {
        match receive(open) {
            (CLOSE, code) => {
                assert_eq!(code, 1000_u16.to_be_bytes());
                return (kind, String::from_utf8(text).unwrap());
            }
            (opcode, payload) => {
                kind = opcode;
                text.extend(payload);
            }
        }
    }
}

#[test]
fn a_websocket_carries_both_outputs_bare_and_the_input() {
    with_busybox(|door| {
        let stdin = json!({"OpenStdin": true, "StdinOnce": true});
        let id = door.create("talks", "read line; echo \"<$line>\"; echo no >&2; exit 4", stdin);
        let path = format!("/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1");
        let mut socket = connect(door, &path);
        door.start(&id);
        send(&mut socket, PING, b"there?");
        assert_eq!(receive(&mut socket), (PONG, b"there?".to_vec()));
        // One line in two messages, the second in two pieces.
        send(&mut socket, TEXT, b"o");
        send(&mut socket, 0x02, b"n");
        send(&mut socket, 0x80, b"e\n");
        let (kind, text) = until_close(&mut socket);
        assert_eq!(
            (kind, text.contains("<one>\n"), text.contains("no\n"), text.len()),
            (BINARY, true, true, 9)
        );
        assert_eq!(socket.rest(), b"");
        assert_eq!(door.wait(&id), 4);
        // What is over can be read from the log; old clients get text, and everything.
        let mut past = connect(door, &format!("/v1.27/containers/{id}/attach/ws?logs=1"));
        let (kind, text) = until_close(&mut past);
        assert_eq!((kind, text.len()), (TEXT, 9));
    });
}

#[test]
fn a_client_that_closes_or_breaks_the_protocol_is_let_go() {
    with_busybox(|door| {
        let terminal = json!({"Tty": true, "OpenStdin": true});
        let id = door.create("shell", "while read line; do echo \"<$line>\"; done", terminal);
        let path = format!("/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1");
        door.start(&id);
        for (first, payload, code) in [(CLOSE, &b"\x03\xe8"[..], 1000_u16), (0xc1, b"x", 1002)] {
            let mut socket = connect(door, &path);
            send(&mut socket, TEXT, b"in\n");
            while !String::from_utf8_lossy(&receive(&mut socket).1).contains("<in>") {}
            send(&mut socket, first, payload);
            let last = loop {
                let (kind, payload) = receive(&mut socket);
                if kind == CLOSE {
                    break payload;
                }
            };
            assert_eq!(last, code.to_be_bytes());
            assert_eq!(socket.rest(), b"");
        }
        // The keys leave, and the container stays.
        let mut socket = connect(door, &path);
        send(&mut socket, TEXT, b"\x10\x11");
        until_close(&mut socket);
        assert_eq!(door.get(&format!("/containers/{id}/json")).json()["State"]["Running"], true);
        let plain = door.get(&path);
        assert_eq!((plain.status, plain.message()), (400, "not websocket protocol".into()));
    });
}
