//! A busybox image, a shim for one container of it, and a check that nothing is left.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::code::Code;
use api::shim::*;
use api::task::*;
use api::types::Mount;
use oci::runtime_spec::{Capabilities, ConsoleSize, Linux, Namespace, NamespaceKind, Process, Root, Spec};
use runtime::{defaults, seccomp};
use shim::client::{self, Client, Error, Pending};

pub const SHIM: &str = env!("CARGO_BIN_EXE_corten-shim");

/// Programs of busybox that the tests use.
const APPLETS: [&str; 24] = [
    "cat", "cut", "dd", "echo", "env", "false", "head", "id", "kill", "ls", "mkfifo", "ps", "pwd", "seq",
    "sh", "sleep", "stty", "tail", "touch", "tr", "true", "tty", "wc", "yes",
];

/// A test that could hang fails instead.
pub const TIMEOUT: Duration = Duration::from_secs(40);

const SHM_BYTES: u64 = 1 << 20;

/// An image and the bundle of one container of it.
pub struct Bundle {
    directory: tempfile::TempDir,
    pub id: String,
    pub spec: Spec,
}

impl Bundle {
    pub fn new() -> Bundle {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix("corten-shim-").tempdir().unwrap();
        for child in ["image/bin", "image/etc", "image/tmp", "upper", "work", "shim", "bundle"] {
            fs::create_dir_all(directory.path().join(child)).unwrap();
        }
        let image = directory.path().join("image");
        fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet)).unwrap();
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n")
            .unwrap();
        fs::write(image.join("etc/group"), "root:x:0:\nme:x:1000:\nextra:x:2000:me\n").unwrap();
        fs::write(image.join("etc/not-executable"), "no program").unwrap();
        let spec = spec(&id);
        Bundle { directory, id, spec }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.path("log.json")
    }

    pub fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().unwrap()
    }

    /// Without a pid namespace of its own.
    pub fn share_pids(&mut self) {
        self.spec.linux.as_mut().unwrap().namespaces.retain(|namespace| namespace.kind != NamespaceKind::Pid);
    }

    pub fn cgroup(&self) -> String {
        cgroup(&self.id)
    }

    pub fn write(&self) {
        fs::write(self.path("bundle/config.json"), serde_json::to_vec(&self.spec).unwrap()).unwrap();
    }

    pub fn rootfs(&self) -> Vec<Mount> {
        let at = |name: &str| self.path(name).display().to_string();
        vec![Mount {
            r#type: "overlay".into(),
            source: "overlay".into(),
            target: String::new(),
            options: vec![
                format!("lowerdir={}", at("image")),
                format!("upperdir={}", at("upper")),
                format!("workdir={}", at("work")),
            ],
        }]
    }

    /// Cgroups and mounts that mention this container.
    pub fn assert_nothing_left(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let directory = self.directory.path().display().to_string();
        assert!(!mounts.contains(&directory), "a mount is left:\n{mounts}");
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let left = hierarchy.path().join(self.cgroup().trim_start_matches('/'));
            assert!(!left.exists(), "{} is left", left.display());
        }
    }
}

pub fn cgroup(id: &str) -> String {
    format!("/corten-test-shim-{id}")
}

/// A shim; dropping it ends its container and checks that nothing is left.
pub struct Shim {
    pub bundle: Bundle,
    pub client: Client,
    pub pid: u32,
    lifeline: Option<ChildStdin>,
    pidfd: OwnedFd,
    is_over: bool,
}

impl Shim {
    /// A spare shim.
    pub fn spare(bundle: Bundle) -> Shim {
        let mut child = Command::new(SHIM)
            .args(["spare", "--dir"])
            .arg(bundle.path("shim"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        assert!(child.wait().unwrap().success(), "the shim leaves its parent");
        let mut client = connect(&bundle.path("shim/task.sock"));
        let hello = hello(&mut client);
        assert_eq!((hello.version, hello.container_id.as_str()), (shim::VERSION, ""));
        let pidfd = linux::pidfd::open(hello.pid).unwrap();
        Shim { bundle, client, pid: hello.pid, lifeline, pidfd, is_over: false }
    }

    /// A shim with a created container.
    pub fn create(bundle: Bundle, options: &CreateOptions, terminal: bool) -> Shim {
        let mut shim = Shim::spare(bundle);
        shim.bind();
        shim.try_create(options, terminal).unwrap();
        shim
    }

    /// A shim with a created container that runs a shell script, with a log.
    pub fn script(script: &str) -> Shim {
        let mut bundle = Bundle::new();
        bundle.process().args = shell(script);
        let options = CreateOptions { log: Some(log(&bundle, 0, 1)), ..CreateOptions::default() };
        Shim::create(bundle, &options, false)
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.bundle.path("shim").join(name)
    }

    pub fn bind(&mut self) {
        let request = self.bind_request();
        let _: BindResponse = self.client.call(api::SHIM_SERVICE, "Bind", &request).unwrap();
        self.lifeline = None;
    }

    pub fn bind_request(&self) -> BindRequest {
        BindRequest {
            namespace: "default".into(),
            id: self.bundle.id.clone(),
            bundle: self.bundle.path("bundle").display().to_string(),
            cgroup: self.bundle.cgroup(),
        }
    }

    pub fn create_request(&self, options: &CreateOptions, terminal: bool) -> CreateTaskRequest {
        self.bundle.write();
        CreateTaskRequest {
            id: self.bundle.id.clone(),
            bundle: self.bundle.path("bundle").display().to_string(),
            rootfs: self.bundle.rootfs(),
            terminal,
            options: Some(api::any::pack(options)),
            ..CreateTaskRequest::default()
        }
    }

    pub fn try_create(
        &mut self,
        options: &CreateOptions,
        terminal: bool,
    ) -> client::Result<CreateTaskResponse> {
        let request = self.create_request(options, terminal);
        self.client.call(SERVICE_V3, "Create", &request)
    }

    pub fn start(&mut self, exec: &str) -> client::Result<u32> {
        let request = StartRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        Ok(self.client.call::<StartResponse>(SERVICE_V3, "Start", &request)?.pid)
    }

    pub fn send_wait(&mut self, exec: &str) -> Pending {
        let request = WaitRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        self.client.send(SERVICE_V3, "Wait", &request).unwrap()
    }

    pub fn wait(&mut self, exec: &str) -> u32 {
        let pending = self.send_wait(exec);
        self.client.receive::<WaitResponse>(pending).unwrap().exit_status
    }

    pub fn kill(&mut self, exec: &str, signal: u32) -> client::Result<()> {
        let request = KillRequest { id: self.bundle.id.clone(), exec_id: exec.into(), signal, all: false };
        self.client.call(SERVICE_V3, "Kill", &request)
    }

    pub fn state(&mut self, exec: &str) -> client::Result<StateResponse> {
        let request = StateRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        self.client.call(SERVICE_V3, "State", &request)
    }

    pub fn status(&mut self) -> Status {
        self.state("").unwrap().status()
    }

    pub fn exit(&mut self, exec: &str) -> client::Result<ExitResponse> {
        self.client.call(api::SHIM_SERVICE, "Exit", &ExitRequest { exec_id: exec.into() })
    }

    pub fn delete(&mut self, exec: &str) -> client::Result<DeleteResponse> {
        let request = DeleteRequest { id: self.bundle.id.clone(), exec_id: exec.into() };
        self.client.call(SERVICE_V3, "Delete", &request)
    }

    /// Starts the container, waits for its end.
    pub fn run(&mut self) -> u32 {
        self.start("").unwrap();
        self.wait("")
    }

    pub fn exec_options(&self, args: &[&str]) -> ExecOptions {
        let process = Process {
            args: args.iter().map(ToString::to_string).collect(),
            ..self.bundle.spec.process.clone().unwrap()
        };
        ExecOptions { process: serde_json::to_vec(&process).unwrap(), ..ExecOptions::default() }
    }

    pub fn exec(&mut self, exec: &str, options: &ExecOptions, terminal: bool) -> client::Result<()> {
        let request = ExecProcessRequest {
            id: self.bundle.id.clone(),
            exec_id: exec.into(),
            terminal,
            spec: Some(api::any::pack(options)),
            ..ExecProcessRequest::default()
        };
        self.client.call(SERVICE_V3, "Exec", &request)
    }

    /// Adds an exec of a shell script, attaches, starts it; what it printed and its exit status.
    pub fn exec_script(&mut self, exec: &str, script: &str) -> (String, u32) {
        let options = self.exec_options(&["/bin/sh", "-c", script]);
        self.exec(exec, &options, false).unwrap();
        let mut output = self.attach(exec, OUTPUT).0;
        self.start(exec).unwrap();
        let text = frames(&mut output);
        (text.iter().map(|(_, text)| text.as_str()).collect(), self.wait(exec))
    }

    pub fn attach(&self, exec: &str, streams: Streams) -> (UnixStream, bool) {
        let Streams { stdin, stdout, stderr } = streams;
        let request = AttachRequest { exec_id: exec.into(), stdin, stdout, stderr };
        let (stream, tty) = client::attach(&self.socket("attach.sock"), &request).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        (stream, tty)
    }

    /// A new connection, as a new daemon would make it.
    pub fn reconnect(&mut self) -> HelloResponse {
        self.client = connect(&self.socket("task.sock"));
        hello(&mut self.client)
    }

    /// Cuts the lifeline of a spare shim, as the daemon's death does.
    pub fn cut(&mut self) {
        self.lifeline = None;
    }

    pub fn until_over(&mut self) {
        until_readable(&self.pidfd);
        self.is_over = true;
    }

    /// The log's entries, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        entries(&self.bundle.log())
    }

    /// What was written to one stream according to the log.
    pub fn logged(&self, stream: &str) -> String {
        self.log().into_iter().filter(|entry| entry.stream == stream).map(|entry| entry.log).collect()
    }

    /// Clock ticks of CPU that the shim has used.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// Ends everything as the engine does.
    pub fn finish(&mut self) {
        if let Ok(hello) = Client::connect(&self.socket("task.sock")).map(|client| {
            self.client = client;
            hello(&mut self.client)
        }) && !hello.container_id.is_empty()
        {
            if self.kill("", 9).is_ok() {
                let pending = self.send_wait("");
                drop(self.client.receive::<WaitResponse>(pending));
            }
            drop(self.delete(""));
            let shutdown = ShutdownRequest { id: self.bundle.id.clone(), now: false };
            drop(self.client.call::<()>(SERVICE_V3, "Shutdown", &shutdown));
        }
        self.lifeline = None;
        self.until_over();
        assert!(!self.socket("task.sock").exists(), "a socket is left");
        self.bundle.assert_nothing_left();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.socket("log")).unwrap_or_default();
            eprintln!("the shim's log:\n{log}");
            // Nothing may outlive a failed test either.
            let _ = linux::pidfd::send_signal(std::os::fd::AsFd::as_fd(&self.pidfd), 9);
            if let Ok(cgroup) = runtime::cgroup::Cgroup::open(&self.bundle.cgroup()) {
                drop(cgroup.kill_all());
                drop(cgroup.remove());
            }
        } else if !self.is_over {
            self.finish();
        }
    }
}

/// Streams to attach to.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

pub const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };
pub const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };

/// One entry of a log.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Entry {
    pub log: String,
    pub stream: String,
    pub time: String,
}

/// The entries of all files of a log.
pub fn entries(path: &Path) -> Vec<Entry> {
    let mut text = String::new();
    for number in (1..1000).rev() {
        text += &fs::read_to_string(format!("{}.{number}", path.display())).unwrap_or_default();
    }
    text += &fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

pub fn log(bundle: &Bundle, max_size_bytes: u64, max_files: u32) -> LogOptions {
    let path = bundle.log().display().to_string();
    LogOptions { path, max_size_bytes, max_files, ..LogOptions::default() }
}

pub fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

pub fn connect(socket: &Path) -> Client {
    let mut client = Client::connect(socket).unwrap();
    client.set_timeout(Some(TIMEOUT)).unwrap();
    client
}

pub fn hello(client: &mut Client) -> HelloResponse {
    client.call(api::SHIM_SERVICE, "Hello", &HelloRequest { version: shim::VERSION }).unwrap()
}

/// Everything that comes until the shim closes, as (stream, text), adjacent pieces of a stream joined.
pub fn frames(stream: &mut UnixStream) -> Vec<(u8, String)> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let mut frames: Vec<(u8, String)> = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        assert_eq!(head[1..4], [0, 0, 0]);
        let (payload, after) =
            after.split_at(u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize);
        rest = after;
        let text = String::from_utf8_lossy(payload);
        match frames.last_mut().filter(|(source, _)| *source == head[0]) {
            Some((_, last)) => last.push_str(&text),
            None => frames.push((head[0], text.into_owned())),
        }
    }
    assert!(rest.is_empty(), "half a frame");
    frames
}

/// Reads until `wanted` has come.
pub fn read_until(stream: &mut UnixStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "`{wanted}` never came: {text:?}");
        text += &String::from_utf8_lossy(&buffer[..length]);
    }
    text
}

pub fn code_of<T: std::fmt::Debug>(result: client::Result<T>) -> Code {
    match result.unwrap_err() {
        Error::Refused { code, .. } => code,
        other => panic!("{other}"),
    }
}

pub fn until_readable(descriptor: impl std::os::fd::AsFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut polled, Some(&timeout)).unwrap(), 1, "it never ended");
}

/// Waits for something that must come; a test that could hang says so instead.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if is_true() {
            return;
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    panic!("never: {what}");
}

/// What `docker run` would ask for.
fn spec(id: &str) -> Spec {
    let capabilities: Vec<String> = defaults::capabilities::DEFAULT.iter().map(ToString::to_string).collect();
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Mount,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Cgroup,
    ];
    Spec {
        root: Some(Root { path: "rootfs".into(), readonly: false }),
        process: Some(Process {
            args: vec!["/bin/true".into()],
            env: vec!["PATH=/usr/bin:/bin".into()],
            cwd: "/".into(),
            console_size: Some(ConsoleSize::default()),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities.clone(),
                ..Capabilities::default()
            }),
            ..Process::default()
        }),
        hostname: "inside".into(),
        mounts: defaults::mounts(SHM_BYTES),
        linux: Some(Linux {
            cgroups_path: cgroup(id),
            namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            seccomp: Some(seccomp::default_profile(&capabilities)),
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
