//! Times as people write and read them: Docker's `--since`, `3 minutes ago`.

use api::docker::moment::{self, NANOSECONDS, TimeError};
pub(crate) use api::words::rough;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// As [`moment::parse_moment`], with times without a zone in that of the user.
pub(crate) fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    moment::parse_moment(text, &now.to_zoned(TimeZone::system()))
}

/// What the Engine API takes as a time: seconds, a point and nine digits.
pub(crate) fn unix(moment: Timestamp) -> String {
    let nanoseconds = moment.as_nanosecond();
    format!("{}.{:09}", nanoseconds.div_euclid(NANOSECONDS), nanoseconds.rem_euclid(NANOSECONDS))
}

/// `3 minutes ago`, seen from now.
pub(crate) fn ago(created_seconds: i64) -> String {
    format!("{} ago", rough(Timestamp::now().as_second() - created_seconds))
}

/// Go's default text of a local time: `2024-01-02 15:04:05 +0000 UTC`.
pub(crate) fn local(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => String::new(),
    }
}

/// Go's default text of a moment that a daemon sent in RFC 3339 and UTC; empty if it is none.
pub(crate) fn utc(rfc3339: &str) -> String {
    let moment = rfc3339.parse::<Timestamp>();
    moment.map(|moment| moment.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()).unwrap_or_default()
}

/// RFC 3339 with all nine digits in local time, as `docker events` prints it.
pub(crate) fn local_precise(nanoseconds: i64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(moment) => {
            let text = moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string();
            text.strip_suffix("+00:00").map_or_else(|| text.clone(), |utc| format!("{utc}Z"))
        }

        Err(_) => String::new(),
    }
}
