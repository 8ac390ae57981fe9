//! How the kernel is to treat the processes: from names to numbers.

use linux::child::Step;
use linux::scheduling::Attributes;
use oci::runtime_spec::{IoPriority, Linux, Personality, Process, Scheduler};

use super::{Plan, invalid, unsupported};
use crate::error::Result;

impl Plan {
    /// What needs privilege, so that it comes before those go.
    pub(super) fn scheduling(&mut self, process: &Process) -> Result<()> {
        if let Some(scheduler) = &process.scheduler {
            self.steps.push(Step::Schedule(attributes(scheduler)?));
        }
        if let Some(IoPriority { class, priority }) = &process.io_priority {
            let number =
                number(&IO_CLASSES, class).ok_or_else(|| invalid(format!("unknown I/O class `{class}`")))?;
            let priority = u32::try_from(*priority).ok().filter(|&priority| priority <= IO_PRIORITY_MAX);
            let priority = priority.ok_or_else(|| invalid("an I/O priority is 0 to 7"))?;
            self.steps.push(Step::IoPriority { class: number, priority });
        }
        if let Some(domain) = self.inherited.personality {
            self.steps.push(Step::Personality(domain));
        }
        Ok(())
    }
}

fn attributes(scheduler: &Scheduler) -> Result<Attributes> {
    let Scheduler { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
    let number_of =
        number(&POLICIES, policy).ok_or_else(|| invalid(format!("unknown scheduling policy `{policy}`")))?;
    if !(-20..=19).contains(nice) {
        return Err(invalid(format!("nice value {nice} is not between -20 and 19")));
    }
    let has_priority = matches!(policy.as_str(), "SCHED_FIFO" | "SCHED_RR");
    if *priority != 0 && !has_priority {
        return Err(invalid(format!("scheduling policy `{policy}` has no priority")));
    }
    if (*runtime, *deadline, *period) != (0, 0, 0) && policy != "SCHED_DEADLINE" {
        return Err(invalid(format!("scheduling policy `{policy}` has no runtime, deadline or period")));
    }
    let mut bits = 0;
    for flag in flags {
        bits |= number(&FLAGS, flag)
            .ok_or_else(|| invalid(format!("unknown flag `{flag}` of a scheduling policy")))?;
    }
    Ok(Attributes {
        policy: number_of,
        flags: bits.into(),
        nice: *nice,
        priority: u32::try_from(*priority).map_err(|_| invalid("a scheduling priority is not negative"))?,
        runtime_ns: *runtime,
        deadline_ns: *deadline,
        period_ns: *period,
    })
}

/// The execution domain of all processes of a container.
pub(super) fn personality(linux: &Linux) -> Result<Option<u32>> {
    let Some(Personality { domain, flags }) = &linux.personality else { return Ok(None) };
    if let Some(flag) = flags.first() {
        return Err(unsupported(format!("flag `{flag}` of a personality")));
    }
    number(&DOMAINS, domain).map(Some).ok_or_else(|| invalid(format!("unknown personality `{domain}`")))
}

fn number(table: &[(&str, u32)], name: &str) -> Option<u32> {
    table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// sched(7).
const POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// `<linux/sched.h>`; utilization clamps have no values in a specification.
const FLAGS: [(&str, u32); 5] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
];

const IO_CLASSES: [(&str, u32); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

const IO_PRIORITY_MAX: u32 = 7;

/// `<linux/personality.h>`
const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];
