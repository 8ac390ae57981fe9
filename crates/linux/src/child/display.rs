//! Steps in words: a plan is printed with them, and errors say which one failed.

use std::ffi::CStr;
use std::fmt::{Display, Formatter, Result};

use super::{Base, Device, Mount, Slot, Source, Step};
use crate::limit::Limit;

impl Display for Slot {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "#{}", self.0)
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Base::Root => "/",
            Base::Devices => "/dev/",
        })
    }
}

impl Display for Mount {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.source {
            Source::New { kind, .. } => write!(f, "mount {} on {}", quoted(kind), quoted(&self.target)),
            Source::Detached { name, .. } => write!(f, "mount {} on {}", quoted(name), quoted(&self.target)),
        }
    }
}

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let path = self.path.to_string_lossy();
        write!(f, "make device `{}{path}` {}:{}", self.base, self.major, self.minor)
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Step::ForbidInspection => f.write_str("forbid inspection"),
            Step::JoinCgroups => f.write_str("join the control groups"),
            Step::OomScore(score) => write!(f, "set the OOM score to {}", score.to_string_lossy()),
            Step::EnterNamespaces { kinds, .. } => write!(f, "enter the {} namespace", names(*kinds)),
            Step::NewNamespaces(kinds) => write!(f, "make the {} namespace", names(*kinds)),
            Step::NewUserNamespace(_) => f.write_str("make the user namespace"),
            Step::BecomeRoot => f.write_str("become root of the user namespace"),
            Step::AskTimeOffsets(_) => f.write_str("set the offsets of the clocks"),
            Step::Fork => f.write_str("go on in the new namespaces"),
            Step::NewSession => f.write_str("start a session"),
            Step::ResetSignals => f.write_str("reset the signals"),
            Step::LoopbackUp => f.write_str("bring `lo` up"),
            Step::Hostname(name) => write!(f, "set the host name to {}", quoted(name)),
            Step::Domainname(name) => write!(f, "set the domain name to {}", quoted(name)),
            Step::MakePrivate => f.write_str("make the mounts private"),
            Step::AttachRoot(_) => f.write_str("attach the root file system"),
            Step::UseRoot => f.write_str("open the root directory"),
            Step::Mount(mount) => mount.fmt(f),
            Step::MakeDirectory(path) => write!(f, "make directory {}", quoted(path)),
            Step::Device(device) => device.fmt(f),
            Step::DeviceMount { base, path, .. } => {
                write!(f, "mount the host's device on `{base}{}`", path.to_string_lossy())
            }
            Step::Link { base, path, target } => {
                write!(f, "link `{base}{}` to {}", path.to_string_lossy(), quoted(target))
            }
            Step::ReadOnlyDevices => f.write_str("make `/dev` read-only"),
            Step::Sysctl { key, value } => {
                let key = key.to_string_lossy().replace('/', ".");
                write!(f, "set sysctl `{key}` to {}", quoted(value))
            }
            Step::Mask(path) => write!(f, "mask {}", quoted(path)),
            Step::ReadOnly(path) => write!(f, "make {} read-only", quoted(path)),
            Step::ReadOnlyRoot => f.write_str("make the root read-only"),
            Step::PivotRoot => f.write_str("change the root"),
            Step::RootPropagation { .. } => f.write_str("set the propagation of the root"),
            _ => display_process(self, f),
        }
    }
}

/// The steps that concern the process itself.
fn display_process(step: &Step, f: &mut Formatter<'_>) -> Result {
    match step {
        Step::Redirect { from, to } => write!(f, "redirect descriptor {to} to {from}"),
        Step::RedirectNull { to } => write!(f, "redirect descriptor {to} to `/dev/null`"),
        Step::Terminal { .. } => f.write_str("take the terminal"),
        Step::Console(_) => f.write_str("mount the terminal on `/dev/console`"),
        Step::OwnStdio(uid) => write!(f, "give the standard descriptors to user {uid}"),
        Step::NewKeyring => f.write_str("make a session keyring"),
        Step::Schedule(attributes) => write!(f, "set the scheduling policy to {}", attributes.policy),
        Step::IoPriority { class, priority } => write!(f, "set the I/O priority to {class}:{priority}"),
        Step::Personality(domain) => write!(f, "set the personality to {domain:#x}"),
        Step::Limit(Limit { resource, soft, hard, .. }) => {
            write!(f, "set resource limit {resource} to {soft}:{hard}")
        }
        Step::AskLimits(_) => f.write_str("set the resource limits"),
        Step::CloseDescriptors => f.write_str("close the descriptors"),
        Step::LoadFilter => f.write_str("load the seccomp filter"),
        Step::BoundCapabilities(keep) => write!(f, "bound the capabilities to {keep:#x}"),
        Step::Directory(path) | Step::RetryDirectory(path) => {
            write!(f, "change to working directory {}", quoted(path))
        }
        Step::Identity { uid, gid, groups } => write!(f, "become user {uid}:{gid}, groups {groups:?}"),
        Step::Capabilities(sets) => write!(f, "set the capabilities to {:#x}", sets.effective),
        Step::NoNewPrivileges => f.write_str("forbid new privileges"),
        Step::Umask(mask) => write!(f, "set the umask to {mask:#o}"),
        Step::FindProgram => f.write_str("find the program"),
        Step::Wait => f.write_str("wait for the start"),
        Step::Execute => f.write_str("execute the program"),
        _ => Ok(()),
    }
}

fn quoted(text: &CStr) -> String {
    format!("`{}`", text.to_string_lossy())
}

fn names(kinds: u32) -> String {
    use crate::namespace::{CGROUP, IPC, MOUNT, NETWORK, PID, TIME, USER, UTS};
    let all = [
        (MOUNT, "mount"),
        (CGROUP, "cgroup"),
        (UTS, "uts"),
        (IPC, "ipc"),
        (PID, "pid"),
        (NETWORK, "network"),
        (TIME, "time"),
        (USER, "user"),
    ];
    let names: Vec<_> = all.into_iter().filter(|(kind, _)| kinds & kind != 0).map(|(_, name)| name).collect();
    names.join(", ")
}
