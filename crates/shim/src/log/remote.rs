//! A collector of logs: journald, a syslog server or fluentd, on this machine or in the network.
//!
//! ```text
//! Down ──its time has come, something waits──▶ Connecting ──▶ Up
//!  ▲                                               │          │
//!  └──────────────── refused, lost, silent ◀───────┴──────────┘
//! ```
//!
//! What waits for it is bounded. When that much waits, the process is slowed down for [`PATIENCE`], and from then on (with
//! `mode=non-blocking` at once) new entries are dropped until the collector takes something again. What was dropped is
//! counted and told in the shim's log. An entry that was being written when the connection broke is written again.

mod fluentd;
mod journald;
mod link;
mod syslog;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use api::shim::LogRemote;
use api::shim::log_remote::Format;
use rustix::event::PollFlags;

use super::Entry;
use crate::error::{Error, Result};
use fluentd::Fluentd;
use journald::Journald;
use link::{Address, Socket};
use syslog::Syslog;

/// How long a process is slowed down for a collector that takes nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container does not start before its collector has answered, or this is over.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// For a connection, and for an acknowledgement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait between two tries grows up to this.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Entries in one write.
const BATCH: usize = 64;

/// How entries look to the collector: the closed set of formats.
#[derive(Debug)]
enum Encoder {
    Journald(Journald),
    Syslog(Syslog),
    Fluentd(Fluentd),
}

/// The connection.
#[derive(Debug)]
enum Link {
    Down { until: Instant },
    Connecting { socket: Socket, until: Instant },
    Up { socket: Socket },
}

/// A collector, and what waits for it.
#[derive(Debug)]
pub(super) struct Remote {
    encoder: Encoder,
    address: Address,
    link: Link,
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
    /// What of the first entry is written.
    written: usize,
    /// The first entry is written and waits for its acknowledgement since then.
    sent_at: Option<Instant>,
    buffer_bytes: usize,
    retry_wait: Duration,
    max_retries: u32,
    failures: u32,
    patience: Patience,
    dropped: u64,
}

/// What happens when no more can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// `mode=non-blocking`
    None,
    /// The process waits; from that time on, if any.
    Waits { since: Option<Instant> },
    /// It has waited long enough.
    Over,
}

impl Remote {
    /// Connects, unless that may wait.
    pub(super) fn open(options: &LogRemote) -> Result<Remote> {
        let address = Address::parse(&options.address)
            .ok_or_else(|| Error::Unsupported { what: format!("a collector at `{}`", options.address) })?;
        let mut remote = Remote {
            encoder: Encoder::new(options),
            link: Link::Down { until: Instant::now() },
            address,
            queue: VecDeque::new(),
            queue_bytes: 0,
            written: 0,
            sent_at: None,
            buffer_bytes: usize::try_from(options.buffer_bytes).unwrap_or(usize::MAX),
            retry_wait: Duration::from_millis(options.retry_wait_ms.into()),
            max_retries: options.max_retries,
            failures: 0,
            patience: if options.drops { Patience::None } else { Patience::Waits { since: None } },
            dropped: 0,
        };
        if !options.connects_later {
            let failed = |source| Error::Collector { address: remote.address.to_string(), source };
            let socket = remote.address.connect().and_then(|socket| socket.wait(START_TIMEOUT));
            remote.link = Link::Up { socket: socket.map_err(failed)? };
        }
        Ok(remote)
    }

    /// Adds an entry, or drops it.
    pub(super) fn add(&mut self, entry: Entry<'_>) {
        let is_full = self.queue_bytes >= self.buffer_bytes;
        if is_full && self.patience == (Patience::Waits { since: None }) {
            self.patience = Patience::Waits { since: Some(Instant::now()) };
        }
        if is_full && matches!(self.patience, Patience::None | Patience::Over) {
            self.drop_entries(1, "it takes nothing");
            return;
        }
        let bytes = self.encoder.encode(entry);
        self.queue_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Whether the process may go on printing.
    pub(super) fn has_room(&self) -> bool {
        !matches!(self.patience, Patience::Waits { since: Some(_) })
    }

    /// Whether something waits.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.link {
            Link::Down { .. } => None,
            Link::Connecting { socket, .. } => Some((socket.as_fd(), PollFlags::OUT)),
            Link::Up { socket } => {
                let mut interest = PollFlags::empty();
                interest.set(PollFlags::IN, socket.is_stream());
                interest.set(PollFlags::OUT, self.is_busy() && self.sent_at.is_none());
                Some((socket.as_fd(), interest))
            }
        }
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Down { until } if self.is_busy() => Some(*until),
            Link::Connecting { until, .. } => Some(*until),
            _ => None,
        };
        let patience = match self.patience {
            Patience::Waits { since } => since.map(|since| since + PATIENCE),
            Patience::None | Patience::Over => None,
        };
        let answer = self.sent_at.map(|sent_at| sent_at + ANSWER_TIMEOUT);
        [link, patience, answer].into_iter().flatten().min()
    }

    /// Something happened on its socket.
    pub(super) fn hear(&mut self, ready: PollFlags) {
        match &mut self.link {
            Link::Connecting { socket, .. } => match socket.connected() {
                Ok(()) => self.connected(),
                Err(error) => self.lost(&error),
            },
            Link::Up { socket } if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) => {
                let heard = socket.hear();
                match heard {
                    Ok(said) => self.heard(&said),
                    Err(error) => self.lost(&error),
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, said: &[u8]) {
        if let Encoder::Fluentd(fluentd) = &mut self.encoder
            && self.sent_at.is_some()
            && let Some(first) = self.queue.front()
            && fluentd.is_acknowledged(first, said)
        {
            self.sent_at = None;
            self.taken();
            self.write();
        }
    }

    /// What time has made due.
    pub(super) fn drive(&mut self, now: Instant) {
        match &self.link {
            Link::Down { until } if *until <= now && self.is_busy() => match self.address.connect() {
                Ok(socket) => {
                    self.link = Link::Connecting { socket, until: now + ANSWER_TIMEOUT };
                    self.hear(PollFlags::empty());
                }
                Err(error) => self.lost(&error),
            },
            Link::Connecting { until, .. } if *until <= now => self.lost(&io::ErrorKind::TimedOut.into()),
            _ => {}
        }
        if self.sent_at.is_some_and(|sent_at| sent_at + ANSWER_TIMEOUT <= now) {
            self.lost(&io::Error::new(io::ErrorKind::TimedOut, "it does not acknowledge"));
        }
        if let Patience::Waits { since: Some(since) } = self.patience
            && since + PATIENCE <= now
        {
            self.patience = Patience::Over;
        }
    }

    fn connected(&mut self) {
        let link = std::mem::replace(&mut self.link, Link::Down { until: Instant::now() });
        match link {
            Link::Connecting { socket, .. } if socket.is_connected() => {
                self.link = Link::Up { socket };
                if self.failures > 0 {
                    eprintln!("the log's collector is there again ({})", self.address);
                }
                self.write();
            }
            // It is still on its way.
            link => self.link = link,
        }
    }

    /// Writes what it takes.
    pub(super) fn write(&mut self) {
        while let Link::Up { socket } = &mut self.link
            && self.sent_at.is_none()
            && !self.queue.is_empty()
        {
            let waits = matches!(&self.encoder, Encoder::Fluentd(fluentd) if fluentd.is_acknowledging());
            let batch = if waits || !socket.is_stream() { 1 } else { BATCH };
            match socket.write(self.queue.iter().take(batch), self.written) {
                Ok(0) => return,
                Ok(length) => {
                    self.written += length;
                    let is_whole = self.queue.front().is_some_and(|first| first.len() <= self.written);
                    if waits && is_whole {
                        self.sent_at = Some(Instant::now());
                    } else {
                        self.advance();
                    }
                }
                Err(error) if socket.is_too_long(&error) => {
                    self.drop_entries(1, "it takes no entry that long");
                    self.taken();
                }
                Err(error) => return self.lost(&error),
            }
        }
    }

    /// Forgets the entries that are written.
    fn advance(&mut self) {
        while let Some(first) = self.queue.front()
            && first.len() <= self.written
        {
            let rest = self.written - first.len();
            self.taken();
            self.written = rest;
        }
    }

    /// The first entry is done with.
    fn taken(&mut self) {
        if let Some(first) = self.queue.pop_front() {
            self.queue_bytes -= first.len();
        }
        self.written = 0;
        self.failures = 0;
        if self.queue_bytes < self.buffer_bytes && self.patience != Patience::None {
            self.patience = Patience::Waits { since: None };
        }
        if self.queue.is_empty() {
            // What a burst needed is not kept for ever.
            self.queue.shrink_to(BATCH);
            if self.dropped > 0 {
                eprintln!(
                    "{} entries of the log were dropped on their way to {}",
                    self.dropped, self.address
                );
                self.dropped = 0;
            }
        }
    }

    fn lost(&mut self, error: &io::Error) {
        if self.failures == 0 {
            eprintln!("the log's collector does not answer ({}): {error}", self.address);
        }
        self.failures = self.failures.saturating_add(1);
        // What was begun is written again, from its beginning.
        (self.written, self.sent_at) = (0, None);
        let wait = self.retry_wait.saturating_mul(1 << (self.failures - 1).min(10)).min(RETRY_MAX);
        self.link = Link::Down { until: Instant::now() + wait };
        if self.max_retries > 0 && self.failures > self.max_retries {
            let waiting = self.queue.len() as u64;
            self.drop_entries(waiting, "it was tried often enough");
            self.queue.clear();
            self.queue_bytes = 0;
            self.taken();
        }
    }

    fn drop_entries(&mut self, count: u64, why: &str) {
        if self.dropped == 0 {
            eprintln!("entries of the log do not get to {}: {why}", self.address);
        }
        self.dropped += count;
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let lost = self.dropped + self.queue.len() as u64;
        if lost > 0 {
            eprintln!("{lost} entries of the log did not get to {}", self.address);
        }
    }
}

impl Encoder {
    fn new(options: &LogRemote) -> Encoder {
        match options.format() {
            Format::Journald => Encoder::Journald(Journald::new(options)),
            Format::Fluentd => Encoder::Fluentd(Fluentd::new(options)),
            format => Encoder::Syslog(Syslog::new(format, options)),
        }
    }

    fn encode(&mut self, entry: Entry<'_>) -> Vec<u8> {
        match self {
            Encoder::Journald(journald) => journald.encode(entry),
            Encoder::Syslog(syslog) => syslog.encode(entry),
            Encoder::Fluentd(fluentd) => fluentd.encode(entry),
        }
    }
}

/// What of a long line an entry is: the same id for all pieces, and their order.
#[derive(Debug, Default)]
struct Partial {
    id: String,
    ordinal: u32,
}

/// The long lines of both sources.
#[derive(Debug, Default)]
struct Partials([Partial; 2]);

impl Partials {
    /// Counts an entry; `None`: it is a line of its own. Else its place in the line, and whether that ends with it.
    fn count(&mut self, entry: Entry<'_>) -> Option<(&str, u32, bool)> {
        let is_last = entry.cut == super::Cut::Whole;
        let partial = &mut self.0[usize::from(entry.source.number() - 1)];
        if partial.ordinal == 0 {
            if is_last {
                return None;
            }
            partial.id = random_id();
        }
        let ordinal = partial.ordinal + 1;
        partial.ordinal = if is_last { 0 } else { ordinal };
        Some((&partial.id, ordinal, is_last))
    }
}

/// 64 hexadecimal digits that nobody else has.
fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    // Without entropy (at boot) an id is less random, which only mixes lines that somebody puts together by it.
    let _length = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of an entry without the line break.
fn line(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}
