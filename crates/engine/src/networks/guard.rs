//! Networks that stay as they should be: after the engine was dead, after somebody flushed the rules, after `corten-net` was killed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use resident::Client;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::fabric::{Connected, Fabric, OWNER_PREFIX};
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result, chain};

/// A change of rules is seldom alone; all of it is repaired at once.
const PAUSE: Duration = Duration::from_millis(200);
/// After a repair that failed, the next one waits.
const RETRY: Duration = Duration::from_secs(2);

impl Engine {
    /// Brings networks together with the containers that run: what belongs to others of ours goes, what is missing comes.
    pub(crate) fn recover_networks(&self, running: &BTreeSet<String>) {
        let steps: [(&str, Result<()>); 3] = [
            ("bridges and rules could not be restored", self.fabric.recover_rules()),
            ("corten-net could not be told what runs", self.recover_resident(running)),
            (
                "addresses of containers that are gone could not be given back",
                self.fabric.sweep_addresses(running),
            ),
        ];
        for (complaint, result) in steps {
            if let Err(error) = result {
                tracing::warn!(error = %error.chain(), "{complaint}");
            }
        }
    }

    fn recover_resident(&self, running: &BTreeSet<String>) -> Result<()> {
        let known: BTreeSet<String> = match self.fabric.connected_resident() {
            Some(resident) => {
                resident.sync(running.iter().cloned().collect())?;
                resident.containers()?.into_iter().collect()
            }
            None => BTreeSet::new(),
        };
        self.tell_all(&known);
        Ok(())
    }

    /// Tells `corten-net` about every running container that it does not know.
    fn tell_all(&self, known: &BTreeSet<String>) {
        for connected in self.fabric.all_connected() {
            if connected.needs_resident() && !known.contains(&connected.guest.id) {
                self.tell(&connected);
            }
        }
    }

    fn tell(&self, connected: &Connected) {
        let id = &connected.guest.id;
        let Ok(record) = self.index.by_id(id) else { return };
        let run = || record.live.borrow().state.run();
        let Some(running) = run() else { return };
        if let Err(error) = self.fabric.tell_again(connected, running.pid) {
            tracing::warn!(container = id, error = %error.chain(), "a container has no names and ports on loopback addresses");
        }
        // It may have ended, and let go of everything, while it was told about.
        if run().is_none()
            && let Some(resident) = self.fabric.connected_resident()
            && let Err(error) = resident.remove(id)
        {
            tracing::warn!(
                container = id,
                error = chain(&error),
                "corten-net does not let go of a container"
            );
        }
    }

    /// Watches over rules and `corten-net`, as long as the engine lives.
    pub(crate) fn guard_networks(self: &Arc<Self>) {
        let fabric = self.fabric.clone();
        tokio::spawn(async move {
            if let Err(error) = fabric.guard_rules().await {
                tracing::warn!(error = %error.chain(), "rules are not watched over any more");
            }
        });
        tokio::spawn(guard_resident(Arc::downgrade(self), self.fabric.resident_came.subscribe()));
    }

    /// `corten-net` is gone: another one takes its place, if a container needs it.
    async fn replace_resident(self: Arc<Self>, gone: Arc<Client>) {
        tracing::warn!("corten-net is gone; another one takes its place");
        self.fabric.forget_resident(&gone);
        blocking(move || self.tell_all(&BTreeSet::new())).await;
    }
}

/// Replaces every `corten-net` that goes before the engine does.
async fn guard_resident(engine: Weak<Engine>, mut came: watch::Receiver<Option<Arc<Client>>>) {
    loop {
        let client = came.borrow_and_update().clone();
        if let Some(client) = client {
            let Ok(socket) = client.duplicate() else { return };
            until_gone(socket).await;
            let Some(engine) = engine.upgrade().filter(|engine| !engine.is_closing()) else { return };
            engine.replace_resident(client).await;
        }
        // The next one; it may have come while the last was replaced.
        if came.changed().await.is_err() {
            return;
        }
    }
}

impl Fabric {
    /// The networks of containers that run: their bridges are there, and all rules as they should be. A bridge of ours that the last
    /// engine left counts as one of ours, which goes when this one closes.
    fn recover_rules(&self) -> Result<()> {
        let connected = self.all_connected();
        let used: BTreeSet<&String> =
            connected.iter().flat_map(|one| &one.state.endpoints).map(|endpoint| &endpoint.network).collect();
        for network in self.book.list()? {
            let Some(bridge) = network.bridge() else { continue };
            // Only ours have a date.
            let is_left = network.created_ns.is_some() && self.links()?.find(&bridge.interface)?.is_some();
            if used.contains(&network.name) {
                self.raise_bridge(&network)?;
            }
            if used.contains(&network.name) || is_left {
                self.set_active(&network);
            }
        }
        self.apply_rules()
    }

    /// Addresses of containers of ours that do not run.
    fn sweep_addresses(&self, running: &BTreeSet<String>) -> Result<()> {
        let is_running =
            |owner: &str| owner.strip_prefix(OWNER_PREFIX).is_some_and(|id| running.contains(id));
        self.ipam().sweep(OWNER_PREFIX, &is_running)?;
        for network in self.book.list()? {
            self.ipam_of(&network).sweep(OWNER_PREFIX, &is_running)?;
        }
        Ok(())
    }

    /// Writes the rules again whenever somebody else has touched them.
    async fn guard_rules(self: Arc<Self>) -> Result<()> {
        let fabric = self.clone();
        let mut watch = blocking(move || Ok::<_, Error>(fabric.firewall()?.watch()?)).await?;
        let failed = |source| Error::System { what: "watch rules", source };
        let socket = asynchronous(watch.as_fd().try_clone_to_owned().map_err(failed)?)?;
        loop {
            let mut ready = socket.readable().await.map_err(failed)?;
            let is_touched = watch.drain()?;
            ready.clear_ready();
            drop(ready);
            if !is_touched {
                continue;
            }
            tokio::time::sleep(PAUSE).await;
            watch.drain()?;
            let fabric = self.clone();
            let repaired = blocking(move || fabric.repair()).await;
            if let Err(error) = repaired {
                tracing::warn!(error = %error.chain(), "the rules of networks could not be repaired; trying again");
                tokio::time::sleep(RETRY).await;
                let fabric = self.clone();
                drop(blocking(move || fabric.repair()).await);
            }
        }
    }

    fn repair(&self) -> Result<()> {
        if self.active().is_empty() {
            return Ok(());
        }
        let _turn = self.turn();
        self.apply_rules()
    }
}

/// Waits until the other end of a connection without a request under way is closed.
async fn until_gone(socket: OwnedFd) {
    let Ok(socket) = asynchronous(socket) else { return };
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        if ready.ready().is_read_closed() {
            return;
        }
        // An answer to somebody else's request.
        ready.clear_ready();
        tokio::time::sleep(PAUSE).await;
    }
}

fn asynchronous(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    #[expect(deprecated, reason = "its safe twin; an owned descriptor keeps what the unsafe one asks")]
    AsyncFd::new(descriptor).map_err(|source| Error::System { what: "wait for a descriptor", source })
}
