//! From a specification to a list of things to open and a list of steps: pure, printable, and all policy.
//!
//! A plan never looks at the machine; what it must know about it is in [`Host`]. What the parent has to open is
//! written down as [`Open`]; a step refers to it by its slot. The order of the steps is argued in [`create`] and in
//! `finish`, which both the first process and every later one end with.

mod devices;
mod finish;
mod mounts;
mod namespaces;
mod options;
mod program;
mod scheduling;
mod sysctl;

use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::child::{Program, Slot, Step};
use linux::mount::{Attributes, Parameter};
use linux::namespace;
use linux::user_namespace::Maps;
use oci::runtime_spec::{Linux, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Warning};

pub use options::MOUNT_OPTIONS;
pub(crate) use options::{Options, VALUE_MAX as OPTION_VALUE_MAX, parse as parse_options};

/// What a plan depends on beside the specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Capabilities that this process can grant, as a mask.
    pub grantable: u64,
    /// The users of the user namespace that is joined, or of the container that is entered.
    pub user_maps: Option<Maps>,
    /// The container's own directory in every cgroup hierarchy; one without name is the unified hierarchy alone.
    pub cgroup_views: Vec<CgroupView>,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupView {
    /// Name below `/sys/fs/cgroup`, such as `cpu,cpuacct`.
    pub name: String,
    pub directory: PathBuf,
}

/// How the standard descriptors are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdioPlan {
    Null,
    Pipes { has_stdin: bool },
    Terminal,
}

/// How a process is to be treated beyond its specification.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    pub stdio: StdioPlan,
    /// There is a seccomp filter to load.
    pub is_filtered: bool,
    /// Kinds of rlimit that are lowered when they are refused.
    pub default_rlimits: &'a [String],
    /// Make the working directory.
    pub ensure_cwd: bool,
    /// No session keyring of its own.
    pub keep_keyring: bool,
}

/// Something that the parent opens for the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// The detached root file system.
    Rootfs,
    /// The first process of the container that is entered.
    Init,
    /// A namespace by path.
    Namespace { path: PathBuf },
    /// A detached copy of a mount of the host.
    Bind {
        source: PathBuf,
        is_recursive: bool,
        recursive: Attributes,
        top: Attributes,
        owners: Option<Owners>,
    },
    /// A detached copy of a device node of the host, which must be this device.
    Device { path: PathBuf, mode: u32, major: u32, minor: u32 },
    /// A read-only directory with these directories and links to mount cgroup hierarchies in.
    CgroupTree { directories: Vec<CString>, links: Vec<(CString, CString)> },
    /// A detached new devpts instance.
    Devpts { parameters: Vec<Parameter>, attributes: u64 },
    /// The master of a new terminal in the devpts of that slot. The terminal belongs to this user and group of the host.
    Master { devpts: Slot, owner: Option<(u32, u32)> },
    /// The master of a new terminal in the devpts of the running container.
    MasterInside { owner: Option<(u32, u32)> },
    /// Descriptor 0, 1 or 2 of the caller's pipes.
    Stdio(u8),
}

/// As whose the files of a mount are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    pub maps: Maps,
    /// Also on the mounts below.
    pub is_recursive: bool,
}

/// What later processes of a container have from its first one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inherited {
    /// Kinds of namespaces that they have to enter, beside those that every container has.
    pub entered_later: u32,
    /// The execution domain, when it is not the host's.
    pub personality: Option<u32>,
}

/// All decisions about a new process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub opens: Vec<Open>,
    /// Kinds of new namespaces to clone.
    pub namespaces: u32,
    /// The pid namespace to be born in.
    pub pid_namespace: Option<Slot>,
    /// The users of the user namespace, when it is not the host's.
    pub maps: Option<Maps>,
    pub inherited: Inherited,
    pub steps: Vec<Step>,
    pub program: Program,
    pub warnings: Vec<Warning>,
}

/// Plans the first process of a container.
///
/// The order: what needs the host's view (cgroups, `/proc`) first; then namespaces; then the tree, from its root up,
/// everything before the pivot and by descriptor; what takes rights away from the tree (masks, read-only) last.
pub fn create(spec: &Spec, manner: Manner<'_>, host: &Host) -> Result<Plan> {
    let process = spec.process.as_ref().ok_or_else(|| invalid("the specification has no process"))?;
    let linux = spec.linux.clone().unwrap_or_default();
    refuse(&linux)?;
    let personality = scheduling::personality(&linux)?;
    let inherited = Inherited { personality, ..Inherited::default() };
    let mut plan = Plan { program: program::program(process)?, inherited, ..Plan::default() };
    plan.before_namespaces(process)?;
    plan.join_and_unshare(&linux, host)?;
    plan.steps.extend([Step::NewSession, Step::ResetSignals, Step::Umask(0)]);
    if plan.has_new_network() {
        plan.steps.push(Step::LoopbackUp);
    }
    plan.names(spec, &linux)?;
    plan.steps.push(Step::MakePrivate);
    let root = plan.open(Open::Rootfs);
    plan.steps.push(Step::AttachRoot(root));
    let devices = plan.tree(spec, manner.stdio, host)?;
    if manner.ensure_cwd {
        plan.steps.push(Step::MakeDirectory(path(&process.cwd)?));
    }
    plan.sysctls(&linux)?;
    for read_only in &linux.readonly_paths {
        plan.steps.push(Step::ReadOnly(absolute(read_only)?));
    }
    for masked in &linux.masked_paths {
        plan.steps.push(Step::Mask(absolute(masked)?));
    }
    plan.standard_descriptors(manner.stdio);
    if manner.stdio == StdioPlan::Terminal {
        plan.steps.push(Step::Console(devices.base));
    }
    if devices.is_read_only {
        plan.steps.push(Step::ReadOnlyDevices);
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        plan.steps.push(Step::ReadOnlyRoot);
    }
    plan.steps.push(Step::PivotRoot);
    if !linux.rootfs_propagation.is_empty() {
        let (propagation, is_recursive) = options::propagation(&linux.rootfs_propagation)
            .ok_or_else(|| invalid(format!("unknown rootfs propagation `{}`", linux.rootfs_propagation)))?;
        plan.steps.push(Step::RootPropagation { propagation, is_recursive });
    }
    plan.finish(process, manner, host, &[Step::Wait])?;
    Ok(plan)
}

/// What is asked for in the specification and not built, and would else be ignored.
fn refuse(linux: &Linux) -> Result<()> {
    let seccomp = linux.seccomp.as_ref();
    let asked = [
        (linux.intel_rdt.is_some(), "`intelRdt`"),
        (linux.memory_policy.is_some(), "`memoryPolicy`"),
        (!linux.net_devices.is_empty(), "`netDevices`"),
        (!linux.mount_label.is_empty(), "`mountLabel`"),
        (seccomp.is_some_and(|seccomp| !seccomp.listener_path.is_empty()), "`seccomp.listenerPath`"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(unsupported(what)),
        None => Ok(()),
    }
}

/// Plans another process in a running container.
///
/// All namespaces of the first process are entered at once through its pidfd, so none can be forgotten; it may also have
/// changed them since. The pid namespace is the clone's affair. `first` is what has to be known of the first one's plan.
pub fn exec(process: &Process, manner: Manner<'_>, host: &Host, first: Inherited) -> Result<Plan> {
    const KINDS: u32 =
        namespace::MOUNT | namespace::CGROUP | namespace::UTS | namespace::IPC | namespace::NETWORK;
    let program = program::program(process)?;
    let mut plan = Plan { program, maps: host.user_maps.clone(), inherited: first, ..Plan::default() };
    let init = plan.open(Open::Init);
    plan.pid_namespace = Some(init);
    plan.before_namespaces(process)?;
    plan.steps.push(Step::EnterNamespaces { descriptor: init, kinds: KINDS | first.entered_later });
    if plan.maps.is_some() {
        plan.steps.push(Step::BecomeRoot);
    }
    plan.steps.extend([Step::UseRoot, Step::NewSession, Step::ResetSignals]);
    if manner.stdio == StdioPlan::Terminal {
        let owner = plan.root_on_host();
        plan.open(Open::MasterInside { owner });
    }
    plan.standard_descriptors(manner.stdio);
    plan.finish(process, manner, host, &[])?;
    Ok(plan)
}

impl Plan {
    fn open(&mut self, open: Open) -> Slot {
        self.opens.push(open);
        Slot(self.opens.len() - 1)
    }

    /// The slot of the first thing of a kind.
    pub(crate) fn slot(&self, is_wanted: impl Fn(&Open) -> bool) -> Option<Slot> {
        self.opens.iter().position(is_wanted).map(Slot)
    }

    /// The host's user and group that are root in the user namespace.
    fn root_on_host(&self) -> Option<(u32, u32)> {
        let maps = self.maps.as_ref()?;
        maps.host_user(0).zip(maps.host_group(0))
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(Warning(warning.into()));
    }

    fn before_namespaces(&mut self, process: &Process) -> Result<()> {
        self.steps.extend([Step::ForbidInspection, Step::JoinCgroups]);
        if let Some(score) = process.oom_score_adj {
            if !(-1000..=1000).contains(&score) {
                return Err(invalid(format!("OOM score {score} is not between -1000 and 1000")));
            }
            self.steps.push(Step::OomScore(text(score.to_string())?));
        }
        Ok(())
    }

    fn standard_descriptors(&mut self, stdio: StdioPlan) {
        match stdio {
            StdioPlan::Null => self.steps.extend((0..=2).map(|to| Step::RedirectNull { to })),
            StdioPlan::Pipes { has_stdin } => {
                for to in 0..=2 {
                    let step = if to == 0 && !has_stdin {
                        Step::RedirectNull { to }
                    } else {
                        Step::Redirect { from: self.open(Open::Stdio(to)), to }
                    };
                    self.steps.push(step);
                }
            }
            StdioPlan::Terminal => {
                let is_master = |open: &Open| matches!(open, Open::Master { .. } | Open::MasterInside { .. });
                if let Some(master) = self.slot(is_master) {
                    self.steps.push(Step::Terminal { master });
                }
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (slot, open) in self.opens.iter().enumerate() {
            writeln!(f, "open #{slot}: {open:?}")?;
        }
        writeln!(f, "clone: namespaces {:#x}", self.namespaces)?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:3} {step}")?;
        }
        Ok(())
    }
}

fn invalid(what: impl Into<String>) -> Error {
    Error::Invalid { what: what.into() }
}

fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported { what: what.into() }
}

/// Text for the kernel, which ends at the first NUL.
fn text(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| invalid("the specification contains a NUL character"))
}

/// A path for the kernel.
fn path(path: impl AsRef<Path>) -> Result<CString> {
    let path = path.as_ref();
    if path.as_os_str().len() >= PATH_MAX {
        return Err(invalid(format!("path is longer than {PATH_MAX} bytes")));
    }
    text(path.as_os_str().as_bytes())
}

/// Longest path that the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;

fn absolute(wanted: &str) -> Result<CString> {
    if !wanted.starts_with('/') {
        return Err(invalid(format!("path `{wanted}` is not absolute")));
    }
    path(wanted)
}

#[cfg(test)]
mod tests;
