//! Limits as cgroup v1 writes them.

use oci::runtime_spec::{Cpu, Memory};

use super::Version::V1;
use super::plan::{Setting, Step};

pub(super) fn memory(memory: &Memory) -> Vec<Step> {
    const CONTROLLER: &str = "memory";
    let limit =
        nonzero(memory.limit).map(|limit| Setting::new(V1, CONTROLLER, "memory.limit_in_bytes", limit));
    let swap =
        nonzero(memory.swap).map(|swap| Setting::new(V1, CONTROLLER, "memory.memsw.limit_in_bytes", swap));
    let mut steps = Vec::new();
    match (limit, swap) {
        (Some(limit), Some(swap)) => steps.push(Step::WriteBoth(limit, swap)),
        (Some(limit), None) if memory.limit == Some(-1) => {
            // No limit of memory cannot be had below a limit of memory and swap together.
            let swap = Setting::new(V1, CONTROLLER, "memory.memsw.limit_in_bytes", -1).if_present();
            steps.push(Step::WriteBoth(limit, swap));
        }
        (limit, swap) => steps.extend(limit.into_iter().chain(swap).map(Step::Write)),
    }
    if let Some(reservation) = nonzero(memory.reservation) {
        steps.push(Step::Write(Setting::new(V1, CONTROLLER, "memory.soft_limit_in_bytes", reservation)));
    }
    if let Some(swappiness) = memory.swappiness {
        steps.push(Step::Write(Setting::new(V1, CONTROLLER, "memory.swappiness", swappiness)));
    }
    if memory.disable_oom_killer == Some(true) {
        steps.push(Step::Write(Setting::new(V1, CONTROLLER, "memory.oom_control", 1)));
    }
    steps
}

pub(super) fn cpu(cpu: &Cpu) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        steps.push(Step::Write(Setting::new(V1, "cpu", "cpu.shares", shares)));
    }
    let period = cpu.period.filter(|&period| period != 0);
    let period = period.map(|period| Setting::new(V1, "cpu", "cpu.cfs_period_us", period));
    let quota = nonzero(cpu.quota).map(|quota| Setting::new(V1, "cpu", "cpu.cfs_quota_us", quota));
    match (period, quota) {
        (Some(period), Some(quota)) => steps.push(Step::WriteBoth(period, quota)),
        (period, quota) => steps.extend(period.into_iter().chain(quota).map(Step::Write)),
    }
    steps
}

/// Zero is how documents say "not set".
fn nonzero(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value != 0)
}
