//! Processes that are executed in a running container.
//!
//! Execs are not stored: they end with the container's run, and their records with the daemon or an hour after the end.

use std::sync::Arc;

use crate::containers::{AttachOptions, AttachStream};
use crate::engine::Engine;
use crate::error::Result;

/// The execs of the engine, by their id.
#[derive(Debug, Clone)]
pub struct Execs {
    engine: Arc<Engine>,
}

/// What to execute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to the container's.
    pub env: Vec<String>,
    /// Empty: the container's.
    pub working_dir: String,
    /// Empty: the container's.
    pub user: String,
    pub terminal: bool,
    pub attach: AttachOptions,
    pub privileged: bool,
    /// Height and width in characters.
    pub console_size: Option<(u16, u16)>,
    /// Docker's detach sequence as the client gave it; kept for inspect only.
    pub detach_keys: String,
}

/// An exec at one moment.
#[derive(Debug, Clone)]
pub struct Exec {
    pub id: String,
    pub container_id: String,
    pub spec: Arc<ExecSpec>,
    pub running: bool,
    /// None: not ended (or not started).
    pub exit_code: Option<i32>,
    /// In the host's PID namespace; 0 when not started.
    pub pid: u32,
}

impl Execs {
    /// Notes what to execute in a running container; returns the exec's id.
    pub async fn create(&self, _container: &str, _spec: ExecSpec) -> Result<String> {
        todo!()
    }
    /// Starts it and connects to its streams (attached before it starts, so nothing is missed).
    pub async fn start(&self, _exec: &str, _console_size: Option<(u16, u16)>) -> Result<AttachStream> {
        todo!()
    }
    /// Starts it with nobody attached.
    pub async fn start_detached(&self, _exec: &str) -> Result<()> {
        todo!()
    }
    /// What is known of it.
    pub async fn inspect(&self, _exec: &str) -> Result<Exec> {
        todo!()
    }
    /// Sets the size of its terminal, in characters.
    pub async fn resize(&self, _exec: &str, _height: u16, _width: u16) -> Result<()> {
        todo!()
    }
}

impl Engine {
    /// The execs.
    pub fn execs(self: &Arc<Self>) -> Execs {
        Execs { engine: self.clone() }
    }
}
