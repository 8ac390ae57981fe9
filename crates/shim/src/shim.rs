//! The loop: one thread waits for every descriptor and handles what is ready.
//!
//! Order within a turn: sockets and processes are read, the log is flushed, then answers are written. Nothing is therefore
//! reported whose log is not written.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::Container;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::attach::{Attacher, Said};
use crate::connection::Connection;
use crate::log::{self, Log};
use crate::process::{Birth, Child, Process, State};

/// The first process's key among the processes; execs have names.
pub const FIRST: &str = "";

/// Clients at one time, on both sockets; more are not accepted until some leave.
const CLIENTS_MAX: usize = 256;

/// Reads of one output in a turn, so that nobody starves.
const READS_PER_TURN: usize = 16;

/// What the shim was bound to.
#[derive(Debug)]
pub struct Bound {
    pub namespace: String,
    pub id: String,
    pub bundle: PathBuf,
    pub cgroup: String,
}

/// The whole state of a shim.
#[derive(Debug)]
pub struct Shim {
    pub directory: PathBuf,
    task_listener: UnixListener,
    attach_listener: UnixListener,
    /// Hangs up when the daemon dies; looked at while the shim is spare.
    lifeline: Option<OwnedFd>,
    children: OwnedFd,
    connections: BTreeMap<u64, Connection>,
    pub attachers: BTreeMap<u64, Attacher>,
    next_client: u64,
    pub bound: Option<Bound>,
    pub container: Option<Container>,
    /// The container shares a pid namespace: its end does not end its other processes.
    pub shares_pids: bool,
    pub processes: BTreeMap<String, Process>,
    pub log: Option<Log>,
    pub is_over: bool,
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
    Output(String),
    Input(String),
    End,
}

impl Shim {
    /// A spare shim that listens in `directory`.
    pub fn new(
        directory: &Path,
        task_listener: UnixListener,
        attach_listener: UnixListener,
        lifeline: OwnedFd,
    ) -> io::Result<Shim> {
        task_listener.set_nonblocking(true)?;
        attach_listener.set_nonblocking(true)?;
        Ok(Shim {
            directory: directory.to_owned(),
            task_listener,
            attach_listener,
            lifeline: Some(lifeline),
            children: linux::signal::descriptor(&[linux::signal::SIGCHLD])?,
            connections: BTreeMap::new(),
            attachers: BTreeMap::new(),
            next_client: 0,
            bound: None,
            container: None,
            shares_pids: false,
            processes: BTreeMap::new(),
            log: None,
            is_over: false,
        })
    }

    /// Serves until it is over.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.is_over {
            self.turn()?;
        }
        for connection in self.connections.values_mut() {
            connection.write();
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        for token in self.wait()? {
            self.handle(&token);
        }
        self.settle();
        if let Some(log) = &mut self.log {
            log.flush();
        }
        self.write_all();
        Ok(())
    }

    /// Waits until something is ready; what.
    fn wait(&self) -> io::Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut polled = Vec::new();
        self.watch(|token, descriptor, flags| {
            tokens.push(token);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        });
        let timeout = self.deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = tokens.into_iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        Ok(ready.map(|(token, _)| token).collect())
    }

    /// Names every descriptor that something may come from now.
    fn watch<'a>(&'a self, mut add: impl FnMut(Token, BorrowedFd<'a>, PollFlags)) {
        if let Some(lifeline) = &self.lifeline {
            add(Token::Lifeline, lifeline.as_fd(), PollFlags::IN);
        }
        add(Token::Children, self.children.as_fd(), PollFlags::IN);
        if self.connections.len() + self.attachers.len() < CLIENTS_MAX {
            add(Token::TaskListener, self.task_listener.as_fd(), PollFlags::IN);
            add(Token::AttachListener, self.attach_listener.as_fd(), PollFlags::IN);
        }
        for (client, connection) in &self.connections {
            let write = if connection.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            add(Token::Connection(*client), connection.stream.as_fd(), PollFlags::IN | write);
        }
        for (client, attacher) in &self.attachers {
            let read = if self.may_type(attacher) { PollFlags::IN } else { PollFlags::empty() };
            let write = if attacher.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            if !(read | write).is_empty() || !attacher.is_reading {
                add(Token::Attacher(*client), attacher.stream.as_fd(), read | write);
            }
        }
        for (name, process) in &self.processes {
            if self.has_room(name) {
                for (_, output) in process.streams.readable() {
                    add(Token::Output(name.clone()), output, PollFlags::IN);
                }
            }
            if let Some(input) = process.streams.writable() {
                add(Token::Input(name.clone()), input, PollFlags::OUT);
            }
            if let Some(pidfd) = self.pidfd(process) {
                add(Token::End, pidfd, PollFlags::IN);
            }
        }
    }

    fn pidfd<'a>(&'a self, process: &'a Process) -> Option<BorrowedFd<'a>> {
        match &process.state {
            State::Created(Birth::First(_)) | State::Running(Child::First { .. }) => {
                self.container.as_ref().map(Container::pidfd)
            }
            State::Running(Child::Exec(exec)) => Some(exec.pidfd.as_fd()),
            _ => None,
        }
    }

    /// Whether a process takes more of what this client types.
    fn may_type(&self, attacher: &Attacher) -> bool {
        let room = attacher
            .request()
            .and_then(|request| self.processes.get(&request.exec_id))
            .is_none_or(|process| process.streams.has_room());
        attacher.is_reading && room
    }

    /// Whether everybody who looks at a process's output takes more of it.
    fn has_room(&self, name: &str) -> bool {
        self.attachers.values().filter(|attacher| attacher.is_on(name)).all(Attacher::has_room)
    }

    fn deadline(&self) -> Option<Instant> {
        let ends = self.processes.values().filter_map(|process| match process.state {
            State::Ending { until, .. } => Some(until),
            _ => None,
        });
        ends.chain(self.attachers.values().filter_map(Attacher::deadline)).min()
    }

    fn handle(&mut self, token: &Token) {
        match token {
            Token::Lifeline => self.look_at_lifeline(),
            Token::TaskListener => self.accept_client(),
            Token::AttachListener => self.accept_attacher(),
            Token::Children => self.reap(),
            Token::Connection(client) => self.serve(*client),
            Token::Attacher(client) => self.hear(*client),
            Token::Output(name) => self.read_output(name),
            Token::Input(name) => {
                if let Some(process) = self.processes.get_mut(name) {
                    process.streams.write();
                }
            }
            // Looked at in every turn.
            Token::End => {}
        }
    }

    fn look_at_lifeline(&mut self) {
        let mut byte = [0];
        let Some(lifeline) = &self.lifeline else { return };
        if let Ok(0) | Err(_) = rustix::io::read(lifeline, &mut byte) {
            // A bound shim outlives its daemon.
            self.lifeline = None;
            self.is_over = self.bound.is_none();
        }
    }

    fn accept_client(&mut self) {
        if let Ok((stream, _)) = self.task_listener.accept()
            && let Ok(connection) = Connection::new(stream)
        {
            self.next_client += 1;
            self.connections.insert(self.next_client, connection);
        }
    }

    fn accept_attacher(&mut self) {
        if let Ok((stream, _)) = self.attach_listener.accept()
            && let Ok(attacher) = Attacher::new(stream)
        {
            self.next_client += 1;
            self.attachers.insert(self.next_client, attacher);
        }
    }

    fn serve(&mut self, client: u64) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        for call in connection.read() {
            if let Some(response) = self.call(client, &call)
                && let Some(connection) = self.connections.get_mut(&client)
            {
                connection.answer(call.stream, &response);
            }
        }
    }

    fn hear(&mut self, client: u64) {
        let Some(attacher) = self.attachers.get_mut(&client) else { return };
        if attacher.wants_write() {
            attacher.write();
        }
        if !attacher.is_reading {
            return;
        }
        match attacher.read() {
            Said::Nothing => {}
            Said::Asked => self.attach(client),
            Said::Typed(bytes) => self.type_bytes(client, &bytes),
            Said::Ended => self.end_input(client),
        }
    }

    fn attach(&mut self, client: u64) {
        let Some(attacher) = self.attachers.get_mut(&client) else { return };
        let name = attacher.request().map(|request| request.exec_id.clone()).unwrap_or_default();
        let Some(process) = self.processes.get(&name) else {
            attacher.refuse("the process does not exist");
            return;
        };
        if matches!(process.state, State::Stopped(_)) {
            attacher.refuse("the process has ended");
            return;
        }
        let typed = attacher.accept(process.terminal);
        if !typed.is_empty() {
            self.type_bytes(client, &typed);
        }
    }

    fn type_bytes(&mut self, client: u64, bytes: &[u8]) {
        if let Some(request) = self.attachers.get(&client).and_then(Attacher::request)
            && request.stdin
            && let Some(process) = self.processes.get_mut(&request.exec_id)
        {
            process.streams.type_bytes(bytes);
        }
    }

    fn end_input(&mut self, client: u64) {
        if let Some(request) = self.attachers.get(&client).and_then(Attacher::request)
            && request.stdin
            && let Some(process) = self.processes.get_mut(&request.exec_id)
            && process.stdin_once
        {
            process.streams.end_stdin();
        }
    }

    fn read_output(&mut self, name: &str) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let mut attachers: Vec<&mut Attacher> =
            self.attachers.values_mut().filter(|attacher| attacher.is_on(name)).collect();
        // Only the container's own output is its log; what execs print goes to whoever started them.
        let mut log = if name == FIRST { self.log.as_mut() } else { None };
        for _ in 0..READS_PER_TURN {
            let mut has_more = false;
            for index in (0..process.streams.readable().count()).rev() {
                has_more |= process.streams.read(index, log.as_deref_mut(), &mut attachers);
            }
            if !has_more || !attachers.iter().all(|attacher| attacher.has_room()) {
                return;
            }
        }
    }

    /// Reaps children that are not ours by name: orphans that were handed to us.
    fn reap(&mut self) {
        while let Ok(Some(_)) = linux::signal::read(self.children.as_fd()) {}
        let known: Vec<u32> = self.processes.values().map(Process::pid).collect();
        // One thread: all children are this one's (`proc_pid_children(5)`).
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
            if !known.contains(&child.unsigned_abs())
                && let Some(pid) = Pid::from_raw(child)
            {
                // One that still runs stays.
                let _still_runs = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    /// Moves every process along that has ended or whose output has.
    fn settle(&mut self) {
        let names: Vec<String> = self.processes.keys().cloned().collect();
        for name in names {
            self.note_end(&name);
            self.finish_ending(&name);
        }
        self.attachers.retain(|_, attacher| !attacher.is_done());
        self.connections.retain(|_, connection| !connection.is_gone());
    }

    fn note_end(&mut self, name: &str) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let ended = match (&process.state, &mut self.container) {
            (State::Created(Birth::First(_)) | State::Running(Child::First { .. }), Some(container)) => {
                container.try_wait()
            }
            (State::Running(Child::Exec(exec)), _) => exec.try_wait(),
            _ => return,
        };
        match ended {
            Ok(None) => {}
            Ok(Some(exit)) => {
                let oom_killed = self
                    .container
                    .as_ref()
                    .is_some_and(|container| container.oom_kills().is_ok_and(|kills| kills > 0));
                process.end(exit, log::now_ns(), oom_killed && exit.status() != 0);
                if name == FIRST && self.shares_pids {
                    self.kill_rest();
                }
                self.read_output(name);
            }
            Err(error) => eprintln!("the end of `{name}` cannot be seen: {error}"),
        }
    }

    /// Without a pid namespace of its own nothing ends the container's other processes with its first.
    fn kill_rest(&self) {
        if let Some(container) = &self.container
            && let Err(error) = container.kill_all(linux::signal::SIGKILL)
        {
            eprintln!("processes of the container were not ended: {error}");
        }
    }

    fn finish_ending(&mut self, name: &str) {
        let has_room = self.has_room(name);
        let Some(process) = self.processes.get_mut(name) else { return };
        let State::Ending { exit, until } = process.state else { return };
        if !process.streams.is_drained() {
            if Instant::now() < until || !has_room {
                return;
            }
            let mut attachers: Vec<&mut Attacher> =
                self.attachers.values_mut().filter(|attacher| attacher.is_on(name)).collect();
            let log = if name == FIRST { self.log.as_mut() } else { None };
            process.streams.drain(log, &mut attachers);
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if name == FIRST
            && let Err(error) = exit.write(&self.directory)
        {
            eprintln!("the exit record was not written: {error}");
        }
        process.state = State::Stopped(exit);
        for (client, stream) in std::mem::take(&mut process.waiters) {
            if let Some(connection) = self.connections.get_mut(&client) {
                connection.answer(stream, &crate::service::wait_response(exit));
            }
        }
        for attacher in self.attachers.values_mut().filter(|attacher| attacher.is_on(name)) {
            attacher.finish();
        }
    }

    fn write_all(&mut self) {
        for connection in self.connections.values_mut() {
            connection.write();
        }
        for attacher in self.attachers.values_mut() {
            attacher.write();
        }
    }

    /// The daemon's death does not matter from now on.
    pub fn let_go_of_lifeline(&mut self) {
        self.lifeline = None;
    }
}
