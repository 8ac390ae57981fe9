//! A containerd of Debian, in folders of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{PATIENCE, path_text};
use crate::leaks;

/// A running containerd; it ends with the test.
#[derive(Debug)]
pub struct Containerd {
    folder: tempfile::TempDir,
    program: PathBuf,
    process: Option<Child>,
}

impl Containerd {
    /// Starts `program`; its configuration (version 2) ends with `extra` lines. What nothing refers to stays for an hour, unless
    /// something is deleted.
    pub fn start(program: &Path, extra: &str) -> Containerd {
        let folder = tempfile::Builder::new().prefix("corten-e2e-").tempdir().expect("a folder");
        let at = |name: &str| path_text(&folder.path().join(name)).to_owned();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n\
             [plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n{extra}\n",
            at("root"),
            at("state"),
            at("socket"),
        );
        std::fs::write(at("config.toml"), config).expect("the configuration is written");
        let mut containerd = Containerd { folder, program: program.to_owned(), process: None };
        containerd.restart();
        containerd
    }

    /// Kills it, if it runs, and starts it where it was.
    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log"));
        let mut command = Command::new(&self.program);
        if let Some(folder) = self.program.parent().filter(|folder| folder.is_absolute()) {
            // Its shim and its runc are beside it.
            let others = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{others}", path_text(folder)));
        }
        command.arg("--config").arg(self.path().join("config.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        self.process = Some(command.spawn().expect("containerd starts"));
        let begin = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(begin.elapsed() < PATIENCE, "containerd answers: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it; what runs in it runs on.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it is reaped");
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where it answers.
    pub fn socket(&self) -> PathBuf {
        self.path().join("socket")
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// The control group below which its containers are to be.
    pub fn cgroup(&self) -> String {
        let name = self.path().file_name().and_then(|name| name.to_str()).expect("an ASCII name");
        format!("/{name}")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            leaks::clean_up(self.path(), &self.cgroup());
        }
    }
}
