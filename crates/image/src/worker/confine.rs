//! What a worker gives up before it reads its input.
//!
//! | what | how |
//! |---|---|
//! | files of the host | landlock(7): only the target directory (write) and the lower directories (read) |
//! | | a container's files: nothing else is mounted (see [`super::view`]) |
//! | network, abstract sockets | an empty network namespace; landlock's TCP rights and scopes |
//! | programs | landlock grants no execution anywhere; no_new_privs |
//! | mounts | landlock forbids every change of the mount tree |
//! | capabilities | unpacking keeps seven, placing files six, reading files one, extracting none; the bounding set follows |
//! | the rest of the kernel | seccomp: only the system calls that reading, hashing and writing files take |
//! | core dumps, ptrace | not dumpable, `RLIMIT_CORE` 0 |
//! | memory | `RLIMIT_AS` |
//!
//! Unpacking needs `CAP_SYS_ADMIN` for one thing: `trusted.` attributes, by which an overlay knows opaque
//! directories.

use std::os::fd::{AsFd, BorrowedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope,
};
use linux::capability;
use oci::runtime_spec::{Seccomp, SeccompRule};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

use super::protocol::{Task, confinement};
use crate::apply::Target;

/// What making any file with any owner, mode and attribute takes.
const UNPACK_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_ADMIN);

/// The same without the attributes of an overlay.
pub(super) const PLACE_CAPABILITIES: CapabilitySet = UNPACK_CAPABILITIES.difference(CapabilitySet::SYS_ADMIN);

/// What reading any file takes.
pub(super) const PACK_CAPABILITIES: CapabilitySet = CapabilitySet::DAC_READ_SEARCH;

/// What reading any file and an overlay's own attributes takes.
const DIFF_CAPABILITIES: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::SYS_ADMIN);

/// Address space: a zstd window of 128 MiB and our buffers need far less, but allocators reserve generously.
const MAX_ADDRESS_SPACE: u64 = 4 << 30;

/// Descriptors: a deep directory below hundreds of layers holds one for each of them.
const MAX_DESCRIPTORS: u64 = 65_536;

/// The newest landlock that this crate knows; the kernel enforces what it has of it.
const LANDLOCK: ABI = ABI::V6;

/// What a worker calls, and what its C library and allocator do. A name that this machine lacks is skipped.
const SYSTEM_CALLS: [&str; 73] = [
    // Memory, time, its own end.
    "brk",
    "clock_gettime",
    "clock_gettime64",
    "exit",
    "exit_group",
    "futex",
    "futex_time64",
    "getpid",
    "getrandom",
    "gettid",
    "madvise",
    "membarrier",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "munmap",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "sigaltstack",
    "tgkill",
    // Open files, and its one socket.
    "_llseek",
    "close",
    "copy_file_range",
    "fallocate",
    "fcntl",
    "fcntl64",
    "ftruncate",
    "ftruncate64",
    "lseek",
    "poll",
    "ppoll",
    "pread64",
    "pwrite64",
    "read",
    "readv",
    "recvmsg",
    "sendfile",
    "sendfile64",
    "sendmsg",
    "splice",
    "write",
    "writev",
    // Names in its directories.
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fgetxattr",
    "flistxattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "getdents64",
    "linkat",
    "mkdirat",
    "mknodat",
    "newfstatat",
    "openat",
    "openat2",
    "readlinkat",
    "setxattr",
    "statx",
    "symlinkat",
    "unlinkat",
    "utimensat",
];

/// What a worker keeps.
pub(super) struct Rights<'a> {
    pub(super) capabilities: CapabilitySet,
    /// The directory that it may do everything in but execute.
    pub(super) writable: Option<BorrowedFd<'a>>,
    pub(super) readable: Vec<BorrowedFd<'a>>,
}

impl<'a> Rights<'a> {
    /// What applying, extracting or making an archive takes.
    pub(super) fn of(task: Task, target: &'a Target) -> Rights<'a> {
        let (upper, lowers) = (target.upper.as_fd(), target.lowers.iter().map(AsFd::as_fd));
        let capabilities = match task {
            // They read, and write to a pipe.
            Task::Compare => {
                return Rights {
                    capabilities: DIFF_CAPABILITIES,
                    writable: None,
                    readable: lowers.collect(),
                };
            }
            Task::Diff => {
                return Rights { capabilities: DIFF_CAPABILITIES, writable: None, readable: vec![upper] };
            }
            Task::Unpack => UNPACK_CAPABILITIES,
            Task::Extract | Task::Files => CapabilitySet::empty(),
        };
        Rights { capabilities, writable: Some(upper), readable: lowers.collect() }
    }
}

pub(super) fn confine(rights: &Rights<'_>) -> Result<(), confinement::Error> {
    limit(Resource::Core, 0)?;
    limit(Resource::As, MAX_ADDRESS_SPACE)?;
    limit(Resource::Nofile, MAX_DESCRIPTORS)?;
    linux::process::forbid_dumps()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    confine_thread(rights)?;
    filter_calls()
}

/// What concerns the calling thread, and those that it makes.
fn confine_thread(rights: &Rights<'_>) -> Result<(), confinement::Error> {
    linux::unshare::network()?;
    rustix::thread::set_no_new_privs(true)?;
    restrict_files(rights)?;
    let kept = rights.capabilities.bits();
    capability::bound(kept)?;
    capability::set(capability::Sets { effective: kept, permitted: kept, inheritable: 0, ambient: 0 })?;
    Ok(())
}

/// Whatever is not named answers `ENOSYS`, as an older kernel does: no sockets, programs, threads, mounts, no bpf(2).
fn filter_calls() -> Result<(), confinement::Error> {
    let allowed = SeccompRule {
        names: SYSTEM_CALLS.iter().map(ToString::to_string).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        ..SeccompRule::default()
    };
    let profile = Seccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(Errno::NOSYS.raw_os_error().unsigned_abs()),
        syscalls: vec![allowed],
        ..Seccomp::default()
    };
    let program = runtime::seccomp::compile(&profile)?;
    Ok(linux::seccomp::load(&program.instructions, program.flags)?)
}

/// Lowers a limit; what is lower already stays.
fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.map_or(value, |hard| hard.min(value));
    rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
}

fn restrict_files(rights: &Rights<'_>) -> Result<(), RulesetError> {
    let write = AccessFs::from_all(LANDLOCK) & !(AccessFs::Execute | AccessFs::IoctlDev);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    if let Some(directory) = rights.writable {
        rules = rules.add_rule(PathBeneath::new(directory, write))?;
    }
    for directory in &rights.readable {
        rules = rules.add_rule(PathBeneath::new(directory, read))?;
    }
    rules.restrict_self().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    fn open(path: &std::path::Path) -> std::os::fd::OwnedFd {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Runs `claims` in a thread that is confined; all but the limits of the process concern only the thread.
    fn confined(task: Task, claims: impl FnOnce(&Target, &std::path::Path) + Send) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["upper", "lower", "other"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("file"), "x").unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let upper = open(&folder.path().join("upper"));
                let target = Target { upper, lowers: vec![open(&folder.path().join("lower"))] };
                confine_thread(&Rights::of(task, &target)).unwrap();
                claims(&target, folder.path());
            });
        });
    }

    fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_confined_thread_reaches_only_its_directories() {
        const DENIED: Option<ErrorKind> = Some(ErrorKind::PermissionDenied);
        confined(Task::Unpack, |target, folder| {
            assert_eq!(kind(File::create(folder.join("upper/new"))), None);
            assert_eq!(kind(File::open(folder.join("lower/file"))), None);
            assert_eq!(kind(File::create(folder.join("lower/new"))), DENIED);
            assert_eq!(kind(fs::remove_file(folder.join("lower/file"))), DENIED);
            for path in ["/etc/passwd", "/proc/self/status", "/dev/null"] {
                assert_eq!(kind(File::open(path)), DENIED, "{path}");
            }
            assert_eq!(kind(File::open(folder.join("other/file"))), DENIED);
            std::os::unix::fs::symlink("../other/file", folder.join("upper/link")).unwrap();
            assert_eq!(kind(File::open(folder.join("upper/link"))), DENIED);
            let other = rustix::fs::openat(&target.upper, "../other/file", OFlags::RDONLY, Mode::empty());
            assert_eq!(other.err(), Some(rustix::io::Errno::ACCESS));
            let moved = fs::rename(folder.join("upper/new"), folder.join("other/new"));
            assert!(moved.is_err(), "nothing leaves the target");
        });
    }

    #[test]
    fn packing_a_layer_reads_it_and_nothing_else() {
        confined(Task::Diff, |_, folder| {
            assert_eq!(kind(File::open(folder.join("upper/file"))), None);
            for path in ["upper/new", "lower/new"] {
                assert_eq!(
                    kind(File::create(folder.join(path))),
                    Some(ErrorKind::PermissionDenied),
                    "{path}"
                );
            }
            assert_eq!(kind(File::open(folder.join("lower/file"))), Some(ErrorKind::PermissionDenied));
            assert_eq!(rustix::thread::capabilities(None).unwrap().effective, DIFF_CAPABILITIES);
        });
    }

    #[test]
    fn comparing_trees_reads_their_layers_and_nothing_else() {
        confined(Task::Compare, |_, folder| {
            assert_eq!(kind(File::open(folder.join("lower/file"))), None);
            let denied = Some(ErrorKind::PermissionDenied);
            assert_eq!(kind(File::create(folder.join("lower/new"))), denied);
            for path in ["upper/file", "other/file"] {
                assert_eq!(kind(File::open(folder.join(path))), denied, "{path}");
            }
            assert_eq!(rustix::thread::capabilities(None).unwrap().effective, DIFF_CAPABILITIES);
        });
    }

    #[test]
    fn a_confined_thread_has_no_network_programs_or_mounts() {
        confined(Task::Unpack, |_, folder| {
            assert!(TcpStream::connect("127.0.0.1:1").is_err() && TcpListener::bind("127.0.0.1:0").is_err());
            assert!(Command::new("/bin/true").spawn().is_err());
            let mounted = rustix::mount::mount_bind(folder.join("lower"), folder.join("upper"));
            assert_eq!(mounted.err(), Some(rustix::io::Errno::PERM));
        });
    }

    #[test]
    fn a_filtered_thread_can_only_work_on_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                filter_calls().unwrap();
                fs::write(&path, "x").unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"x");
                let not_there = |result: std::io::Result<()>| {
                    assert_eq!(result.map_err(|error| error.raw_os_error()), Err(Some(38)));
                };
                not_there(TcpListener::bind("127.0.0.1:0").map(drop));
                not_there(Command::new("/bin/true").spawn().map(drop));
                not_there(
                    rustix::mount::unmount("/nonexistent", rustix::mount::UnmountFlags::empty())
                        .map_err(Into::into),
                );
                not_there(std::thread::Builder::new().spawn(|| ()).map(drop));
            });
        });
    }

    #[test]
    fn reading_files_of_a_container_writes_nothing_and_writing_them_marks_no_overlay() {
        assert!(!PLACE_CAPABILITIES.contains(CapabilitySet::SYS_ADMIN));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let root = open(folder.path());
                let readable = vec![root.as_fd()];
                let rights = Rights { capabilities: PACK_CAPABILITIES, writable: None, readable };
                confine_thread(&rights).unwrap();
                assert_eq!(kind(File::open(folder.path().join("file"))), None);
                assert_eq!(kind(File::create(folder.path().join("new"))), Some(ErrorKind::PermissionDenied));
                assert_eq!(rustix::thread::capabilities(None).unwrap().effective, PACK_CAPABILITIES);
            });
        });
    }

    #[test]
    fn extracting_keeps_no_capability_and_unpacking_seven() {
        for (task, expected) in [(Task::Extract, 0), (Task::Unpack, 7)] {
            confined(task, |_, _| {
                let sets = rustix::thread::capabilities(None).unwrap();
                assert_eq!(sets.permitted, sets.effective);
                assert_eq!((sets.effective.bits().count_ones(), sets.inheritable.bits()), (expected, 0));
                assert_eq!(capability::grantable().unwrap().count_ones(), expected);
                assert!(rustix::thread::no_new_privs().unwrap());
            });
        }
    }
}
