//! `HEALTHCHECK [--OPTION=VALUE …] NONE | CMD command`.

use api::docker::moment::parse_duration;
use oci::image_config::Healthcheck;

use super::{ChangeError, json_words};

/// Reads what follows the instruction.
pub(super) fn parse(text: &str) -> Result<Healthcheck, ChangeError> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        set(&mut check, option).ok_or_else(|| ChangeError::HealthOption(format!("--{option}")))?;
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), command) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", command) if !command.is_empty() => match json_words(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err(ChangeError::HealthCommand),
    };
    Ok(check)
}

fn set(check: &mut Healthcheck, option: &str) -> Option<()> {
    let (name, value) = option.split_once('=')?;
    let duration = || {
        let duration = i64::try_from(parse_duration(value)?).ok()?;
        Some(duration).filter(|duration| *duration >= 0)
    };
    match name {
        "interval" => check.interval = Some(duration()?),
        "timeout" => check.timeout = Some(duration()?),
        "start-period" => check.start_period = Some(duration()?),
        "start-interval" => check.start_interval = Some(duration()?),
        "retries" => check.retries = Some(value.parse().ok().filter(|retries: &i64| *retries >= 0)?),
        _ => return None,
    }
    Some(())
}
