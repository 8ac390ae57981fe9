//! Moments: nanoseconds since 1970 in what we keep, `google.protobuf.Timestamp` on the wire.

use prost_types::Timestamp;

const NS_PER_S: i64 = 1_000_000_000;

/// A moment, in nanoseconds since 1970, as a message.
pub fn timestamp(ns: i64) -> Timestamp {
    let nanos = i32::try_from(ns.rem_euclid(NS_PER_S)).expect("less than a second");
    Timestamp { seconds: ns.div_euclid(NS_PER_S), nanos }
}

/// The moment of a message, in nanoseconds since 1970; one that is further away than 64 bits reach is the last or the first.
pub fn of_timestamp(timestamp: &Timestamp) -> i64 {
    // Wider than the answer: the seconds alone of the first moment are below it.
    let ns = i128::from(timestamp.seconds) * i128::from(NS_PER_S) + i128::from(timestamp.nanos);
    let furthest = if ns < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(ns).unwrap_or(furthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_also_from_before_1970() {
        for ns in [0, 1, -1, 1_500_000_000_120_000_000, i64::MIN, i64::MAX] {
            assert_eq!(of_timestamp(&timestamp(ns)), ns, "{ns}");
        }
        assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_999_999 });
        assert_eq!(of_timestamp(&Timestamp { seconds: i64::MAX, nanos: 0 }), i64::MAX);
    }
}
