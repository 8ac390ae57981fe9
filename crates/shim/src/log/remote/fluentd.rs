//! fluentd's forward protocol (<https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>), message mode: a
//! msgpack array `[tag, time, record, option]` for each entry, with the record of Docker's driver.
//!
//! With acknowledgements the option names a chunk, and the collector answers `{"ack": chunk}` when it has the entry.

use api::shim::{LogField, LogRemote};

use super::{Entry, Partials, line, random_id};

#[derive(Debug)]
pub(super) struct Fluentd {
    tag: String,
    fields: Vec<LogField>,
    sub_second: bool,
    acknowledged: bool,
    partials: Partials,
    /// What of an answer has come.
    answer: Vec<u8>,
}

/// An answer names one chunk.
const ANSWER_MAX: usize = 4 << 10;

/// Digits of a chunk's name.
const CHUNK_LENGTH: usize = 64;

impl Fluentd {
    pub(super) fn new(options: &LogRemote) -> Fluentd {
        Fluentd {
            tag: options.tag.clone(),
            fields: options.fields.clone(),
            sub_second: options.sub_second,
            acknowledged: options.acknowledged,
            partials: Partials::default(),
            answer: Vec::new(),
        }
    }

    /// Whether each entry is to be acknowledged before the next one is sent.
    pub(super) fn is_acknowledging(&self) -> bool {
        self.acknowledged
    }

    /// Whether what the collector said, with what it said before, acknowledges this entry.
    pub(super) fn is_acknowledged(&mut self, entry: &[u8], said: &[u8]) -> bool {
        self.answer.extend_from_slice(said);
        // The option, and in it the chunk's name, comes last.
        let chunk = &entry[entry.len().saturating_sub(CHUNK_LENGTH)..];
        let is_there = self.answer.windows(chunk.len()).any(|window| window == chunk);
        if is_there || self.answer.len() > ANSWER_MAX {
            self.answer = Vec::new();
        }
        is_there
    }

    pub(super) fn encode(&mut self, entry: Entry<'_>) -> Vec<u8> {
        let partial = self.partials.count(entry).map(|(id, ordinal, is_last)| {
            let flag = |flag: bool| flag.to_string();
            [
                ("partial_message", flag(true)),
                ("partial_id", id.to_owned()),
                ("partial_ordinal", ordinal.to_string()),
                ("partial_last", flag(is_last)),
            ]
        });
        let mut message = vec![0x94];
        text(&mut message, self.tag.as_bytes());
        time(&mut message, entry.time_ns, self.sub_second);
        let partial = partial.iter().flatten();
        map(&mut message, self.fields.len() + 2 + partial.clone().count());
        for field in &self.fields {
            text(&mut message, field.name.as_bytes());
            text(&mut message, field.value.as_bytes());
        }
        for (name, value) in partial {
            text(&mut message, name.as_bytes());
            text(&mut message, value.as_bytes());
        }
        text(&mut message, b"source");
        text(&mut message, entry.source.name().as_bytes());
        text(&mut message, b"log");
        text(&mut message, line(entry.text));
        map(&mut message, usize::from(self.acknowledged));
        if self.acknowledged {
            text(&mut message, b"chunk");
            text(&mut message, random_id().as_bytes());
        }
        message
    }
}

/// Seconds, or the extension `EventTime` with nanoseconds.
fn time(message: &mut Vec<u8>, time_ns: i64, sub_second: bool) {
    let seconds = time_ns.div_euclid(1_000_000_000);
    if sub_second {
        message.extend_from_slice(&[0xd7, 0x00]);
        // The extension counts seconds in 32 bits, which are enough until 2106.
        message.extend_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
        let nanoseconds = u32::try_from(time_ns.rem_euclid(1_000_000_000)).expect("below a second");
        message.extend_from_slice(&nanoseconds.to_be_bytes());
    } else {
        message.push(0xd3);
        message.extend_from_slice(&seconds.to_be_bytes());
    }
}

/// msgpack's str, in its shortest form.
fn text(message: &mut Vec<u8>, bytes: &[u8]) {
    let length = bytes.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..32), _) => message.push(0xa0 | length),
        (Ok(length), _) => message.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            message.push(0xda);
            message.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            message.push(0xdb);
            let length = u32::try_from(length).expect("a field is far below 4 GiB");
            message.extend_from_slice(&length.to_be_bytes());
        }
    }
    message.extend_from_slice(bytes);
}

/// The head of msgpack's map.
fn map(message: &mut Vec<u8>, entries: usize) {
    match u8::try_from(entries) {
        Ok(entries @ 0..16) => message.push(0x80 | entries),
        _ => {
            message.push(0xde);
            let entries =
                u16::try_from(entries).expect("labels and variables are bounded by their container's");
            message.extend_from_slice(&entries.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Cut, Source};

    fn encode(fluentd: &mut Fluentd, text: &[u8], cut: Cut) -> Vec<u8> {
        fluentd.encode(Entry { source: Source::Stdout, text, cut, time_ns: 1_000_000_002 })
    }

    #[test]
    fn an_entry_is_a_message_of_the_forward_protocol() {
        let fields = vec![LogField { name: "container_name".into(), value: "/web".into() }];
        let options = LogRemote { tag: "t".into(), fields, ..LogRemote::default() };
        let mut fluentd = Fluentd::new(&options);
        let expected = b"\x94\xa1t\xd3\0\0\0\0\0\0\0\x01\x83\xaecontainer_name\xa4/web\xa6source\xa6stdout\xa3log\xa3out\x80";
        assert_eq!(
            encode(&mut fluentd, b"out\n", Cut::Whole).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        let piece = encode(&mut fluentd, b"x", Cut::GoesOn).escape_ascii().to_string();
        assert!(piece.contains(r"\xafpartial_ordinal\xa11\xacpartial_last\xa5false"), "{piece}");
        let mut exact = Fluentd::new(&LogRemote { sub_second: true, ..options });
        let message = encode(&mut exact, b"out\n", Cut::Whole);
        assert_eq!(message[3..13], *b"\xd7\x00\0\0\0\x01\0\0\0\x02");
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        for (length, head) in [
            (31, &b"\xbf"[..]),
            (32, b"\xd9\x20"),
            (255, b"\xd9\xff"),
            (256, b"\xda\x01\x00"),
            (65_536, b"\xdb\0\x01\0\0"),
        ] {
            let mut message = Vec::new();
            text(&mut message, &vec![b'x'; length]);
            assert_eq!((&message[..head.len()], message.len()), (head, head.len() + length));
        }
        let mut many = Vec::new();
        map(&mut many, 16);
        assert_eq!(many, b"\xde\x00\x10");
    }

    #[test]
    fn an_entry_is_acknowledged_by_its_own_chunk_in_whatever_pieces() {
        let mut fluentd = Fluentd::new(&LogRemote { acknowledged: true, ..LogRemote::default() });
        let entry = encode(&mut fluentd, b"out\n", Cut::Whole);
        let chunk = entry[entry.len() - CHUNK_LENGTH..].to_vec();
        let mut answer = b"\x81\xa3ack\xd9\x40".to_vec();
        assert!(!fluentd.is_acknowledged(&entry, &[&answer[..], &[b'0'; 64]].concat()));
        answer.extend_from_slice(&chunk);
        let (begin, end) = answer.split_at(20);
        assert!(!fluentd.is_acknowledged(&entry, begin));
        assert!(fluentd.is_acknowledged(&entry, end));
    }
}
