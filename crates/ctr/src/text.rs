//! Ages and times as containerd's clients write them.

pub(crate) use api::words::{precise as size_decimal, spaced as size_binary};

use prost_types::Timestamp;

/// How long ago `time` was, in words.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    let seconds = jiff::Timestamp::now().as_second() - time.map_or(0, |time| time.seconds);
    api::words::rough(seconds)
}

/// A time of the daemon.
pub(crate) fn time(time: Option<&Timestamp>) -> jiff::Timestamp {
    let Timestamp { seconds, nanos } = time.copied().unwrap_or(Timestamp { seconds: ZERO_TIME_S, nanos: 0 });
    jiff::Timestamp::new(seconds, nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Go's zero time, which is what a message without a time becomes there: the first second of year 1.
const ZERO_TIME_S: i64 = -62_135_596_800;

/// RFC 3339 with as many digits of the second as are not zero.
pub(crate) fn rfc3339(stamp: Option<&Timestamp>) -> String {
    time(stamp).to_string()
}

/// RFC 3339 in whole seconds.
pub(crate) fn rfc3339_seconds(stamp: Option<&Timestamp>) -> String {
    seconds(time(stamp))
}

/// The same of a time that is not of a message.
pub(crate) fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, in whole seconds.
pub(crate) fn now() -> String {
    seconds(jiff::Timestamp::now())
}

/// Now, as a message has it.
pub(crate) fn stamp() -> Timestamp {
    let now = jiff::Timestamp::now();
    Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() }
}

/// As Go prints a time: `2026-11-28 03:26:06.180631528 +0000 UTC`.
pub(crate) fn go_time(stamp: Option<&Timestamp>) -> String {
    let text = rfc3339(stamp).replace('T', " ");
    format!("{} +0000 UTC", text.trim_end_matches('Z'))
}

/// A duration in Go's grammar (`1h30m`, `500ms`, `0`) that is not negative.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    let nanoseconds = api::docker::moment::parse_duration(text)?;
    u64::try_from(nanoseconds).ok().map(std::time::Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::{duration, size_binary, size_decimal};
    use api::words::rough;
    use std::time::Duration;

    #[test]
    fn sizes_and_ages_read_as_containerds() {
        assert_eq!(size_binary(1_033_168), "1009.0 KiB");
        assert_eq!(size_binary(0), "0.0 B");
        assert_eq!(size_decimal(422), "422B");
        assert_eq!(size_decimal(1_032_448), "1.032MB");
        assert_eq!(size_decimal(12_345_678), "12.35MB");
        assert_eq!(rough(0), "Less than a second");
        assert_eq!(rough(75), "About a minute");
        assert_eq!(rough(3 * 86400), "3 days");
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for wrong in ["", "5", "1x", "s", "-1s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
