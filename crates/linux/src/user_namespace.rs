//! Whose users are whose: the maps of user_namespaces(7), and namespaces made for their maps alone.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::syscall::{self, Result};
use crate::{namespace, pidfd};

/// Ids in a row: `inside` and those after it are `outside` and those after it on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub size: u32,
}

/// The users and groups of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    pub users: Vec<IdRange>,
    pub groups: Vec<IdRange>,
}

impl Maps {
    /// A user of the namespace, as the host knows it.
    pub fn host_user(&self, inside: u32) -> Option<u32> {
        outside(&self.users, inside)
    }

    /// A group of the namespace, as the host knows it.
    pub fn host_group(&self, inside: u32) -> Option<u32> {
        outside(&self.groups, inside)
    }

    /// Those of the user namespace that a process is in.
    pub fn of_process(pid: u32) -> io::Result<Maps> {
        let read = |name| Ok::<_, io::Error>(ranges(&fs::read_to_string(format!("/proc/{pid}/{name}"))?));
        Ok(Maps { users: read("uid_map")?, groups: read("gid_map")? })
    }

    /// Those of a user namespace.
    pub fn of_namespace(namespace: BorrowedFd<'_>) -> io::Result<Maps> {
        let holder = Holder::start(Where::In(namespace))?;
        Maps::of_process(holder.pid)
    }

    /// Gives them to the new user namespace of a process, once and for all.
    pub fn write(&self, pid: u32) -> io::Result<()> {
        fs::write(format!("/proc/{pid}/uid_map"), lines(&self.users))?;
        fs::write(format!("/proc/{pid}/gid_map"), lines(&self.groups))
    }

    /// A user namespace without processes that has these, for mounts whose owners are mapped (mount_setattr(2)).
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        let holder = Holder::start(Where::New)?;
        self.write(holder.pid)?;
        let path = format!("/proc/{}/ns/user", holder.pid);
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    let range =
        ranges.iter().find(|range| inside.checked_sub(range.inside).is_some_and(|at| at < range.size))?;
    range.outside.checked_add(inside - range.inside)
}

/// The whole map at once: the kernel takes one write.
fn lines(ranges: &[IdRange]) -> String {
    let line = |IdRange { inside, outside, size }: &IdRange| format!("{inside} {outside} {size}\n");
    ranges.iter().map(line).collect()
}

fn ranges(map: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse().ok());
        Some(IdRange { inside: numbers.next()?, outside: numbers.next()?, size: numbers.next()? })
    };
    map.lines().filter_map(range).collect()
}

/// Which user namespace a [`Holder`] is in.
#[derive(Clone, Copy)]
enum Where<'a> {
    New,
    In(BorrowedFd<'a>),
}

/// A process that is in a user namespace and does nothing, until this is dropped.
struct Holder {
    pid: u32,
    pidfd: OwnedFd,
}

impl Holder {
    fn start(namespace: Where<'_>) -> Result<Holder> {
        let (ready, child_ready) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let new = match namespace {
            Where::New => libc::CLONE_NEWUSER as u64,
            Where::In(_) => 0,
        };
        let mut pidfd = -1;
        // SAFETY: all fields are integers, for which zero is valid.
        let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
        request.flags = new | libc::CLONE_PIDFD as u64;
        request.pidfd = (&raw mut pidfd) as u64;
        request.exit_signal = libc::SIGCHLD as u64;
        // SAFETY: without CLONE_VM the child has its own copy of all memory, as after fork(2); `hold` neither allocates,
        // locks nor returns.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut request, size_of::<libc::clone_args>()) };
        if pid == 0 {
            hold(namespace, child_ready);
        }
        let pid = u32::try_from(syscall::check(pid)?).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so this is a new descriptor that nobody else owns.
        let holder = Holder { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } };
        drop(child_ready);
        // It says its errno; nothing if it was killed.
        let mut said = [0; 4];
        match rustix::io::retry_on_intr(|| rustix::io::read(&ready, &mut said))? {
            4 if said == [0; 4] => Ok(holder),
            4 => Err(Errno::from_raw_os_error(i32::from_ne_bytes(said).clamp(1, 4095))),
            _ => Err(Errno::CHILD),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It is our child: neither can fail while we hold its descriptor.
        let _ = pidfd::send_signal(std::os::fd::AsFd::as_fd(&self.pidfd), libc::SIGKILL);
        let _ = pidfd::wait(std::os::fd::AsFd::as_fd(&self.pidfd));
    }
}

fn hold(namespace: Where<'_>, ready: OwnedFd) -> ! {
    // Should the parent die, nobody else would end it.
    let _ = crate::process::die_with_parent(libc::SIGKILL);
    let entered = match namespace {
        Where::New => Ok(()),
        Where::In(descriptor) => namespace::enter(descriptor, namespace::USER),
    };
    let errno = entered.err().map_or(0, Errno::raw_os_error);
    let _ = rustix::io::write(&ready, &errno.to_ne_bytes());
    // SAFETY: closes what only this process has here; the parent would wait for its end otherwise.
    unsafe { libc::close(ready.as_raw_fd()) };
    loop {
        // SAFETY: suspends this process only.
        unsafe { libc::pause() };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn maps() -> Maps {
        let range = |inside, outside, size| IdRange { inside, outside, size };
        Maps { users: vec![range(0, 1000, 10), range(10, 5000, 3)], groups: vec![range(0, 2000, 65536)] }
    }

    #[test]
    fn ids_are_found_in_their_range() {
        let maps = maps();
        assert_eq!(
            [0, 9, 10, 12, 13].map(|id| maps.host_user(id)),
            [Some(1000), Some(1009), Some(5000), Some(5002), None]
        );
        assert_eq!(maps.host_group(5), Some(2005));
        assert_eq!(Maps::default().host_user(0), None);
    }

    #[test]
    fn a_namespace_has_the_maps_that_it_was_made_with() {
        let namespace = maps().namespace().unwrap();
        assert_eq!(Maps::of_namespace(namespace.as_fd()).unwrap(), maps());
    }

    #[test]
    fn what_is_no_user_namespace_is_not_entered() {
        let other = namespace::own_pid_namespace().unwrap();
        assert!(Maps::of_namespace(other.as_fd()).is_err());
        let twice = vec![IdRange { inside: 0, outside: 1, size: 2 }; 2];
        assert!(Maps { users: twice, ..maps() }.namespace().is_err(), "the kernel's refusal is told");
    }
}
