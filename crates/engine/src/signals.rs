//! Names of signals.

use crate::error::{Error, Result};

const NAMES: [(&str, i32); 34] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// The real-time signals as the C library gives them to programs; it keeps the first two for itself.
const REALTIME_MIN: i32 = 34;
const REALTIME_MAX: i32 = 64;

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGTERM: i32 = 15;

/// The number of a signal by its name (`SIGTERM`, `term`, `RTMIN+3`) or number.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::InvalidArgument(format!("Invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=REALTIME_MAX).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        REALTIME_MIN.checked_add(offset_of(offset).ok_or_else(invalid)?)
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        REALTIME_MAX.checked_add(offset_of(offset).ok_or_else(invalid)?)
    } else {
        None
    };
    number.filter(|number| (REALTIME_MIN..=REALTIME_MAX).contains(number)).ok_or_else(invalid)
}

/// `` is 0, `+3` is 3, `-3` is -3.
fn offset_of(text: &str) -> Option<i32> {
    match text.as_bytes().first() {
        None => Some(0),
        Some(b'+' | b'-') => text.parse().ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn signals_have_names_and_numbers() {
        let good = [
            ("SIGTERM", 15),
            ("term", 15),
            ("Kill", 9),
            ("9", 9),
            ("64", 64),
            ("SIGRTMIN", 34),
            ("rtmin+3", 37),
            ("RTMAX-1", 63),
            ("USR1", 10),
        ];
        for (text, number) in good {
            assert_eq!(super::parse(text).ok(), Some(number), "{text}");
        }
        for text in [
            "",
            "SIG",
            "0",
            "65",
            "-9",
            "TERMINATE",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN3",
            "RTMIN+99999999999",
            "9x",
        ] {
            assert!(super::parse(text).is_err(), "{text}");
        }
    }
}
