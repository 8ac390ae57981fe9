//! Hooks: programs that a specification has run at points of a container's life.
//!
//! ```text
//! create ──▶ prestart, createRuntime ──start──▶ startContainer ──▶ the program ──▶ poststart ──▶ … ──delete──▶ poststop
//! ```
//!
//! Each gets the container's state on standard input: runtime specification, "POSIX-platform Hooks" and "State". Those of
//! `startContainer` are processes of the container, all others are ours. Nothing of a container's root can be seen at a path of
//! the host, so `createRuntime` hooks may run when the root is in place, and `createContainer` hooks, which would need such a
//! path, are refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use linux::pidfd::{self, Exit};
use oci::runtime_spec::{self as spec, Hook, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use serde_json::json;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::exec::Exec;
use crate::stdio::Stdio;

/// What is told of a hook's output when it fails, in bytes.
const TOLD_MAX: usize = 4096;

/// The hooks of a container, with what they are told.
#[derive(Debug)]
pub struct Hooks {
    hooks: spec::Hooks,
    oci_version: String,
    id: String,
    bundle: PathBuf,
    annotations: BTreeMap<String, String>,
    process: Option<spec::Process>,
}

/// What a hook writes; what it reads and writes are files without a name, so that neither side ever waits for the other.
struct Files {
    stdout: File,
    stderr: File,
}

impl Hooks {
    /// The hooks of a specification; most have none.
    ///
    /// # Errors
    /// `Unsupported` for `createContainer`; `Invalid` for a path that is not absolute and a timeout that is not positive.
    pub fn of(spec: &Spec, id: &str, bundle: &Path) -> Result<Option<Hooks>> {
        let Some(hooks) = spec.hooks.clone().filter(|hooks| *hooks != spec::Hooks::default()) else {
            return Ok(None);
        };
        if !hooks.create_container.is_empty() {
            return Err(Error::Unsupported { what: "a createContainer hook".into() });
        }
        let lists = [
            &hooks.prestart,
            &hooks.create_runtime,
            &hooks.start_container,
            &hooks.poststart,
            &hooks.poststop,
        ];
        lists.into_iter().flatten().try_for_each(check)?;
        Ok(Some(Hooks {
            hooks,
            oci_version: spec.oci_version.clone(),
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            annotations: spec.annotations.clone(),
            process: spec.process.clone(),
        }))
    }

    /// The container exists and waits for its start.
    pub fn created(&self, pid: u32) -> Result<()> {
        let state = self.state("creating", Some(pid));
        self.run_all("prestart", &self.hooks.prestart, &state)?;
        self.run_all("createRuntime", &self.hooks.create_runtime, &state)
    }

    /// The program is about to be executed.
    pub fn starting(&self, container: &Container) -> Result<()> {
        let state = self.state("created", Some(container.pid()));
        for (number, hook) in self.hooks.start_container.iter().enumerate() {
            let ended = self.run_inside(container, hook, &state);
            ended.map_err(|error| failed("startContainer", number, error))?;
        }
        Ok(())
    }

    /// The program runs.
    pub fn started(&self, pid: u32) -> Result<()> {
        self.run_all("poststart", &self.hooks.poststart, &self.state("running", Some(pid)))
    }

    /// The container is gone. Every hook is run, whether others fail or not; what failed.
    pub fn stopped(&self) -> Vec<Error> {
        let state = self.state("stopped", None);
        let hooks = self.hooks.poststop.iter().enumerate();
        let run = |(number, hook)| self.run(hook, &state).map_err(|error| failed("poststop", number, error));
        hooks.filter_map(|numbered| run(numbered).err()).collect()
    }

    /// Runs hooks in order, until one fails.
    fn run_all(&self, point: &'static str, hooks: &[Hook], state: &[u8]) -> Result<()> {
        let run = |(number, hook)| self.run(hook, state).map_err(|error| failed(point, number, error));
        hooks.iter().enumerate().try_for_each(run)
    }

    /// Runs a hook as a process of ours.
    fn run(&self, hook: &Hook, state: &[u8]) -> Result<(), String> {
        let (files, [stdin, stdout, stderr]) = Files::make(state)?;
        let mut command = Command::new(&hook.path);
        command.args(hook.args.iter().skip(1)).current_dir(&self.bundle).process_group(0);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        if let Some(name) = hook.args.first() {
            command.arg0(name);
        }
        // Without variables of its own it has ours.
        if let Some(env) = &hook.env {
            command.env_clear().envs(env.iter().filter_map(|variable| variable.split_once('=')));
        }
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", hook.path.display()))?;
        let pidfd = pidfd::open(child.id()).map_err(|errno| errno.to_string())?;
        if !has_ended(&pidfd, hook.timeout)? {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
            return Err(late(hook));
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(files.told(&status.to_string())) }
    }

    /// Runs a hook as a process of the container.
    fn run_inside(&self, container: &Container, hook: &Hook, state: &[u8]) -> Result<(), String> {
        let (files, [stdin, stdout, stderr]) = Files::make(state)?;
        let mut process = self.process.clone().unwrap_or_default();
        process.args =
            [hook.path.display().to_string()].into_iter().chain(hook.args.iter().skip(1).cloned()).collect();
        if let Some(env) = &hook.env {
            process.env.clone_from(env);
        }
        let request = Exec {
            process: &process,
            stdio: Stdio::Pipes { stdin: Some(stdin), stdout, stderr },
            default_rlimits: &[],
            privileged: false,
            keep_keyring: true,
        };
        let child = container.exec(request).map_err(|error| error.to_string())?;
        let in_time = has_ended(&child.pidfd, hook.timeout)?;
        if !in_time {
            container.kill_family(&child).map_err(|error| error.to_string())?;
        }
        match pidfd::wait(child.pidfd.as_fd()).map_err(|errno| errno.to_string())? {
            _ if !in_time => Err(late(hook)),
            Exit::Code(0) => Ok(()),
            exit => Err(files.told(&format!("exit status {}", exit.status()))),
        }
    }

    /// The container's state, as a document of the runtime specification.
    fn state(&self, status: &str, pid: Option<u32>) -> Vec<u8> {
        let mut state = json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
        });
        if let Some(pid) = pid {
            state["pid"] = pid.into();
        }
        if !self.annotations.is_empty() {
            state["annotations"] = json!(self.annotations);
        }
        state.to_string().into_bytes()
    }
}

impl Files {
    /// Makes them; with standard input, output and error for the hook.
    fn make(state: &[u8]) -> Result<(Files, [OwnedFd; 3]), String> {
        let make = || -> std::io::Result<_> {
            let file = || linux::memfd::create(c"corten-hook").map(File::from);
            let (input, files) = (file()?, Files { stdout: file()?, stderr: file()? });
            input.write_all_at(state, 0)?;
            let ends = [input.into(), files.stdout.try_clone()?.into(), files.stderr.try_clone()?.into()];
            Ok((files, ends))
        };
        make().map_err(|error| format!("cannot make a hook's files: {error}"))
    }

    /// How it ended and what it printed, in runc's words.
    fn told(&self, end: &str) -> String {
        format!("{end}, stdout: {}, stderr: {}", text(&self.stdout), text(&self.stderr))
    }
}

fn text(file: &File) -> String {
    let mut bytes = [0; TOLD_MAX];
    let length = file.read_at(&mut bytes, 0).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
}

fn check(hook: &Hook) -> Result<()> {
    let path = hook.path.display();
    if !hook.path.is_absolute() {
        return Err(Error::Invalid { what: format!("path `{path}` of a hook is not absolute") });
    }
    match hook.timeout {
        Some(timeout) if timeout <= 0 => {
            Err(Error::Invalid { what: format!("timeout {timeout} of the hook `{path}` is not positive") })
        }
        _ => Ok(()),
    }
}

/// Waits for the end, as long as the hook may take.
fn has_ended(pidfd: &OwnedFd, timeout: Option<i64>) -> Result<bool, String> {
    let timeout = timeout.map(|seconds| Timespec { tv_sec: seconds, tv_nsec: 0 });
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let ended = retry_on_intr(|| poll(&mut polled, timeout.as_ref()));
    ended.map(|ended| ended > 0).map_err(|errno| errno.to_string())
}

fn late(hook: &Hook) -> String {
    let timeout = Duration::from_secs(hook.timeout.unwrap_or_default().unsigned_abs());
    format!("hook ran past specified timeout of {timeout:?}")
}

fn failed(point: &'static str, number: usize, why: String) -> Error {
    Error::Hook { point, number, why }
}
