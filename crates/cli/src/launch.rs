//! Starts the daemon when nobody listens at our own address.
//!
//! Two commands at once start one daemon: whoever holds `<state>/start.lock` looks again before it starts one. The daemon
//! begins clean: a session of its own, `/` as directory, no environment but `PATH` and the proxies, no terminal, and its complaints in
//! `<state>/daemon.log`. To get there without unsafe code between fork and exec, the child first is this program once
//! more, as the applet [`APPLET`], which becomes a session leader and then executes the daemon.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::client::is_nobody_there;
use crate::error::Error;

/// `argv[1]` of the process that becomes the daemon.
pub(crate) const APPLET: &str = "start-daemon";

/// Recovery of many containers takes time; more than this means that something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A start that takes longer than this is worth a line.
const SILENCE: Duration = Duration::from_secs(1);

/// How often the socket is looked at.
const POLL: Duration = Duration::from_millis(2);

/// What the daemon finds in its environment.
const CLEAN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the daemon reaches registries when whoever asks says nothing else.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// The end of the daemon's log that is looked at for its last words.
const LAST_WORDS: u64 = 4096;

/// Starts the daemon of one state directory.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) state: PathBuf,
}

impl Launcher {
    /// Returns when somebody listens.
    pub(crate) async fn start(&self) -> Result<(), Error> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::Rootless);
        }
        let file_error = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::File { action, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.state)
            .map_err(file_error("making", &self.state))?;
        let lock_path = self.state.join("start.lock");
        let lock = open(&lock_path).map_err(file_error("opening", &lock_path))?;
        let began = Instant::now();
        let mut progress = Progress { began, is_told: false };
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            progress.wait().await?;
        }
        if self.is_listening()? {
            return Ok(());
        }
        let log_path = self.state.join("daemon.log");
        let log = open(&log_path).map_err(file_error("opening", &log_path))?;
        let mut daemon = self.spawn(log).map_err(|error| Error::Launch(error.to_string()))?;
        while !self.is_listening()? {
            if daemon.try_wait().is_ok_and(|status| status.is_some()) {
                let said = last_words(&log_path).unwrap_or_else(|| format!("see {}", log_path.display()));
                return Err(Error::Launch(said));
            }
            progress.wait().await?;
        }
        Ok(())
    }

    fn is_listening(&self) -> Result<bool, Error> {
        let path = self.state.join("docker.sock");
        match UnixStream::connect(&path) {
            Ok(_) => Ok(true),
            Err(error) if is_nobody_there(&error) => Ok(false),
            Err(source) => Err(Error::Connect { address: format!("unix://{}", path.display()), source }),
        }
    }

    fn spawn(&self, log: File) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("corten").arg(APPLET).arg("--state").arg(&self.state);
        // A state directory of one's own may come with a configuration of its own.
        let config = self.state.join("config.toml");
        if config.exists() {
            command.arg("--config").arg(config);
        }
        command
            .env_clear()
            .envs(PROXIES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("PATH", CLEAN_PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    }
}

/// The applet: becomes a session leader, then the daemon.
pub(crate) fn become_daemon(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Already a leader: then there is no session to leave.
    let _ = rustix::process::setsid();
    let error = Command::new("/proc/self/exe").arg0("corten").arg("daemon").args(arguments).exec();
    crate::output::complain(&format!("corten: starting the daemon: {error}"));
    ExitCode::FAILURE
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Waits with a bound, and says so when it takes long.
struct Progress {
    began: Instant,
    is_told: bool,
}

impl Progress {
    async fn wait(&mut self) -> Result<(), Error> {
        let waited = self.began.elapsed();
        if waited > PATIENCE {
            let message = format!("it does not answer after {} seconds", PATIENCE.as_secs());
            return Err(Error::Launch(message));
        }
        if waited > SILENCE && !std::mem::replace(&mut self.is_told, true) {
            crate::output::complain("starting the daemon...");
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

/// What the daemon said last, apart from its hint.
fn last_words(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS))).ok()?;
    let mut tail = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let mut lines = tail.trim_end().lines().rev();
    let line = lines.find(|line| !line.starts_with("hint:"))?;
    Some(line.strip_prefix("corten daemon: ").unwrap_or(line).to_owned())
}
