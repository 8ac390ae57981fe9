//! Limits as cgroup v2 writes them, converted from the v1 terms of the specification where needed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use oci::runtime_spec::{Cpu, Memory};

use super::Version::V2;
use super::plan::{Necessity, Setting, Step, invalid};
use super::{Error, Result};

/// The kernel's default period.
const DEFAULT_PERIOD_US: u64 = 100_000;

pub(super) fn memory(memory: &Memory) -> Result<Vec<Step>> {
    const CONTROLLER: &str = "memory";
    let write = |file, value: String| Step::Write(Setting::new(V2, CONTROLLER, file, value));
    let limit = memory.limit.unwrap_or(0);
    let mut steps = Vec::new();
    if limit != 0 {
        steps.push(write("memory.max", or_max(limit)));
    }
    match memory.swap.unwrap_or(0) {
        0 if limit == -1 => {
            let swap = Setting::new(V2, CONTROLLER, "memory.swap.max", "max").if_present();
            steps.push(Step::Write(swap));
        }
        0 => {}
        -1 => steps.push(write("memory.swap.max", or_max(-1))),
        swap if limit > 0 => steps.push(write("memory.swap.max", (swap - limit).to_string())),
        swap => return Err(invalid("swap limit", swap, "it includes the memory limit, so give that too")),
    }
    match memory.reservation.unwrap_or(0) {
        0 => {}
        reservation => steps.push(write("memory.low", or_max(reservation))),
    }
    // These two do not exist in v2: writing them says so.
    if let Some(swappiness) = memory.swappiness {
        steps.push(write("memory.swappiness", swappiness.to_string()));
    }
    if memory.disable_oom_killer == Some(true) {
        steps.push(write("memory.oom_control", "1".to_owned()));
    }
    Ok(steps)
}

/// `current` is the present content of `cpu.max`, asked for only when it matters.
pub(super) fn cpu(cpu: &Cpu, current: &dyn Fn() -> Option<String>) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        steps.push(Step::Write(Setting::new(V2, "cpu", "cpu.weight", weight_of_shares(shares))));
    }
    let period = cpu.period.filter(|&period| period != 0);
    let quota = cpu.quota.filter(|&quota| quota != 0);
    if period.is_some() || quota.is_some() {
        let before = current().unwrap_or_default();
        let mut before = before.split_whitespace();
        let (quota_before, period_before) =
            (before.next(), before.next().and_then(|period| period.parse().ok()));
        let quota = quota.map_or_else(|| quota_before.unwrap_or("max").to_owned(), or_max);
        let period = period.or(period_before).unwrap_or(DEFAULT_PERIOD_US);
        steps.push(Step::Write(Setting::new(V2, "cpu", "cpu.max", format!("{quota} {period}"))));
    }
    steps
}

/// Values for files by name, as the caller knows them.
pub(super) fn unified(unified: &BTreeMap<String, String>) -> Result<Vec<Step>> {
    unified
        .iter()
        .map(|(file, value)| {
            let controller = match file.split_once('.') {
                // The kernel's own files move and kill processes; they are no limits.
                Some((controller, rest))
                    if !controller.is_empty() && !rest.is_empty() && controller != "cgroup" =>
                {
                    controller
                }
                _ => return Err(not_unified(file)),
            };
            if file.contains('/') || file.contains('\0') {
                return Err(not_unified(file));
            }
            Ok(Step::Write(Setting {
                version: V2,
                controller: Cow::Owned(controller.to_owned()),
                files: vec![(Cow::Owned(file.clone()), value.clone())],
                necessity: Necessity::Required,
            }))
        })
        .collect()
}

fn not_unified(file: &str) -> Error {
    invalid("unified setting", file, "the name of a controller's file, like `memory.high`")
}

fn or_max(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

/// Shares 2 to 262144 with 1024 in the middle become weights 1 to 10000 with 100 in the middle: the curve through
/// these three points that runc and crun agreed on.
fn weight_of_shares(shares: u64) -> u64 {
    // Shares have at most 18 bits, so nothing is lost.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_on_a_curve_through_the_defaults() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (2048, 174), (0, 1)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert!((2..5000).all(|shares| weight_of_shares(shares) <= weight_of_shares(shares + 1)));
    }
}
