//! Options of the drivers that send entries to somebody.

use std::path::PathBuf;

use api::shim::log_remote::Format;

use super::values::{boolean, byte_count, count, duration_ms};
use super::{OF_MARKS, Options, invalid};
use crate::error::{Error, Result};

const SYSLOG_PORT: u16 = 514;
const FLUENTD_PORT: u16 = 24224;

/// Docker's wait before the second try, in milliseconds.
const RETRY_WAIT_MS: u32 = 1000;

/// `daemon`
const DEFAULT_FACILITY: u32 = 3;

/// Facilities by their numbers (RFC 5424, table 1; syslog(3)).
const FACILITIES: [(&str, u32); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

const OF_SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

const OF_FLUENTD: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-retry-wait",
    "fluentd-max-retries",
    "fluentd-sub-second-precision",
    "fluentd-request-ack",
];

/// A syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) struct Syslog {
    pub(in crate::logs) place: Place,
    pub(in crate::logs) facility: u32,
    pub(in crate::logs) format: Format,
}

/// A fluentd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) struct Fluentd {
    pub(in crate::logs) place: Place,
    pub(in crate::logs) is_async: bool,
    pub(in crate::logs) buffer_bytes: Option<u64>,
    pub(in crate::logs) retry_wait_ms: u32,
    /// 0: without end.
    pub(in crate::logs) max_retries: u32,
    pub(in crate::logs) sub_second: bool,
    pub(in crate::logs) acknowledged: bool,
}

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::logs) enum Place {
    /// The syslog of this machine, wherever its socket is.
    Local,
    Tcp {
        host: String,
        port: u16,
    },
    Udp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    UnixDatagram(PathBuf),
}

pub(super) fn syslog(options: &Options<'_>) -> Result<Syslog> {
    options.know("syslog log driver", &[&OF_SYSLOG, &OF_MARKS])?;
    let facility = options.text("syslog-facility").unwrap_or_default();
    let by_number = || facility.parse().ok().filter(|number| *number <= 23);
    let facility = match facility {
        "" => DEFAULT_FACILITY,
        name => FACILITIES
            .iter()
            .find_map(|(known, number)| (*known == name).then_some(*number))
            .or_else(by_number)
            .ok_or_else(|| invalid("invalid syslog facility".into()))?,
    };
    let format = match options.text("syslog-format").unwrap_or_default() {
        "" => Format::SyslogUnix,
        "rfc3164" => Format::SyslogRfc3164,
        "rfc5424" => Format::SyslogRfc5424,
        "rfc5424micro" => Format::SyslogRfc5424Micro,
        _ => return Err(invalid("Invalid syslog format".into())),
    };
    let address = options.text("syslog-address").unwrap_or_default();
    let place = syslog_place(address)?;
    if let Some(name) = options.given.keys().find(|name| name.starts_with("syslog-tls-")) {
        return Err(absent(&format!("the log option `{name}` (syslog over TLS)")));
    }
    Ok(Syslog { place, facility, format })
}

fn syslog_place(address: &str) -> Result<Place> {
    if address.is_empty() {
        return Ok(Place::Local);
    }
    let wrong = || invalid(format!("syslog-address should be in form proto://address, got {address}"));
    let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
    match scheme {
        "unix" => Ok(Place::Unix(rest.into())),
        "unixgram" => Ok(Place::UnixDatagram(rest.into())),
        "tcp+tls" => Err(absent("syslog over TLS (`tcp+tls://`)")),
        "tcp" | "udp" => {
            let (host, port) = host_and_port(address, rest, ("", SYSLOG_PORT)).map_err(invalid)?;
            if host.is_empty() {
                return Err(wrong());
            }
            Ok(if scheme == "tcp" { Place::Tcp { host, port } } else { Place::Udp { host, port } })
        }
        _ => Err(wrong()),
    }
}

pub(super) fn fluentd(options: &Options<'_>) -> Result<Fluentd> {
    options.know("fluentd log driver", &[&OF_FLUENTD, &OF_MARKS])?;
    let flag = |name: &str| options.text(name).map(boolean).transpose().map_err(invalid);
    let address = options.text("fluentd-address").unwrap_or_default();
    let place = fluentd_place(address)?;
    let (is_async, async_connect) = (flag("fluentd-async")?, flag("fluentd-async-connect")?);
    if is_async.is_some() && async_connect.is_some() {
        let why = "conflicting options: cannot specify both fluentd-async and fluentd-async-connect";
        return Err(invalid(why.into()));
    }
    if options.text("fluentd-async-reconnect-interval").is_some() {
        return Err(absent("the log option `fluentd-async-reconnect-interval`"));
    }
    let buffer = options.text("fluentd-buffer-limit").map(byte_count).transpose().map_err(invalid)?;
    let wait = options.text("fluentd-retry-wait").map(duration_ms).transpose().map_err(invalid)?;
    let retries = options.text("fluentd-max-retries").map(count).transpose().map_err(invalid)?;
    Ok(Fluentd {
        place,
        is_async: is_async.or(async_connect).unwrap_or(false),
        buffer_bytes: buffer.filter(|bytes| *bytes > 0),
        retry_wait_ms: wait.unwrap_or(RETRY_WAIT_MS),
        max_retries: retries.unwrap_or(0),
        sub_second: flag("fluentd-sub-second-precision")?.unwrap_or(false),
        acknowledged: flag("fluentd-request-ack")?.unwrap_or(false),
    })
}

fn fluentd_place(address: &str) -> Result<Place> {
    let failed = |why: String| invalid(format!("invalid fluentd-address ({address}): {why}"));
    let (scheme, rest) = address.split_once("://").unwrap_or(("tcp", address));
    match scheme {
        "unix" if rest.trim_start_matches('/').is_empty() => Err(failed("path is empty".into())),
        "unix" => Ok(Place::Unix(rest.into())),
        "tls" => Err(absent("fluentd over TLS (`tls://`)")),
        "tcp" if rest.contains('/') => Err(failed("should not contain a path element".into())),
        "tcp" => {
            let whole = if address.contains("://") { address.to_owned() } else { format!("tcp://{address}") };
            let (host, port) = host_and_port(&whole, rest, ("localhost", FLUENTD_PORT)).map_err(failed)?;
            Ok(Place::Tcp { host, port })
        }
        scheme => Err(failed(format!("unsupported scheme: '{scheme}'"))),
    }
}

/// `host`, `host:port`, `[::1]:port`; what is missing is the default's.
fn host_and_port(whole: &str, text: &str, default: (&str, u16)) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match port {
        "" => default.1,
        port => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| format!("parse {whole:?}: invalid port {port:?} after host"))?,
    };
    Ok((if host.is_empty() { default.0 } else { host }.to_owned(), port))
}

fn absent(what: &str) -> Error {
    Error::Unsupported(format!("{what} is not there yet"))
}
