//! What a freshly cloned process does until it executes its program: a flat list of steps.
//!
//! Nothing here allocates, locks, panics or prints: the parent may have had threads, one of which held any lock at
//! the moment of the clone. All text and all descriptors were prepared by the parent; the rest lives on the stack.
//! The order of the steps is policy and belongs to the caller; each step only does what its documentation says. The
//! first failure is reported as (number of the step, errno), and the process exits.
//!
//! ```text
//! child ──▶ parent   Report::Warning*  (Report::Ready, then it blocks for one byte)?  Report::Failed | end of file
//!                    at any time before that: (Report::Asks | Report::Forked, then it blocks for one byte)
//! ```
//! A process in a user namespace of its own has no privilege on the host; what needs one it asks its parent to do.
#![allow(unsafe_code)]

mod console;
mod device;
mod display;
mod identity;
mod mounts;
mod program;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clone::Launch;
use crate::limit::Limit;
use crate::mount::{Attributes, Parameter};
use crate::syscall::{self, Result};
use crate::user_namespace::Maps;
use crate::{capability, namespace, scheduling, seccomp};

pub(crate) use program::Pointers;
pub use program::Program;

/// Which of [`Launch::descriptors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub usize);

/// A directory that paths are resolved in, as if it were `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The container's root.
    Root,
    /// The mount that was made with [`Mount::is_devices`], whatever the container's `/dev` says.
    Devices,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A new instance, which must be made inside the new namespaces.
    New { kind: CString, parameters: Vec<Parameter>, attributes: u64 },
    /// A detached mount that the parent made; `name` is for people.
    Detached { mount: Slot, name: CString },
}

/// A mount below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path in the root; made when it does not exist, as a file if the source is one.
    pub target: CString,
    pub source: Source,
    /// Changes afterwards; none for the default.
    pub attributes: Attributes,
    /// No component of the target may be a symbolic link.
    pub refuses_links: bool,
    /// Becomes [`Base::Devices`].
    pub is_devices: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub base: Base,
    pub path: CString,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`, with permissions.
    pub mode: u32,
    pub major: u32,
    pub minor: u32,
    pub uid: u32,
    pub gid: u32,
}

/// One thing to do. Steps that look for `/dev/null` accept only the character device 1:3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Other processes of the container cannot look into this one (`PR_SET_DUMPABLE`; undone by execve).
    ForbidInspection,
    /// Writes `0` to every file of [`Launch::tasks`]: a task that moves itself does not wait for an RCU grace period.
    JoinCgroups,
    /// Writes `/proc/self/oom_score_adj`; without the privilege to lower it this is a warning.
    OomScore(CString),
    /// setns(2); `kinds` as in [`namespace::enter`].
    EnterNamespaces {
        descriptor: Slot,
        kinds: u32,
    },
    /// unshare(2); `kinds` as in [`namespace`]. A cgroup namespace's root is the cgroup that was joined before. New pid and
    /// time namespaces are those of the process after the next [`Step::Fork`].
    NewNamespaces(u32),
    /// A new user namespace. Asks the parent to write these maps.
    NewUserNamespace(Maps),
    /// User and group 0 of the user namespace, without other groups.
    BecomeRoot,
    /// Asks the parent to write these lines to `/proc/PID/timens_offsets`, for the new time namespace.
    AskTimeOffsets(String),
    /// Goes on in a new process, a child of the same parent ([`Report::Forked`]).
    Fork,
    /// setsid(2).
    NewSession,
    /// Every signal to its default action, none blocked.
    ResetSignals,
    /// Brings `lo` up.
    LoopbackUp,
    Hostname(CString),
    Domainname(CString),
    /// Makes every mount of the copied mount namespace private, so that nothing below reaches the host.
    MakePrivate,
    /// Attaches a detached mount over `/`; it becomes [`Base::Root`].
    AttachRoot(Slot),
    /// The current `/` becomes [`Base::Root`].
    UseRoot,
    Mount(Mount),
    /// Makes a directory and its parents in the root.
    MakeDirectory(CString),
    Device(Device),
    /// Shows a device of the host, by a mount that the parent made, where none can be made.
    DeviceMount {
        base: Base,
        path: CString,
        mount: Slot,
    },
    /// Makes a symbolic link, unless the name is taken.
    Link {
        base: Base,
        path: CString,
        target: CString,
    },
    /// Makes the mount of [`Base::Devices`] read-only.
    ReadOnlyDevices,
    /// Writes a file below `/proc/sys` of a proc file system of our own. `key` has slashes.
    Sysctl {
        key: CString,
        value: CString,
    },
    /// Covers a path, if it exists, with `/dev/null` or an empty read-only directory.
    Mask(CString),
    /// Makes a path, if it exists, read-only by mounting it on itself.
    ReadOnly(CString),
    /// Makes the root's mount read-only.
    ReadOnlyRoot,
    /// pivot_root(2) into the root; the old one is detached.
    PivotRoot,
    /// Propagation of the mount at `/`.
    RootPropagation {
        propagation: u64,
        is_recursive: bool,
    },
    /// Descriptor `to` (0, 1 or 2) becomes a copy of `from`.
    Redirect {
        from: Slot,
        to: u8,
    },
    /// Descriptor `to` becomes the container's `/dev/null`.
    RedirectNull {
        to: u8,
    },
    /// The peer of a pseudo-terminal's master becomes controlling terminal and descriptors 0, 1, 2.
    Terminal {
        master: Slot,
    },
    /// Binds the terminal on `/dev/console`.
    Console(Base),
    /// Gives descriptors 0, 1, 2 to a user, as far as that is possible; `/dev/null` is left alone.
    OwnStdio(u32),
    /// A new anonymous session keyring.
    NewKeyring,
    Schedule(scheduling::Attributes),
    /// As [`scheduling::set_io_priority`].
    IoPriority {
        class: u32,
        priority: u32,
    },
    /// The execution domain; execve(2) keeps it.
    Personality(u32),
    /// What had to be lowered is a warning.
    Limit(Limit),
    /// Asks the parent to set them: a user namespace's root may not raise limits.
    AskLimits(Vec<Limit>),
    /// Closes every descriptor but 0, 1, 2 and the two of the parent.
    CloseDescriptors,
    /// Loads [`Launch::filter`].
    LoadFilter,
    /// The bounding set, as a mask.
    BoundCapabilities(u64),
    /// Changes directory, and checks that the result is below `/`. What only the user may not reach yet, or may
    /// reach only as root, is tried again by [`Step::RetryDirectory`].
    Directory(CString),
    /// The second and last try, if one is needed.
    RetryDirectory(CString),
    /// setgroups, setresgid, setresuid; keeps permitted capabilities.
    Identity {
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    Capabilities(capability::Sets),
    NoNewPrivileges,
    /// The file mode mask; zero while files are made with exact permissions.
    Umask(u32),
    /// Finds the first candidate of [`Launch::program`] that may be executed.
    FindProgram,
    /// Reports that all is well and blocks until the parent says go; exits when the parent is gone.
    Wait,
    /// execve(2).
    Execute,
}

/// Our ends of the pipes to the parent.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub(crate) report: BorrowedFd<'a>,
    pub(crate) start: BorrowedFd<'a>,
}

/// A message from the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It waits to be started.
    Ready,
    /// It waits for the parent to do what this step is about.
    Asks { step: usize },
    /// It ends, and goes on in this process, by its number in the parent's pid namespace, which waits to be told that it may.
    Forked { pid: u32 },
    /// A step was not wholly successful; the child goes on.
    Warning { step: usize, errno: Errno },
    /// A step failed; the child exits.
    Failed { step: usize, errno: Errno },
}

impl Report {
    /// Size on the pipe: kind, step, errno.
    pub const SIZE: usize = 12;

    fn encode(self) -> [u8; Self::SIZE] {
        let (kind, step, errno) = match self {
            Report::Ready => (0u32, 0, 0),
            Report::Warning { step, errno } => (1, step, errno.raw_os_error()),
            Report::Failed { step, errno } => (2, step, errno.raw_os_error()),
            Report::Asks { step } => (3, step, 0),
            Report::Forked { pid } => (4, pid as usize, 0),
        };
        let [a, b, c, d] = kind.to_ne_bytes();
        let [e, f, g, h] = u32::try_from(step).unwrap_or(u32::MAX).to_ne_bytes();
        let [i, j, k, l] = errno.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Reads what a child wrote. The child has not run foreign code yet, but its memory limit may have killed it.
    pub fn decode(bytes: [u8; Self::SIZE]) -> Option<Report> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let step = u32::from_ne_bytes([e, f, g, h]) as usize;
        let errno = Errno::from_raw_os_error(i32::from_ne_bytes([i, j, k, l]).clamp(1, 4095));
        match u32::from_ne_bytes([a, b, c, d]) {
            0 => Some(Report::Ready),
            1 => Some(Report::Warning { step, errno }),
            2 => Some(Report::Failed { step, errno }),
            3 => Some(Report::Asks { step }),
            4 => Some(Report::Forked { pid: u32::from_ne_bytes([e, f, g, h]) }),
            _ => None,
        }
    }
}

/// Performs the steps; the process ends here or becomes another program.
pub(crate) fn run(launch: &Launch<'_>, program: &Pointers<'_>, ends: Ends<'_>) -> ! {
    let mut child = Child {
        launch,
        program,
        ends,
        step: 0,
        root: None,
        devices: None,
        proc: None,
        mask_directory: None,
        found: None,
        needs_directory: false,
    };
    for (number, step) in launch.steps.iter().enumerate() {
        child.step = number;
        if let Err(errno) = child.perform(step) {
            child.report(Report::Failed { step: number, errno });
            break;
        }
    }
    // SAFETY: ends only this process, runs no handlers, touches no memory.
    unsafe { libc::_exit(1) }
}

/// The state that steps hand on to later ones.
struct Child<'a> {
    launch: &'a Launch<'a>,
    program: &'a Pointers<'a>,
    ends: Ends<'a>,
    step: usize,
    root: Option<OwnedFd>,
    devices: Option<OwnedFd>,
    proc: Option<OwnedFd>,
    mask_directory: Option<OwnedFd>,
    found: Option<usize>,
    needs_directory: bool,
}

impl<'a> Child<'a> {
    fn perform(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::ForbidInspection => crate::process::forbid_dumps(),
            Step::JoinCgroups => {
                self.launch.tasks.iter().try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop))
            }
            Step::OomScore(score) => self.oom_score(score),
            Step::EnterNamespaces { descriptor, kinds } => namespace::enter(self.slot(*descriptor)?, *kinds),
            Step::NewNamespaces(kinds) => unshare(*kinds),
            Step::NewUserNamespace(_) => unshare(namespace::USER).map(|()| self.ask()),
            Step::BecomeRoot => identity::assume(0, 0, &[]),
            Step::Fork => self.fork(),
            Step::NewSession => rustix::process::setsid().map(drop),
            Step::ResetSignals => reset_signals(),
            Step::LoopbackUp => loopback_up(),
            Step::Hostname(name) => rustix::system::sethostname(name.to_bytes()),
            Step::Domainname(name) => rustix::system::setdomainname(name.to_bytes()),
            Step::Limit(limit) => match limit.apply(0)? {
                Some(errno) => self.warn(errno),
                None => Ok(()),
            },
            Step::AskTimeOffsets(_) | Step::AskLimits(_) => {
                self.ask();
                Ok(())
            }
            Step::CloseDescriptors => self.close_descriptors(),
            Step::LoadFilter => seccomp::load(self.launch.filter, self.launch.filter_flags),
            Step::NewKeyring => self.new_keyring(),
            Step::Schedule(attributes) => scheduling::set(attributes),
            Step::IoPriority { class, priority } => scheduling::set_io_priority(*class, *priority),
            Step::Personality(domain) => scheduling::set_personality(*domain),
            Step::Wait => self.wait(),
            _ => self.perform_in_tree(step),
        }
    }

    fn perform_in_tree(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::MakePrivate => mounts::make_private(),
            Step::AttachRoot(slot) => self.attach_root(*slot),
            Step::UseRoot => self.use_root(),
            Step::Mount(mount) => self.mount(mount),
            Step::MakeDirectory(path) => self.make_directory(path),
            Step::Device(device) => self.device(device),
            Step::DeviceMount { base, path, mount } => self.device_mount(*base, path, *mount),
            Step::Link { base, path, target } => self.link(*base, path, target),
            Step::ReadOnlyDevices => mounts::make_read_only(self.base(Base::Devices)?),
            Step::Sysctl { key, value } => self.sysctl(key, value),
            Step::Mask(path) => self.mask(path),
            Step::ReadOnly(path) => self.read_only(path),
            Step::ReadOnlyRoot => mounts::make_read_only(self.base(Base::Root)?),
            Step::PivotRoot => self.pivot_root(),
            Step::RootPropagation { propagation, is_recursive } => {
                self.root_propagation(*propagation, *is_recursive)
            }
            _ => self.perform_on_self(step),
        }
    }

    fn perform_on_self(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Redirect { from, to } => console::redirect(self.slot(*from)?, *to),
            Step::RedirectNull { to } => console::redirect(self.null()?.as_fd(), *to),
            Step::Terminal { master } => console::take_terminal(self.slot(*master)?),
            Step::Console(base) => self.console(*base),
            Step::OwnStdio(uid) => console::own_stdio(*uid),
            Step::BoundCapabilities(keep) => capability::bound(*keep),
            Step::Directory(path) => self.directory(path),
            Step::RetryDirectory(path) => self.retry_directory(path),
            Step::Identity { uid, gid, groups } => identity::assume(*uid, *gid, groups),
            Step::Capabilities(sets) => capability::set(*sets),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Step::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            Step::FindProgram => self.find_program(),
            Step::Execute => self.execute(),
            // Every other step was handled by the two functions before this one.
            _ => Err(Errno::NOSYS),
        }
    }

    fn report(&self, report: Report) {
        // Shorter than PIPE_BUF, so it is written whole. If the parent is gone there is nobody to tell.
        let _ = rustix::io::write(self.ends.report, &report.encode());
    }

    fn warn(&self, errno: Errno) -> Result<()> {
        self.report(Report::Warning { step: self.step, errno });
        Ok(())
    }

    fn slot(&self, slot: Slot) -> Result<BorrowedFd<'a>> {
        self.launch.descriptors.get(slot.0).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn base(&self, base: Base) -> Result<BorrowedFd<'_>> {
        let descriptor = match base {
            Base::Root => &self.root,
            Base::Devices => &self.devices,
        };
        descriptor.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn oom_score(&self, score: &CString) -> Result<()> {
        let file =
            rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::io::write(&file, score.to_bytes()) {
            Ok(_) => Ok(()),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => self.warn(errno),
            Err(errno) => Err(errno),
        }
    }

    /// Kernels without key management say `NOSYS`; so there is no keyring to protect.
    fn new_keyring(&self) -> Result<()> {
        let anonymous = std::ptr::null::<libc::c_char>();
        // SAFETY: a null name asks for an anonymous keyring; nothing is read.
        let returned =
            unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
        match syscall::check(returned) {
            Err(Errno::NOSYS) => Ok(()),
            // The quota of keys of this user on this host is used up.
            Err(errno @ Errno::DQUOT) => self.warn(errno),
            other => other.map(drop),
        }
    }

    /// Closes, and does not merely mark: a child that waits must not hold the ends of other children's pipes, and
    /// the working directory must not be found through a descriptor of the host (CVE-2024-21626).
    fn close_descriptors(&mut self) -> Result<()> {
        let (report, start) = (self.ends.report.as_raw_fd(), self.ends.start.as_raw_fd());
        close_range(libc::STDERR_FILENO + 1, report.min(start) - 1)?;
        close_range(report.min(start) + 1, report.max(start) - 1)?;
        close_range(report.max(start) + 1, RawFd::MAX)?;
        // Their descriptors are gone already.
        for owned in [&mut self.root, &mut self.devices, &mut self.proc, &mut self.mask_directory] {
            std::mem::forget(owned.take());
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        self.report(Report::Ready);
        self.await_word();
        Ok(())
    }

    fn ask(&self) {
        self.report(Report::Asks { step: self.step });
        self.await_word();
    }

    /// The new process is our parent's child, not ours, so that the parent can reap it.
    fn fork(&self) -> Result<()> {
        // SAFETY: all fields are integers, for which zero is valid.
        let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
        request.flags = libc::CLONE_PARENT as u64;
        // SAFETY: without CLONE_VM the child has its own copy of all memory and continues on its copy of this stack.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut request, size_of::<libc::clone_args>()) };
        let pid = u32::try_from(syscall::check(pid)?).map_err(|_| Errno::OVERFLOW)?;
        if pid == 0 {
            self.await_word();
            return Ok(());
        }
        self.report(Report::Forked { pid });
        // SAFETY: as in `run`.
        unsafe { libc::_exit(0) }
    }

    /// Blocks for one byte.
    fn await_word(&self) {
        let mut byte = [0];
        loop {
            match rustix::io::read(self.ends.start, &mut byte) {
                Ok(1) => return,
                Err(Errno::INTR) => {}
                // SAFETY: as in `run`. The parent is gone, and so is all reason to exist.
                _ => unsafe { libc::_exit(1) },
            }
        }
    }
}

fn unshare(kinds: u32) -> Result<()> {
    // SAFETY: the flags concern namespaces only, never the table of descriptors.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::from_bits_retain(kinds)) }
}

/// By the system call: the C library refuses to touch the two signals that it uses itself, and a parent may ignore them.
fn reset_signals() -> Result<()> {
    const LAST: i32 = 64;
    const MASK_BYTES: usize = 8;
    // `struct sigaction` of the kernel: handler (`SIG_DFL` is zero), flags, restorer, mask.
    let default = [0u64; 4];
    for signal in 1..=LAST {
        let none = std::ptr::null::<u64>();
        // SAFETY: `default` is a valid action that installs no handler; the old one is not asked for. SIGKILL and
        // SIGSTOP are refused, which is right.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, MASK_BYTES) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` is initialised; the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    if failed == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(failed)) }
}

/// As the field of `ifreq` has it; libc has the same number as an `int`.
const IFF_UP: libc::c_short = 1;

/// netdevice(7): `SIOCSIFFLAGS` on any socket of the network namespace.
fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain data, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: the kernel reads a valid `ifreq` and writes nothing beyond it.
    let returned = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    syscall::check(returned.into()).map(drop)
}

fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: nothing in this process uses these descriptors any more; see the caller.
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    syscall::check(returned).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe() {
        for report in [
            Report::Ready,
            Report::Warning { step: 3, errno: Errno::ACCESS },
            Report::Failed { step: 70_000, errno: Errno::NOENT },
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([0xff; Report::SIZE]), None);
    }
}
