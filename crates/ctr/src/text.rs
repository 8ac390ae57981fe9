//! Sizes, ages and times as containerd's clients write them.

use prost_types::Timestamp;

/// A size in units of 1024, as `1009.0 KiB`. Bytes have no decimals that mean something, and are written as `422.0 B`.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn size_binary(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A size in units of 1000 with four digits, as `1.032MB`.
#[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn size_decimal(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// How long ago `time` was, in words.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    let seconds = jiff::Timestamp::now().as_second() - time.map_or(0, |time| time.seconds);
    duration_words(seconds)
}

fn duration_words(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
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
    time(stamp).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// As Go prints a time: `2026-11-28 03:26:06.180631528 +0000 UTC`.
pub(crate) fn go_time(stamp: Option<&Timestamp>) -> String {
    let text = rfc3339(stamp).replace('T', " ");
    format!("{} +0000 UTC", text.trim_end_matches('Z'))
}

/// A duration in Go's grammar (`1h30m`, `500ms`, `0`).
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    if rest == "0" {
        return Some(std::time::Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        seconds += value
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| std::time::Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{duration, duration_words, size_binary, size_decimal};
    use std::time::Duration;

    #[test]
    fn sizes_and_ages_read_as_containerds() {
        assert_eq!(size_binary(1_033_168), "1009.0 KiB");
        assert_eq!(size_binary(0), "0.0 B");
        assert_eq!(size_decimal(422), "422B");
        assert_eq!(size_decimal(1_032_448), "1.032MB");
        assert_eq!(size_decimal(12_345_678), "12.35MB");
        assert_eq!(duration_words(0), "Less than a second");
        assert_eq!(duration_words(75), "About a minute");
        assert_eq!(duration_words(3 * 86400), "3 days");
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
