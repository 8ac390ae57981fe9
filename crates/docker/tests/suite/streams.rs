//! Attach, logs, exec, wait, events: everything that goes on after its head.

use serde_json::json;

use crate::client::{self, unframe};
use crate::door::with_busybox;

const ATTACH: &str = "stream=1&stdin=1&stdout=1&stderr=1";

#[test]
fn an_attached_client_misses_nothing_and_ends_stdin() {
    with_busybox(|door| {
        let stdin = json!({"OpenStdin": true, "StdinOnce": true, "AttachStdin": true});
        let id = door.create("cat", "echo ready; cat; echo end >&2; exit 3", stdin);
        let mut attached = door.hijack(&format!("/v1.41/containers/{id}/attach?{ATTACH}"), None);
        assert!(attached.head.starts_with("HTTP/1.1 101 "), "{}", attached.head);
        assert!(
            attached.head.contains("content-type: application/vnd.docker.raw-stream\r\n"),
            "{}",
            attached.head
        );
        door.start(&id);
        attached.write(b"typed\n");
        attached.end_input();
        let frames = unframe(&attached.rest());
        assert_eq!(frames, [(1, "ready\ntyped\n".into()), (2, "end\n".into())]);
        assert_eq!(door.wait(&id), 3);
    });
}

#[test]
fn without_an_upgrade_bodies_are_the_streams() {
    with_busybox(|door| {
        let id = door.create("plain", "cat", json!({"OpenStdin": true, "StdinOnce": true}));
        door.start(&id);
        let request = format!(
            "POST /containers/{id}/attach?{ATTACH} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nhey\n\r\n0\r\n\r\n"
        );
        let answer = door.send(request.as_bytes());
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/vnd.docker.multiplexed-stream"));
        assert_eq!(unframe(&answer.body), [(1, "hey\n".into())]);
    });
}

#[test]
fn the_daemon_sees_the_detach_keys_and_the_container_stays() {
    with_busybox(|door| {
        let terminal = json!({"Tty": true, "OpenStdin": true, "StdinOnce": true});
        let id = door.create("shell", "while read line; do echo \"<$line>\"; done", terminal);
        let path = format!("/containers/{id}/attach?{ATTACH}");
        let mut first = door.hijack(&path, None);
        assert!(first.head.contains("vnd.docker.raw-stream"));
        door.start(&id);
        first.write(b"one\n");
        first.until("<one>");
        first.write(b"\x10");
        first.write(b"\x11");
        first.rest();

        let mut second = door.hijack(&format!("{path}&detachKeys=ctrl-a,b"), None);
        second.write(b"x\x10\x11\x7f\x7f\x7ftwo\n");
        second.until("two>");
        second.write(b"\x01bnot typed\n");
        second.rest();

        // A client that is just gone takes nothing along either.
        drop(door.hijack(&path, None));
        let mut third = door.hijack(&path, None);
        third.write(b"three\n");
        let seen = third.until("<three>");
        assert!(!seen.contains("not typed"), "{seen}");
        assert_eq!(door.get(&format!("/containers/{id}/json")).json()["State"]["Running"], true);
    });
}

#[test]
fn the_end_of_input_leaves_a_container_that_keeps_its_stdin() {
    with_busybox(|door| {
        let id = door.create("keeps", "cat", json!({"OpenStdin": true}));
        door.start(&id);
        for word in ["one\n", "two\n"] {
            let mut attached = door.hijack(&format!("/containers/{id}/attach?{ATTACH}"), None);
            attached.write(word.as_bytes());
            attached.until(word);
            attached.end_input();
            attached.rest();
        }
        assert_eq!(door.get(&format!("/containers/{id}/json")).json()["State"]["Running"], true);
    });
}

#[test]
fn an_exec_has_streams_and_a_failed_one_says_why() {
    with_busybox(|door| {
        let id = door.create("host", "sleep 1000", json!({}));
        let make = |body| door.post(&format!("/containers/{id}/exec"), Some(&body));
        assert_eq!(make(json!({"Cmd": ["true"]})).status, 409);
        door.start(&id);
        assert_eq!(make(json!({"Cmd": []})).message(), "No exec command specified");
        let run = |body: serde_json::Value, input: &[u8]| {
            let made = make(body);
            assert_eq!(made.status, 201, "{made:?}");
            let exec = made.json()["Id"].as_str().unwrap().to_owned();
            let mut session = door.hijack(&format!("/v1.41/exec/{exec}/start"), Some(&json!({})));
            if !input.is_empty() {
                session.write(input);
            }
            session.end_input();
            let frames = unframe(&session.rest());
            let inspect = door.get(&format!("/exec/{exec}/json")).json();
            assert_eq!(inspect["Running"], false);
            let again = door.post(&format!("/exec/{exec}/start"), Some(&json!({})));
            assert_eq!(again.status, 409, "{again:?}");
            (frames, inspect["ExitCode"].as_i64().unwrap())
        };
        let both = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", "echo a; sleep 0.1; echo b >&2; exit 5"]});
        assert_eq!(run(both, b""), (vec![(1, "a\n".into()), (2, "b\n".into())], 5));
        let cat = json!({"AttachStdin": true, "AttachStdout": true, "Cmd": ["cat"]});
        assert_eq!(run(cat, b"in"), (vec![(1, "in".into())], 0));
        let (frames, code) = run(json!({"AttachStdout": true, "Cmd": ["nothing"]}), b"");
        assert_eq!(code, 127);
        assert!(frames[0].1.contains("executable file not found"), "{frames:?}");
        assert_eq!(door.post("/exec/nobody/start", Some(&json!({}))).status, 404);
    });
}

#[test]
fn a_wait_has_begun_when_its_head_is_there() {
    with_busybox(|door| {
        for condition in ["next-exit", "removed"] {
            let body = json!({"HostConfig": {"NetworkMode": "none", "AutoRemove": true}});
            let id = door.create(condition, "exit 6", body);
            let request =
                client::request("POST", &format!("/containers/{id}/wait?condition={condition}"), None);
            let wait = client::open(&door.socket(), &request);
            assert_eq!(wait.status, 200);
            door.start(&id);
            assert_eq!(wait.finish().json(), json!({"StatusCode": 6}), "{condition}");
        }
    });
}

#[test]
fn logs_come_framed_cut_and_followed() {
    with_busybox(|door| {
        let id = door.create("talks", "echo 1; sleep 0.05; echo 2 >&2; sleep 0.05; echo 3", json!({}));
        door.start(&id);
        let logs = |query: &str| door.get(&format!("/containers/{id}/logs?{query}"));
        let followed = logs("stdout=1&stderr=1&follow=1");
        assert_eq!(unframe(&followed.body), [(1, "1\n".into()), (2, "2\n".into()), (1, "3\n".into())]);
        assert_eq!(followed.header("content-type"), Some("application/vnd.docker.multiplexed-stream"));
        assert_eq!(unframe(&logs("stdout=1&tail=1").body), [(1, "3\n".into())]);
        assert_eq!(unframe(&logs("stderr=1").body), [(2, "2\n".into())]);
        assert_eq!(unframe(&logs("stdout=1&stderr=1&tail=0").body), []);

        let timed = unframe(&logs("stdout=1&timestamps=1").body);
        let (time, line) = timed[0].1.lines().next().unwrap().split_once(' ').unwrap();
        assert_eq!((time.len(), line), ("2026-01-01T00:00:00.000000000Z".len(), "1"));
        let old = door.get(&format!("/v1.41/containers/{id}/logs?stdout=1"));
        assert_eq!(old.header("content-type"), Some("application/vnd.docker.raw-stream"));

        // An attach may begin with them.
        let mut attached = door.hijack(&format!("/containers/{id}/attach?logs=1&stdout=1"), None);
        assert_eq!(unframe(&attached.rest()), [(1, "1\n3\n".into())]);
    });
}

#[test]
fn much_output_and_a_slow_reader_lose_nothing() {
    with_busybox(|door| {
        let id = door.create("much", "seq 1 200000", json!({}));
        let mut attached = door.hijack(&format!("/containers/{id}/attach?stream=1&stdout=1"), None);
        door.start(&id);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let text: String = unframe(&attached.rest()).into_iter().map(|(_, text)| text).collect();
        let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
        assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
        let logged: String = unframe(&door.get(&format!("/containers/{id}/logs?stdout=1")).body)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert!(logged == expected, "{} of {} bytes", logged.len(), expected.len());
    });
}

#[test]
fn events_are_lines_and_filters_hold() {
    with_busybox(|door| {
        let mut all = client::open(&door.socket(), b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n");
        let filter = "%7B%22type%22:%5B%22volume%22%5D%7D";
        let request = format!("GET /events?filters={filter} HTTP/1.1\r\nHost: d\r\n\r\n");
        let mut volumes = client::open(&door.socket(), request.as_bytes());
        let id = door.create("acts", "true", json!({"Labels": {"k": "v"}}));
        assert_eq!(door.post("/volumes/create", Some(&json!({"Name": "vol"}))).status, 201);
        let line = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        let first = line(all.chunk().unwrap());
        assert_eq!(
            (&first["Type"], &first["Action"], &first["status"]),
            (&json!("container"), &json!("create"), &json!("create"))
        );
        assert_eq!(
            (&first["Actor"]["ID"], &first["id"], &first["scope"]),
            (&json!(id), &json!(id), &json!("local"))
        );
        assert_eq!(first["Actor"]["Attributes"]["k"], "v");
        let only = line(volumes.chunk().unwrap());
        assert_eq!((&only["Type"], &only["Actor"]["ID"]), (&json!("volume"), &json!("vol")));

        // With an end in the past it tells what it still knows, and ends.
        let nanoseconds = first["timeNano"].as_i64().unwrap();
        let (whole, part) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        let past = door.get(&format!("/events?since=1&until={whole}.{part:09}"));
        assert_eq!(line(past.body.split(|byte| *byte == b'\n').next().unwrap().to_vec())["Type"], "image");
    });
}
