//! Moments as Docker writes and reads them, and how long ago they are in words.

use jiff::Timestamp;

use crate::error::{Error, Result};

/// What Go writes for a moment that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";
const SECOND_NS: i64 = 1_000_000_000;

/// RFC 3339 in UTC, with as many digits as are needed.
pub(crate) fn rfc3339(time_ns: Option<i64>) -> String {
    time_ns.map_or_else(|| NEVER.to_owned(), |time_ns| timestamp(time_ns).to_string())
}

/// RFC 3339 in UTC with nine digits, as `logs --timestamps` shows it.
pub(crate) fn rfc3339_fixed(time_ns: i64) -> String {
    format!("{:.9}", timestamp(time_ns))
}

pub(crate) fn now_ns() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

pub(crate) fn seconds(time_ns: i64) -> i64 {
    time_ns.div_euclid(SECOND_NS)
}

/// A moment in a query: seconds since 1970, with up to nine digits after a point. `None` for nothing and for `0`.
pub(crate) fn parse(name: &str, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text.filter(|text| !text.is_empty() && *text != "0") else { return Ok(None) };
    let wrong =
        || Error::invalid(format!("invalid value for `{name}`: {text:?} is not a Unix time in seconds"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let nanoseconds: i64 = format!("{fraction:0<9}")[..9].parse().map_err(|_| wrong())?;
    whole.checked_mul(SECOND_NS).and_then(|time| time.checked_add(nanoseconds)).map(Some).ok_or_else(wrong)
}

/// How long a duration is, in the words of Docker's listings.
pub(crate) fn in_words(duration_ns: i64) -> String {
    let seconds = duration_ns / SECOND_NS;
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".into(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time_ns)).expect("64 bits of nanoseconds end in the year 2262")
}

#[cfg(test)]
mod tests {
    use super::{in_words, parse, rfc3339, rfc3339_fixed};

    #[test]
    fn moments_are_written_as_go_writes_them() {
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(Some(1_500_000_000_120_000_000)), "2017-07-14T02:40:00.12Z");
        assert_eq!(rfc3339(Some(1_500_000_000_000_000_000)), "2017-07-14T02:40:00Z");
        assert_eq!(rfc3339_fixed(1_500_000_000_120_000_000), "2017-07-14T02:40:00.120000000Z");
    }

    #[test]
    fn moments_are_read_in_seconds() {
        for (text, want) in [
            ("", Some(None)),
            ("0", Some(None)),
            ("12", Some(Some(12_000_000_000))),
            ("12.5", Some(Some(12_500_000_000))),
            ("12.0000000019", Some(Some(12_000_000_001))),
            ("12.", None),
            ("1h", None),
            ("1.-5", None),
            ("99999999999999", None),
        ] {
            assert_eq!(parse("since", Some(text)).ok(), want, "{text}");
        }
    }

    #[test]
    fn durations_are_words() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (61 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(in_words(seconds * 1_000_000_000), want, "{seconds}");
        }
    }
}
