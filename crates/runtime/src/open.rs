//! Opens what a plan asks for, in the parent: the child receives descriptors and no paths of the host.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::child::Slot;
use linux::mount::{self, Attributes, Parameter};
use linux::user_namespace::Maps;
use linux::{path, pty};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::plan::{Open, Owners, Plan, StdioPlan};
use crate::stdio::{Stdio, TerminalSize};

/// statfs(2): `DEVPTS_SUPER_MAGIC`.
const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;

/// What the caller has already opened.
pub(crate) struct Given<'a> {
    /// The first process's root file system, or for a later process nothing.
    pub(crate) rootfs: Option<OwnedFd>,
    /// The first process, for a later one.
    pub(crate) init: Option<BorrowedFd<'a>>,
    /// Root of the running container, for a later process with a terminal.
    pub(crate) root: Option<OwnedFd>,
    pub(crate) stdio: Stdio,
}

impl Stdio {
    pub(crate) fn plan(&self) -> StdioPlan {
        match self {
            Stdio::Null => StdioPlan::Null,
            Stdio::Pipes { stdin, .. } => StdioPlan::Pipes { has_stdin: stdin.is_some() },
            Stdio::Terminal { .. } => StdioPlan::Terminal,
        }
    }
}

/// Opens everything, in order: slot `n` of the plan is the `n`th result.
pub(crate) fn open_all(plan: &Plan, mut given: Given<'_>) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::with_capacity(plan.opens.len());
    let (mut pipes, size) = given.stdio.into_parts();
    for open in &plan.opens {
        let descriptor = match open {
            Open::Rootfs => given.rootfs.take().ok_or_else(missing)?,
            Open::Init => duplicate(given.init.ok_or_else(missing)?)?,
            Open::Namespace { path } => namespace(path)?,
            Open::Bind { source, is_recursive, recursive, top, owners: wanted } => {
                let copy = bind(source, *is_recursive, *recursive, *top)?;
                if let Some(Owners { maps, is_recursive }) = wanted {
                    map_owners(copy.as_fd(), owners(maps)?.as_fd(), *is_recursive)?;
                }
                copy
            }
            Open::Device { path, mode, major, minor } => device(path, *mode, (*major, *minor))?,
            Open::CgroupTree { directories, links } => cgroup_tree(directories, links)?,
            Open::Devpts { parameters, attributes } => instance(c"devpts", parameters, *attributes)?,
            Open::Master { devpts: Slot(number), owner } => {
                let devpts = opened.get(*number).map(AsFd::as_fd).ok_or_else(missing)?;
                master(devpts, size, *owner)?
            }
            Open::MasterInside { owner } => {
                let devpts = devpts_inside(given.root.as_ref().ok_or_else(missing)?.as_fd())?;
                master(devpts.as_fd(), size, *owner)?
            }
            Open::Stdio(number) => {
                pipes.get_mut(usize::from(*number)).and_then(Option::take).ok_or_else(missing)?
            }
        };
        opened.push(descriptor);
    }
    Ok(opened)
}

/// Only a plan for other input than was given could ask for what is not there.
fn missing() -> Error {
    Error::Invalid { what: "the plan was made for other input".into() }
}

/// A `Prepare` error for what was tried.
pub(crate) fn cannot(what: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    move |source| Error::Prepare { what: what.into(), source }
}

pub(crate) fn duplicate(descriptor: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 3).map_err(cannot("duplicate a descriptor"))
}

pub(crate) fn namespace(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(cannot(format!("open namespace `{}`", path.display())))
}

/// A detached copy of what is mounted at a path of the host.
pub(crate) fn bind(
    source: &Path,
    is_recursive: bool,
    recursive: Attributes,
    top: Attributes,
) -> Result<OwnedFd> {
    let what = || format!("open mount source `{}`", source.display());
    let name = std::ffi::CString::new(source.as_os_str().as_bytes())
        .map_err(|_| Error::Invalid { what: "a path contains a NUL character".into() })?;
    let copy = mount::copy(CWD, &name, is_recursive).map_err(|source| cannot(what())(source))?;
    mount::set_attributes(copy.as_fd(), recursive, true).map_err(|source| cannot(what())(source))?;
    if top != Attributes::default() {
        mount::set_attributes(copy.as_fd(), top, false).map_err(|source| cannot(what())(source))?;
    }
    Ok(copy)
}

/// A detached new overlay on detached mounts.
pub(crate) fn overlay_on(layers: &[OwnedFd], parameters: &[Parameter], attributes: u64) -> Result<OwnedFd> {
    create(c"overlay", |context| mount::create_on(context, layers, parameters, attributes))
}

/// A detached new instance of a file system.
pub(crate) fn instance(kind: &CStr, parameters: &[Parameter], attributes: u64) -> Result<OwnedFd> {
    create(kind, |context| mount::create(context, parameters, attributes))
}

/// The kernel's explanation becomes part of the error.
fn create(kind: &CStr, make: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<OwnedFd>) -> Result<OwnedFd> {
    let name = kind.to_string_lossy();
    let context = mount::open(kind).map_err(cannot(format!("open file system `{name}`")))?;
    make(context.as_fd()).map_err(|source| {
        let said = mount::explanation(context.as_fd()).map(|said| format!(" ({said})")).unwrap_or_default();
        cannot(format!("mount file system `{name}`{said}"))(source)
    })
}

fn cgroup_tree(
    directories: &[std::ffi::CString],
    links: &[(std::ffi::CString, std::ffi::CString)],
) -> Result<OwnedFd> {
    let mode = Parameter { key: c"mode".into(), value: Some(c"755".into()) };
    let attributes = mount::NO_SUID | mount::NO_DEVICES | mount::NO_EXECUTION;
    let tree = instance(c"tmpfs", &[mode], attributes)?;
    let fill = || {
        for directory in directories {
            rustix::fs::mkdirat(&tree, &**directory, Mode::from_raw_mode(0o755))?;
        }
        for (name, target) in links {
            rustix::fs::symlinkat(&**target, &tree, &**name)?;
        }
        let read_only = Attributes { set: mount::READ_ONLY, ..Attributes::default() };
        mount::set_attributes(tree.as_fd(), read_only, false)
    };
    fill().map_err(cannot("make the directory of the control groups"))?;
    Ok(tree)
}

const MAP_OWNERS: &str = "map the owners of a mount's files";

/// What [`map_owners`] takes, for as many mounts as there are: it costs a process.
pub(crate) fn owners(maps: &Maps) -> Result<OwnedFd> {
    maps.namespace().map_err(|error| cannot(MAP_OWNERS)(errno(&error)))
}

/// Shows the files of a detached mount as others'.
pub(crate) fn map_owners(mount: BorrowedFd<'_>, owners: BorrowedFd<'_>, is_recursive: bool) -> Result<()> {
    mount::map_owners(mount, owners, is_recursive).map_err(cannot(MAP_OWNERS))
}

/// The number of an error of the standard library, which system calls have.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn device(path: &Path, mode: u32, (major, minor): (u32, u32)) -> Result<OwnedFd> {
    let what = || format!("show the host's device `{}`", path.display());
    let private = Attributes { propagation: mount::PRIVATE, ..Attributes::default() };
    let copy = bind(path, false, private, Attributes::default())?;
    let found = rustix::fs::fstat(&copy).map_err(|source| cannot(what())(source))?;
    let is_that = FileType::from_raw_mode(found.st_mode) == FileType::from_raw_mode(mode)
        && found.st_rdev == rustix::fs::makedev(major, minor);
    if is_that { Ok(copy) } else { Err(cannot(what())(Errno::NODEV)) }
}

fn master(devpts: BorrowedFd<'_>, size: TerminalSize, owner: Option<(u32, u32)>) -> Result<OwnedFd> {
    let master = pty::open_master(devpts).map_err(cannot("open a terminal"))?;
    if let Some((user, group)) = owner {
        pty::give(devpts, master.as_fd(), user, group).map_err(cannot("give the terminal to its owner"))?;
    }
    if size != TerminalSize::default() {
        pty::resize(master.as_fd(), size.width, size.height).map_err(cannot("resize the terminal"))?;
    }
    Ok(master)
}

/// The container chooses what is at its `/dev/pts`; only a devpts instance is accepted, whichever it is.
fn devpts_inside(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let what = "open the container's `/dev/pts`";
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    let devpts = path::open_in_root(root, c"dev/pts", directory).map_err(cannot(what))?;
    let kind = rustix::fs::fstatfs(&devpts).map_err(cannot(what))?.f_type;
    if kind != DEVPTS_MAGIC {
        return Err(cannot(what)(Errno::NODEV));
    }
    Ok(devpts)
}
