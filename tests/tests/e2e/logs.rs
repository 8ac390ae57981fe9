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

/// The entries' marks, and what each of the drivers with a file keeps, as clients see it.
#[test]
fn compressed_logs_are_read_from_both_ends_and_entries_show_their_marks() {
    let host = Host::start();
    let writer = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let sized = ["--log-opt", "max-size=100k", "--log-opt", "max-file=30"];
    for driver in [&["--log-opt", "compress=true"][..], &["--log-driver", "local"]] {
        let options =
            [&["run", "--name", "writer"], driver, &sized, &["busybox", "sh", "-c", writer]].concat();
        host.ok(&options);
        let text = host.ok(&["logs", "writer"]);
        assert!(text.lines().eq((0..20_000).map(|number| format!("line {number}"))), "{driver:?}");
        // Some of the files from the end, compressed or not.
        let text = host.ok(&["logs", "-n", "9000", "writer"]);
        assert!(text.lines().eq((11_000..20_000).map(|number| format!("line {number}"))), "{driver:?}");
        let folder = host.root().join("containers").join(host.ok(&["inspect", "-f", "{{.Id}}", "writer"]));
        let names = std::fs::read_dir(folder).expect("its folder").flatten();
        assert!(names.filter(|file| file.file_name().to_string_lossy().ends_with(".gz")).count() > 3);
        host.ok(&["rm", "writer"]);
    }
    host.ok(&[
        "run",
        "--name",
        "marked",
        "-l",
        "a=b",
        "-e",
        "X=y",
        "--log-opt",
        "labels=a",
        "--log-opt",
        "env=X",
        "--log-opt",
        "tag={{.Name}}/{{.ImageName}}",
        "busybox",
        "echo",
        "out",
    ]);
    assert_eq!(host.ok(&["logs", "--details", "marked"]), "X=y,a=b,tag=marked%2Fbusybox out");
    assert_eq!(host.ok(&["logs", "marked"]), "out");
}

/// A syslog server on a socket of its own: what it gets, and that `logs` has the same.
#[test]
fn collected_logs_can_be_read_back_unless_that_is_switched_off() {
    let host = Host::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("syslog");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    let address = format!("syslog-address=unixgram://{}", path.display());
    let driver = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "tag={{.Name}}"];
    host.ok(&[&["run", "--name", "collected"], &driver[..], &["busybox", "echo", "out"]].concat());
    assert_eq!(host.ok(&["logs", "collected"]), "out");
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.HostConfig.LogConfig.Type}}{{.LogPath}}", "collected"]),
        "syslog"
    );
    let mut message = [0; 1000];
    let length = socket.recv(&mut message).expect("a message");
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.starts_with("<30>") && message.contains(" collected["), "{message}");
    let unread = "configured logging driver does not support reading";
    let no_cache = ["--log-opt", "cache-disabled=true"];
    host.ok(&[&["run", "--name", "unread"], &driver[..], &no_cache, &["busybox", "echo", "out"]].concat());
    host.ok(&["run", "--name", "none", "--log-driver", "none", "busybox", "echo", "out"]);
    for name in ["unread", "none"] {
        host.fails(&["logs", name], 1, unread);
    }
    // A server that is not there: the container does not start, and says why.
    drop(socket);
    let start = [&["run"], &driver[..], &["busybox", "echo", "out"]].concat();
    host.fails(&start, 125, "failed to initialize logging driver: dial unixgram");
}
