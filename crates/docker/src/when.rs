//! Times, as the API writes and reads them.

use jiff::Timestamp;

use crate::answer::Failure;

/// What Go prints for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with nine digits, as Docker prints times of logs.
pub(crate) fn padded(time_ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(time_ns))
        .map_or_else(|_| NEVER.to_owned(), |time| format!("{time:.9}"))
}

/// RFC 3339 with as many digits as it needs, as Go prints times in documents.
pub(crate) fn short(time_ns: Option<i64>) -> String {
    time_ns
        .and_then(|time_ns| Timestamp::from_nanosecond(i128::from(time_ns)).ok())
        .map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// Seconds, `seconds.nanoseconds`, or RFC 3339; in nanoseconds.
pub(crate) fn parse(text: &str) -> Result<i64, Failure> {
    let wrong = || Failure::bad(format!("invalid time: \"{text}\""));
    if let Ok(time) = text.parse::<Timestamp>() {
        return i64::try_from(time.as_nanosecond()).map_err(|_| wrong());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    if !is_fraction {
        return Err(wrong());
    }
    seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanoseconds)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_their_forms() {
        assert_eq!(parse("5").unwrap(), 5_000_000_000);
        assert_eq!(parse("5.000000001").unwrap(), 5_000_000_001);
        assert_eq!(parse("5.5").unwrap(), 5_500_000_000);
        assert_eq!(parse("1970-01-01T00:00:01.5Z").unwrap(), 1_500_000_000);
        for wrong in ["", "x", "1.x", "1.0000000001", "99999999999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(padded(1_500_000_000), "1970-01-01T00:00:01.500000000Z");
        assert_eq!(short(Some(1_500_000_000)), "1970-01-01T00:00:01.5Z");
        assert_eq!(short(None), NEVER);
    }
}
