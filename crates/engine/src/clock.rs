//! Wall-clock time as everything in the engine has it: nanoseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(time_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(time_ns.into()).map_or(String::new(), |time| time.to_string())
}

/// Now. It ends in the year 2262.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
