//! The executable as a user meets it: its arguments, messages and exit codes, and the daemon that it starts.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Runs the program with a daemon that does not exist.
fn corten(words: &[&str]) -> Output {
    corten_reading(words, b"")
}

fn corten_reading(words: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corten"))
        .args(words)
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env_remove("CORTEN_STATE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    // It may end without reading.
    let _ = child.stdin.take().expect("it is a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("messages are UTF-8")
}

/// The words fail with the code, and with a line that begins with the message.
fn assert_fails(words: &[&str], code: i32, message: &str) {
    let output = corten(words);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
    let line = stderr.lines().next().unwrap_or_default();
    assert_eq!(line, format!("corten: {message}"), "{words:?}");
    assert!(output.stdout.is_empty(), "{words:?} prints data");
}

#[test]
fn misuse_is_told_in_dockers_words_with_dockers_codes() {
    let cases: [(&[&str], i32, &str); 20] = [
        (&["run"], 1, "'corten run' requires at least 1 argument"),
        (&["run", "--foo", "x"], 125, "unknown flag: --foo"),
        (&["run", "-zq", "x"], 125, "unknown shorthand flag: 'z' in -zq"),
        (&["run", "--name"], 125, "flag needs an argument: --name"),
        (
            &["run", "-m", "abc", "x"],
            125,
            "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'",
        ),
        (
            &["run", "--rm", "--restart=always", "x"],
            125,
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["run", "--mount", "type=bind", "x"],
            125,
            "invalid argument \"type=bind\" for \"--mount\" flag: target is required",
        ),
        (&["run", "--env-file", "/nonexistent", "x"], 125, "open /nonexistent: No such file or directory"),
        (
            &["run", "--security-opt", "seccomp=/nonexistent", "x"],
            125,
            "opening seccomp profile (/nonexistent) failed: No such file or directory",
        ),
        (&["run", "-it", "x"], 1, "the input device is not a TTY"),
        (&["exec", "a"], 1, "'corten exec' requires at least 2 arguments"),
        (&["container", "exec", "-it", "a", "sh"], 1, "the input device is not a TTY"),
        (&["ps", "extra"], 1, "'corten ps' accepts no arguments"),
        (
            &["ps", "--filter", "x"],
            125,
            "invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)",
        ),
        (
            &["stop", "-t", "x", "y"],
            125,
            "invalid argument \"x\" for \"-t, --timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (&["tag", "a"], 1, "'corten tag' requires 2 arguments"),
        (&["foo"], 1, "unknown command: corten foo"),
        (&["volume", "foo"], 1, "unknown command: corten volume foo"),
        (&["build", "."], 1, "`corten build` is not there yet"),
        (&["--tlsverify", "ps"], 1, "conflicting options: TLS is for daemons at tcp://"),
    ];
    for (words, code, message) in cases {
        assert_fails(words, code, message);
    }
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let missing =
        "cannot connect to the daemon at unix:///nonexistent/docker.sock: No such file or directory";
    for (words, code) in [
        (&["run", "x"][..], 125),
        (&["create", "x"], 1),
        (&["ps"], 1),
        (&["rm", "x"], 1),
        (&["logs", "-f", "x"], 1),
        (&["exec", "x", "true"], 1),
        (&["volume", "ls"], 1),
        (&["info"], 1),
        (&["events"], 1),
    ] {
        assert_fails(words, code, missing);
    }
    assert_fails(&["load", "-i", "/nonexistent"], 1, "open /nonexistent: No such file or directory");
    let load = corten_reading(&["load"], b"anything");
    assert_eq!((load.status.code(), text(&load.stderr)), (Some(1), format!("corten: {missing}\n")));
    assert_fails(
        &["--host", "nonsense", "ps"],
        1,
        "unable to parse docker host `nonsense`: it is unix://PATH, tcp://HOST:PORT or ssh://USER@HOST",
    );
    assert_fails(
        &["--host", "unix:///a", "--state", "/b", "ps"],
        1,
        "conflicting options: cannot specify both --host and --state",
    );
}

#[test]
fn what_needs_no_daemon_works_without_one() {
    for (words, part) in [
        (&["--help"][..], "\nCommon Commands:\n  run "),
        (&[], "\nCommon Commands:\n  run "),
        (&["run", "--help"], "Usage:  corten run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"),
        (
            &["ps", "-h"],
            "Aliases:\n  corten container ls, corten container list, corten container ps, corten ps\n",
        ),
        (&["volume"], "Usage:  corten volume COMMAND\n"),
        (&["completion", "bash"], "-F _corten corten"),
        (&["config", "default"], "root = "),
        (&["--version"], "Corten version "),
    ] {
        let output = corten(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(part), "{words:?}: {}", text(&output.stdout));
    }
    let version = corten(&["version"]);
    assert_eq!(version.status.code(), Some(1));
    assert!(text(&version.stdout).starts_with("Client: Corten\n Version: "));
}

#[test]
fn a_cid_file_that_exists_is_left_alone_and_an_empty_one_does_not_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cid");
    let name = path.to_str().expect("a plain path");
    fs::write(&path, "mine").expect("a file");
    let message =
        format!("container ID file found, make sure the other container isn't running or delete {name}");
    assert_fails(&["run", "--cidfile", name, "x"], 125, &message);
    assert_eq!(fs::read(&path).expect("it stays"), b"mine");
    fs::remove_file(&path).expect("it is ours");
    assert_eq!(corten(&["run", "--cidfile", name, "x"]).status.code(), Some(125));
    assert!(!path.exists());
}

/// How many hundredths of a second a daemon without containers may take to stop.
const STOP_PATIENCE: u32 = 3000;

/// A state directory with a configuration that keeps everything below it; its daemon ends with it.
struct State(tempfile::TempDir);

impl State {
    fn new() -> State {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path();
        let config = format!(
            "root = \"{0}/root\"\nstate = \"{0}\"\ncgroup_parent = \"/corten-test-{1}\"\nspare_shims = 0\n",
            state.display(),
            std::process::id()
        );
        fs::write(state.join("config.toml"), config).expect("a file");
        State(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let Ok(pid) = fs::read_to_string(self.path().join("daemon.pid")) else { return };
        // It may have ended by itself.
        let _ = Command::new("kill").arg(pid.trim()).status();
        for _ in 0..STOP_PATIENCE {
            // It takes its socket away first and writes its database last.
            if !Path::new("/proc").join(pid.trim()).exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the daemon does not stop");
    }
}

/// A command for the daemon of a state directory.
fn with_state(state: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corten"));
    command.arg("--state").arg(state).args(words).stdin(Stdio::null()).env_remove("DOCKER_HOST");
    command
}

#[test]
fn commands_at_once_start_one_daemon_in_a_clean_environment() {
    let state = State::new();
    let state = state.path();
    let children: Vec<_> = (0..8)
        .map(|_| {
            with_state(state, &["ps", "-q"])
                .env("SECRET", "x")
                .stdout(Stdio::piped())
                .spawn()
                .expect("it runs")
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stdout.is_empty());
    }
    let log = fs::read_to_string(state.join("daemon.log")).expect("the daemon's complaints go here");
    let pid = fs::read_to_string(state.join("daemon.pid")).expect("a daemon tells its pid");
    let process = Path::new("/proc").join(pid.trim());
    let environment = fs::read(process.join("environ")).expect("it runs");
    let session = fs::read_to_string(process.join("stat")).expect("it runs");
    let directory = fs::read_link(process.join("cwd")).expect("it runs");
    let input = fs::read_link(process.join("fd/0")).expect("it runs");
    assert_eq!(log.matches(" ready ").count(), 1, "{log}");
    assert!(environment.starts_with(b"PATH=") && environment.iter().filter(|byte| **byte == 0).count() == 1);
    // The sixth field, after the name in brackets and three more.
    let session = session.rsplit(')').next().and_then(|rest| rest.split(' ').nth(4)).map(str::to_owned);
    assert_eq!(session.as_deref(), Some(pid.trim()), "it leads its own session");
    assert_eq!((directory.as_path(), input.as_path()), (Path::new("/"), Path::new("/dev/null")));
}

#[test]
fn a_daemon_that_cannot_start_is_quoted() {
    let state = State::new();
    fs::write(state.path().join("config.toml"), "nonsense = 1\n").expect("a file");
    let output = with_state(state.path(), &["ps"]).output().expect("it runs");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("corten: starting the daemon: ") && stderr.contains("nonsense"), "{stderr}");
}
