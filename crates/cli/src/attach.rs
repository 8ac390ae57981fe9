//! A process in the foreground: its streams on ours, our signals and the size of our terminal on it.
//!
//! Two threads copy (see [`crate::client::hijack`] for why not tasks), the rest waits on the runtime. Nobody ends the
//! thread that may still wait for a key: the program ends, and it with it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{pin, thread};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};
use tokio::sync::oneshot;

use crate::client::hijack::Socket;
use crate::client::{Client, Hijacked, Path};
use crate::error::Error;
use crate::frames::{Decoder, Source};
use crate::output;
use crate::terminal::{self, DetachKeys};

/// What is copied at a time.
const BUFFER: usize = 32 * 1024;

/// Signals that the process in the container gets in our place, by their names in the API. Not among them: what cannot
/// be caught, what tells of faults, children and pipes, and what stops a background job that reads the terminal.
const FORWARDED: [(Signal, &str); 10] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::CONT, "SIGCONT"),
    (Signal::TSTP, "SIGTSTP"),
    (Signal::WINCH, "SIGWINCH"),
];

/// Signals that end us, with a terminal to put in order first.
const ENDING: [(Signal, &str); 4] =
    [(Signal::HUP, "SIGHUP"), (Signal::INT, "SIGINT"), (Signal::QUIT, "SIGQUIT"), (Signal::TERM, "SIGTERM")];

/// The streams of an attached process, being copied.
#[derive(Debug)]
pub(crate) struct Streams {
    end: oneshot::Receiver<Result<(), Error>>,
    is_detached: Arc<AtomicBool>,
}

/// What is done with the bytes of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    /// With a terminal the output is raw bytes, without one it is frames.
    pub(crate) has_terminal: bool,
    /// The keys that detach, if stdin is passed on.
    pub(crate) input: Option<DetachKeys>,
}

/// How streams ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process closed them.
    Closed,
    /// The user typed the keys that detach.
    Detached,
}

impl Streams {
    /// Begins to copy.
    pub(crate) fn start(connection: Hijacked, wiring: Wiring) -> Streams {
        let Hijacked { head, reader, writer } = connection;
        let is_detached = Arc::new(AtomicBool::new(false));
        if let Some(keys) = wiring.input {
            let keys = wiring.has_terminal.then(|| (keys, is_detached.clone()));
            thread::spawn(move || copy_input(io::stdin(), writer, keys));
        }
        let (sender, end) = oneshot::channel();
        let has_terminal = wiring.has_terminal;
        thread::spawn(move || {
            let stream = io::Cursor::new(head).chain(reader);
            let result = if has_terminal { copy_raw(stream) } else { copy_frames(stream) };
            // Nobody waits any more: the program is about to end.
            let _ = sender.send(result);
        });
        Streams { end, is_detached }
    }

    /// Waits until all output was written.
    pub(crate) async fn end(self) -> Result<End, Error> {
        self.end.await.map_err(|_| Error::Lost(io::Error::other("the output's thread is gone")))??;
        Ok(if self.is_detached.load(Ordering::SeqCst) { End::Detached } else { End::Closed })
    }
}

/// Passes stdin on until it or the process ends; errors mean that the process takes no more.
fn copy_input(mut input: impl Read, mut socket: Socket, mut keys: Option<(DetachKeys, Arc<AtomicBool>)>) {
    let mut buffer = [0; BUFFER];
    loop {
        let typed = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Some((keys, is_detached)) = &mut keys
            && keys.see(typed)
        {
            is_detached.store(true, Ordering::SeqCst);
        }
        if socket.write_all(typed).is_err() {
            return;
        }
    }
    let _ = socket.end();
}

fn copy_raw(mut stream: impl Read) -> Result<(), Error> {
    let mut buffer = [0; BUFFER];
    loop {
        match read(&mut stream, &mut buffer)? {
            0 => return Ok(()),
            count => output::pass_on(Source::Stdout, &buffer[..count])?,
        }
    }
}

fn copy_frames(mut stream: impl Read) -> Result<(), Error> {
    let mut buffer = [0; BUFFER];
    let mut decoder = Decoder::default();
    loop {
        let mut bytes = match read(&mut stream, &mut buffer)? {
            0 => return Ok(()),
            count => &buffer[..count],
        };
        while let Some(piece) = decoder.next(&mut bytes)? {
            output::pass_on(piece.source, piece.payload)?;
        }
    }
}

/// Reads; a reset is an end like any other, because the exit is told elsewhere.
fn read(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            result => return result.map_err(Error::Lost),
        }
    }
}

/// What signals and sizes are for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Process<'a> {
    Container(&'a str),
    Exec(&'a str),
}

/// The process in the foreground, as far as signals go.
#[derive(Debug)]
pub(crate) struct Foreground<'a> {
    client: &'a Client,
    process: Process<'a>,
    has_terminal: bool,
    arrivals: Vec<(Signal, &'static str, Arrivals)>,
}

impl<'a> Foreground<'a> {
    /// From here on signals are ours to handle. `forwards`: they go to a container without a terminal.
    pub(crate) fn new(
        client: &'a Client,
        process: Process<'a>,
        has_terminal: bool,
        forwards: bool,
    ) -> Result<Foreground<'a>, Error> {
        let signals: &[(Signal, &str)] = match (has_terminal, forwards) {
            (true, _) => &ENDING,
            (false, true) => &FORWARDED,
            (false, false) => &[],
        };
        let sizes = has_terminal.then_some((Signal::WINCH, "SIGWINCH"));
        let arrivals = signals.iter().copied().chain(sizes).map(|(number, name)| {
            Ok((number, name, signal(SignalKind::from_raw(number.as_raw())).map_err(Error::Runtime)?))
        });
        let arrivals = arrivals.collect::<Result<_, Error>>()?;
        Ok(Foreground { client, process, has_terminal, arrivals })
    }

    /// Does `work`, and what signals ask for meanwhile.
    pub(crate) async fn during<T>(
        mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = pin::pin!(work);
        loop {
            let (number, name) = tokio::select! {
                biased;
                result = &mut work => return result,
                arrived = next(&mut self.arrivals) => arrived,
            };
            if !self.has_terminal {
                self.forward(name).await;
            } else if number == Signal::WINCH {
                resize(self.client, self.process).await;
            } else {
                return Err(Error::Interrupted(number.as_raw()));
            }
        }
    }

    /// Passes a signal on. A container that has ended meanwhile needs none.
    async fn forward(&self, name: &str) {
        if let Process::Container(id) = self.process {
            let _ = self.client.post(Path::of("containers", id, "/kill").query("signal", name)).await;
        }
    }
}

async fn next(arrivals: &mut [(Signal, &'static str, Arrivals)]) -> (Signal, &'static str) {
    std::future::poll_fn(|context| {
        for (number, name, arrivals) in arrivals.iter_mut() {
            if arrivals.poll_recv(context).is_ready() {
                return std::task::Poll::Ready((*number, *name));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Gives the process's terminal the size of ours. One that has ended meanwhile needs none.
pub(crate) async fn resize(client: &Client, process: Process<'_>) {
    let Some((height, width)) = terminal::size() else { return };
    let path = match process {
        Process::Container(id) => Path::of("containers", id, "/resize"),
        Process::Exec(id) => Path::of("exec", id, "/resize"),
    };
    let _ = client.post(path.query("h", &height.to_string()).query("w", &width.to_string())).await;
}
