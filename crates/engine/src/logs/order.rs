//! What a shim is told about the log: the options, with everything in them found out.
//!
//! A collector's name is looked up here, at each start of its container: the shim asks nobody, and keeps to the address
//! while the container runs. The same is true for the distance of this machine's clock from UTC.

use std::net::ToSocketAddrs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use api::shim::log_remote::Format;
use api::shim::{LogField, LogOptions, LogRemote};

use super::marks::Facts;
use super::options::{Collector, CollectorKind, LogPlan, Place};
use crate::clock;
use crate::containers::spec::LogSpec;
use crate::error::{EXIT_NOT_STARTED, Error, Result};

/// Where journald listens.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Where the syslog of a machine may listen.
const SYSLOG_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Below this, a try to connect would follow the other without a pause.
const RETRY_WAIT_MIN_MS: u32 = 10;

/// The order for a container; `path` is its log's file.
pub(crate) fn order(spec: &LogSpec, facts: impl FnOnce() -> Facts, path: &Path) -> Result<LogOptions> {
    let plan = LogPlan::parse(spec)?;
    let mut options =
        LogOptions { disabled: plan.file.is_none() && plan.collector.is_none(), ..LogOptions::default() };
    if let Some(file) = plan.file {
        options.path = path.display().to_string();
        options.max_size_bytes = file.max_size_bytes;
        options.max_files = file.max_files;
        options.compress = file.compress;
    }
    if plan.collector.is_some() || plan.marks != super::options::Marks::default() {
        let facts = facts();
        options.attributes = plan.marks.attributes(&facts)?;
        options.remote =
            plan.collector.as_ref().map(|collector| remote(&plan, collector, &facts)).transpose()?;
    }
    Ok(options)
}

fn remote(plan: &LogPlan, collector: &Collector, facts: &Facts) -> Result<LogRemote> {
    let tag = plan.marks.tag(facts)?;
    let marks = plan.marks.fields(facts)?.into_iter();
    let common = LogRemote {
        tag: tag.clone(),
        buffer_bytes: collector.buffer_bytes,
        drops: collector.drops,
        retry_wait_ms: RETRY_WAIT_MIN_MS,
        ..LogRemote::default()
    };
    Ok(match &collector.kind {
        CollectorKind::Journald => {
            let own = [
                ("CONTAINER_ID", facts.short_id()),
                ("CONTAINER_ID_FULL", &facts.id),
                ("CONTAINER_NAME", &facts.name),
                ("CONTAINER_TAG", &tag),
                ("IMAGE_NAME", &facts.image),
                ("SYSLOG_IDENTIFIER", &tag),
            ];
            let marks = marks.map(|(name, value)| LogField { name: journal_name(&name), value });
            let fields = own.map(field).into_iter().chain(marks.filter(|field| !field.name.is_empty()));
            LogRemote {
                format: Format::Journald.into(),
                address: journal()?,
                fields: fields.collect(),
                ..common
            }
        }
        CollectorKind::Syslog(syslog) => LogRemote {
            format: syslog.format.into(),
            address: address(&syslog.place)?,
            facility: syslog.facility,
            hostname: facts.hostname.clone(),
            utc_offset_s: utc_offset_s(),
            ..common
        },
        CollectorKind::Fluentd(fluentd) => {
            let own = [("container_id", facts.id.as_str()), ("container_name", &format!("/{}", facts.name))];
            let marks = marks.map(|(name, value)| LogField { name, value });
            LogRemote {
                format: Format::Fluentd.into(),
                address: address(&fluentd.place)?,
                fields: own.map(field).into_iter().chain(marks).collect(),
                sub_second: fluentd.sub_second,
                acknowledged: fluentd.acknowledged,
                retry_wait_ms: fluentd.retry_wait_ms.max(RETRY_WAIT_MIN_MS),
                max_retries: fluentd.max_retries,
                connects_later: fluentd.is_async,
                drops: collector.drops || fluentd.is_async,
                ..common
            }
        }
    })
}

fn field((name, value): (&str, &str)) -> LogField {
    LogField { name: name.into(), value: value.into() }
}

/// journald takes capitals, digits and underscores, none of them at the beginning; all else becomes an underscore.
fn journal_name(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let name: String =
        upper.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    name.trim_start_matches('_').to_owned()
}

fn journal() -> Result<String> {
    if UnixDatagram::unbound().and_then(|socket| socket.connect(JOURNAL_SOCKET)).is_err() {
        return Err(failed("journald is not enabled on this host"));
    }
    Ok(format!("unixgram://{JOURNAL_SOCKET}"))
}

fn address(place: &Place) -> Result<String> {
    let look_up = |host: &str, port: u16| {
        let why = |reason: String| failed(&format!("dial tcp: lookup {host}: {reason}"));
        let found = (host, port).to_socket_addrs().map_err(|error| why(error.to_string()))?;
        found.into_iter().next().ok_or_else(|| why("no such host".into()))
    };
    Ok(match place {
        Place::Tcp { host, port } => format!("tcp://{}", look_up(host, *port)?),
        Place::Udp { host, port } => format!("udp://{}", look_up(host, *port)?),
        Place::Unix(path) => format!("unix://{}", path.display()),
        Place::UnixDatagram(path) => format!("unixgram://{}", path.display()),
        Place::Local => local_syslog().ok_or_else(|| failed("Unix syslog delivery error"))?,
    })
}

/// The first socket that takes a connection, of whichever kind it is.
fn local_syslog() -> Option<String> {
    SYSLOG_SOCKETS.iter().find_map(|path| {
        if UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok() {
            return Some(format!("unixgram://{path}"));
        }
        UnixStream::connect(path).is_ok().then(|| format!("unix://{path}"))
    })
}

fn utc_offset_s() -> i32 {
    let now = jiff::Timestamp::from_nanosecond(clock::now_ns().into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::tz::TimeZone::system().to_offset(now).seconds()
}

fn failed(why: &str) -> Error {
    Error::NotStarted {
        message: format!("failed to initialize logging driver: {why}"),
        exit_code: EXIT_NOT_STARTED,
        code: api::code::Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image: "busybox".into(),
            labels: [("com.example.role".to_owned(), "front".to_owned())].into(),
            hostname: "vm".into(),
            ..Facts::default()
        }
    }

    fn ordered(driver: &str, options: &[(&str, &str)]) -> Result<LogOptions, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let spec = LogSpec { driver: driver.into(), options };
        order(&spec, facts, Path::new("/c/log.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_all_that_a_container_has_unless_it_asks_for_more() {
        let plain = ordered("json-file", &[]).unwrap();
        let want = LogOptions { path: "/c/log.json".into(), max_files: 1, ..LogOptions::default() };
        assert_eq!(plain, want);
        let local = ordered("local", &[]).unwrap();
        assert_eq!((local.max_size_bytes, local.max_files, local.compress), (20_000_000, 5, true));
        assert!(ordered("none", &[("x", "y")]).unwrap().disabled);
    }

    #[test]
    fn fluentd_gets_dockers_fields_and_a_file_beside_it() {
        let options = ordered(
            "fluentd",
            &[
                ("fluentd-address", "127.0.0.1:9"),
                ("labels", "com.example.role"),
                ("fluentd-retry-wait", "2s"),
                ("fluentd-async", "true"),
            ],
        )
        .unwrap();
        let remote = options.remote.unwrap();
        let names: Vec<_> = remote.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["container_id", "container_name", "com.example.role"]);
        assert_eq!(remote.address, "tcp://127.0.0.1:9");
        assert_eq!((remote.retry_wait_ms, remote.connects_later, remote.drops), (2000, true, true));
        assert_eq!((options.path.as_str(), options.max_files, options.compress), ("/c/log.json", 5, true));
        let alone =
            ordered("fluentd", &[("fluentd-address", "unix:///x"), ("cache-disabled", "true")]).unwrap();
        assert_eq!((alone.path.as_str(), alone.disabled), ("", false));
    }

    #[test]
    fn syslog_gets_its_facility_and_address() {
        let remote = ordered(
            "syslog",
            &[("syslog-address", "udp://[::1]"), ("syslog-facility", "local7"), ("tag", "{{.Name}}")],
        )
        .unwrap()
        .remote
        .unwrap();
        assert_eq!((remote.address.as_str(), remote.facility), ("udp://[::1]:514", 23));
        assert_eq!((remote.tag.as_str(), remote.hostname.as_str()), ("web", "vm"));
        let error = ordered("syslog", &[("syslog-address", "tcp://nowhere.invalid")]).unwrap_err();
        assert!(
            error.starts_with("failed to initialize logging driver: dial tcp: lookup nowhere.invalid:"),
            "{error}"
        );
    }

    #[test]
    fn journald_takes_capitals() {
        for (name, want) in [("com.example-x", "COM_EXAMPLE_X"), ("_trusted", "TRUSTED"), ("é", "")] {
            assert_eq!(journal_name(name), want);
        }
    }
}
