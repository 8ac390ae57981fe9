//! journald's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): a datagram for each entry, with the fields
//! of Docker's driver. A field is `NAME=value` and a line break, or, if its value has line breaks, `NAME`, a line break, the
//! length (u64, little-endian), the value and a line break.

use api::shim::LogRemote;

use super::{Entry, Partials, line, random_id};
use crate::log::{Source, time};

/// syslog's words for "information" and "error".
const PRIORITY_STDOUT: &str = "6";
const PRIORITY_STDERR: &str = "3";

#[derive(Debug)]
pub(super) struct Journald {
    /// Of every entry, as they are sent.
    fields: Vec<u8>,
    /// Of this run of the container, and the number of the entry in it.
    epoch: String,
    ordinal: u64,
    partials: Partials,
}

impl Journald {
    pub(super) fn new(options: &LogRemote) -> Journald {
        let mut fields = Vec::new();
        for named in &options.fields {
            field(&mut fields, &named.name, named.value.as_bytes());
        }
        Journald { fields, epoch: random_id(), ordinal: 0, partials: Partials::default() }
    }

    pub(super) fn encode(&mut self, entry: Entry<'_>) -> Vec<u8> {
        let mut message = self.fields.clone();
        let priority = match entry.source {
            Source::Stdout => PRIORITY_STDOUT,
            Source::Stderr => PRIORITY_STDERR,
        };
        self.ordinal += 1;
        field(&mut message, "PRIORITY", priority.as_bytes());
        field(&mut message, "SYSLOG_TIMESTAMP", time::format(entry.time_ns).as_bytes());
        field(&mut message, "CONTAINER_LOG_EPOCH", self.epoch.as_bytes());
        field(&mut message, "CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes());
        if let Some((id, ordinal, is_last)) = self.partials.count(entry) {
            field(&mut message, "CONTAINER_PARTIAL_MESSAGE", b"true");
            field(&mut message, "CONTAINER_PARTIAL_ID", id.as_bytes());
            field(&mut message, "CONTAINER_PARTIAL_ORDINAL", ordinal.to_string().as_bytes());
            field(&mut message, "CONTAINER_PARTIAL_LAST", if is_last { b"true" } else { b"false" });
        }
        field(&mut message, "MESSAGE", line(entry.text));
        message
    }
}

fn field(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

#[cfg(test)]
mod tests {
    use api::shim::LogField;

    use super::*;
    use crate::log::Cut;

    #[test]
    fn an_entry_has_dockers_fields() {
        let fields = vec![
            LogField { name: "CONTAINER_NAME".into(), value: "web".into() },
            LogField { name: "TEXT".into(), value: "a\nb".into() },
        ];
        let mut journald = Journald::new(&LogRemote { fields, ..LogRemote::default() });
        journald.epoch = "e".into();
        let mut encode = |source, text: &[u8], cut| {
            journald.encode(Entry { source, text, cut, time_ns: 1 }).escape_ascii().to_string()
        };
        let head = r"CONTAINER_NAME=web\nTEXT\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n";
        let time =
            r"SYSLOG_TIMESTAMP=1970-01-01T00:00:00.000000001Z\nCONTAINER_LOG_EPOCH=e\nCONTAINER_LOG_ORDINAL=";
        assert_eq!(
            encode(Source::Stdout, b"line\n", Cut::Whole),
            format!(r"{head}PRIORITY=6\n{time}1\nMESSAGE=line\n")
        );
        let partial = encode(Source::Stderr, b"begin", Cut::GoesOn);
        assert!(
            partial.starts_with(&format!(r"{head}PRIORITY=3\n{time}2\nCONTAINER_PARTIAL_MESSAGE=true\n"))
        );
        assert!(partial.ends_with(r"ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\nMESSAGE=begin\n"), "{partial}");
        assert!(!encode(Source::Stdout, b"x\n", Cut::Whole).contains("PARTIAL"), "the sources are apart");
        let last = encode(Source::Stderr, b"end\n", Cut::Whole);
        assert!(last.ends_with(r"ORDINAL=2\nCONTAINER_PARTIAL_LAST=true\nMESSAGE=end\n"), "{last}");
    }
}
