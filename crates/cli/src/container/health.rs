//! `--health-…` and `--no-healthcheck`: how the daemon sees whether a container is well.

use api::docker::container::Healthcheck;
use api::docker::moment;
use clap::Arg;

use crate::error::Error;
use crate::flags::{Given, switch, value};

pub(crate) fn flags() -> Vec<Arg> {
    vec![
        value("health-cmd", "string", "Command to run to check health"),
        value("health-interval", "duration", "Time between running the check (ms|s|m|h) (default 0s)"),
        value("health-retries", "int", "Consecutive failures needed to report unhealthy"),
        value(
            "health-start-interval",
            "duration",
            "Time between running the check during the start period (ms|s|m|h) (default 0s)",
        ),
        value(
            "health-start-period",
            "duration",
            "Start period for the container to initialize before counting failures (ms|s|m|h) (default 0s)",
        ),
        value("health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
        switch("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    ]
}

/// None: the image's, if it has one.
pub(crate) fn read(given: &Given) -> Result<Option<Healthcheck>, Error> {
    let test = given.text("health-cmd").filter(|line| !line.is_empty());
    let check = Healthcheck {
        test: test.map(|line| vec!["CMD-SHELL".to_owned(), line.to_owned()]),
        interval: duration(given, "health-interval")?,
        timeout: duration(given, "health-timeout")?,
        start_period: duration(given, "health-start-period")?,
        start_interval: duration(given, "health-start-interval")?,
        retries: given.integer("health-retries")?.unwrap_or(0),
    };
    if check.retries < 0 {
        return Err(negative("health-retries"));
    }
    let says_nothing = check == Healthcheck::default();
    match (given.switch("no-healthcheck"), says_nothing) {
        (true, false) => Err(Error::Value("--no-healthcheck conflicts with --health-* options".into())),
        (true, true) => Ok(Some(Healthcheck { test: Some(vec!["NONE".into()]), ..Healthcheck::default() })),
        (false, false) => Ok(Some(check)),
        (false, true) => Ok(None),
    }
}

/// In nanoseconds; zero: not given.
fn duration(given: &Given, flag: &str) -> Result<i64, Error> {
    let parse = |text: &str| {
        let nanoseconds = moment::parse_duration(text).and_then(|duration| i64::try_from(duration).ok());
        let has_no_unit =
            || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        nanoseconds.ok_or_else(|| match has_no_unit() {
            true => format!("time: missing unit in duration \"{text}\""),
            false => format!("time: invalid duration \"{text}\""),
        })
    };
    match given.parsed(flag, parse)?.unwrap_or(0) {
        ..0 => Err(negative(flag)),
        nanoseconds => Ok(nanoseconds),
    }
}

fn negative(flag: &str) -> Error {
    Error::Value(format!("--{flag} cannot be negative"))
}
