//! A container, from the moment that its first process exists.
//!
//! ```text
//! create ──▶ created ──start──▶ running ◀──pause / resume──▶ paused
//!               └───────kill──────┴──▶ stopped ──destroy──▶ gone
//! ```
//!
//! Only the process that created a container is its parent and can reap it; after a re-exec of that process (same
//! pid) [`Container::attach`] takes up [`State`] and [`Descriptors`] again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::clone::Child;
use linux::namespace;
use linux::pidfd::{self, Exit};
use linux::process;
use linux::seccomp::SockFilter;
use linux::user_namespace::Maps;
use oci::runtime_spec::Resources;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Cgroup, Join, OomWatch, Stats};
use crate::error::{Error, Result};
use crate::launch::{self, SIGKILL};
use crate::open::{cannot, errno};
use crate::plan::{Inherited, Plan};
use crate::seccomp::Program;

/// A container whose first process exists, or existed and is not yet destroyed.
#[derive(Debug)]
pub struct Container {
    id: String,
    pid: u32,
    start_time_ticks: u64,
    pidfd: OwnedFd,
    rootfs: OwnedFd,
    cgroup: Cgroup,
    filter: Option<Program>,
    inherited: Inherited,
    start: Option<Start>,
    exit: Option<Exit>,
}

/// A killed process ends at once unless it hangs in the kernel, or processes of its pid namespace are not reaped.
const DESTROY_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A first process that waits, as [`crate::create`] made it.
pub(crate) struct Waiting {
    pub(crate) child: Child,
    pub(crate) plan: Plan,
}

/// How to start the first process, and what its answer means.
#[derive(Debug)]
struct Start {
    start: OwnedFd,
    report: OwnedFd,
    plan: Plan,
}

/// What is needed to take up a container again, beside its descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub id: String,
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: tells our process from a later one with its number.
    pub start_time_ticks: u64,
    pub cgroup: String,
    /// The compiled filter, which later processes get too.
    pub seccomp: Option<Filter>,
    /// What later processes have from the first one.
    #[serde(default)]
    pub inherited: Inherited,
}

/// A compiled system call filter as plain numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub flags: u32,
    /// `struct sock_filter`, packed: code, jt, jf, k from the highest bits down.
    pub instructions: Vec<u64>,
}

/// What a container holds open. Keep them across an execve(2) by clearing their close-on-exec flags.
#[derive(Debug)]
pub struct Descriptors {
    pub pidfd: OwnedFd,
    /// Keeps the overlay mounted, see [`crate::Rootfs`].
    pub rootfs: OwnedFd,
    /// Until the container is started: where to say so, and where the answer comes from.
    pub start: Option<(OwnedFd, OwnedFd)>,
}

impl Container {
    pub(crate) fn new(
        id: String,
        waiting: Waiting,
        rootfs: OwnedFd,
        (cgroup, filter): (Cgroup, Option<Program>),
    ) -> Container {
        let Waiting { child: Child { pid, pidfd, report, start }, plan } = waiting;
        Container {
            id,
            pid,
            // It cannot have ended: nobody has reaped it.
            start_time_ticks: process::start_time_ticks(pid).unwrap_or_default(),
            pidfd,
            rootfs,
            cgroup,
            filter,
            inherited: plan.inherited,
            start: Some(Start { start, report, plan }),
            exit: None,
        }
    }

    /// Its name, as it was created with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first process, in our pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The first process; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Lets the first process execute its program; returns when it does.
    ///
    /// When that fails the process ends by itself: reap it with [`Container::try_wait`] as any other.
    pub fn start(&mut self) -> Result<()> {
        self.must_run()?;
        let Some(Start { start, report, plan }) = self.start.take() else {
            return Err(Error::AlreadyStarted { id: self.id.clone() });
        };
        rustix::io::write(&start, &[0]).map_err(cannot("start the process"))?;
        launch::follow(report.as_fd(), &plan)
    }

    /// Reaps the first process if it has ended; never blocks. `Some` again and again afterwards.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        if self.exit.is_none() {
            self.exit = pidfd::try_wait(self.pidfd.as_fd()).map_err(cannot("wait for the process"))?;
        }
        Ok(self.exit)
    }

    /// The container's `/` as its first process sees it, volumes included.
    pub fn root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{}/root", self.pid), flags, Mode::empty());
        // Only if the process still exists was that number its own.
        self.must_run()?;
        root.map_err(cannot("open the container's root"))
    }

    /// Sends a signal to the first process. [`Error::NotRunning`] once it has ended.
    pub fn kill(&self, signal: i32) -> Result<()> {
        self.must_run()?;
        match pidfd::send_signal(self.pidfd.as_fd(), signal) {
            Err(Errno::SRCH) => Err(self.not_running()),
            other => other.map_err(cannot(format!("send signal {signal}"))),
        }
    }

    /// Sends a signal to every process of the container; with `SIGKILL` returns when none is left.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        if signal == SIGKILL {
            return self.cgroup.kill_all().map_err(|source| self.in_cgroup(source));
        }
        let processes: Vec<_> =
            self.processes()?.into_iter().filter_map(|pid| Some((pid, pidfd::open(pid).ok()?))).collect();
        // A number may have been reused between reading and opening it; what is still listed is still ours.
        let still_ours = self.processes()?;
        for (pid, process) in processes {
            if !still_ours.contains(&pid) {
                continue;
            }
            match pidfd::send_signal(process.as_fd(), signal) {
                Err(Errno::SRCH) => {}
                other => other.map_err(cannot(format!("send signal {signal}")))?,
            }
        }
        Ok(())
    }

    /// Freezes every process.
    pub fn pause(&self) -> Result<()> {
        self.must_run()?;
        self.cgroup.freeze().map_err(|source| self.in_cgroup(source))
    }

    /// Undoes [`Container::pause`].
    pub fn resume(&self) -> Result<()> {
        self.cgroup.thaw().map_err(|source| self.in_cgroup(source))
    }

    /// Whether its processes are frozen.
    pub fn is_paused(&self) -> Result<bool> {
        self.cgroup.is_frozen().map_err(|source| self.in_cgroup(source))
    }

    /// Every process, by its number in our pid namespace.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.cgroup.processes().map_err(|source| self.in_cgroup(source))
    }

    /// Its control group's path below every hierarchy.
    pub fn cgroup_path(&self) -> &str {
        self.cgroup.path()
    }

    /// Its directory in every hierarchy ([`Cgroup::directories`]).
    pub fn cgroup_directories(&self) -> Vec<(String, std::path::PathBuf)> {
        self.cgroup.directories()
    }

    /// What it uses now.
    pub fn stats(&self) -> Result<Stats> {
        self.cgroup.stats().map_err(|source| self.in_cgroup(source))
    }

    /// Processes that the kernel killed for want of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        self.cgroup.oom_kills().map_err(|source| self.in_cgroup(source))
    }

    /// Watches for such kills; `None` without a memory controller.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        self.cgroup.watch_oom().map_err(|source| self.in_cgroup(source))
    }

    /// Changes the limits.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.cgroup.update(resources).map_err(|source| self.in_cgroup(source))
    }

    /// Kills what is left and removes the cgroup; then lets go of the root file system, which may take long.
    ///
    /// Reap the processes of [`Container::exec`] first, or at least concurrently: the kernel does not let the first
    /// process of a pid namespace end before all others in it are reaped, and only their parent, the caller, can do that.
    pub fn destroy(mut self) -> Result<()> {
        // By its descriptor too: a privileged process may have moved it to another cgroup.
        let _ = pidfd::send_signal(self.pidfd.as_fd(), SIGKILL);
        let killed = self.cgroup.kill_all();
        if self.exit.is_none() {
            if !self.has_ended(DESTROY_TIMEOUT)? {
                return Err(Error::StillRunning { id: self.id });
            }
            // A zombie would keep its cgroup. If it is not our child somebody else reaps it.
            match pidfd::wait(self.pidfd.as_fd()) {
                Ok(_) | Err(Errno::CHILD) => {}
                Err(errno) => return Err(cannot("wait for the process")(errno)),
            }
        }
        self.start = None;
        killed.and_then(|()| self.cgroup.remove()).map_err(|source| self.in_cgroup(source))
    }

    /// What [`Container::attach`] needs.
    pub fn state(&self) -> State {
        State {
            id: self.id.clone(),
            pid: self.pid,
            start_time_ticks: self.start_time_ticks,
            cgroup: self.cgroup.path().to_owned(),
            seccomp: self.filter.as_ref().map(Filter::pack),
            inherited: self.inherited,
        }
    }

    /// Takes up a container after a re-exec.
    pub fn attach(state: State, descriptors: Descriptors) -> Result<Container> {
        let cgroup =
            Cgroup::open(&state.cgroup).map_err(|source| Error::Cgroup { id: state.id.clone(), source })?;
        let start = descriptors.start.map(|(start, report)| Start { start, report, plan: Plan::default() });
        Ok(Container {
            id: state.id,
            pid: state.pid,
            start_time_ticks: state.start_time_ticks,
            pidfd: descriptors.pidfd,
            rootfs: descriptors.rootfs,
            cgroup,
            filter: state.seccomp.as_ref().map(Filter::unpack),
            inherited: state.inherited,
            start,
            exit: None,
        })
    }

    /// Gives the descriptors away, to survive a re-exec.
    pub fn into_descriptors(self) -> Descriptors {
        let start = self.start.map(|start| (start.start, start.report));
        Descriptors { pidfd: self.pidfd, rootfs: self.rootfs, start }
    }

    pub(crate) fn filter(&self) -> Option<&Program> {
        self.filter.as_ref()
    }

    /// What its later processes have from the first one.
    pub(crate) fn inherited(&self) -> Inherited {
        self.inherited
    }

    /// The users of its user namespace, if it has one of its own.
    pub(crate) fn user_maps(&self) -> Result<Option<Maps>> {
        if self.inherited.entered_later & namespace::USER == 0 {
            return Ok(None);
        }
        let maps = Maps::of_process(self.pid);
        // Only if the process still exists was that number its own.
        self.must_run()?;
        maps.map(Some).map_err(|error| cannot("read the user mappings of the container")(errno(&error)))
    }

    pub(crate) fn join(&self) -> Result<Join> {
        self.cgroup.join_fds().map_err(|source| self.in_cgroup(source))
    }

    /// Fails once the first process has ended, reaped or not.
    pub(crate) fn must_run(&self) -> Result<()> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if self.exit.is_some() || self.has_ended(at_once)? { Err(self.not_running()) } else { Ok(()) }
    }

    fn has_ended(&self, timeout: Timespec) -> Result<bool> {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let ended =
            rustix::event::poll(&mut polled, Some(&timeout)).map_err(cannot("look at the process"))?;
        Ok(ended > 0)
    }

    fn not_running(&self) -> Error {
        Error::NotRunning { id: self.id.clone() }
    }

    fn in_cgroup(&self, source: cgroup::Error) -> Error {
        Error::Cgroup { id: self.id.clone(), source }
    }
}

impl Filter {
    fn pack(program: &Program) -> Filter {
        let pack = |one: &SockFilter| {
            u64::from(one.code) << 48 | u64::from(one.jt) << 40 | u64::from(one.jf) << 32 | u64::from(one.k)
        };
        Filter { flags: program.flags, instructions: program.instructions.iter().map(pack).collect() }
    }

    fn unpack(&self) -> Program {
        let unpack = |&packed: &u64| {
            let [a, b, jt, jf, c, d, e, f] = packed.to_be_bytes();
            SockFilter { code: u16::from_be_bytes([a, b]), jt, jf, k: u32::from_be_bytes([c, d, e, f]) }
        };
        Program { flags: self.flags, instructions: self.instructions.iter().map(unpack).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_survive_packing() {
        let instructions = vec![
            SockFilter { code: 0x20, jt: 0, jf: 0, k: 4 },
            SockFilter { code: 0x8015, jt: 255, jf: 1, k: 0xc000_003e },
        ];
        let program = Program { instructions, flags: 6 };
        assert_eq!(Filter::pack(&program).unpack(), program);
    }
}
