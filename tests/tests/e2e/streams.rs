//! A hundred streams, half of them never read, all dropped without a goodbye: nothing of them is left.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::host::{Host, PATIENCE};

/// Streams of each kind.
const EACH: usize = 25;
/// What a client that reads takes before it is gone: more than any answer's head, and no whole number of frames.
const TASTE: usize = 100_001;
/// Lines of 101 bytes that the container prints when it is told to: more than fits between it and a client that does not read.
const LINES: usize = 30_000;
const WRITER: &str = "mkfifo /go; from=0; while read lines < /go; do \
    awk -v from=$from -v lines=$lines 'BEGIN { for (i = from; i < from + lines; i++) printf \"%07d %092d\\n\", i, 0 }'; \
    from=$((from + lines)); done";
/// What an exec prints: the same.
const EXEC: &str = "seq 1 500000";
/// Memory that is not given back: of the daemon what it knows of execs, and the corners of its arenas; of the shim next to nothing.
const SLACK_KIB: [u64; 2] = [5 << 10, 1 << 10];

/// A container that writes, and the processes that carry its streams.
struct Stage {
    host: Host,
    shim: u32,
    /// What the container has been told to print.
    lines: usize,
}

/// What a process holds. Of its memory what it has written to: who else runs the same executable is not its doing.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    private_kib: u64,
}

impl Footprint {
    fn of(pid: u32) -> Footprint {
        let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
        let dirty = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
        let number = dirty.and_then(|line| line.split_whitespace().next()).expect("its memory");
        Footprint {
            descriptors: count("fd"),
            threads: count("task"),
            private_kib: number.parse().expect("a number"),
        }
    }

    /// As many descriptors and threads as then, and about as much memory.
    fn is_back_at(self, then: Footprint, slack_kib: u64) -> bool {
        self.descriptors <= then.descriptors
            && self.threads <= then.threads
            && self.private_kib <= then.private_kib + slack_kib
    }
}

impl Stage {
    fn new() -> Stage {
        let host = Host::start();
        host.ok(&["run", "-d", "--name", "writer", "--network", "none", "busybox", "sh", "-c", WRITER]);
        let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "writer"]);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
        let shim = parent.trim().parse().expect("a number");
        let mut stage = Stage { host, shim, lines: 0 };
        // What is only made once is there before anything is counted.
        stage.print();
        stage.until_printed();
        stage
    }

    fn footprints(&self) -> [Footprint; 2] {
        [self.host.daemon_pid(), self.shim].map(Footprint::of)
    }

    /// Waits until daemon and shim hold no more than then.
    fn until_back_at(&self, then: [Footprint; 2]) {
        let begin = Instant::now();
        loop {
            let now = self.footprints();
            if (0..2).all(|at| now[at].is_back_at(then[at], SLACK_KIB[at])) {
                return;
            }
            let log = self.host.daemon_log_tail();
            assert!(begin.elapsed() < PATIENCE, "daemon and shim hold {now:?}, and held {then:?}\n{log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a request on a connection of its own.
    fn send(&self, request: &str) -> UnixStream {
        let mut stream =
            UnixStream::connect(self.host.state().join("docker.sock")).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("it is taken");
        stream
    }

    /// Sends a request whose whole answer is wanted.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
        let kind = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        self.send(&format!("{head}{kind}")).read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn make_exec(&self, script: &str) -> String {
        let body =
            format!("{{\"AttachStdout\":true,\"AttachStderr\":true,\"Cmd\":[\"sh\",\"-c\",\"{script}\"]}}");
        let answer = self.ask("POST", "/containers/writer/exec", &body);
        let (_, id) = answer.split_once("\"Id\":\"").unwrap_or_else(|| panic!("no exec: {answer}"));
        id[..64].to_owned()
    }

    /// Each kind of stream, [`EACH`] times; and the ids of the execs.
    fn open(&mut self) -> (Vec<UnixStream>, Vec<String>) {
        let execs: Vec<String> = (0..EACH).map(|_| self.make_exec(EXEC)).collect();
        let mut streams = Vec::new();
        for exec in &execs {
            streams.push(self.send(&upgrade("/containers/writer/attach?stream=1&stdout=1&stderr=1", "")));
            streams.push(self.send(&get("/containers/writer/logs?follow=1&stdout=1&stderr=1")));
            streams.push(self.send(&upgrade(&format!("/exec/{exec}/start"), "{}")));
            streams.push(self.send(&get("/containers/writer/stats")));
        }
        // The first bytes of an answer: all of them are open.
        streams.iter_mut().for_each(|stream| drop(taste(stream, 12)));
        self.print();
        streams
            .chunks_mut(4)
            .step_by(2)
            .flat_map(|four| &mut four[..3])
            .for_each(|stream| drop(taste(stream, TASTE)));
        (streams, execs)
    }

    /// Tells the container to print.
    fn print(&mut self) {
        let script = format!("while ! [ -p /go ]; do :; done; echo {LINES} > /go");
        self.host.ok(&["exec", "writer", "sh", "-c", &script]);
        self.lines += LINES;
    }

    /// Waits until all that the container was told to print is in its log.
    fn until_printed(&self) {
        let last = format!("{:07} ", self.lines - 1);
        self.host.until("everything is printed", || {
            self.host.ok(&["logs", "--tail", "1", "writer"]).starts_with(&last)
        });
    }

    /// Waits until nothing but the container's own processes runs in it.
    fn until_execs_end(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.shim);
        self.host.until("the execs have ended", || {
            fs::read_to_string(&children).expect("the shim runs").split_whitespace().count() == 1
        });
    }

    /// Nothing that the container printed is lost, and everything that can be opened still can.
    fn check(&mut self) {
        let text = self.host.ok(&["logs", "writer"]);
        let wrong = text.lines().enumerate().find(|(at, line)| *line != format!("{at:07} {:092}", 0));
        assert_eq!((text.lines().count(), wrong), (self.lines, None));
        assert_eq!(self.host.ok(&["exec", "writer", "echo", "here"]), "here");
        assert!(self.host.ok(&["stats", "--no-stream", "writer"]).contains("writer"));
        let mut attached = self.send(&upgrade("/containers/writer/attach?stream=1&stdout=1", ""));
        assert!(taste(&mut attached, 12).ends_with(b" 101"));
        self.print();
        taste(&mut attached, TASTE);
        drop(attached);
        self.until_printed();
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n")
}

fn upgrade(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn taste(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("it goes on");
    bytes
}

#[test]
fn a_hundred_streams_half_of_them_unread_leave_nothing_when_they_are_dropped() {
    let mut stage = Stage::new();
    let before = stage.footprints();
    for _ in 0..3 {
        drop(stage.open());
        stage.until_execs_end();
        stage.until_printed();
    }
    stage.until_back_at(before);
    stage.check();
}

#[test]
fn clients_that_break_off_anywhere_leave_nothing() {
    let mut stage = Stage::new();
    let before = stage.footprints();
    let attach = upgrade("/containers/writer/attach?stream=1&stdin=1&stdout=1&stderr=1", "");
    let body = "{\"AttachStdout\":true,\"Cmd\":[\"true\"]}";
    let make = upgrade("/containers/writer/exec", body);
    let whole = [
        attach.clone(),
        get("/containers/writer/logs?follow=1&stdout=1&tail=10"),
        get("/containers/writer/stats"),
        make.clone(),
    ];
    for _ in 0..EACH {
        let exec = stage.make_exec(EXEC);
        let whole = whole.iter().cloned().chain([upgrade(&format!("/exec/{exec}/start"), "{}")]);
        for request in whole {
            // Before the answer is there; in the middle of its head; of the first frame; of the request's line, of its end.
            drop(stage.send(&request));
            taste(&mut stage.send(&request), 12);
            drop(stage.send(&request[..9]));
            drop(stage.send(&request[..request.len() - 1]));
        }
        let unread = stage.send(&attach);
        unread.shutdown(Shutdown::Write).expect("it is open");
        drop((unread, stage.send("")));
    }
    let mut cut: Vec<UnixStream> = (0..EACH).map(|_| stage.send(&attach)).collect();
    cut.iter_mut().for_each(|stream| drop(taste(stream, 12)));
    stage.print();
    // The head's end, a frame's head and a little more.
    cut.iter_mut().for_each(|stream| drop(taste(stream, TASTE)));
    drop(cut);
    stage.until_execs_end();
    stage.until_printed();
    stage.until_back_at(before);
    stage.check();
}

#[test]
fn a_killed_daemon_leaves_nothing_of_its_hundred_streams_with_the_shim() {
    let mut stage = Stage::new();
    let before = stage.footprints();
    let (streams, execs) = stage.open();
    // One that goes on until it is told to end: its daemon is gone, its container is not.
    let waits = stage.make_exec("echo runs; cat /wait");
    stage.host.ok(&["exec", "writer", "mkfifo", "/wait"]);
    let mut waiting = stage.send(&upgrade(&format!("/exec/{waits}/start"), "{}"));
    let mut seen = Vec::new();
    while !seen.ends_with(b"runs\n") {
        seen.extend(taste(&mut waiting, 1));
    }
    stage.host.kill_daemon();
    stage.host.start_daemon();
    drop((streams, waiting));
    for exec in execs.iter().chain([&waits]) {
        assert!(stage.ask("GET", &format!("/exec/{exec}/json"), "").starts_with("HTTP/1.1 404 "));
    }
    stage.host.ok(&["exec", "writer", "sh", "-c", "echo end > /wait"]);
    stage.until_execs_end();
    stage.until_printed();
    stage.until_back_at(before);
    stage.check();
}
