//! Requests that are wrong, too large, half, or too many.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::client;
use crate::door::{with_busybox, with_door};

#[test]
fn what_a_refused_client_still_sends_is_read() {
    with_door(|door| {
        // More than any socket's buffer has room for: it arrives only if somebody reads.
        let body = vec![b'x'; 2 << 20];
        for path in ["/nonsense", "/containers/nobody/update", "/v1.23/info", "/images/localhost:1/none/push"]
        {
            let mut stream = UnixStream::connect(door.socket()).unwrap();
            write!(stream, "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n", body.len())
                .unwrap();
            let open = client::Open::of(stream.try_clone().unwrap());
            assert!(open.status >= 400, "{path}: {}", open.status);
            stream.write_all(&body).unwrap_or_else(|error| panic!("{path}: {error}"));
            drop(open.finish());
            write!(stream, "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
            assert_eq!(client::Open::of(stream).status, 200, "{path}: the connection lives on");
        }
    });
}

#[test]
fn clients_of_old_are_told_in_plain_text() {
    with_door(|door| {
        let answer = door.get("/v1.23/info");
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/plain; charset=utf-8")));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(
            text.starts_with("client version 1.23 is too old. Minimum supported API version is 1.24"),
            "{text}"
        );
    });
}

#[test]
fn wrong_requests_are_refused_with_dockers_words() {
    with_door(|door| {
        for (method, path, status, message) in [
            ("GET", "/nonsense", 404, "page not found"),
            ("PUT", "/containers/json", 404, "page not found"),
            (
                "GET",
                "/v1.52/info",
                400,
                "client version 1.52 is too new. Maximum supported API version is 1.51",
            ),
            ("GET", "/v1.99999999999999999999/info", 404, "page not found"),
            ("GET", "/containers/json?filters={", 400, "invalid filter: "),
            ("GET", "/containers/json?filters={%22foo%22:[%22x%22]}", 400, "invalid filter 'foo'"),
            (
                "GET",
                "/containers/json?filters={%22status%22:[%22odd%22]}",
                400,
                "invalid filter 'status=odd'",
            ),
            ("GET", "/containers/json?filters={%22name%22:[%22a(%22]}", 400, "invalid filter 'name=a('"),
            ("GET", "/containers/json?limit=many", 400, "invalid parameter `limit`"),
            (
                "GET",
                "/images/json?filters={%22dangling%22:[%22maybe%22]}",
                400,
                "invalid filter 'dangling=[maybe]'",
            ),
            ("GET", "/containers/nobody/json", 404, "No such container: nobody"),
            ("GET", "/containers/nobody/logs", 400, "Bad parameters: you must choose at least one stream"),
            ("GET", "/containers/nobody/logs?stdout=1", 404, "No such container: nobody"),
            ("GET", "/containers/nobody/logs?stdout=1&since=yesterday", 400, "invalid value for `since`"),
            ("POST", "/containers/nobody/start", 404, "No such container: nobody"),
            ("POST", "/containers/nobody/wait?condition=never", 400, "invalid condition: \"never\""),
            (
                "POST",
                "/containers/nobody/attach?stream=1&detachKeys=abc",
                400,
                "Invalid escape keys (abc) provided",
            ),
            ("POST", "/containers/nobody/resize?h=x&w=1", 400, "invalid parameter `h`"),
            ("POST", "/containers/nobody/resize?w=1", 400, "invalid resize"),
            ("POST", "/containers/nobody/rename", 400, "Neither old nor new names may be empty"),
            ("DELETE", "/containers/nobody", 404, "No such container: nobody"),
            ("POST", "/containers/create", 400, "invalid JSON: got EOF while reading request body"),
            ("POST", "/containers/nobody/exec", 400, "invalid JSON: got EOF while reading request body"),
            ("GET", "/exec/nobody/json", 404, "No such exec instance: nobody"),
            ("GET", "/images/nothing/json", 404, "No such image: nothing:latest"),
            ("GET", "/images/a/b/c:tag/json", 404, "No such image: a/b/c:tag"),
            ("DELETE", "/images/nothing", 404, "No such image: nothing:latest"),
            ("POST", "/images/nothing/tag?repo=x", 404, "No such image: nothing:latest"),
            ("POST", "/images/nothing/tag", 400, "repository name must have at least one component"),
            ("POST", "/images/create?fromImage=127.0.0.1:1/busybox&tag=latest", 500, "127.0.0.1:1"),
            ("POST", "/images/create", 400, "one of `fromImage` and `fromSrc` is needed"),
            ("POST", "/images/load", 400, "the input is empty"),
            ("GET", "/volumes/nothing", 404, "get nothing: no such volume"),
            ("DELETE", "/volumes/nothing", 404, "get nothing: no such volume"),
            ("GET", "/events?filters={%22odd%22:[]}", 400, "invalid filter 'odd'"),
            ("POST", "/build", 501, "building images is not there yet"),
            ("POST", "/networks/create", 400, "invalid JSON: got EOF while reading request body"),
            ("GET", "/networks/mine", 404, "network mine not found"),
            ("GET", "/nodes", 503, "This node is not a swarm manager"),
        ] {
            let answer = door.send(&client::request(method, path, None));
            let said = answer.message();
            assert_eq!(answer.status, status, "{method} {path}: {said}");
            assert!(said.contains(message), "{method} {path}: {said}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("api-version"), Some("1.51"));
        }
    });
}

#[test]
fn wrong_bodies_are_refused() {
    with_busybox(|door| {
        let create = "/containers/create";
        let post = |path: &str, kind: &str, body: &str| {
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            );
            door.send(&[head.as_bytes(), body.as_bytes()].concat())
        };
        for (path, kind, body, status, message) in [
            (create, "application/json", "{", 400, "invalid JSON: "),
            (create, "application/json", "[]", 400, "invalid JSON: "),
            (create, "application/json", "{} {}", 400, "invalid JSON: trailing characters"),
            (create, "application/json", "\u{0}", 400, "invalid JSON: "),
            (create, "application/json", r#"{"Cmd": 3}"#, 400, "invalid JSON: "),
            (create, "application/json", r#"{"HostConfig": {"Memory": "much"}}"#, 400, "invalid JSON: "),
            (create, "application/json", "{}", 400, "Config.Image cannot be empty"),
            (
                create,
                "application/json; charset=utf-8",
                r#"{"Image": "none"}"#,
                404,
                "No such image: none:latest",
            ),
            (
                create,
                "text/plain",
                r#"{"Image": "busybox"}"#,
                400,
                "unsupported Content-Type header (text/plain): must be 'application/json'",
            ),
            (
                "/containers/create?name=-x",
                "application/json",
                r#"{"Image": "busybox", "Cmd": ["true"]}"#,
                400,
                "Invalid container name (-x)",
            ),
            (
                create,
                "application/json",
                r#"{"Image": "busybox", "HostConfig": {"NetworkMode": "mine"}}"#,
                400,
                "network mine not found",
            ),
            (
                "/containers/create?platform=linux/s390x",
                "application/json",
                r#"{"Image": "busybox"}"#,
                501,
                "the platform `linux/s390x`",
            ),
        ] {
            let answer = post(path, kind, body);
            assert_eq!(answer.status, status, "{body}: {answer:?}");
            assert!(answer.message().contains(message), "{body}: {}", answer.message());
        }
        assert_eq!(door.get("/containers/json?all=1").json(), json!([]));
    });
}

#[test]
fn sizes_have_bounds() {
    with_door(|door| {
        let large = json!({"Image": "x".repeat(5 << 20)});
        let answer = door.post("/containers/create", Some(&large));
        assert_eq!(
            (answer.status, answer.message().as_str()),
            (413, "request body larger than 4194304 bytes")
        );

        // Without a length, the bound is found while the body comes.
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20)).repeat(5);
        let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(door.send(format!("{head}{chunk}0\r\n\r\n").as_bytes()).status, 413);

        let long = format!("GET /_ping HTTP/1.1\r\nHost: d\r\nX-Long: {}\r\n\r\n", "x".repeat(100 << 10));
        assert_eq!(door.send(long.as_bytes()).status, 431);
        let many = "X-Y: z\r\n".repeat(200);
        assert_eq!(door.send(format!("GET /_ping HTTP/1.1\r\n{many}\r\n").as_bytes()).status, 431);
        assert_eq!(door.send(b"nonsense\r\n\r\n").status, 400);
        assert_eq!(door.get("/_ping").body, b"OK");
    });
}

/// `buildx` looks for a builder in the daemon, and brings its own when it is told that there is none.
#[test]
fn who_looks_for_a_builder_is_told_at_once_that_there_is_none() {
    with_door(|door| {
        for path in ["/grpc", "/session", "/build?version=2"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = door.send(request.as_bytes());
            assert_eq!((answer.status, answer.message()), (501, "building images is not there yet".into()));
        }
        // The old builder, which is refused by name, and not BuildKit.
        assert_eq!(door.get("/_ping").header("builder-version"), Some("1"));
    });
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    with_busybox(|door| {
        let id = door.create("half", "sleep 0.3; exit 4", json!({}));
        let mut quick = client::open(&door.socket(), b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n");
        quick.end_input();
        assert_eq!(quick.finish().body, b"OK");

        door.start(&id);
        let mut stream = UnixStream::connect(door.socket()).unwrap();
        stream.write_all(&client::request("POST", "/containers/half/wait", None)).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("{\"StatusCode\":4}"), "{answer}");
    });
}

#[test]
fn a_client_that_leaves_an_idle_stream_is_noticed() {
    with_door(|door| {
        let listeners = || door.get("/info").json()["NEventsListener"].as_i64().unwrap();
        let readers: Vec<_> = (0..5)
            .map(|_| client::open(&door.socket(), b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n"))
            .collect();
        assert_eq!(listeners(), 5);
        drop(readers);
        door.until("nobody listens", || listeners() == 0);
    });
}

#[test]
fn clients_beyond_the_bound_are_told_and_others_go_on() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    with_door(|door| {
        let mut first = UnixStream::connect(door.socket()).unwrap();
        let others: Vec<_> = (1..1024).map(|_| UnixStream::connect(door.socket()).unwrap()).collect();
        door.until("one is refused", || {
            let mut stream = UnixStream::connect(door.socket()).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).is_ok()
                && said.contains("503")
                && said.contains("{\"message\":\"too many connections\"}")
        });
        first.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
        let mut answer = [0; 15];
        first.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        drop(others);
        door.until("there is room again", || {
            let mut stream = UnixStream::connect(door.socket()).unwrap();
            stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).is_ok() && said.contains(" 200 ")
        });
    });
}

#[test]
fn a_broken_upload_leaves_no_image() {
    with_door(|door| {
        let tar = std::fs::read(crate::door::busybox_tar()).unwrap();
        // Where all entries are through, and the two blocks of zeros that say so are not.
        let entries = (tar.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(512);
        for path in ["/images/load", "/images/create?fromSrc=-&repo=half"] {
            for length in [0, 512, 700, tar.len() / 2, entries] {
                let mut stream = UnixStream::connect(door.socket()).unwrap();
                write!(stream, "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n", tar.len())
                    .unwrap();
                stream.write_all(&tar[..length]).unwrap();
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
        assert_eq!(door.upload("/images/create?fromSrc=-&repo=whole", &tar).status, 200);
        door.until("only the whole one is there", || {
            let images = door.get("/images/json?all=1").json();
            images.as_array().unwrap().len() == 1 && images[0]["RepoTags"] == json!(["whole:latest"])
        });
    });
}

#[test]
fn a_door_that_closes_ends_its_streams() {
    with_busybox(|door| {
        let id = door.create("stays", "sleep 1000", json!({}));
        door.start(&id);
        let mut events = client::open(&door.socket(), b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n");
        let mut attached = door.hijack("/containers/stays/attach?stream=1&stdout=1", None);
        assert_eq!(door.delete("/containers/stays?force=1").status, 204);
        let mut idle = client::open(&door.socket(), b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n");
        idle.until("OK");
        door.close();
        assert_eq!(attached.rest(), b"");
        while events.chunk().is_some() {}
        assert_eq!(idle.rest(), b"");
    });
}
