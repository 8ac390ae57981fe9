//! Wall-clock time as everything in the engine has it: nanoseconds since 1970.

pub(crate) use store::now_ns;

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(time_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(time_ns.into()).map_or(String::new(), |time| time.to_string())
}
