//! Events for containerd: sent one after the other to its ttrpc socket, never waited for.
//!
//! ```text
//! queue ─▶ Idle ──connect, send the first──▶ Sent ──answer──▶ Idle
//!            ▲                                 │ no answer, no connection
//!            └──── a pause, the same again ────┘ (each event a few times, then it is dropped)
//! ```
//!
//! containerd must not depend on events alone, because it may be away: so are those dropped that nobody takes.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::forward::ForwardRequest;
use api::time::timestamp;
use api::ttrpc::{FrameDecoder, Request, encode_request};
use api::types::Envelope;
use prost::{Message, Name};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::log::now_ns;

/// Events that wait; the oldest goes when there are more.
const QUEUE_MAX: usize = 2048;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often an event is sent at most.
const ATTEMPTS_MAX: u32 = 5;

/// Between attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// An answer is an empty message.
const READ_MAX: usize = 1 << 10;

#[derive(Debug)]
pub(crate) struct Publisher {
    address: PathBuf,
    namespace: String,
    queue: VecDeque<Envelope>,
    attempts: u32,
    /// Nothing is sent before.
    rests_until: Option<Instant>,
    sent: Option<Sent>,
}

/// The first event of the queue is on its way.
#[derive(Debug)]
struct Sent {
    socket: OwnedFd,
    decoder: FrameDecoder,
    until: Instant,
    is_answered: bool,
    is_lost: bool,
}

impl Publisher {
    pub(crate) fn new(address: PathBuf, namespace: String) -> Publisher {
        Publisher { address, namespace, queue: VecDeque::new(), attempts: 0, rests_until: None, sent: None }
    }

    /// Queues an event.
    pub(crate) fn add<M: Message + Name>(&mut self, topic: &str, event: &M) {
        if self.queue.len() >= QUEUE_MAX {
            self.drop_first();
        }
        self.queue.push_back(Envelope {
            timestamp: Some(timestamp(now_ns())),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(api::any::pack(event)),
        });
    }

    /// Whether something is still to be sent.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.sent.as_ref().map(|sent| (sent.socket.as_fd(), PollFlags::IN))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sent.as_ref().map(|sent| sent.until).or(self.rests_until)
    }

    /// Takes what came.
    pub(crate) fn read(&mut self) {
        let Some(sent) = &mut self.sent else { return };
        let mut buffer = [0; READ_MAX];
        match rustix::io::read(&sent.socket, &mut buffer) {
            Ok(length @ 1..) => {
                sent.decoder.push(&buffer[..length]);
                match sent.decoder.next_frame() {
                    // A refusal is an answer too: the same again would be refused again.
                    Ok(Some(_)) => sent.is_answered = true,
                    Ok(None) => {}
                    Err(_) => sent.is_lost = true,
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => sent.is_lost = true,
        }
    }

    /// Does what is due.
    pub(crate) fn drive(&mut self, now: Instant) {
        if let Some(sent) = &self.sent {
            if sent.is_answered {
                self.queue.pop_front();
                (self.sent, self.attempts) = (None, 0);
            } else if sent.is_lost || sent.until <= now {
                self.sent = None;
                self.fail(now);
            }
        }
        self.rests_until = self.rests_until.filter(|until| *until > now);
        if self.sent.is_none() && self.rests_until.is_none() && !self.queue.is_empty() {
            match self.send(now) {
                Ok(sent) => self.sent = Some(sent),
                Err(_) => self.fail(now),
            }
        }
    }

    fn send(&self, now: Instant) -> rustix::io::Result<Sent> {
        let envelope = self.queue.front().cloned();
        let request = Request::new(api::EVENTS_SERVICE, "Forward", &ForwardRequest { envelope });
        let bytes = encode_request(1, &request).map_err(|_| Errno::MSGSIZE)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(&self.address)?)?;
        // An event is far smaller than a new socket's buffer.
        let length = rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL)?;
        let is_lost = length < bytes.len();
        let decoder = FrameDecoder::new();
        Ok(Sent { socket, decoder, until: now + TIMEOUT, is_answered: false, is_lost })
    }

    fn fail(&mut self, now: Instant) {
        self.attempts += 1;
        self.rests_until = Some(now + PAUSE);
        if self.attempts >= ATTEMPTS_MAX {
            self.drop_first();
            self.attempts = 0;
        }
    }

    fn drop_first(&mut self) {
        if let Some(envelope) = self.queue.pop_front() {
            eprintln!("event `{}` was dropped: containerd does not take it", envelope.topic);
        }
        self.sent = None;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use api::events::TaskStart;
    use api::ttrpc::{Response, encode_response};

    use super::*;

    fn event(pid: u32) -> TaskStart {
        TaskStart { container_id: "one".into(), pid }
    }

    #[test]
    fn events_arrive_one_by_one_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("events.sock");
        let listener = UnixListener::bind(&address).unwrap();
        let mut publisher = Publisher::new(address, "ns".into());
        for pid in 1..=3 {
            publisher.add("/tasks/start", &event(pid));
        }
        for pid in 1..=3 {
            publisher.drive(Instant::now());
            let (mut stream, _) = listener.accept().unwrap();
            let mut decoder = FrameDecoder::new();
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap();
            decoder.push(&buffer[..length]);
            let request = decoder.next_frame().unwrap().unwrap().request().unwrap();
            assert_eq!((request.service.as_str(), request.method.as_str()), (api::EVENTS_SERVICE, "Forward"));
            let envelope = ForwardRequest::decode(request.payload.as_slice()).unwrap().envelope.unwrap();
            assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("ns", "/tasks/start"));
            let start: TaskStart = api::any::unpack(&envelope.event.unwrap()).unwrap().unwrap();
            assert_eq!(start, event(pid));
            stream.write_all(&encode_response(1, &Response::success(&()))).unwrap();
            publisher.read();
        }
        publisher.drive(Instant::now());
        assert!(!publisher.is_busy());
    }

    #[test]
    fn an_event_that_nobody_takes_is_dropped_after_a_few_attempts_and_the_queue_is_bounded() {
        let mut publisher = Publisher::new("/nonexistent/socket".into(), "ns".into());
        for pid in 0..u32::try_from(QUEUE_MAX).unwrap() + 10 {
            publisher.add("/tasks/start", &event(pid));
        }
        assert_eq!(publisher.queue.len(), QUEUE_MAX);
        let mut now = Instant::now();
        for _ in 0..ATTEMPTS_MAX {
            publisher.drive(now);
            now += PAUSE;
        }
        assert_eq!(publisher.queue.len(), QUEUE_MAX - 1);
    }
}
