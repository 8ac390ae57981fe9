//! Times of entries: RFC 3339 in UTC with nine digits, so that all have one length.

use rustix::time::{ClockId, clock_gettime};

/// Bytes of a [`format`]ted time.
pub(super) const LENGTH: usize = 30;

/// Bytes of it before the fraction.
const SECONDS_LENGTH: usize = 19;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// `2026-01-02T03:04:05.000000006Z`
pub(crate) fn format(time_ns: i64) -> String {
    let (seconds, nanoseconds) = (time_ns.div_euclid(1_000_000_000), time_ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// `2026-01-02T03:04:05.000006+01:00`: RFC 3339 with that distance from UTC, and so many digits of a second (up to 9).
pub(super) fn format_local(time_ns: i64, utc_offset_s: i32, digits: usize) -> String {
    let local = format(time_ns.saturating_add(i64::from(utc_offset_s) * 1_000_000_000));
    let seconds = &local[..if digits == 0 { SECONDS_LENGTH } else { SECONDS_LENGTH + 1 + digits }];
    if utc_offset_s == 0 {
        return format!("{seconds}Z");
    }
    let sign = if utc_offset_s < 0 { '-' } else { '+' };
    let minutes = utc_offset_s.unsigned_abs() / 60;
    format!("{seconds}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `Jan  2 03:04:05`, at that distance from UTC: the time of the old syslog.
pub(super) fn format_stamp(time_ns: i64, utc_offset_s: i32) -> String {
    let seconds = time_ns.div_euclid(1_000_000_000) + i64::from(utc_offset_s);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (_, month, day) = civil(days);
    let month = MONTHS[usize::try_from(month - 1).expect("months are 1 to 12")];
    format!("{month} {day:>2} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// What [`format`] wrote; `None` for anything else.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)?.iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let days = days(digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let second = digits(11..13)? * 3600 + digits(14..16)? * 60 + digits(17..19)?;
    let time_ns = (days * 86_400 + second).checked_mul(1_000_000_000)?.checked_add(digits(20..29)?)?;
    (format(time_ns).as_bytes() == text).then_some(time_ns)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar, by eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The other way round.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_right_across_leap_years_and_back() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (time_ns, text) in cases {
            assert_eq!(format(time_ns), text);
            assert_eq!(text.len(), LENGTH);
            assert_eq!(parse(text.as_bytes()), Some(time_ns));
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in
            ["", "2026-01-02T03:04:05Z", "2026-13-02T03:04:05.000000000Z", "2026-01-02 03:04:05.000000000Z"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
