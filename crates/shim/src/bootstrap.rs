//! How containerd starts shims: a command line, a message on standard input, an address on standard output.
//!
//! ```text
//! corten-shim -namespace NS -address SOCKET -publish-binary PATH -id ID [-bundle DIR] [-debug] start|delete
//! ```
//!
//! `start` makes a shim that serves one container and prints where; it is run in the bundle's directory. `delete` is for a
//! shim that died: it ends and removes what is left of its container. See containerd's `docs/runtime-v2.md`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use api::bootstrap::BootstrapParams;
use api::task::DeleteResponse;
use api::types::{RuntimeInfo, RuntimeVersion};
use linux::signal::SIGKILL;
use oci::runtime_spec::Spec;
use prost::Message;
use prost_types::{Any, Timestamp};
use runtime::Hooks;
use runtime::cgroup::Cgroup;
use rustix::fs::Mode;
use sha2::{Digest, Sha256};

use crate::log::now_ns;
use crate::record::ExitRecord;
use crate::runc_state::RuncState;
use crate::shim::Bound;
use crate::{error, options, task};

/// Where containerd's shims have their sockets if nobody says otherwise.
const SOCKET_DIRECTORY: &str = "/run/containerd/s";

/// File in the bundle with the address of its shim; containerd 1.6 reads it when it comes back.
const ADDRESS_FILE: &str = "address";

/// How soon the kernel ends this process when memory is short: proc_pid_oom_score_adj(5).
const OOM_SCORE_FILE: &str = "/proc/self/oom_score_adj";
const OOM_SCORE_MAX: i32 = 1000;
/// File in the bundle with the first process, as containerd's shims write it: for `delete`.
const PID_FILE: &str = "init.pid";

/// The newest version of the shim's protocol that we speak.
const PROTOCOL_VERSION: u32 = 3;

/// What a client would configure us as.
const RUNTIME_NAME: &str = "io.containerd.corten.v1";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown argument `{0}`")]
    UnknownArgument(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("cannot {what} `{path}`")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Bundle(String),
    #[error("cannot remove the control group")]
    Cgroup(#[from] runtime::cgroup::Error),
    #[error("cannot move into the shim's control group `{path}`")]
    OwnCgroup { path: String, source: runtime::cgroup::Error },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What containerd asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Delete,
    Info,
    Version,
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    pub action: Action,
    namespace: String,
    address: String,
    id: String,
    /// Empty: the working directory.
    bundle: PathBuf,
}

impl Invocation {
    /// Reads flags as Go's `flag` package does: one dash or two, the value after a space or `=`.
    pub fn parse(arguments: &[String]) -> Result<Invocation> {
        let mut invocation = Invocation {
            action: Action::Version,
            namespace: String::new(),
            address: String::new(),
            id: String::new(),
            bundle: PathBuf::new(),
        };
        let mut action = None;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                action = Some(match word.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    _ => return Err(Error::UnknownArgument(word.clone())),
                });
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "v" => return Ok(Invocation { action: Action::Version, ..invocation }),
                "info" => return Ok(Invocation { action: Action::Info, ..invocation }),
                // There is no other log than our own.
                "debug" => continue,
                _ => {}
            }
            let value = value.or_else(|| words.next().cloned()).ok_or(Error::Missing("a flag's value"))?;
            match name {
                "namespace" => invocation.namespace = value,
                "address" => invocation.address = value,
                "id" => invocation.id = value,
                "bundle" => invocation.bundle = value.into(),
                // Events go to containerd's own socket, and ours is where containerd looks for it.
                "publish-binary" | "socket" => {}
                _ => return Err(Error::UnknownArgument(word.clone())),
            }
        }
        invocation.action = action.ok_or(Error::Missing("start or delete"))?;
        for (value, name) in [(&invocation.namespace, "-namespace"), (&invocation.id, "-id")] {
            if value.is_empty() {
                return Err(Error::Missing(name));
            }
        }
        Ok(invocation)
    }

    /// The container that the shim is for, in a bundle in `directory` unless the command line names another.
    pub fn bound(&self, directory: &Path) -> Bound {
        Bound {
            namespace: self.namespace.clone(),
            id: self.id.clone(),
            bundle: directory.join(&self.bundle),
            cgroup: String::new(),
        }
    }

    /// The socket, one for each container of each containerd. `input`: what came on standard input.
    fn socket(&self, input: &[u8]) -> PathBuf {
        let own = BootstrapParams::decode(input).ok().filter(|params| params.instance_id == self.id);
        let directory = own.and_then(|params| params.socket_dir).filter(|directory| !directory.is_empty());
        let name = Sha256::digest(format!("{}/{}/{}", self.address, self.namespace, self.id));
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        Path::new(directory.as_deref().unwrap_or(SOCKET_DIRECTORY)).join(name)
    }
}

/// A socket for a new shim, or none if one serves already; and its path.
pub fn listen(
    invocation: &Invocation,
    bound: &Bound,
    input: &[u8],
) -> Result<(Option<UnixListener>, PathBuf)> {
    let socket = invocation.socket(input);
    let failed = |what| {
        let path = socket.clone();
        move |source| Error::File { what, path, source }
    };
    if UnixStream::connect(&socket).is_ok() {
        return Ok((None, socket));
    }
    if let Some(directory) = socket.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(directory)
            .map_err(failed("make the directory of"))?;
    }
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove")(error)),
        _ => {}
    }
    let listener = bind(&socket).map_err(failed("bind"))?;
    let file = bound.bundle.join(ADDRESS_FILE);
    fs::write(&file, format!("unix://{}", socket.display())).map_err(|source| Error::File {
        what: "write",
        path: file,
        source,
    })?;
    Ok((Some(listener), socket))
}

/// When memory is short, this process is ended before the containerd that started it.
pub fn yield_memory() -> Result<()> {
    let path = Path::new(OOM_SCORE_FILE);
    let failed = |what| move |source| Error::File { what, path: path.to_owned(), source };
    let score: i32 = fs::read_to_string(path)
        .and_then(|text| text.trim().parse().map_err(io::Error::other))
        .map_err(failed("read"))?;
    fs::write(path, (score + 1).min(OOM_SCORE_MAX).to_string()).map_err(failed("write"))
}

/// Notes the first process.
pub(crate) fn note_pid(bound: &Bound, pid: u32) {
    if let Err(error) = fs::write(bound.bundle.join(PID_FILE), pid.to_string()) {
        eprintln!("the first process was not noted: {error}");
    }
}

/// The first process and its hooks are done with.
pub(crate) fn forget_pid(bound: &Bound) {
    // There is none if it was not noted.
    drop(fs::remove_file(bound.bundle.join(PID_FILE)));
}

/// Moves this process, and so the shim to come, to where the client wants it: `input` is what came on standard input.
pub fn settle(input: &[u8]) -> Result<()> {
    let path = options::shim_cgroup(input);
    if path.is_empty() {
        return Ok(());
    }
    Cgroup::enter(&path).map_err(|source| Error::OwnCgroup { path, source })
}

/// A socket that is private to its owner from the moment that it exists.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// What `start` prints. `newest`: the newest version that containerd says it understands; one that says nothing (1.6)
/// reads a bare address.
pub fn greeting(socket: &Path, newest: Option<u32>) -> String {
    let address = format!("unix://{}", socket.display());
    match newest {
        None => address,
        Some(newest) => {
            let version = newest.min(PROTOCOL_VERSION);
            serde_json::json!({ "version": version, "address": address, "protocol": "ttrpc" }).to_string()
        }
    }
}

/// The newest version of the protocol that containerd understands: it says so in its message or in its environment
/// (`variable`).
pub fn newest_version(input: &[u8], variable: Option<&str>) -> Option<u32> {
    let is_message = BootstrapParams::decode(input).is_ok_and(|params| !params.instance_id.is_empty());
    let of_message = is_message.then_some(PROTOCOL_VERSION);
    variable.and_then(|version| version.parse().ok()).or(of_message)
}

/// What `-info` prints.
pub fn info() -> Vec<u8> {
    let version = Some(RuntimeVersion { version: env!("CARGO_PKG_VERSION").into(), revision: String::new() });
    let features =
        Some(Any { type_url: api::any::FEATURES.into(), value: features().to_string().into_bytes() });
    RuntimeInfo { name: RUNTIME_NAME.into(), version, features, ..RuntimeInfo::default() }.encode_to_vec()
}

/// What the runtime can do, as a document of the runtime specification (`features.md`).
fn features() -> serde_json::Value {
    serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": ["prestart", "createRuntime", "startContainer", "poststart", "poststop"],
        "mountOptions": runtime::plan::MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": runtime::defaults::capabilities::ALL.as_slice(),
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false },
            "seccomp": { "enabled": true },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
    })
}

/// Ends and removes what a shim left that died; what `delete` prints.
pub fn delete(bound: &Bound) -> Result<Vec<u8>> {
    let file = bound.bundle.join(ADDRESS_FILE);
    if let Ok(address) = fs::read_to_string(&file)
        && let Some(socket) = address.strip_prefix("unix://")
    {
        // It may be gone.
        drop(fs::remove_file(socket));
    }
    if let Some(state) = RuncState::of_bundle(bound) {
        state.remove();
    }
    if let Some(spec) = read_spec(bound)? {
        // A group that cannot be opened is not there any more.
        if let Ok(cgroup) = Cgroup::open(&runtime::cgroup_path(&spec, &bound.id)) {
            cgroup.kill_all()?;
            cgroup.remove()?;
        }
        // A shim that had run them had forgotten the process.
        if noted_pid(bound) != 0
            && let Ok(Some(hooks)) = Hooks::of(&spec, &bound.id, &bound.bundle)
        {
            task::farewell(&hooks);
        }
    }
    let record = ExitRecord::read(&bound.bundle).unwrap_or(ExitRecord {
        pid: noted_pid(bound),
        exit_status: 128 + SIGKILL.unsigned_abs(),
        exited_at_ns: now_ns(),
        oom_killed: false,
    });
    let exited_at: Option<Timestamp> = Some(record.timestamp());
    Ok(DeleteResponse { pid: record.pid, exit_status: record.exit_status, exited_at }.encode_to_vec())
}

/// 0: there was none.
fn noted_pid(bound: &Bound) -> u32 {
    let noted = fs::read_to_string(bound.bundle.join(PID_FILE));
    noted.ok().and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

/// The specification of the container; `None` if there is no bundle.
fn read_spec(bound: &Bound) -> Result<Option<Spec>> {
    match task::read_spec(bound) {
        Ok(spec) => Ok(Some(spec)),
        Err(error::Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Bundle(error::chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation> {
        Invocation::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_gos() {
        let start =
            parse("-namespace default -address /c.sock -publish-binary /bin/c -id one start").unwrap();
        assert_eq!((start.action, start.id.as_str()), (Action::Start, "one"));
        assert_eq!(start.bound(Path::new("/b")).bundle, Path::new("/b/"));
        let delete = parse("--namespace=ns --id=two -debug -bundle /bundles/two delete").unwrap();
        assert_eq!((delete.action, delete.bundle.to_str()), (Action::Delete, Some("/bundles/two")));
        assert_eq!(parse("-v").unwrap().action, Action::Version);
        assert_eq!(parse("-info").unwrap().action, Action::Info);
        for bad in [
            "start",
            "-id one start",
            "-namespace x -id one",
            "-namespace x -id one run",
            "-colour red start",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_answer_is_what_containerd_understands() {
        let socket = Path::new("/run/s");
        assert_eq!(greeting(socket, newest_version(b"", None)), "unix:///run/s");
        let two: serde_json::Value =
            serde_json::from_str(&greeting(socket, newest_version(b"", Some("2")))).unwrap();
        let expected = serde_json::json!({ "address": "unix:///run/s", "protocol": "ttrpc", "version": 2 });
        assert_eq!(two, expected);
        let params = BootstrapParams { instance_id: "one".into(), ..BootstrapParams::default() };
        assert_eq!(newest_version(&params.encode_to_vec(), None), Some(3));
        // Older ones send options, or nothing.
        assert_eq!(newest_version(b"\xff\xff", None), None);
    }

    #[test]
    fn containers_of_different_containerds_have_different_sockets() {
        let one = parse("-namespace a -address /c.sock -id x start").unwrap();
        let other = parse("-namespace b -address /c.sock -id x start").unwrap();
        assert_ne!(one.socket(b""), other.socket(b""));
        let socket_dir = Some("/run/t".to_owned());
        let params = BootstrapParams { instance_id: "x".into(), socket_dir, ..BootstrapParams::default() };
        assert!(one.socket(&params.encode_to_vec()).starts_with("/run/t"));
    }
}
