//! syslog: RFC 3164 and RFC 5424 in the forms that Docker sends, each entry ended by a line break.

use api::shim::LogRemote;
use api::shim::log_remote::Format;

use super::{Entry, line};
use crate::log::{Source, time};

/// Severities (RFC 5424, table 2).
const ERROR: u32 = 3;
const INFORMATIONAL: u32 = 6;

#[derive(Debug)]
pub(super) struct Syslog {
    format: Format,
    facility: u32,
    hostname: String,
    tag: String,
    utc_offset_s: i32,
}

impl Syslog {
    pub(super) fn new(format: Format, options: &LogRemote) -> Syslog {
        Syslog {
            format,
            facility: options.facility,
            hostname: options.hostname.clone(),
            tag: options.tag.clone(),
            utc_offset_s: options.utc_offset_s,
        }
    }

    pub(super) fn encode(&self, entry: Entry<'_>) -> Vec<u8> {
        let severity = match entry.source {
            Source::Stdout => INFORMATIONAL,
            Source::Stderr => ERROR,
        };
        let priority = self.facility * 8 + severity;
        let (hostname, tag, pid) = (&self.hostname, &self.tag, std::process::id());
        let (time_ns, offset_s) = (entry.time_ns, self.utc_offset_s);
        let mut message = match self.format {
            Format::SyslogRfc5424 | Format::SyslogRfc5424Micro => {
                let digits = if self.format == Format::SyslogRfc5424 { 0 } else { 6 };
                let time = time::format_local(time_ns, offset_s, digits);
                format!("<{priority}>1 {time} {hostname} {tag} {pid} {tag} - ")
            }
            Format::SyslogRfc3164 => {
                format!("<{priority}>{} {hostname} {tag}[{pid}]: ", time::format_stamp(time_ns, offset_s))
            }
            _ => format!("<{priority}>{} {tag}[{pid}]: ", time::format_stamp(time_ns, offset_s)),
        }
        .into_bytes();
        message.extend_from_slice(line(entry.text));
        message.push(b'\n');
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Cut;

    #[test]
    fn messages_look_as_dockers_do() {
        let pid = std::process::id();
        let options = LogRemote {
            facility: 3,
            hostname: "vm".into(),
            tag: "busybox/web".into(),
            utc_offset_s: 5400,
            ..LogRemote::default()
        };
        // 2026-01-02T03:04:05.000678Z
        let time_ns = 1_767_323_045_000_678_000;
        for (format, source, expected) in [
            (Format::SyslogUnix, Source::Stdout, format!("<30>Jan  2 04:34:05 busybox/web[{pid}]: out\n")),
            (
                Format::SyslogRfc3164,
                Source::Stderr,
                format!("<27>Jan  2 04:34:05 vm busybox/web[{pid}]: out\n"),
            ),
            (
                Format::SyslogRfc5424,
                Source::Stdout,
                format!("<30>1 2026-01-02T04:34:05+01:30 vm busybox/web {pid} busybox/web - out\n"),
            ),
            (
                Format::SyslogRfc5424Micro,
                Source::Stdout,
                format!("<30>1 2026-01-02T04:34:05.000678+01:30 vm busybox/web {pid} busybox/web - out\n"),
            ),
        ] {
            let entry = Entry { source, text: b"out\n", cut: Cut::Whole, time_ns };
            let message = Syslog::new(format, &options).encode(entry);
            assert_eq!(String::from_utf8(message).unwrap(), expected);
        }
    }
}
