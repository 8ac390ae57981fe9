//! netlink(7): messages to and from the kernel's network subsystems.
//!
//! A [`Message`] is built from a fixed header, a payload and attributes; a [`Socket`] sends one or several in one datagram and collects
//! the kernel's answers by their sequence numbers. What is received is parsed by iterators that never trust a length.
//!
//! ```text
//! datagram := message*          message   := length:u32 kind:u16 flags:u16 sequence:u32 port:u32 payload, to 4 bytes
//! payload  := struct attribute* attribute := length:u16 kind:u16 value, to 4 bytes      (all in the machine's byte order)
//! ```
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::syscall::{self, Result as Sys};

/// `NLM_F_…`
pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;
pub const REPLACE: u16 = 0x100;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ACK_HAS_ATTRIBUTES: u16 = 0x200;
const ACK_IS_CAPPED: u16 = 0x100;

/// `NLMSG_ERROR`, `NLMSG_DONE`
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;
/// `NLMSGERR_ATTR_MSG`
const ATTRIBUTE_TEXT: u16 = 1;

/// `NETLINK_CAP_ACK`, `NETLINK_EXT_ACK`, `NETLINK_GET_STRICT_CHK`, `NETLINK_ADD_MEMBERSHIP`
const CAP_ACK: libc::c_int = 10;
const EXT_ACK: libc::c_int = 11;
const STRICT: libc::c_int = 12;
const ADD_MEMBERSHIP: libc::c_int = 1;

/// The kernel sends no larger datagram to a socket that does not ask for one.
const BUFFER: usize = 64 << 10;
/// A dump that changes while it is read is read again, so often.
const DUMP_ATTEMPTS: u32 = 8;

/// Which of the kernel's subsystems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Interfaces, addresses, routes: rtnetlink(7).
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// Why the kernel did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub errno: Errno,
    /// The kernel's own words, when it has some.
    pub text: String,
    /// Which of the messages that were sent together.
    pub index: usize,
}

/// Result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// A netlink socket of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    port: u32,
    sequence: AtomicU32,
    /// Held from a request to its last answer.
    turn: Mutex<Vec<u8>>,
}

/// What the kernel has said so far to messages that were sent together.
struct Answers<'a> {
    acknowledged: &'a [bool],
    /// Sequence number of the first message.
    first: u32,
    /// Of the earliest message that failed.
    failure: Option<Error>,
    missing: usize,
}

/// Kind and payload of what a dump answers.
pub type Dumped = Vec<(u16, Vec<u8>)>;

/// A message to the kernel.
#[derive(Debug, Clone)]
pub struct Message(Vec<u8>);

/// A message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// Whose request it answers, or whose change it tells of.
    pub port: u32,
    pub payload: &'a [u8],
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text.as_str() {
            "" => write!(f, "{}", self.errno),
            text => write!(f, "{text} ({})", self.errno),
        }
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error { errno, text: String::new(), index: 0 }
    }
}

impl Answers<'_> {
    fn take(&mut self, received: &Received<'_>) {
        let index = received.sequence.wrapping_sub(self.first) as usize;
        let Some(is_acknowledged) = self.acknowledged.get(index).filter(|_| received.kind == ERROR) else {
            return;
        };
        if let Some(error) = refusal(received, index)
            && self.failure.as_ref().is_none_or(|earlier| index < earlier.index)
        {
            self.failure = Some(error);
        }
        match (is_acknowledged, &self.failure) {
            (true, _) => self.missing = self.missing.saturating_sub(1),
            // A batch that fails as a whole is answered at its bracket, and by nothing else.
            (false, Some(_)) => self.missing = 0,
            (false, None) => {}
        }
    }
}

impl Message {
    /// A request of this kind; the socket adds what is needed to see it answered.
    pub fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Message(bytes)
    }

    /// Adds bytes of the fixed part that follows the header.
    pub fn put(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self.align();
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.add(kind, value);
        self
    }

    /// Adds an attribute of text that ends with a zero byte.
    pub fn text(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an attribute that names an open descriptor of this process.
    pub fn descriptor(self, kind: u16, descriptor: BorrowedFd<'_>) -> Message {
        self.attribute(kind, &descriptor.as_raw_fd().to_ne_bytes())
    }

    /// Adds an attribute that consists of what `inner` adds.
    pub fn nested(mut self, kind: u16, inner: impl FnOnce(Message) -> Message) -> Message {
        let begin = self.0.len();
        self.add(kind | NESTED, &[]);
        let mut message = inner(self);
        let length = u16::try_from(message.0.len() - begin).expect("attributes are short");
        message.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        message
    }

    fn add(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("attributes are short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.align();
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// How many bytes it has so far.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    fn finish(mut self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("messages are short");
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]) | flags;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Sys<Socket> {
        let socket = Socket::make(protocol, SocketFlags::CLOEXEC)?;
        // Kernels without one of these only tell less.
        for option in [CAP_ACK, EXT_ACK, STRICT] {
            let _older_kernel = socket.set(option, 1);
        }
        Ok(socket)
    }

    /// Opens a socket that hears of changes in `groups` and never blocks.
    pub fn listen(protocol: Protocol, groups: &[u32]) -> Sys<Socket> {
        let socket = Socket::make(protocol, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        for group in groups {
            socket.set(ADD_MEMBERSHIP, group.cast_signed())?;
        }
        Ok(socket)
    }

    fn make(protocol: Protocol, flags: SocketFlags) -> Sys<Socket> {
        let protocol = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let descriptor = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&descriptor, &SocketAddrNetlink::new(0, 0))?;
        let port = SocketAddrNetlink::try_from(rustix::net::getsockname(&descriptor)?)?.pid();
        Ok(Socket { descriptor, port, sequence: AtomicU32::new(1), turn: Mutex::new(vec![0; BUFFER]) })
    }

    fn set(&self, option: libc::c_int, value: libc::c_int) -> Sys<()> {
        let length = libc::socklen_t::try_from(size_of_val(&value)).expect("four");
        let descriptor = self.descriptor.as_raw_fd();
        // SAFETY: the option's value is an integer that lives during the call, and its size is given.
        let returned = unsafe {
            libc::setsockopt(descriptor, libc::SOL_NETLINK, option, (&raw const value).cast(), length)
        };
        syscall::check(returned.into()).map(drop)
    }

    /// Our address: the kernel names it in what our requests bring about.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Has one request done.
    pub fn request(&self, message: Message) -> Result<()> {
        self.pipeline(vec![message])
    }

    /// Has several requests done, in order and in one datagram; the first failure is returned when all were tried.
    pub fn pipeline(&self, messages: Vec<Message>) -> Result<()> {
        let expected = vec![true; messages.len()];
        self.exchange(messages, &expected)
    }

    /// Sends messages in one datagram of which only those with `true` are acknowledged: the brackets of a batch are not.
    pub fn exchange(&self, messages: Vec<Message>, acknowledged: &[bool]) -> Result<()> {
        let mut buffer = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u32::try_from(messages.len()).expect("few messages");
        let first = self.sequence.fetch_add(count, Ordering::Relaxed);
        let mut bytes = Vec::new();
        for (message, (sequence, acknowledged)) in messages.into_iter().zip((first..).zip(acknowledged)) {
            bytes.extend(message.finish(if *acknowledged { ACK } else { 0 }, sequence));
        }
        self.send(&bytes)?;
        let mut answers = Answers { acknowledged, first, failure: None, missing: 0 };
        answers.missing = acknowledged.iter().filter(|acknowledged| **acknowledged).count();
        while answers.missing > 0 {
            let length = self.receive(&mut buffer)?;
            messages_in(&buffer[..length]).for_each(|received| answers.take(&received));
        }
        answers.failure.map_or(Ok(()), Err)
    }

    /// Asks one question and returns the payload of its one answer.
    pub fn get(&self, message: Message) -> Result<Vec<u8>> {
        let mut buffer = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.send(&message.finish(0, sequence))?;
        loop {
            let length = self.receive(&mut buffer)?;
            let answer = messages_in(&buffer[..length]).find(|received| received.sequence == sequence);
            match answer {
                Some(received) if received.kind == ERROR => {
                    let no_answer = Error::from(Errno::BADMSG);
                    return Err(refusal(&received, 0).unwrap_or(no_answer));
                }
                Some(received) => return Ok(received.payload.to_vec()),
                None => {}
            }
        }
    }

    /// Asks for everything of a kind; kind and payload of each.
    pub fn dump(&self, message: &Message) -> Result<Dumped> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(answers) = self.dump_once(message.clone())? {
                return Ok(answers);
            }
        }
        Err(Errno::INTR.into())
    }

    /// None: things changed meanwhile.
    fn dump_once(&self, message: Message) -> Result<Option<Dumped>> {
        let mut buffer = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.send(&message.finish(DUMP, sequence))?;
        let mut answers = Vec::new();
        let mut is_whole = true;
        loop {
            let length = self.receive(&mut buffer)?;
            for received in messages_in(&buffer[..length]).filter(|received| received.sequence == sequence) {
                is_whole &= received.flags & DUMP_INTERRUPTED == 0;
                match received.kind {
                    ERROR | DONE => match refusal(&received, 0) {
                        Some(error) => return Err(error),
                        None => return Ok(is_whole.then_some(answers)),
                    },
                    kind => answers.push((kind, received.payload.to_vec())),
                }
            }
        }
    }

    /// Reads one datagram of an event socket into `buffer`; its length.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `ENOBUFS` when some were lost.
    pub fn receive_events(&self, buffer: &mut Vec<u8>) -> Sys<usize> {
        buffer.resize(BUFFER, 0);
        self.receive(buffer)
    }

    fn send(&self, bytes: &[u8]) -> Sys<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.descriptor, bytes, SendFlags::empty(), &kernel).map(drop)
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> Sys<usize> {
        loop {
            // Its true length first, so that nothing is ever cut.
            let peek = RecvFlags::PEEK | RecvFlags::TRUNC;
            let (_, length) = match rustix::net::recv(&self.descriptor, buffer.as_mut_slice(), peek) {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            if length > buffer.len() {
                buffer.resize(length, 0);
            }
            return match rustix::net::recv(&self.descriptor, buffer.as_mut_slice(), RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                received => Ok(received?.0),
            };
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The messages of a datagram, up to the first that cannot be one.
pub fn messages_in(datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = rest.first_chunk()?;
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = word(0) as usize;
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind: half(4), flags: half(6), sequence: word(8), port: word(12), payload })
    })
}

/// Kind and value of each attribute, up to the first that cannot be one.
pub fn attributes_in(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header: &[u8; 4] = rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes_in(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The text of an attribute, without the zero byte at its end.
pub fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A number of an attribute.
pub fn number_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The error in an acknowledgement or at the end of a dump; None for success.
fn refusal(received: &Received<'_>, index: usize) -> Option<Error> {
    let code = i32::from_ne_bytes(*received.payload.first_chunk()?);
    if code == 0 {
        return None;
    }
    let text = if received.kind == ERROR && received.flags & ACK_HAS_ATTRIBUTES != 0 {
        // The request's header comes first, and the whole request unless that is left out.
        let header = received.payload.get(4..4 + HEADER)?;
        let request = u32::from_ne_bytes(*header.first_chunk()?) as usize;
        let skipped = if received.flags & ACK_IS_CAPPED != 0 { HEADER } else { request.next_multiple_of(4) };
        let attributes = received.payload.get(4 + skipped..).unwrap_or_default();
        attribute(attributes, ATTRIBUTE_TEXT).map(text_of).unwrap_or_default()
    } else {
        String::new()
    };
    // The kernel's numbers; anything else is not its.
    let number = Some(code.wrapping_neg()).filter(|number| (1..4096).contains(number));
    Some(Error { errno: number.map_or(Errno::BADMSG, Errno::from_raw_os_error), text, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RTM_NEWLINK`, `RTM_GETLINK`, `IFLA_IFNAME`
    const NEW_LINK: u16 = 16;
    const GET_LINK: u16 = 18;
    const NAME: u16 = 3;

    #[test]
    fn what_is_built_is_parsed_again() {
        let message = Message::new(7, CREATE)
            .put(&[1, 2, 3, 4])
            .text(3, "eth0")
            .nested(9, |inner| inner.attribute(1, &[5]).nested(2, |inner| inner.attribute(8, b"ab")));
        let mut bytes = message.clone().finish(ACK, 42);
        bytes.extend(message.finish(0, 43));
        let received: Vec<Received<'_>> = messages_in(&bytes).collect();
        assert_eq!((received.len(), received[0].kind, received[0].sequence), (2, 7, 42));
        assert_eq!((received[0].flags, received[1].flags), (CREATE | REQUEST | ACK, CREATE | REQUEST));
        let attributes: Vec<_> = attributes_in(&received[1].payload[4..]).collect();
        assert_eq!((attributes[0].0, text_of(attributes[0].1)), (3, "eth0".into()));
        let inner = attribute(&received[1].payload[4..], 9).unwrap();
        assert_eq!(attribute(inner, 1), Some(&[5_u8][..]));
        assert_eq!(attribute(attribute(inner, 2).unwrap(), 8), Some(&b"ab"[..]));
    }

    #[test]
    fn no_bytes_make_the_parser_panic_or_spin() {
        // Every prefix of a good datagram, and every single byte of it changed.
        let good = Message::new(2, 0).put(&[0; 20]).text(1, "text").finish(ACK, 1);
        let visit = |bytes: &[u8]| {
            for received in messages_in(bytes) {
                drop(refusal(&received, 0));
                attributes_in(received.payload).for_each(|(_, value)| drop(text_of(value)));
            }
        };
        for end in 0..good.len() {
            visit(&good[..end]);
            for value in [0, 1, 3, 4, 15, 16, 127, 255] {
                let mut bytes = good.clone();
                bytes[end] = value;
                visit(&bytes);
            }
        }
    }

    #[test]
    fn the_kernel_answers_questions_dumps_and_refuses_in_words() {
        let socket = Socket::open(Protocol::Route).unwrap();
        let lo = Message::new(GET_LINK, 0).put(&[0; 16]).text(NAME, "lo");
        let answer = socket.get(lo).unwrap();
        assert_eq!(attribute(&answer[16..], NAME).map(text_of).as_deref(), Some("lo"));
        let links = socket.dump(&Message::new(GET_LINK, 0).put(&[0; 16])).unwrap();
        assert!(links.iter().any(|(kind, payload)| {
            *kind == NEW_LINK && attribute(&payload[16..], NAME).map(text_of).as_deref() == Some("lo")
        }));
        let nobody = Message::new(GET_LINK, 0).put(&[0; 16]).text(NAME, "corten-nobody");
        assert_eq!(socket.get(nobody).unwrap_err().errno, Errno::NODEV);
        // Deleting an interface that is not there, twice in one datagram: the first failure is told.
        let delete = || Message::new(17, 0).put(&[0; 16]).text(NAME, "corten-nobody");
        let error = socket.pipeline(vec![delete(), delete()]).unwrap_err();
        assert_eq!((error.errno, error.index), (Errno::NODEV, 0));
    }
}
