//! `phases SOCKET COUNT`: where the time of `run --rm --network none busybox true` goes, seen from the daemon's socket.
//!
//! Makes the requests that the command line makes, one round after the other with 20 ms between, and prints the median
//! of each phase beside the design's budget for it. The command's own start is measured by `bench/trace`.
#![forbid(unsafe_code)]
// A command-line program: it talks to the terminal.
#![allow(clippy::print_stdout)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// A phase and what the design allows for it, in milliseconds.
const PHASES: [(&str, f64); 5] = [
    ("create: connect, plan, ordered commit, directories", 0.75),
    ("attach", 0.15),
    ("wait: asked, not yet answered", 0.10),
    ("start: shim, cgroups, overlay, clone3, mounts, execve", 3.65),
    ("end: `true`, reaped, recorded, told", 1.30),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(socket), Some(count)) =
        (arguments.first(), arguments.get(1).and_then(|text| text.parse().ok()))
    else {
        eprintln!("usage: phases SOCKET COUNT");
        return ExitCode::from(2);
    };
    match measure(socket, count) {
        Ok(times) => {
            print(times);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("phases: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(socket: &str, count: usize) -> io::Result<[Vec<f64>; 5]> {
    let mut times: [Vec<f64>; 5] = Default::default();
    // Two rounds warm caches and pools and are not counted.
    for round in 0..count + 2 {
        thread::sleep(Duration::from_millis(20));
        let marks = run_once(socket)?;
        if round < 2 {
            continue;
        }
        for (phase, pair) in marks.windows(2).enumerate() {
            times[phase].push((pair[1] - pair[0]).as_secs_f64() * 1000.0);
        }
    }
    Ok(times)
}

/// One container from the first request to the answer of the wait; the moments between the phases.
fn run_once(socket: &str) -> io::Result<[Instant; 6]> {
    let begin = Instant::now();
    let body = r#"{"Image":"busybox","Cmd":["true"],"AttachStdout":true,"AttachStderr":true,
        "HostConfig":{"NetworkMode":"none","AutoRemove":true}}"#;
    let mut first = connect(socket)?;
    let answer = request(&mut first, "/containers/create", body, "")?.body()?;
    let created = Instant::now();
    let id = answer
        .as_object()
        .and_then(|object| object.get("Id")?.as_str())
        .ok_or_else(|| io::Error::other(format!("no container was made: {answer}")))?
        .to_owned();
    let mut stream = connect(socket)?;
    let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
    let mut attached = request(&mut stream, &path, "", "Upgrade: tcp\r\nConnection: Upgrade\r\n")?;
    let attach = Instant::now();
    let mut waiting = connect(socket)?;
    let exit = request(&mut waiting, &format!("/containers/{id}/wait?condition=removed"), "", "")?;
    let asked = Instant::now();
    request(&mut first, &format!("/containers/{id}/start"), "", "")?;
    let started = Instant::now();
    exit.body()?;
    let ended = Instant::now();
    io::copy(&mut attached.reader, &mut io::sink())?;
    Ok([begin, created, attach, asked, started, ended])
}

/// The head of an answer has been read; the rest follows.
struct Answer {
    reader: BufReader<UnixStream>,
    length: Option<usize>,
}

fn connect(socket: &str) -> io::Result<UnixStream> {
    UnixStream::connect(socket)
}

fn request(stream: &mut UnixStream, path: &str, body: &str, headers: &str) -> io::Result<Answer> {
    let text = format!(
        "POST /v1.43{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            return Ok(Answer { reader, length });
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
}

impl Answer {
    /// The JSON document, sent whole or as one chunk.
    fn body(mut self) -> io::Result<serde_json::Value> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let mut line = String::new();
                self.reader.read_line(&mut line)?;
                usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?
            }
        };
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }
}

fn print(times: [Vec<f64>; 5]) {
    println!("{:<58}{:>10}{:>10}", "", "budget ms", "median ms");
    let (mut budget_sum, mut sum) = (0.0, 0.0);
    for ((name, budget), mut values) in PHASES.into_iter().zip(times) {
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or_default();
        println!("{name:<58}{budget:>10.2}{median:>10.2}");
        budget_sum += budget;
        sum += median;
    }
    println!("{:<58}{budget_sum:>10.2}{sum:>10.2}", "sum");
}
