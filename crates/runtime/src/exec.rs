//! `exec`: another process in a running container, confined exactly like the first one.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use linux::pidfd::{self, Exit};
use linux::process::{self, Kin};
use oci::runtime_spec;
use rustix::io::Errno;

use crate::container::Container;
use crate::create;
use crate::error::{Error, Result, Warning};
use crate::launch::{self, SIGKILL};
use crate::open::{self, Given, cannot};
use crate::plan::{self, Host, Manner, Open, StdioPlan};
use crate::stdio::Stdio;

/// What to execute in a running container.
#[derive(Debug)]
pub struct Exec<'a> {
    pub process: &'a runtime_spec::Process,
    pub stdio: Stdio,
    /// See [`crate::Create::default_rlimits`].
    pub default_rlimits: &'a [String],
    /// Without the container's seccomp filter, as `docker exec --privileged`.
    pub privileged: bool,
    /// See [`crate::Create::keep_keyring`].
    pub keep_keyring: bool,
}

/// A process of ours; whoever holds it reaps it.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub pidfd: OwnedFd,
    /// The master of [`Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<Warning>,
}

impl Process {
    /// Reaps it if it has ended; never blocks. Poll `pidfd` for readability to know when.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        pidfd::try_wait(self.pidfd.as_fd()).map_err(cannot("wait for the process"))
    }

    /// Sends a signal; fails with [`Error::NotRunning`] once it has been reaped.
    pub fn kill(&self, signal: i32) -> Result<()> {
        match pidfd::send_signal(self.pidfd.as_fd(), signal) {
            Err(Errno::SRCH) => Err(Error::NotRunning { id: self.pid.to_string() }),
            other => other.map_err(cannot(format!("send signal {signal}"))),
        }
    }
}

/// How often is looked for what a process started before it was killed: it may go on starting others meanwhile.
const KILL_ROUNDS: usize = 8;

impl Container {
    /// Kills a process of [`Container::exec`] with all that it started: its session, and its descendants in the container.
    ///
    /// Who left its session and its parents before that is on its own.
    pub fn kill_family(&self, exec: &Process) -> Result<()> {
        let mut killed = BTreeSet::new();
        for _ in 0..KILL_ROUNDS {
            let members = self.processes()?.into_iter().filter_map(|pid| {
                let pidfd = pidfd::open(pid).ok()?;
                // After the opening: if the number has gone to another process by now, the descriptor has not.
                Some((pid, pidfd, process::kin(pid)?))
            });
            let members: Vec<_> = members.collect();
            let family = family(exec.pid, members.iter().map(|(pid, _, kin)| (*pid, *kin)));
            if family.iter().all(|pid| killed.contains(pid)) {
                return Ok(());
            }
            for (_, pidfd, _) in members.iter().filter(|(pid, ..)| family.contains(pid)) {
                match pidfd::send_signal(pidfd.as_fd(), SIGKILL) {
                    Err(Errno::SRCH) => {}
                    other => other.map_err(cannot("kill a process"))?,
                }
            }
            killed.extend(family);
        }
        Ok(())
    }

    /// Starts another process; returns when its program runs, or with the same errors as [`crate::create`].
    pub fn exec(&self, request: Exec<'_>) -> Result<Process> {
        self.must_run()?;
        // A process that is born frozen would never report.
        if self.is_paused()? {
            return Err(Error::Paused { id: self.id().to_owned() });
        }
        let filter = self.filter().filter(|_| !request.privileged);
        let manner = Manner {
            stdio: request.stdio.plan(),
            is_filtered: filter.is_some(),
            default_rlimits: request.default_rlimits,
            ensure_cwd: false,
            keep_keyring: request.keep_keyring,
        };
        let host = Host { user_maps: self.user_maps()?, ..create::host(None)? };
        let plan = plan::exec(request.process, manner, &host, self.inherited())?;
        let root = match manner.stdio {
            StdioPlan::Terminal => Some(self.root()?),
            _ => None,
        };
        let given = Given { rootfs: None, init: Some(self.pidfd()), root, stdio: request.stdio };
        let descriptors = open::open_all(&plan, given)?;
        let (child, _, warnings) = launch::launch(&plan, &descriptors, &self.join()?, filter)?;
        let terminal = plan.opens.iter().zip(descriptors);
        let terminal = terminal
            .filter(|(open, _)| matches!(open, Open::MasterInside { .. }))
            .map(|(_, master)| master)
            .next();
        Ok(Process { pid: child.pid, pidfd: child.pidfd, terminal, warnings })
    }
}

/// Those of `members` that are of the session of `leader`, or descend from it.
fn family(leader: u32, members: impl Iterator<Item = (u32, Kin)> + Clone) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([leader]);
    loop {
        let before = family.len();
        for (pid, kin) in members.clone() {
            if kin.session == leader || family.contains(&kin.parent) {
                family.insert(pid);
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_session_and_its_descendants() {
        let kin = |parent, session| Kin { parent, session };
        // The leader 10 has the child 20, which left its session and has the child 15; 30 is an orphan of the session.
        let members =
            [(10, kin(2, 10)), (15, kin(20, 20)), (20, kin(10, 20)), (30, kin(1, 10)), (40, kin(1, 1))];
        assert_eq!(family(10, members.into_iter()), BTreeSet::from([10, 15, 20, 30]));
    }
}
