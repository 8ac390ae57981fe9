//! The loop: one thread waits for every descriptor and handles what is ready.
//!
//! Order within a turn: sockets and processes are read, the log is flushed, the exit record is written, then answers are
//! sent. Nothing is therefore reported whose log is not written, or that a crash could make untrue.
//!
//! ```text
//! Spare ──bind──▶ Bound ──create──▶ with a task ──delete──▶ Bound ──shutdown──▶ Over
//!   └── the daemon ends ────────────────────────────────────────────────────────▲
//! ```
//!
//! An *over* shim has no sockets any more; it stays until those who were attached, the log's collector
//! and loggers have got everything.

mod clients;
mod ends;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linux::signal::SIGCHLD;
use runtime::cgroup::OomWatch;
use runtime::{Container, Hooks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::attach::Attacher;
use crate::connection::Connection;
use crate::log::Log;
use crate::logger::Logger;
use crate::options::Runc;
use crate::process::{Birth, Child, Process, State};
use crate::publish::Publisher;
use crate::runc_state::RuncState;
use crate::sandbox::Sandbox;

/// The first process's key among the processes; execs have names.
pub(crate) const FIRST: &str = "";

/// Clients of each socket at one time; more are not accepted until some leave.
const CLIENTS_MAX: usize = 256;

/// Buffers of slow clients are larger: what a burst needed is not kept for the next one.
const GIVE_BACK_BYTES: i32 = 32 << 10;

/// After a failure to accept (no descriptors are left) the listeners rest, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the shim was bound to.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    pub namespace: String,
    pub id: String,
    pub bundle: PathBuf,
    /// Control group; empty: the specification's.
    pub cgroup: String,
}

/// The whole state of a shim.
#[derive(Debug)]
pub struct Shim {
    pub(crate) directory: PathBuf,
    /// None once it is over.
    task_listener: Option<UnixListener>,
    attach_listener: Option<UnixListener>,
    accept_after: Option<Instant>,
    /// Hangs up when the daemon dies; looked at while the shim is spare.
    lifeline: Option<OwnedFd>,
    children: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    pub(crate) attachers: BTreeMap<u64, Attacher>,
    last_client: u64,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) bound: Option<Bound>,
    pub(crate) container: Option<Container>,
    pub(crate) hooks: Option<Box<Hooks>>,
    /// Where there is somebody to tell.
    pub(crate) oom_watch: Option<OomWatch>,
    /// A kill was told.
    oom_told: bool,
    /// The container shares a pid namespace: its end does not end its other processes.
    pub(crate) shares_pids: bool,
    pub(crate) runc: Runc,
    pub(crate) runc_state: Option<RuncState>,
    pub(crate) processes: BTreeMap<String, Process>,
    pub(crate) log: Option<Log>,
    /// Programs that take output.
    pub(crate) loggers: Vec<Logger>,
    /// In place of a task.
    pub(crate) sandbox: Option<Sandbox>,
}

/// What a descriptor belongs to.
#[derive(Debug, Clone)]
enum Token {
    Lifeline,
    TaskListener,
    AttachListener,
    Children,
    Connection(u64),
    Attacher(u64),
    Publisher,
    Oom,
    /// The log's collector.
    Log,
    Output(String),
    Input(String),
    /// Ends are looked at in every turn; this one begins a turn.
    End,
}

impl Shim {
    /// A spare shim, which ends when `lifeline` hangs up, until it is bound.
    pub fn spare(
        directory: &Path,
        task: UnixListener,
        attach: UnixListener,
        lifeline: OwnedFd,
    ) -> io::Result<Shim> {
        attach.set_nonblocking(true)?;
        let mut shim = Shim::new(directory, task)?;
        shim.attach_listener = Some(attach);
        shim.lifeline = Some(lifeline);
        Ok(shim)
    }

    /// A shim that containerd started for one container; its events go to the socket `events`.
    pub fn bound(bound: Bound, task: UnixListener, events: Option<PathBuf>) -> io::Result<Shim> {
        let mut shim = Shim::new(&bound.bundle, task)?;
        shim.publisher = events.map(|address| Publisher::new(address, bound.namespace.clone()));
        shim.bound = Some(bound);
        Ok(shim)
    }

    fn new(directory: &Path, task: UnixListener) -> io::Result<Shim> {
        linux::process::become_subreaper()?;
        linux::memory::give_back_from(GIVE_BACK_BYTES);
        task.set_nonblocking(true)?;
        Ok(Shim {
            directory: directory.to_owned(),
            task_listener: Some(task),
            attach_listener: None,
            accept_after: None,
            lifeline: None,
            children: linux::signal::descriptor(&[SIGCHLD])?,
            connections: BTreeMap::new(),
            attachers: BTreeMap::new(),
            last_client: 0,
            publisher: None,
            bound: None,
            container: None,
            hooks: None,
            oom_watch: None,
            oom_told: false,
            shares_pids: false,
            runc: Runc::default(),
            runc_state: None,
            processes: BTreeMap::new(),
            log: None,
            loggers: Vec::new(),
            sandbox: None,
        })
    }

    /// Serves until it is over.
    pub fn run(&mut self) -> io::Result<()> {
        while self.is_needed() {
            for (token, ready) in self.wait()? {
                self.handle(&token, ready);
            }
            self.settle();
            self.flush();
        }
        Ok(())
    }

    /// Its sockets are closed: it takes nothing new.
    pub(crate) fn is_over(&self) -> bool {
        self.task_listener.is_none()
    }

    fn is_needed(&self) -> bool {
        !self.is_over()
            || !self.attachers.is_empty()
            || self.publisher.as_ref().is_some_and(Publisher::is_busy)
            || self.log.as_ref().is_some_and(Log::is_busy)
            || !self.loggers.is_empty()
    }

    /// Closes the sockets; what is queued is still delivered.
    pub(crate) fn close(&mut self) {
        for listener in [self.task_listener.take(), self.attach_listener.take()].into_iter().flatten() {
            if let Ok(address) = listener.local_addr()
                && let Some(path) = address.as_pathname()
            {
                // The daemon may have removed the directory already.
                drop(std::fs::remove_file(path));
            }
        }
        self.attachers.retain(|_, attacher| attacher.is_finishing());
    }

    /// The daemon's death does not matter from now on.
    pub(crate) fn bind(&mut self, bound: Bound) {
        self.bound = Some(bound);
        self.lifeline = None;
    }

    /// Waits until something is ready; what, and how.
    fn wait(&self) -> io::Result<Vec<(Token, PollFlags)>> {
        let mut tokens = Vec::new();
        let mut polled = Vec::new();
        self.watch(|token, descriptor, flags| {
            tokens.push(token);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        });
        let timeout = self.deadline().map(|deadline| {
            // A deadline that is nearer than the clock's step must not spin.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = tokens.into_iter().zip(&polled).map(|(token, polled)| (token, polled.revents()));
        Ok(ready.filter(|(_, ready)| !ready.is_empty()).collect())
    }

    /// Names every descriptor that something may come from now.
    fn watch<'a>(&'a self, mut add: impl FnMut(Token, BorrowedFd<'a>, PollFlags)) {
        let read = PollFlags::IN;
        add(Token::Children, self.children.as_fd(), read);
        // Before all requests: one that a daemon left behind when it died must not be served any more.
        if let Some(lifeline) = &self.lifeline {
            add(Token::Lifeline, lifeline.as_fd(), read);
        }
        let rests = self.accept_after.is_some();
        if let Some(listener) = &self.task_listener
            && self.connections.len() < CLIENTS_MAX
            && !rests
        {
            add(Token::TaskListener, listener.as_fd(), read);
        }
        if let Some(listener) = &self.attach_listener
            && self.attachers.len() < CLIENTS_MAX
            && !rests
        {
            add(Token::AttachListener, listener.as_fd(), read);
        }
        for (client, connection) in &self.connections {
            add(Token::Connection(*client), connection.as_fd(), connection.interest());
        }
        for (client, attacher) in &self.attachers {
            if let Some(interest) = attacher.interest(self.may_type(attacher)) {
                add(Token::Attacher(*client), attacher.as_fd(), interest);
            }
        }
        if let Some((descriptor, interest)) = self.publisher.as_ref().and_then(Publisher::interest) {
            add(Token::Publisher, descriptor, interest);
        }
        if let Some(watch) = &self.oom_watch {
            add(Token::Oom, watch.as_fd(), watch.interest());
        }
        if let Some((descriptor, interest)) = self.log.as_ref().and_then(Log::interest) {
            add(Token::Log, descriptor, interest);
        }
        self.loggers.iter().for_each(|logger| add(Token::End, logger.as_fd(), read));
        for (name, process) in &self.processes {
            if self.has_room(name, process) {
                process.streams.readable().for_each(|output| add(Token::Output(name.clone()), output, read));
            }
            if let Some(input) = process.streams.writable() {
                add(Token::Input(name.clone()), input, PollFlags::OUT);
            }
            if let Some(pidfd) = self.pidfd(process) {
                add(Token::End, pidfd, read);
            }
        }
    }

    fn pidfd<'a>(&'a self, process: &'a Process) -> Option<BorrowedFd<'a>> {
        match &process.state {
            State::Created(Birth::First { .. }) | State::Running(Child::First { .. }) => {
                self.container.as_ref().map(Container::pidfd)
            }
            State::Running(Child::Exec(exec)) => Some(exec.pidfd.as_fd()),
            _ => None,
        }
    }

    /// Whether a process takes more of what this client types.
    fn may_type(&self, attacher: &Attacher) -> bool {
        let process = attacher.request().and_then(|request| self.processes.get(&request.exec_id));
        process.is_none_or(|process| process.streams.takes_input())
    }

    /// Whether everybody who looks at a process's output takes more of it.
    fn has_room(&self, name: &str, process: &Process) -> bool {
        self.attachers.values().filter(|attacher| attacher.is_on(name)).all(Attacher::has_room)
            && process.kept.as_ref().is_none_or(|kept| kept.has_room())
            && (name != FIRST || self.log.as_ref().is_none_or(Log::has_room))
    }

    /// When a turn is due even if nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let processes = self.processes.values().filter_map(Process::deadline);
        let attachers = self.attachers.values().filter_map(Attacher::deadline);
        let publisher = self.publisher.as_ref().and_then(Publisher::deadline);
        let log = self.log.as_ref().and_then(Log::deadline);
        let loggers = self.loggers.iter().filter_map(Logger::deadline);
        processes.chain(attachers).chain(publisher).chain(log).chain(loggers).chain(self.accept_after).min()
    }

    fn handle(&mut self, token: &Token, ready: PollFlags) {
        match token {
            Token::Lifeline => self.look_at_lifeline(),
            Token::TaskListener => self.accept_connection(),
            Token::AttachListener => self.accept_attacher(),
            Token::Children => self.reap(),
            Token::Connection(client) => self.serve(*client, ready),
            Token::Attacher(client) => self.hear(*client, ready),
            Token::Publisher => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.read();
                }
            }
            Token::Oom => self.note_kills(),
            Token::Log => {
                if let Some(log) = &mut self.log {
                    log.hear(ready);
                }
            }
            Token::Output(name) => self.read_output(name),
            Token::Input(name) => {
                if let Some(process) = self.processes.get_mut(name) {
                    process.streams.write();
                }
            }
            Token::End => {}
        }
    }

    fn look_at_lifeline(&mut self) {
        let Some(lifeline) = &self.lifeline else { return };
        if let Ok(0) | Err(_) = rustix::io::read(lifeline, &mut [0; 1]) {
            self.lifeline = None;
            if self.bound.is_none() {
                self.close();
            }
        }
    }

    /// Moves everything along that time or an end has moved.
    fn settle(&mut self) {
        let now = Instant::now();
        if let Some(log) = &mut self.log {
            log.flush();
            log.drive(now);
        }
        self.settle_ends(now);
        self.loggers.retain_mut(|logger| logger.drive(now));
        self.attachers.values_mut().for_each(|attacher| attacher.expire(now));
        self.accept_after = self.accept_after.filter(|after| *after > now);
        if let Some(publisher) = &mut self.publisher {
            publisher.drive(now);
        }
    }

    /// Sends what is queued, and forgets who is gone.
    fn flush(&mut self) {
        self.connections.values_mut().for_each(Connection::write);
        self.attachers.values_mut().for_each(Attacher::write);
        self.attachers.retain(|_, attacher| !attacher.is_gone());
        let before = self.connections.len();
        self.connections.retain(|_, connection| !connection.is_gone());
        if self.connections.len() < before {
            for process in self.processes.values_mut() {
                process.waiters.retain(|waiter| self.connections.contains_key(&waiter.client));
            }
            if let Some(sandbox) = &mut self.sandbox {
                sandbox.waiters.retain(|waiter| self.connections.contains_key(&waiter.client));
            }
            self.abandon();
        }
    }
}
