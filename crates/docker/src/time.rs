//! Moments as Docker writes and reads them.

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

fn timestamp(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time_ns)).expect("64 bits of nanoseconds end in the year 2262")
}

#[cfg(test)]
mod tests {
    use super::{parse, rfc3339, rfc3339_fixed};

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
}
