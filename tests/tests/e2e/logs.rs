//! Logs: each line exactly once, in order, whatever happens to the daemon meanwhile.

use std::io::Read;
use std::process::Stdio;

use tests::host::Host;

/// Numbered lines on both streams, about 10,000 a second, with pauses so that rotation and readers interleave.
const WRITER: &str = "i=0; while [ $i -lt 30000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); \
    [ $((i % 1000)) = 0 ] && sleep 0.1; done";

#[test]
fn every_line_is_followed_exactly_once_through_rotation_and_a_killed_daemon() {
    let mut host = Host::start();
    host.ok(&[
        "run",
        "-d",
        "--name",
        "writer",
        "--network",
        "none",
        "--log-opt",
        "max-size=200k",
        "--log-opt",
        "max-file=100",
        "busybox",
        "sh",
        "-c",
        WRITER,
    ]);
    let mut follower = host
        .command(&["logs", "-f", "writer"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("corten runs");
    let mut out = follower.stdout.take().expect("a pipe");
    let mut err = follower.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("text");
        text
    });
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).expect("text");
        text
    });
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(400));
        host.kill_daemon();
        host.start_daemon();
    }
    assert_eq!(host.ok(&["wait", "writer"]), "0");
    assert_eq!(follower.wait().expect("it ends").code(), Some(0));
    let streams = [("out", reader.join().expect("no panic")), ("err", errors.join().expect("no panic"))];
    for (stream, text) in &streams {
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(stream)).collect();
        let expected: Vec<String> = (0..30_000).map(|number| format!("{stream} {number}")).collect();
        let first_wrong = lines.iter().zip(&expected).position(|(line, expected)| line != expected);
        assert_eq!(
            (lines.len(), first_wrong),
            (30_000, None),
            "{stream}: {:?}",
            first_wrong.map(|at| &lines[at..at + 3])
        );
    }
    let again = host.run(&["logs", "writer"]);
    assert_eq!((again.stdout.lines().count(), again.stderr.lines().count()), (30_000, 30_000));
    let files = std::fs::read_dir(host.root().join("containers"))
        .expect("the containers' folder")
        .flatten()
        .flat_map(|entry| std::fs::read_dir(entry.path()).expect("a container's folder").flatten())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("log.json"))
        .count();
    assert!(files > 3, "the log was rotated into {files} files");
}

#[test]
fn rotation_keeps_no_more_than_it_was_told() {
    let host = Host::start();
    host.ok(&[
        "run",
        "--name",
        "brief",
        "--network",
        "none",
        "--log-opt",
        "max-size=10k",
        "--log-opt",
        "max-file=2",
        "busybox",
        "seq",
        "10000",
    ]);
    let text = host.ok(&["logs", "brief"]);
    assert!(text.ends_with("\n9999\n10000"), "the newest lines are kept");
    assert!(!text.starts_with("1\n"), "the oldest are gone");
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "what is kept is whole");
}

#[test]
fn logs_can_be_cut_by_number_time_and_stream() {
    let host = Host::start();
    host.ok(&[
        "run",
        "--name",
        "talker",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.01; done; printf end",
    ]);
    assert_eq!(host.run(&["logs", "talker"]).stdout, "1\n2\n3\nend");
    assert_eq!(host.run(&["logs", "--tail", "2", "talker"]).stdout, "3\nend");
    let stamped = host.ok(&["logs", "-t", "talker"]);
    let (since, _) = stamped.lines().nth(1).expect("two lines").split_once(' ').expect("a time");
    assert_eq!(host.run(&["logs", "--since", since, "talker"]).stdout, "2\n3\nend");
    host.fails(&["logs", "nobody-here"], 1, "No such container: nobody-here");
}
