//! Moments as Docker's parameters and filters take them: Go's durations, dates, RFC 3339, Unix seconds.

use jiff::civil::DateTime;
use jiff::{Timestamp, Zoned};

/// In a second.
pub const NANOSECONDS: i128 = 1_000_000_000;

/// A text that is neither a time nor a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: \"{0}\"")]
pub struct TimeError(String);

/// Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i128> {
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

/// A moment: a duration before `now`, a date, an RFC 3339 time (in the zone of `now` if it has none), Unix seconds.
pub fn parse_moment(text: &str, now: &Zoned) -> Result<Timestamp, TimeError> {
    let error = || TimeError(text.into());
    if text != "0"
        && let Some(duration) = parse_duration(text)
    {
        return Timestamp::from_nanosecond(now.timestamp().as_nanosecond() - duration).map_err(|_| error());
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
    Ok(local.to_zoned(now.time_zone().clone()).map_err(|_| error())?.timestamp())
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

#[cfg(test)]
mod tests {
    use super::{NANOSECONDS, parse_duration, parse_moment};
    use jiff::Zoned;
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
        let now = "2024-01-02T15:04:05+02:00[+02:00]".parse::<Zoned>().unwrap();
        let cases = [
            ("10m", "1704200045"),
            ("2024-01-02T03:04:05Z", "1704164645"),
            ("2024-01-02T03:04:05.000000007+01:00", "1704161045.000000007"),
            ("2024-01-02Z", "1704153600"),
            ("1704164645", "1704164645"),
            ("1704164645.5", "1704164645.5"),
            ("0", "0"),
            ("2024-01-02", "1704146400"),
            ("2024-01-02T03", "1704157200"),
        ];
        for (text, expected) in cases {
            let found = parse_moment(text, &now).map(|moment| moment.as_duration().as_nanos());
            let (whole, fraction) = expected.split_once('.').unwrap_or((expected, ""));
            assert_eq!(found, Ok(format!("{whole}{fraction:0<9}").parse::<i128>().unwrap()), "{text}");
        }
        for text in ["2024-01-02", "2024-01-02T03", "2024-01-02T03:04", "2024-01-02T03:04:05"] {
            assert!(parse_moment(text, &now).is_ok(), "{text} is a local time");
        }
        for text in ["", "yesterday", "1.2.3", "2024-13-01", "-5"] {
            assert_eq!(
                parse_moment(text, &now).unwrap_err().to_string(),
                format!("failed to parse value as time or duration: \"{text}\"")
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parsers(text in "\\PC*") {
            let _ = parse_duration(&text);
            let _ = parse_moment(&text, &Zoned::default());
        }

        #[test]
        fn whole_seconds_add_up(hours in 0i128..1000, minutes in 0i128..10_000, seconds in 0i128..10_000) {
            let text = format!("{hours}h{minutes}m{seconds}s");
            prop_assert_eq!(parse_duration(&text), Some((hours * 3600 + minutes * 60 + seconds) * NANOSECONDS));
        }
    }
}
