//! What a worker gives up before it reads its input.
//!
//! | what | how |
//! |---|---|
//! | files of the host | landlock(7): only the target directory (write) and the lower directories (read) |
//! | network, abstract sockets | an empty network namespace; landlock's TCP rights and scopes |
//! | programs | landlock grants no execution anywhere; no_new_privs |
//! | mounts | landlock forbids every change of the mount tree |
//! | capabilities | unpacking keeps seven, extracting none; the bounding set follows |
//! | core dumps, ptrace | not dumpable, `RLIMIT_CORE` 0 |
//! | memory | `RLIMIT_AS` |
//!
//! Unpacking needs `CAP_SYS_ADMIN` for one thing: `trusted.` attributes, by which an overlay knows opaque
//! directories.

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope,
};
use linux::capability;
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

/// Address space: a zstd window of 128 MiB and our buffers need far less, but allocators reserve generously.
const MAX_ADDRESS_SPACE: u64 = 4 << 30;

/// Descriptors: a deep directory below hundreds of layers holds one for each of them.
const MAX_DESCRIPTORS: u64 = 65_536;

/// The newest landlock that this crate knows; the kernel enforces what it has of it.
const LANDLOCK: ABI = ABI::V6;

pub(super) fn confine(task: Task, target: &Target) -> Result<(), confinement::Error> {
    limit(Resource::Core, 0)?;
    limit(Resource::As, MAX_ADDRESS_SPACE)?;
    limit(Resource::Nofile, MAX_DESCRIPTORS)?;
    linux::process::forbid_dumps()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    linux::unshare::network()?;
    rustix::thread::set_no_new_privs(true)?;
    restrict_files(target)?;
    let kept = match task {
        Task::Unpack => UNPACK_CAPABILITIES.bits(),
        Task::Extract => 0,
    };
    capability::bound(kept)?;
    capability::set(capability::Sets { effective: kept, permitted: kept, inheritable: 0, ambient: 0 })?;
    Ok(())
}

/// Lowers a limit; what is lower already stays.
fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.map_or(value, |hard| hard.min(value));
    rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
}

fn restrict_files(target: &Target) -> Result<(), RulesetError> {
    let write = AccessFs::from_all(LANDLOCK) & !(AccessFs::Execute | AccessFs::IoctlDev);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rule(PathBeneath::new(&target.upper, write))?;
    for lower in &target.lowers {
        rules = rules.add_rule(PathBeneath::new(lower, read))?;
    }
    rules.restrict_self().map(drop)
}
