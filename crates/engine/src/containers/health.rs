//! Whether a container is well. Pure; who asks it is in `probe`.
//!
//! ```text
//!            success                retries failures in a row
//! Starting ───────────▶ Healthy ◀──────────────────────────────▶ Unhealthy
//!     └──────── retries failures in a row, after the start period ───▲   (and at the end of a run, as in Docker)
//! ```
//!
//! A run begins with Starting; what is known of earlier probes stays in the log.

mod probe;

pub(crate) use probe::at_start;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::{ContainerSpec, HealthCheckSpec};
use crate::error::{Error, Result};

/// Probes that are remembered.
const LOG_MAX: usize = 5;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// Docker's bound for every duration.
const SHORTEST_NS: i64 = 1_000_000;

/// What the probes of a container have shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    pub status: HealthStatus,
    /// Failures in a row that counted.
    pub failing_streak: u32,
    /// The last probes, oldest first.
    pub log: Vec<Probe>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

/// One probe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    pub start_ns: i64,
    pub end_ns: i64,
    /// 0: it is well; -1: the probe could not be made, or took too long.
    pub exit_code: i32,
    /// The beginning of what the probe printed.
    pub output: String,
}

/// What is done to find out, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) args: Vec<String>,
    pub(crate) timeout: Duration,
    interval: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl HealthStatus {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    /// A new run begins.
    pub(crate) fn restarted(self) -> Health {
        Health { status: HealthStatus::Starting, failing_streak: 0, ..self }
    }

    /// The run has ended.
    pub(crate) fn stopped(self) -> Health {
        Health { status: HealthStatus::Unhealthy, ..self }
    }

    /// A probe that began `age` after the start of the run has shown something.
    pub(crate) fn probed(mut self, probe: Probe, rules: &Rules, age: Duration) -> Health {
        if probe.exit_code == 0 {
            (self.status, self.failing_streak) = (HealthStatus::Healthy, 0);
        } else if self.status != HealthStatus::Starting || age >= rules.start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= rules.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.drain(..(self.log.len() + 1).saturating_sub(LOG_MAX));
        self.log.push(probe);
        self
    }
}

impl Rules {
    /// None: the container is not asked.
    pub(crate) fn of(spec: &ContainerSpec) -> Option<Rules> {
        let check = spec.health_check.as_ref()?;
        let (kind, words) = check.test.split_first()?;
        let args = match kind.as_str() {
            "CMD" => words.to_vec(),
            "CMD-SHELL" if spec.shell.is_empty() => {
                ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(words.iter().cloned()).collect()
            }
            "CMD-SHELL" => [&spec.shell, words].concat(),
            // As in Docker, a kind that nobody knows is none.
            _ => return None,
        };
        let or = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
            Ok(nanoseconds @ 1..) => Duration::from_nanos(nanoseconds),
            _ => default,
        };
        Some(Rules {
            args,
            timeout: or(check.timeout_ns, DEFAULT_TIMEOUT),
            interval: or(check.interval_ns, DEFAULT_INTERVAL),
            start_period: or(check.start_period_ns, Duration::ZERO),
            start_interval: or(check.start_interval_ns, DEFAULT_START_INTERVAL),
            retries: u32::try_from(check.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(DEFAULT_RETRIES),
        })
    }

    /// How long to wait before the next probe of a run of that age.
    fn pause(&self, status: HealthStatus, age: Duration) -> Duration {
        if status == HealthStatus::Starting && age < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }
}

/// Refuses what Docker refuses.
pub(crate) fn check(check: &HealthCheckSpec) -> Result<()> {
    let durations = [
        ("Interval", check.interval_ns),
        ("Timeout", check.timeout_ns),
        ("StartPeriod", check.start_period_ns),
        ("StartInterval", check.start_interval_ns),
    ];
    if let Some((name, _)) =
        durations.into_iter().find(|(_, duration)| *duration != 0 && *duration < SHORTEST_NS)
    {
        return Err(Error::InvalidArgument(format!("{name} in Healthcheck cannot be less than 1ms")));
    }
    if check.retries < 0 {
        return Err(Error::InvalidArgument("Retries in Healthcheck cannot be negative".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn rules(change: impl FnOnce(&mut HealthCheckSpec, &mut ContainerSpec)) -> Option<Rules> {
        let mut check =
            HealthCheckSpec { test: vec!["CMD".into(), "true".into()], ..HealthCheckSpec::default() };
        let mut spec = ContainerSpec::default();
        change(&mut check, &mut spec);
        spec.health_check = Some(check);
        Rules::of(&spec)
    }

    fn probe(exit_code: i32) -> Probe {
        Probe { exit_code, ..Probe::default() }
    }

    #[test]
    fn a_test_is_a_command_a_line_for_the_image_s_shell_or_nothing() {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let args = |test: &[&str], shell: &[&str]| {
            rules(|check, spec| (check.test, spec.shell) = (words(test), words(shell)))
                .map(|rules| rules.args)
        };
        assert_eq!(args(&["CMD", "a", "b"], &["sh"]), Some(words(&["a", "b"])));
        assert_eq!(args(&["CMD-SHELL", "a b"], &[]), Some(words(&["/bin/sh", "-c", "a b"])));
        assert_eq!(
            args(&["CMD-SHELL", "a b"], &["/bin/bash", "-ec"]),
            Some(words(&["/bin/bash", "-ec", "a b"]))
        );
        for none in [&["NONE"][..], &[], &["OTHER", "x"]] {
            assert_eq!(args(none, &[]), None, "{none:?}");
        }
        assert_eq!(Rules::of(&ContainerSpec::default()), None);
    }

    #[test]
    fn retries_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let rules = rules(|check, _| check.retries = 2).unwrap();
        let mut health = Health::default();
        let mut seen = Vec::new();
        for code in [1, 0, 1, 1, -1, 0, 1] {
            health = health.probed(probe(code), &rules, Duration::ZERO);
            seen.push((health.status.as_str(), health.failing_streak));
        }
        let expected = [
            ("starting", 1),
            ("healthy", 0),
            ("healthy", 1),
            ("unhealthy", 2),
            ("unhealthy", 3),
            ("healthy", 0),
            ("healthy", 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!(health.log.iter().map(|probe| probe.exit_code).collect::<Vec<_>>(), [1, 1, -1, 0, 1]);
        let health = health.stopped();
        assert_eq!(health.status, HealthStatus::Unhealthy);
        let health = health.restarted();
        assert_eq!((health.status, health.failing_streak, health.log.len()), (HealthStatus::Starting, 0, 5));
    }

    #[test]
    fn failures_count_after_the_start_period_or_the_first_success() {
        let rules = rules(|check, _| (check.retries, check.start_period_ns) = (1, 10 * SECOND)).unwrap();
        let early = Duration::from_secs(9);
        let young = Health::default().probed(probe(1), &rules, early);
        assert_eq!((young.status, young.failing_streak), (HealthStatus::Starting, 0));
        let old = young.clone().probed(probe(1), &rules, Duration::from_secs(10));
        assert_eq!(old.status, HealthStatus::Unhealthy);
        let proven = young.probed(probe(0), &rules, early).probed(probe(1), &rules, early);
        assert_eq!(proven.status, HealthStatus::Unhealthy);
    }

    #[test]
    fn probes_come_faster_while_it_starts() {
        let rules = rules(|check, _| {
            (check.interval_ns, check.start_interval_ns, check.start_period_ns) =
                (7 * SECOND, SECOND, 10 * SECOND);
        });
        let rules = rules.unwrap();
        let pause = |status, age| rules.pause(status, Duration::from_secs(age)).as_secs();
        assert_eq!(pause(HealthStatus::Starting, 9), 1);
        assert_eq!(pause(HealthStatus::Starting, 10), 7);
        assert_eq!(pause(HealthStatus::Healthy, 9), 7);
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let refused = |spec: HealthCheckSpec| check(&spec).unwrap_err().to_string();
        let spec = HealthCheckSpec::default;
        assert!(
            refused(HealthCheckSpec { interval_ns: 5, ..spec() })
                .contains("Interval in Healthcheck cannot be less than 1ms")
        );
        assert!(refused(HealthCheckSpec { timeout_ns: -SECOND, ..spec() }).contains("Timeout"));
        assert!(
            refused(HealthCheckSpec { retries: -1, ..spec() })
                .contains("Retries in Healthcheck cannot be negative")
        );
        check(&spec()).unwrap();
    }
}
