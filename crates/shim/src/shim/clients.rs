//! Who talks to the shim: connections of the task socket, attachers.

use std::time::Instant;

use api::ttrpc::Response;
use rustix::event::PollFlags;

use super::{ACCEPT_PAUSE, Shim};
use crate::attach::{Attacher, Said};
use crate::connection::Connection;
use crate::process::State;

impl Shim {
    pub(super) fn accept_connection(&mut self) {
        let Some(listener) = &self.task_listener else { return };
        match listener.accept().and_then(|(stream, _)| Connection::new(stream)) {
            Ok(connection) => {
                self.last_client += 1;
                self.connections.insert(self.last_client, connection);
            }
            Err(error) => self.accept_failed(&error),
        }
    }

    pub(super) fn accept_attacher(&mut self) {
        let Some(listener) = &self.attach_listener else { return };
        match listener.accept().and_then(|(stream, _)| Attacher::client(stream)) {
            Ok(attacher) => self.add_attacher(attacher),
            Err(error) => self.accept_failed(&error),
        }
    }

    pub(crate) fn add_attacher(&mut self, attacher: Attacher) {
        self.last_client += 1;
        self.attachers.insert(self.last_client, attacher);
    }

    fn accept_failed(&mut self, error: &std::io::Error) {
        // The client may have gone already, which is nobody's trouble.
        if error.kind() != std::io::ErrorKind::WouldBlock {
            eprintln!("a client was not accepted: {error}");
            self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
        }
    }

    /// Handles the calls of one connection strictly in order.
    pub(super) fn serve(&mut self, client: u64, ready: PollFlags) {
        let Some(connection) = self.connections.get_mut(&client) else { return };
        for call in connection.read(ready) {
            if let Some(response) = self.call(client, &call) {
                self.answer(client, call.stream, &response);
            }
        }
    }

    /// Queues an answer; the client may have gone.
    pub(crate) fn answer(&mut self, client: u64, stream: u32, response: &Response) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.answer(stream, response);
        }
    }

    pub(super) fn hear(&mut self, client: u64, ready: PollFlags) {
        let Some(attacher) = self.attachers.get_mut(&client) else { return };
        match attacher.hear(ready) {
            Said::Nothing => {}
            Said::Asked(request, typed) => {
                self.attach(client, request);
                if !typed.is_empty() {
                    self.type_bytes(client, &typed);
                }
            }
            Said::Typed(bytes) => self.type_bytes(client, &bytes),
            Said::Ended => self.end_input(client),
        }
    }

    fn attach(&mut self, client: u64, request: api::shim::AttachRequest) {
        let Some(attacher) = self.attachers.get_mut(&client) else { return };
        let Some(process) = self.processes.get_mut(&request.exec_id) else {
            return attacher.refuse("the process does not exist".into());
        };
        attacher.accept(request, process.terminal);
        if let Some(kept) = process.kept.take() {
            kept.pass_to(attacher, process.terminal);
        }
        // Too late to see anything else, but not wrong: the process may just have ended.
        if let State::Stopped(_) = process.state {
            attacher.finish();
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
}
