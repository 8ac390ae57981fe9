//! Moments: nanoseconds since 1970 in the store.

pub(crate) use api::time::{of_timestamp, timestamp};
pub(crate) use store::now_ns;

/// For people, as RFC 3339 writes it.
pub(crate) fn text(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(ns.into()).map_or_else(|_| ns.to_string(), |moment| moment.to_string())
}
