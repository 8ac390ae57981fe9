//! Times and durations as people write and read them: Go's `1h2m3.5s`, Docker's `--since`, `3 minutes ago`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(crate) const NANOSECONDS: i128 = 1_000_000_000;

/// A text that is neither a time nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: \"{0}\"")]
pub(crate) struct TimeError(String);

/// Go's `time.ParseDuration`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i128> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total = total.checked_add(scale(number, nanoseconds_of(unit)?)?)?;
        rest = tail;
    }
    // Go counts nanoseconds in 64 bits.
    let is_something = !text.is_empty() && text != "-" && text != "+";
    let total = if is_negative { -total } else { total };
    (is_something && i64::try_from(total).is_ok()).then_some(total)
}

fn nanoseconds_of(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOSECONDS,
        "m" => 60 * NANOSECONDS,
        "h" => 3600 * NANOSECONDS,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, cutting what is below a nanosecond.
fn scale(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than the unit has nanoseconds cannot matter.
    let fraction = &fraction[..fraction.len().min(18)];
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let tenths: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let divisor = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(tenths.checked_mul(unit)? / divisor)
}

/// A `--since` or `--until`: a duration before `now`, a date, an RFC 3339 time (local without a zone), Unix seconds.
pub(crate) fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let error = || TimeError(text.into());
    if text != "0"
        && let Some(duration) = parse_duration(text)
    {
        return Timestamp::from_nanosecond(now.as_nanosecond() - duration).map_err(|_| error());
    }
    if let Some(moment) = parse_unix(text) {
        return Ok(moment);
    }
    let text_with_time = match text.split_once(['T', ' ']) {
        Some((_, time)) if time.len() == 2 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    if let Ok(moment) = text_with_time.parse::<Timestamp>() {
        return Ok(moment);
    }
    // A date alone may carry a zone too, which only makes sense with a time.
    if let Some(date) = text.strip_suffix('Z')
        && let Ok(moment) = format!("{date}T00:00:00Z").parse::<Timestamp>()
    {
        return Ok(moment);
    }
    let local: DateTime = text_with_time.parse().map_err(|_| error())?;
    Ok(local.to_zoned(TimeZone::system()).map_err(|_| error())?.timestamp())
}

/// `seconds` or `seconds.nanoseconds`.
fn parse_unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: i128 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::from_nanosecond(seconds.parse::<i128>().ok()? * NANOSECONDS + nanoseconds).ok()
}

/// What the Engine API takes as a time: seconds, a point and nine digits.
pub(crate) fn unix(moment: Timestamp) -> String {
    let nanoseconds = moment.as_nanosecond();
    format!("{}.{:09}", nanoseconds.div_euclid(NANOSECONDS), nanoseconds.rem_euclid(NANOSECONDS))
}

/// `About a minute`, `3 weeks`: what Docker prints before `ago`.
pub(crate) fn rough(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Hours are rounded, as in Docker: 90 minutes are two hours.
    let hours = (seconds + 1800).div_euclid(3600);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `3 minutes ago`, seen from now.
pub(crate) fn ago(created_seconds: i64) -> String {
    format!("{} ago", rough(Timestamp::now().as_second() - created_seconds))
}

/// Go's default text of a local time: `2024-01-02 15:04:05 +0000 UTC`.
pub(crate) fn local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => String::new(),
    }
}

/// Go's default text of a moment that a daemon sent in RFC 3339 and UTC; empty if it is none.
pub(crate) fn utc(rfc3339: &str) -> String {
    let moment = rfc3339.parse::<Timestamp>();
    moment.map(|moment| moment.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()).unwrap_or_default()
}

/// RFC 3339 with all nine digits in local time, as `docker events` prints it.
pub(crate) fn local_precise(nanoseconds: i64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(moment) => {
            let text = moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string();
            text.strip_suffix("+00:00").map_or_else(|| text.clone(), |utc| format!("{utc}Z"))
        }

        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{NANOSECONDS, parse_duration, parse_moment, rough, unix};
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("5s", Some(5 * NANOSECONDS)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            ("+.5ms", Some(500_000)),
            ("1µs2ns", Some(1002)),
            ("", None),
            ("-", None),
            ("5", None),
            (".s", None),
            ("1d", None),
            ("1.2.3s", None),
            ("s", None),
            ("9999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn moments_are_durations_dates_times_or_unix_seconds() {
        let now: Timestamp = "2024-01-02T15:04:05Z".parse().unwrap();
        let cases = [
            ("10m", "1704207245.000000000"),
            ("2024-01-02T03:04:05Z", "1704164645.000000000"),
            ("2024-01-02T03:04:05.000000007+01:00", "1704161045.000000007"),
            ("2024-01-02Z", "1704153600.000000000"),
            ("1704164645", "1704164645.000000000"),
            ("1704164645.5", "1704164645.500000000"),
            ("0", "0.000000000"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_moment(text, now).map(unix).as_deref(), Ok(expected), "{text}");
        }
        for text in ["2024-01-02", "2024-01-02T03", "2024-01-02T03:04", "2024-01-02T03:04:05"] {
            assert!(parse_moment(text, now).is_ok(), "{text} is a local time");
        }
        for text in ["", "yesterday", "1.2.3", "2024-13-01", "-5"] {
            assert_eq!(
                parse_moment(text, now).unwrap_err().to_string(),
                format!("failed to parse value as time or duration: \"{text}\"")
            );
        }
    }

    #[test]
    fn rough_durations_are_dockers() {
        const DAY: i64 = 24 * 3600;
        let cases = [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (2 * DAY, "2 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (800 * DAY, "2 years"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rough(seconds), expected, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parsers(text in "\\PC*") {
            let _ = parse_duration(&text);
            let _ = parse_moment(&text, Timestamp::UNIX_EPOCH);
        }

        #[test]
        fn whole_seconds_add_up(hours in 0i128..1000, minutes in 0i128..10_000, seconds in 0i128..10_000) {
            let text = format!("{hours}h{minutes}m{seconds}s");
            prop_assert_eq!(parse_duration(&text), Some((hours * 3600 + minutes * 60 + seconds) * NANOSECONDS));
        }
    }
}
