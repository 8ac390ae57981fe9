//! A private installation: root, state, cgroup parent, daemon.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::leaks;

/// How long anything that must happen may take on a busy machine before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running installation of its own.
#[derive(Debug)]
pub struct Host {
    directory: TempDir,
    root: PathBuf,
    cgroup: String,
    daemon: Option<Child>,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Host {
    /// Starts a daemon on fresh directories, without images.
    pub fn empty() -> Host {
        Host::with_config("")
    }

    /// Starts a daemon with the image `busybox` loaded.
    pub fn start() -> Host {
        let host = Host::empty();
        host.ok(&["import", path_text(&fixture("busybox.tar")), "busybox:latest"]);
        host
    }

    /// Starts a daemon whose configuration ends with `extra` lines of TOML.
    pub fn with_config(extra: &str) -> Host {
        Host::with_root(None, extra)
    }

    /// Starts a daemon whose root is elsewhere, on a small disk for instance.
    pub fn on_root(root: &Path) -> Host {
        Host::with_root(Some(root), "")
    }

    fn with_root(root: Option<&Path>, extra: &str) -> Host {
        enter_own_network();
        Host::made(root, extra)
    }

    /// Starts a daemon in the machine's own network, where containers reach the world. Its root is not the default one, so that
    /// its bridge, its rules and its addresses are its own.
    pub fn on_machine(extra: &str) -> Host {
        Host::made(None, extra)
    }

    fn made(root: Option<&Path>, extra: &str) -> Host {
        let directory =
            tempfile::Builder::new().prefix("corten-e2e-").tempdir().expect("a temporary directory");
        let name = directory.path().file_name().and_then(OsStr::to_str).expect("an ASCII name").to_owned();
        let cgroup = format!("/{name}");
        let root = root.map_or_else(|| directory.path().join("root"), Path::to_path_buf);
        let config = format!(
            "root = \"{}\"\nstate = \"{}/state\"\ncgroup_parent = \"{cgroup}\"\n{extra}\n",
            root.display(),
            directory.path().display()
        );
        fs::write(directory.path().join("config.toml"), config).expect("the configuration is written");
        let mut host = Host { directory, root, cgroup, daemon: None };
        host.start_daemon();
        host
    }

    /// The folder that holds everything of this installation.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The daemon's state directory.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The daemon's root directory.
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The cgroup below which this installation's containers live.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The Docker door's address, as `DOCKER_HOST` takes it.
    pub fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.state().display())
    }

    /// Starts the daemon and waits until it answers.
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path().join("daemon.log"))
            .expect("the daemon's log opens");
        let child = Command::new(executable("corten"))
            .args(["daemon", "--config"])
            .arg(self.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.daemon = Some(child);
        let socket = self.state().join("docker.sock");
        self.until("the daemon answers", || answers(&socket).unwrap_or(false));
    }

    /// The daemon's process id.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// Ends the daemon at once, as a crash would.
    pub fn kill_daemon(&mut self) {
        let mut child = self.daemon.take().expect("the daemon runs");
        child.kill().expect("the daemon can be killed");
        child.wait().expect("the daemon is reaped");
    }

    /// Asks the daemon to stop and waits for it.
    pub fn stop_daemon(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().expect("the daemon runs");
        signal(child.id(), Signal::TERM);
        child.wait().expect("the daemon is reaped")
    }

    /// A `corten` command for this installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable("corten"));
        command.env("DOCKER_HOST", self.address()).env_remove("DOCKER_CONFIG").args(arguments);
        command
    }

    /// Runs `corten` with no input.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).stdin(Stdio::null()).output().expect("corten runs"))
    }

    /// Runs `corten` with `input` on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        run_with_input(self.command(arguments), input)
    }

    /// Runs `corten`, which must succeed; its standard output without the last line break.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "corten {arguments:?}: {outcome:?}\n{}", self.daemon_log_tail());
        outcome.stdout.trim_end_matches('\n').to_owned()
    }

    /// Runs `corten`, which must fail with `code` and one line that contains `text`.
    pub fn fails(&self, arguments: &[&str], code: i32, text: &str) -> Outcome {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, code, "corten {arguments:?}: {outcome:?}\n{}", self.daemon_log_tail());
        assert!(outcome.stderr.contains(text), "corten {arguments:?}: {:?} lacks {text:?}", outcome.stderr);
        outcome
    }

    /// Waits until `condition` holds.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.daemon_log_tail());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines of the daemon's log.
    pub fn daemon_log_tail(&self) -> String {
        let text = fs::read_to_string(self.path().join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.daemon.is_none() {
            self.start_daemon();
        }
        let ids = self.run(&["ps", "-aq", "--no-trunc"]);
        for id in ids.stdout.split_whitespace() {
            self.run(&["rm", "-f", "-v", id]);
        }
        self.stop_daemon();
        if thread::panicking() {
            leaks::clean_up(self.path(), &self.cgroup);
            return;
        }
        let begin = Instant::now();
        loop {
            let left = leaks::of_host(self.path(), &self.cgroup);
            if left.is_empty() {
                return;
            }
            // Shims end after the daemon has let go of them.
            if begin.elapsed() > Duration::from_secs(10) {
                leaks::clean_up(self.path(), &self.cgroup);
                panic!("left behind: {left:#?}\n{}", self.daemon_log_tail());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether the daemon behind a socket answers. A connection alone tells nothing: what a killed daemon was about to execute has its
/// sockets for a moment.
fn answers(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: corten\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status.contains(" 200 "))
}

/// A child process whose standard output is read line by line.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    reader: BufReader<std::process::ChildStdout>,
}

impl Lines {
    /// Starts `command` with its output captured.
    pub fn of(mut command: Command) -> Lines {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it runs");
        let reader = BufReader::new(child.stdout.take().expect("a pipe"));
        Lines { child, reader }
    }

    /// The next line, or `None` at the end.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).expect("the output is text");
        (length > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// Waits for the end of the process; its exit code.
    pub fn finish(mut self) -> i32 {
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Moves the calling thread, and everything that it starts, into a network namespace of its own with nothing but loopback. Once:
/// a second installation of a test is on the same machine as the first.
pub fn enter_own_network() {
    thread_local!(static IS_IN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    if IS_IN.replace(true) {
        return;
    }
    linux::unshare::network().expect("root may make a network namespace");
    let raised = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(raised.expect("ip is installed").success(), "the loopback interface comes up");
}

/// A file made by `tests/fixtures/build`.
pub fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures").join(name);
    assert!(path.exists(), "{} is missing: run tests/fixtures/build", path.display());
    path
}

/// One of the workspace's executables, beside the running test.
pub fn executable(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let folder = test.ancestors().nth(2).expect("tests are in <profile>/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run cargo build", path.display());
    path
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    // It may have ended by itself in the meantime.
    let _ended_already = rustix::process::kill_process(pid, signal);
}

/// A path as text; test paths are ASCII.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("an ASCII path")
}

/// Runs a command with `input` on standard input.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("corten runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // The command may end before it has read everything: that is its right.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("corten ends");
    writer.join().expect("the writer ends");
    outcome(output)
}

fn outcome(output: Output) -> Outcome {
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
