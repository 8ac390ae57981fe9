//! Health checks and what they have shown, in both directions.

use api::docker::container::{Health, HealthProbe, Healthcheck};
use engine::containers::StateView;
use engine::containers::spec::HealthCheckSpec;

use crate::call::ApiVersion;
use crate::time;

/// The word for a container without health, in filters.
const NONE: &str = "none";
/// Every word that the filter `health` knows.
pub(crate) const WORDS: [&str; 4] = [NONE, "starting", "healthy", "unhealthy"];
/// Clients of older versions cannot mean the interval within the start period.
const START_INTERVAL_SINCE: ApiVersion = ApiVersion::new(1, 44);

pub(crate) fn read(check: Healthcheck, version: ApiVersion) -> HealthCheckSpec {
    HealthCheckSpec {
        test: check.test.unwrap_or_default(),
        interval_ns: check.interval,
        timeout_ns: check.timeout,
        start_period_ns: check.start_period,
        start_interval_ns: if version < START_INTERVAL_SINCE { 0 } else { check.start_interval },
        retries: check.retries,
    }
}

pub(crate) fn describe_check(check: &HealthCheckSpec) -> Healthcheck {
    Healthcheck {
        test: Some(check.test.clone()).filter(|test| !test.is_empty()),
        interval: check.interval_ns,
        timeout: check.timeout_ns,
        start_period: check.start_period_ns,
        start_interval: check.start_interval_ns,
        retries: check.retries,
    }
}

pub(crate) fn describe(state: &StateView) -> Option<Health> {
    let health = state.health.as_ref()?;
    let log = health.log.iter().map(|probe| HealthProbe {
        start: time::rfc3339(Some(probe.start_ns)),
        end: time::rfc3339(Some(probe.end_ns)),
        exit_code: probe.exit_code.into(),
        output: probe.output.clone(),
    });
    Some(Health {
        status: health.status.as_str().into(),
        failing_streak: health.failing_streak.into(),
        log: log.collect(),
    })
}

/// The word for a container's health.
pub(crate) fn word(state: &StateView) -> &'static str {
    state.health.as_ref().map_or(NONE, |health| health.status.as_str())
}
