//! Moments: nanoseconds since 1970 in the store, seconds and nanoseconds on the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

const NS_PER_S: i64 = 1_000_000_000;

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn timestamp(ns: i64) -> Timestamp {
    let nanos = i32::try_from(ns.rem_euclid(NS_PER_S)).unwrap_or_default();
    Timestamp { seconds: ns.div_euclid(NS_PER_S), nanos }
}

pub(crate) fn of_timestamp(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(NS_PER_S).saturating_add(timestamp.nanos.into())
}

/// For people, as RFC 3339 writes it.
pub(crate) fn text(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(ns.into()).map_or_else(|_| ns.to_string(), |moment| moment.to_string())
}
