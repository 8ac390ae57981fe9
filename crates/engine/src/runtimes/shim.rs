//! A shim that runs: where it is, which version of the protocol it speaks, and its task.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use api::code::Code;
use api::task::{SERVICE_V2, SERVICE_V3, StateRequest, StateResponse, WaitRequest, WaitResponse};
use prost::Message;

use super::bundle::Bundle;
use super::log::Log;
use crate::error::{Error, Result};
use crate::tasks::{Client, Reply};

/// Where a shim listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) version: u32,
    pub(super) path: PathBuf,
}

impl Address {
    /// `address`: `unix:///run/containerd/s/…`.
    pub(super) fn new(version: u32, address: &str, protocol: &str) -> Result<Address, String> {
        if !matches!(protocol, "" | "ttrpc") {
            return Err(format!("shims that speak {protocol} are not supported yet"));
        }
        if !matches!(version, 2 | 3) {
            return Err(format!("version {version} of the shim protocol is not known"));
        }
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(format!("an address like {address:?} is not supported: only unix:// is"));
        }
        Ok(Address { version, path: path.into() })
    }

    /// As containerd tells clients where a sandbox's tasks are.
    pub(super) fn endpoint(&self) -> String {
        format!("ttrpc+unix://{}", self.path.display())
    }

    /// As containerd writes it to the bundle.
    pub(super) fn to_json(&self) -> String {
        let address = format!("unix://{}", self.path.display());
        serde_json::json!({ "version": self.version, "address": address, "protocol": "ttrpc" }).to_string()
    }
}

/// A connection to a shim.
#[derive(Debug)]
pub(super) struct Shim {
    service: &'static str,
    client: Client,
    _log: Option<Log>,
}

impl Shim {
    /// `log`, if it is to be shown, is followed as long as the connection is there.
    pub(super) async fn connect(address: &Address, log: Option<Log>) -> Result<Shim> {
        let service = if address.version == 2 { SERVICE_V2 } else { SERVICE_V3 };
        Ok(Shim { service, client: Client::connect(&address.path).await?, _log: log })
    }

    /// Calls a method of the task's service; failures are the shim's own, word for word.
    pub(super) async fn call<Q: Message, M: Message + Default>(
        &self,
        method: &str,
        message: &Q,
    ) -> Result<M> {
        self.ask(self.service, method, message).await
    }

    /// The same for any of its services.
    pub(super) async fn ask<Q: Message, M: Message + Default>(
        &self,
        service: &str,
        method: &str,
        message: &Q,
    ) -> Result<M> {
        let reply: Reply<M> = self.client.request(service, method, message).await?;
        reply.get("").await.map_err(|error| match error {
            Error::Shim { message, code, .. } => Error::Task { message, code },
            Error::ShimLost => Error::Task { message: "ttrpc: closed".into(), code: Code::Unavailable },
            other => other,
        })
    }
}

impl Shim {
    /// Waits until it is gone.
    pub(super) async fn closed(&self) {
        self.client.closed().await;
    }
}

/// A task: its shim, and what it is called.
#[derive(Debug)]
pub struct Task {
    namespace: String,
    id: String,
    shim: Shim,
    bundle: Bundle,
    pid: u32,
    group: Option<Group>,
    is_deleted: AtomicBool,
}

/// A sandbox, as a task that is in it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) sandbox: String,
    /// The sandbox's shim keeps the task: it is not ended with it.
    pub(super) shares_shim: bool,
}

impl Task {
    pub(super) fn new(namespace: String, id: String, shim: Shim, bundle: Bundle, pid: u32) -> Task {
        Task { namespace, id, shim, bundle, pid, group: None, is_deleted: AtomicBool::new(false) }
    }

    /// The same task, in a sandbox or not.
    pub(super) fn within(self, group: Option<Group>) -> Task {
        Task { group, ..self }
    }

    /// The sandbox that it is in.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The namespace of its container.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The id of its container, which is its own.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Of its first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was made, as far as its bundle tells.
    pub fn created_ns(&self) -> i64 {
        self.bundle.created_ns()
    }

    /// Asks its shim, and passes the answer on.
    pub async fn call<Q: Message, M: Message + Default>(&self, method: &str, message: &Q) -> Result<M> {
        self.shim.call(method, message).await
    }

    /// What its shim knows of its first process, or of one that was executed in it.
    pub async fn state(&self, exec: &str) -> Result<StateResponse> {
        self.call("State", &StateRequest { id: self.id.clone(), exec_id: exec.to_owned() }).await
    }

    /// Waits for the end of its first process; the exit status.
    pub(crate) async fn end(&self) -> Result<u32> {
        let request = WaitRequest { id: self.id.clone(), exec_id: String::new() };
        let ended: WaitResponse = self.call("Wait", &request).await?;
        Ok(ended.exit_status)
    }

    pub(super) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Its shim's end is no loss any more.
    pub(super) fn mark_deleted(&self) {
        self.is_deleted.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Relaxed)
    }

    /// Waits until its shim is gone.
    pub(super) async fn closed(&self) {
        self.shim.closed().await;
    }
}
