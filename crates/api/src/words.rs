//! Sizes and durations as Docker's, nerdctl's and containerd's clients write them for people.

/// Three digits in powers of 1000: `13.1MB`.
pub fn decimal(bytes: i64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Four digits in powers of 1000, as Docker tells of disks: `13.12MB`.
pub fn precise(bytes: i64) -> String {
    scaled(bytes, 1000.0, 4, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Four digits in powers of 1024: `1.945GiB`.
pub fn binary(bytes: i64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// One decimal place in powers of 1024, as nerdctl tells of images: `705.0 MiB`.
pub fn spaced(bytes: i64) -> String {
    let (value, unit) = reduced(bytes, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"]);
    format!("{value:.1}{unit}")
}

fn scaled(bytes: i64, base: f64, digits: usize, units: &[&str]) -> String {
    let (value, unit) = reduced(bytes, base, units);
    format!("{}{unit}", significant(value, digits))
}

/// A number below `base`, and its unit.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn reduced<'a>(bytes: i64, base: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    (value, units[unit])
}

/// C's `%.*g` for the values that occur here: at least 0, below 1024.
fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust prints an exponent");
    let exponent: usize = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent >= digits {
        return format!("{}e+{exponent:02}", trim(mantissa));
    }
    trim(&format!("{:.*}", digits - 1 - exponent, value))
}

/// `About a minute`, `3 weeks`: what Docker prints before `ago`.
pub fn rough(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Hours are rounded, as in Docker: 90 minutes are two hours.
    let hours = (seconds + 1800).div_euclid(3600);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        let cases = [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1000B"),
            (1023, "1.02kB", "1023B"),
            (13_123_456, "13.1MB", "12.52MiB"),
            (132_400_000, "132MB", "126.3MiB"),
            (999_900_000, "1e+03MB", "953.6MiB"),
            (2_088_763_392, "2.09GB", "1.945GiB"),
        ];
        for (bytes, tens, twos) in cases {
            assert_eq!((decimal(bytes).as_str(), binary(bytes).as_str()), (tens, twos), "{bytes}");
        }
        assert_eq!((precise(13_123_456), precise(1_982_000)), ("13.12MB".into(), "1.982MB".into()));
        assert_eq!((spaced(739_246_080), spaced(5)), ("705.0 MiB".into(), "5.0 B".into()));
    }

    #[test]
    fn rough_durations_are_dockers() {
        const DAY: i64 = 24 * 3600;
        let cases = [
            (-5, "Less than a second"),
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
            (2 * DAY, "2 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (61 * DAY, "2 months"),
            (800 * DAY, "2 years"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rough(seconds), expected, "{seconds}");
        }
    }
}
