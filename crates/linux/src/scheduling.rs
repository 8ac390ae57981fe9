//! How the kernel treats the calling thread: sched_setattr(2), ioprio_set(2), personality(2). Nothing here allocates.
#![allow(unsafe_code)]

use crate::syscall::{self, Result};

/// `struct sched_attr`, without utilization clamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_…`
    pub policy: u32,
    /// `SCHED_FLAG_…`
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime_ns: u64,
    pub deadline_ns: u64,
    pub period_ns: u64,
}

/// The first version of the kernel's structure (48 bytes), which every kernel since Linux 3.14 takes.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SCHED_ATTR_BYTES: u32 = 48;
const _: () = assert!(size_of::<SchedAttr>() == SCHED_ATTR_BYTES as usize);

/// Sets policy and parameters of the processors' scheduler.
pub fn set(attributes: &Attributes) -> Result<()> {
    let Attributes { policy, flags, nice, priority, runtime_ns, deadline_ns, period_ns } = *attributes;
    let arguments = SchedAttr {
        size: SCHED_ATTR_BYTES,
        policy,
        flags,
        nice,
        priority,
        runtime: runtime_ns,
        deadline: deadline_ns,
        period: period_ns,
    };
    // SAFETY: the kernel reads as many bytes as the structure says that it has; 0 is the calling thread.
    let returned = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const arguments, 0) };
    syscall::check(returned).map(drop)
}

/// Sets class (1 real-time, 2 best effort, 3 idle) and priority (0 to 7, the lower the sooner) of its disk accesses.
pub fn set_io_priority(class: u32, priority: u32) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    const CLASS_SHIFT: u32 = 13;
    // SAFETY: plain numbers; 0 is the calling thread.
    let returned =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class << CLASS_SHIFT | priority) };
    syscall::check(returned).map(drop)
}

/// Sets the execution domain (`PER_…`).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: a plain number.
    let returned = unsafe { libc::personality(domain.into()) };
    syscall::check(returned.into()).map(drop)
}
