//! `exec`: another process in a running container, confined exactly like the first one.

use std::os::fd::{AsFd, OwnedFd};

use linux::pidfd::{self, Exit};
use oci::runtime_spec;
use rustix::io::Errno;

use crate::container::Container;
use crate::create;
use crate::error::{Error, Result, Warning};
use crate::launch;
use crate::open::{self, Given, cannot};
use crate::plan::{self, Manner, Open, StdioPlan};
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

impl Container {
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
        };
        let plan = plan::exec(request.process, manner, &create::host(None)?)?;
        let root = match manner.stdio {
            StdioPlan::Terminal => Some(self.root()?),
            _ => None,
        };
        let given = Given { rootfs: None, init: Some(self.pidfd()), root, stdio: request.stdio };
        let descriptors = open::open_all(&plan, given)?;
        let (child, _, warnings) = launch::launch(&plan, &descriptors, &self.join()?, filter)?;
        let terminal = plan.opens.iter().zip(descriptors);
        let terminal =
            terminal.filter(|(open, _)| **open == Open::MasterInside).map(|(_, master)| master).next();
        Ok(Process { pid: child.pid, pidfd: child.pidfd, terminal, warnings })
    }
}
