//! A busybox image, a container of it, and what it printed.
//!
//! Everything lives in one temporary directory and one cgroup for each [`Image`]; dropping a [`Running`] destroys the
//! container and checks that nothing is left.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use oci::mount::Mount;
use oci::runtime_spec::*;
use runtime::{
    Container, Create, Created, Exec, Exit, Rootfs, Stdio, TerminalSize, Warning, defaults, seccomp,
};
use rustix::event::{PollFd, PollFlags};
use rustix::pipe::{PipeFlags, pipe_with};

/// Programs of busybox that the tests use.
const APPLETS: [&str; 34] = [
    "cat", "chmod", "chown", "cp", "cut", "env", "false", "grep", "head", "hexdump", "hostname", "id", "ip",
    "kill", "ln", "ls", "mkdir", "mknod", "mount", "ping", "ps", "pwd", "readlink", "rm", "sh", "sleep",
    "sort", "stat", "stty", "test", "touch", "true", "tty", "umount",
];

/// A file that only the image has. Scripts look for it first: should the code under test run one on the host, it must not
/// do there what it would do in a container.
const MARK: &str = "etc/is-a-container";

const SHM_BYTES: u64 = 1 << 20;

/// An image on disk and the specification that is built up for one container of it.
pub(crate) struct Image {
    directory: tempfile::TempDir,
    name: String,
    pub(crate) spec: Spec,
    pub(crate) default_rlimits: Vec<String>,
    pub(crate) ensure_cwd: bool,
    /// More options of the root's overlay.
    pub(crate) root_options: Vec<String>,
}

impl Image {
    pub(crate) fn new() -> Image {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix("corten-test-runtime-").tempdir().unwrap();
        for child in ["image/bin", "image/etc", "image/tmp", "upper", "work"] {
            fs::create_dir_all(directory.path().join(child)).unwrap();
        }
        let image = directory.path().join("image");
        fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet)).unwrap();
        }
        fs::write(image.join(MARK), "").unwrap();
        let spec = spec(&name);
        Image {
            directory,
            name,
            spec,
            default_rlimits: Vec::new(),
            ensure_cwd: false,
            root_options: Vec::new(),
        }
    }

    /// A file or directory of the image.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("image").join(path.trim_start_matches('/'))
    }

    /// Gives all that the image and its container have to a user and a group.
    pub(crate) fn give_files(&self, user: u32, group: u32) {
        for child in ["image", "upper", "work"] {
            give(&self.directory.path().join(child), user, group);
        }
    }

    /// A new directory on the host, beside the image.
    pub(crate) fn host_directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn cgroup(&self) -> String {
        self.linux_ref().cgroups_path.clone()
    }

    fn linux_ref(&self) -> &Linux {
        self.spec.linux.as_ref().unwrap()
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().unwrap()
    }

    pub(crate) fn args(&mut self, args: &[&str]) -> &mut Image {
        self.process().args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a mount.
    pub(crate) fn mount(
        &mut self,
        kind: &str,
        source: &Path,
        destination: &str,
        options: &[&str],
    ) -> &mut Image {
        self.spec.mounts.push(SpecMount {
            destination: destination.into(),
            kind: kind.into(),
            source: source.to_str().unwrap().into(),
            options: options.iter().map(ToString::to_string).collect(),
            ..SpecMount::default()
        });
        self
    }

    pub(crate) fn rootfs(&self) -> Rootfs {
        self.try_rootfs().unwrap_or_else(|e| panic!("{}", chain(&e)))
    }

    pub(crate) fn try_rootfs(&self) -> runtime::Result<Rootfs> {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        Rootfs::mount(&[Mount {
            kind: "overlay".into(),
            source: "overlay".into(),
            target: String::new(),
            options: [
                format!("lowerdir={}", at("image")),
                format!("upperdir={}", at("upper")),
                format!("workdir={}", at("work")),
                "volatile".into(),
            ]
            .into_iter()
            .chain(self.root_options.iter().cloned())
            .collect(),
        }])
    }

    pub(crate) fn try_create(&self, stdio: Stdio) -> runtime::Result<Created> {
        // An overlay that was volatile remembers it, so that nobody trusts it; here nobody does.
        let _ = fs::remove_dir_all(self.directory.path().join("work/work/incompat"));
        runtime::create(Create {
            id: &self.name,
            spec: &self.spec,
            rootfs: self.rootfs(),
            stdio,
            default_rlimits: &self.default_rlimits,
            ensure_cwd: self.ensure_cwd,
            keep_keyring: false,
        })
    }

    /// Why it cannot be created; checks that nothing was left.
    pub(crate) fn refused(&self) -> runtime::Error {
        let error = self.try_create(Stdio::Null).expect_err("it must be refused");
        assert_nothing_left(self);
        error
    }

    /// Creates it, with pipes.
    pub(crate) fn create(&self) -> Running<'_> {
        let (pipes, stdout, stderr) = pipes(None);
        let created = self.try_create(pipes).unwrap_or_else(|e| panic!("{}", chain(&e)));
        Running {
            image: self,
            container: Some(created.container),
            stdout,
            stderr,
            warnings: created.warnings,
        }
    }

    /// Creates and starts it.
    pub(crate) fn start(&self) -> Running<'_> {
        let mut running = self.create();
        running.container().start().unwrap_or_else(|e| panic!("{}", chain(&e)));
        running
    }

    /// Runs a shell script to its end and returns what it printed; it must succeed.
    pub(crate) fn sh(&mut self, script: &str) -> String {
        let output = self.args(&["/bin/sh", "-c", &guarded(script)]).run();
        assert_eq!(output.exit, Exit::Code(0), "{script}: {output:?}");
        output.stdout
    }

    pub(crate) fn run(&self) -> Output {
        self.start().finish()
    }

    /// Runs something that stays until it is killed.
    pub(crate) fn sleeper(&mut self) -> Running<'_> {
        self.args(&["/bin/sleep", "1000"]).start()
    }
}

/// A started container.
pub(crate) struct Running<'a> {
    image: &'a Image,
    pub(crate) container: Option<Container>,
    stdout: File,
    stderr: File,
    pub(crate) warnings: Vec<Warning>,
}

/// What a process printed and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
    pub(crate) warnings: Vec<Warning>,
}

impl Running<'_> {
    pub(crate) fn container(&mut self) -> &mut Container {
        self.container.as_mut().unwrap()
    }

    pub(crate) fn cgroup(&self) -> String {
        self.image.cgroup()
    }

    /// Reads until it ends.
    pub(crate) fn finish(mut self) -> Output {
        let (stdout, stderr) = (read(&mut self.stdout), read(&mut self.stderr));
        let exit = self.wait();
        Output { stdout, stderr, exit, warnings: std::mem::take(&mut self.warnings) }
    }

    pub(crate) fn wait(&mut self) -> Exit {
        let container = self.container();
        until_readable(container.pidfd());
        container.try_wait().unwrap().expect("its pidfd is readable")
    }

    /// A process like the first one, with other arguments.
    pub(crate) fn process(&self, args: &[&str]) -> Process {
        let args = args.iter().map(ToString::to_string).collect();
        Process { args, ..self.image.spec.process.clone().unwrap() }
    }

    pub(crate) fn try_exec(&mut self, process: &Process, input: Option<&[u8]>) -> runtime::Result<Output> {
        let (stdio, mut stdout, mut stderr) = pipes(input);
        let request = Exec { process, stdio, default_rlimits: &[], privileged: false, keep_keyring: false };
        let process = self.container().exec(request)?;
        let (stdout, stderr) = (read(&mut stdout), read(&mut stderr));
        until_readable(process.pidfd.as_fd());
        let exit = process.try_wait().unwrap().expect("its pidfd is readable");
        Ok(Output { stdout, stderr, exit, warnings: process.warnings })
    }

    /// Runs a shell script in the container; it must succeed.
    pub(crate) fn sh(&mut self, script: &str) -> String {
        let process = self.process(&["/bin/sh", "-c", &guarded(script)]);
        let output = self.try_exec(&process, None).unwrap_or_else(|e| panic!("{}", chain(&e)));
        assert_eq!(output.exit, Exit::Code(0), "{script}: {output:?}");
        output.stdout
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            let destroyed = container.destroy();
            if !std::thread::panicking() {
                destroyed.unwrap_or_else(|e| panic!("{}", chain(&e)));
                assert_nothing_left(self.image);
            }
        }
    }
}

fn give(path: &Path, user: u32, group: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(group)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|entry| give(&entry.path(), user, group));
    }
}

/// Mounts and cgroups that mention this image; processes would keep both.
pub(crate) fn assert_nothing_left(image: &Image) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = image.directory.path().display().to_string();
    assert!(!mounts.contains(&directory), "a mount is left:\n{mounts}");
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let left = hierarchy.path().join(image.cgroup().trim_start_matches('/'));
        assert!(!left.exists(), "{} is left", left.display());
    }
}

/// The container's ends of three pipes, and ours of the two that it writes.
pub(crate) fn pipes(input: Option<&[u8]>) -> (Stdio, File, File) {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (stdout, container_stdout) = pipe();
    let (stderr, container_stderr) = pipe();
    let stdin = input.map(|input| {
        let (container_stdin, stdin) = pipe();
        File::from(stdin).write_all(input).unwrap();
        container_stdin
    });
    let stdio = Stdio::Pipes { stdin, stdout: container_stdout, stderr: container_stderr };
    (stdio, stdout.into(), stderr.into())
}

pub(crate) const TERMINAL: Stdio = Stdio::Terminal { size: TerminalSize { width: 91, height: 33 } };

/// Everything that was written until the last writer is gone; a terminal says so with an error.
pub(crate) fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = {
        until_readable(&*file);
        file.read(&mut chunk)
    } {
        bytes.extend_from_slice(&chunk[..length]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn terminal(master: Option<OwnedFd>) -> File {
    File::from(master.expect("a terminal was asked for"))
}

pub(crate) fn until_readable(descriptor: impl AsFd) {
    let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)).unwrap(), 1, "it never ended");
}

fn guarded(script: &str) -> String {
    format!("test -f /{MARK} || exit 99; {script}")
}

/// Waits for something that must come; a test that could hang says so instead.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if is_true() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("never: {what}");
}

/// An error with its sources, as users see it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// What `docker run` would ask for.
fn spec(name: &str) -> Spec {
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
        process: Some(Process {
            args: vec!["/bin/true".into()],
            env: vec!["PATH=/usr/bin:/bin".into()],
            cwd: "/".into(),
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
            cgroups_path: format!("/corten-test-runtime-{name}"),
            namespaces: kinds.into_iter().map(|kind| Namespace { kind, path: None }).collect(),
            seccomp: Some(seccomp::default_profile(&capabilities)),
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            resources: Some(Resources { devices: defaults::device_rules(), ..Resources::default() }),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
