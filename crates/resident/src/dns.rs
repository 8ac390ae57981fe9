//! Messages of the domain name system (RFC 1035): the little that is needed to answer for containers. Pure.
//!
//! A question is read from untrusted bytes; an answer repeats the question as it came, and names it by a pointer. Everything that
//! is passed on (other types, EDNS) is passed on as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
/// The longest name in text.
const NAME_MAX: usize = 255;
const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// Containers come and go; who asks again after this time learns it.
const TIME_TO_LIVE_S: u32 = 5;
/// Flags: this is an answer, with authority, recursion is available; the client's wish for recursion is repeated.
const IS_ANSWER: u16 = 0x8000;
const HAS_AUTHORITY: u16 = 0x0400;
const RECURSION_WANTED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
/// A pointer to the name of the question, right behind the header.
const QUESTION_NAME: u16 = 0xc00c;

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Fine = 0,
    Malformed = 1,
    ServerFailed = 2,
    NoSuchName = 3,
}

/// A question that we may know the answer of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) id: u16,
    /// Without the final dot.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    wants_recursion: bool,
    /// The question as it came.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    V4,
    V6,
    /// The name of an address.
    Pointer(IpAddr),
    Other,
}

impl Question {
    /// Reads a request. Err: its id, if even that can be read, of one that is no question to be understood.
    pub(crate) fn parse(message: &[u8]) -> Result<Question, Option<u16>> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let id = word(0);
        let read = || {
            let flags = word(2)?;
            let is_query = flags & IS_ANSWER == 0 && flags >> 11 & 0xf == 0 && word(4)? == 1;
            let (name, end) = read_name(message).filter(|_| is_query)?;
            let (kind, class) = (word(end)?, word(end + 2)?);
            let bytes = message.get(HEADER..end + 4)?.to_vec();
            let kind = match (kind, class) {
                (TYPE_A, CLASS_IN) => Kind::V4,
                (TYPE_AAAA, CLASS_IN) => Kind::V6,
                (TYPE_PTR, CLASS_IN) => address_of(&name).map_or(Kind::Other, Kind::Pointer),
                _ => Kind::Other,
            };
            Some(Question { id: id?, name, kind, wants_recursion: flags & RECURSION_WANTED != 0, bytes })
        };
        read().ok_or(id)
    }

    /// The answer with these addresses; those of the other family are left out.
    pub(crate) fn addresses(&self, addresses: &[IpAddr]) -> Vec<u8> {
        let records: Vec<Vec<u8>> = addresses
            .iter()
            .filter_map(|address| match (self.kind, address) {
                (Kind::V4, IpAddr::V4(address)) => Some(address.octets().to_vec()),
                (Kind::V6, IpAddr::V6(address)) => Some(address.octets().to_vec()),
                _ => None,
            })
            .collect();
        let kind = if self.kind == Kind::V4 { TYPE_A } else { TYPE_AAAA };
        self.answer(Code::Fine, kind, &records)
    }

    /// The answer with a name.
    pub(crate) fn pointer(&self, name: &str) -> Vec<u8> {
        self.answer(Code::Fine, TYPE_PTR, &[write_name(name)])
    }

    /// The answer without any record.
    pub(crate) fn empty(&self, code: Code) -> Vec<u8> {
        self.answer(code, 0, &[])
    }

    fn answer(&self, code: Code, kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
        // More than fit into a datagram of the old size would be cut; who has so many replicas gets some of them.
        const RECORDS_MAX: usize = 16;
        let records = &records[..records.len().min(RECORDS_MAX)];
        let wanted = if self.wants_recursion { RECURSION_WANTED } else { 0 };
        let flags = IS_ANSWER | HAS_AUTHORITY | RECURSION_AVAILABLE | wanted | code as u16;
        let count = u16::try_from(records.len()).expect("few");
        let mut message: Vec<u8> =
            [self.id, flags, 1, count, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(&self.bytes);
        for record in records {
            let length = u16::try_from(record.len()).expect("names are short");
            message.extend_from_slice(&QUESTION_NAME.to_be_bytes());
            message.extend([kind, CLASS_IN].iter().flat_map(|word| word.to_be_bytes()));
            message.extend_from_slice(&TIME_TO_LIVE_S.to_be_bytes());
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(record);
        }
        message
    }

    /// Whether a message of a server answers this question under that id.
    pub(crate) fn is_answered_by(&self, message: &[u8], id: u16) -> bool {
        let question = message.get(HEADER..HEADER + self.bytes.len()).unwrap_or_default();
        let is_answer = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
        // Servers may answer in another case than they were asked.
        is_answer && message.get(..2) == Some(&id.to_be_bytes()) && question.eq_ignore_ascii_case(&self.bytes)
    }
}

/// The answer to what could not be read.
pub(crate) fn malformed(id: u16) -> Vec<u8> {
    [id, IS_ANSWER | Code::Malformed as u16, 0, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Puts another id into a message.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// The name behind the header, and where it ends. Questions have no pointers.
fn read_name(message: &[u8]) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if length > 63 {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        if !name.is_empty() {
            name.push('.');
        }
        // Names of containers are plain; others are only passed on.
        name.extend(label.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }));
        if name.len() > NAME_MAX {
            return None;
        }
    }
}

fn write_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(u8::try_from(label.len()).expect("at most 63"));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// The address in `4.3.2.1.in-addr.arpa` or `….ip6.arpa` (RFC 3596).
fn address_of(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(text) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = text.rsplit('.').collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    let is_whole = digits.len() == 32 && digits.iter().all(|digit| digit.len() == 1);
    let number = u128::from_str_radix(&digits.concat(), 16).ok().filter(|_| is_whole)?;
    Some(IpAddr::V6(Ipv6Addr::from(number)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
        let mut message: Vec<u8> =
            [id, RECURSION_WANTED, 1, 0, 0, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend(write_name(name));
        message.extend([kind, CLASS_IN].iter().flat_map(|word| word.to_be_bytes()));
        message
    }

    #[test]
    fn questions_are_read_and_answered() {
        let question = Question::parse(&query(7, "Web.front", TYPE_A)).unwrap();
        assert_eq!((question.id, question.name.as_str(), question.kind), (7, "Web.front", Kind::V4));
        let addresses = ["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let answer = question.addresses(&addresses);
        assert_eq!(&answer[..8], [0, 7, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(answer.ends_with(&[0, 4, 10, 0, 0, 2]));
        assert!(question.is_answered_by(&answer, 7) && !question.is_answered_by(&answer, 8));
        let v6 = Question::parse(&query(7, "web", TYPE_AAAA)).unwrap();
        assert_eq!(v6.addresses(&addresses[..1])[6..8], [0, 0], "the name is there, without such an address");
        assert_eq!(v6.empty(Code::NoSuchName)[3] & 0xf, 3);
        let text = Question::parse(&query(7, "web", 16)).unwrap();
        assert_eq!(text.kind, Kind::Other);
    }

    #[test]
    fn addresses_have_names() {
        for (name, address) in [
            ("2.0.0.10.in-addr.arpa", Some("10.0.0.2")),
            ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa", Some("fd00::2")),
            ("2.0.0.10.5.in-addr.arpa", None),
            ("x.ip6.arpa", None),
        ] {
            assert_eq!(address_of(name), address.map(|text| text.parse().unwrap()), "{name}");
        }
        let question = Question::parse(&query(1, "2.0.0.10.in-addr.arpa", TYPE_PTR)).unwrap();
        assert!(question.pointer("web.front").ends_with(b"\x03web\x05front\0"));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        assert_eq!(Question::parse(&[]), Err(None));
        assert_eq!(Question::parse(&[1, 2, 0]), Err(Some(0x102)));
        let answer = Question::parse(&query(9, "web", TYPE_A)).unwrap().empty(Code::Fine);
        assert_eq!(Question::parse(&answer), Err(Some(9)), "an answer is no question");
        let mut pointer = query(9, "web", TYPE_A);
        pointer[HEADER] = 0xc0;
        assert_eq!(Question::parse(&pointer), Err(Some(9)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(question) = Question::parse(&bytes) {
                question.addresses(&["10.0.0.2".parse().unwrap()]);
                question.pointer(&question.name);
                question.is_answered_by(&bytes, 1);
            }
        }
    }
}
