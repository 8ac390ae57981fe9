//! A process of a container, seen to its end: signals, the terminal, the exit code.

use grpc::tasks::{CloseIoRequest, KillRequest, ResizePtyRequest, StartRequest, WaitRequest};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot::Receiver;

use crate::client::Client;
use crate::error::Error;

/// A container's first process, or an exec of it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) container: String,
    /// Empty for the first process.
    pub(crate) exec: String,
    pub(crate) has_terminal: bool,
}

impl Process {
    /// Starts what was created, and gives its process id.
    pub(crate) async fn start(&self) -> Result<u32, Error> {
        let request = StartRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        Ok(self.client.tasks().start(request).await?.into_inner().pid)
    }

    /// Starts it, forwards signals, sizes and the end of our input (`ended`), and waits: gives its exit status.
    pub(crate) async fn run(&self, ended: Option<Receiver<()>>) -> Result<u32, Error> {
        let raw = if self.has_terminal { Raw::enter()? } else { None };
        let waiter = self.clone();
        // Waiting begins before the start, so that no exit is missed.
        let exit = tokio::spawn(async move { waiter.wait().await });
        self.start().await?;
        let outcome = self.attend(exit, ended).await;
        drop(raw);
        outcome
    }

    /// The same for one that runs already, whose streams are others', too: the end of our input is not its.
    pub(crate) async fn watch(&self) -> Result<u32, Error> {
        let raw = if self.has_terminal { Raw::enter()? } else { None };
        let waiter = self.clone();
        let outcome = self.attend(tokio::spawn(async move { waiter.wait().await }), None).await;
        drop(raw);
        outcome
    }

    async fn wait(&self) -> Result<u32, Error> {
        let request = WaitRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        Ok(self.client.tasks().wait(request).await?.into_inner().exit_status)
    }

    async fn attend(
        &self,
        mut exit: tokio::task::JoinHandle<Result<u32, Error>>,
        ended: Option<Receiver<()>>,
    ) -> Result<u32, Error> {
        let listen = |kind: SignalKind| signal(kind).map_err(Error::Runtime);
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (mut hangup, mut quit) = (listen(SignalKind::hangup())?, listen(SignalKind::quit())?);
        let mut resized = listen(SignalKind::window_change())?;
        self.resize().await;
        let mut ended = ended.map(Box::pin);
        loop {
            let end_of_input = async {
                match ended.as_mut() {
                    Some(end) => drop(end.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = &mut exit => return outcome.unwrap_or_else(|error| Err(Error::Runtime(error.into()))),
                () = end_of_input => {
                    ended = None;
                    self.close_input().await;
                }
                _ = resized.recv() => self.resize().await,
                _ = interrupt.recv() => self.signal(2).await,
                _ = terminate.recv() => self.signal(15).await,
                _ = hangup.recv() => self.signal(1).await,
                _ = quit.recv() => self.signal(3).await,
            }
        }
    }

    /// A process that has just ended takes neither signal, size nor end of input: its exit is what is told.
    async fn signal(&self, number: u32) {
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let _ =
            self.client.tasks().kill(KillRequest { container_id, exec_id, signal: number, all: false }).await;
    }

    async fn close_input(&self) {
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let _ = self.client.tasks().close_io(CloseIoRequest { container_id, exec_id, stdin: true }).await;
    }

    async fn resize(&self) {
        if !self.has_terminal {
            return;
        }
        let Ok(size) = tcgetwinsize(std::io::stdout()) else { return };
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let (width, height) = (size.ws_col.into(), size.ws_row.into());
        let _ =
            self.client.tasks().resize_pty(ResizePtyRequest { container_id, exec_id, width, height }).await;
    }
}

/// The terminal on stdin passes every key on, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Option<Raw>, Error> {
        let stdin = std::io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let failed = |errno: rustix::io::Errno| Error::File {
            what: "set up the terminal".into(),
            source: errno.into(),
        };
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Some(Raw(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
