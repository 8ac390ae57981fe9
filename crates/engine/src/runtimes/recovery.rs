//! What a daemon that ended left: tasks whose shims run on, and bundles of shims that do not.

use std::sync::Arc;
use std::time::Duration;

use api::task::{ConnectRequest, ConnectResponse, ShutdownRequest};

use super::bundle::{self, Bundle};
use super::log::Log;
use super::shim::{Address, Shim};
use super::{Key, Runtimes, Slot, Task};

/// A shim answers at once; one that does not is lost.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

impl Runtimes {
    /// Takes up every task whose shim answers, and buries the others. All at once: one that hangs keeps nobody.
    pub(crate) async fn recover(self: &Arc<Self>) {
        let mut found = tokio::task::JoinSet::new();
        for key in bundle::all(&self.config) {
            let runtimes = self.clone();
            found.spawn(async move { runtimes.take_up(key).await });
        }
        while found.join_next().await.is_some() {}
        // Then those that they are in, because tasks end with them.
        self.recover_sandboxes().await;
    }

    async fn take_up(self: &Arc<Self>, key: Key) {
        let bundle = Bundle::of(&self.config, &key);
        self.put(&key, Some(Slot::Taken));
        match tokio::time::timeout(LOAD_TIMEOUT, connect(&bundle, &key)).await {
            Ok(Some((shim, pid))) => {
                let group = self.group_of(&key, &bundle);
                let task = Task::new(key.namespace.clone(), key.id.clone(), shim, bundle, pid);
                let task = Arc::new(task.within(group));
                self.put(&key, Some(Slot::Task(task.clone())));
                self.watch(key, task);
            }
            _ => {
                end_unknown(&bundle).await;
                self.bury(&key, &bundle, 0).await;
            }
        }
    }
}

/// Ends a shim that was started when its daemon was killed, before that had noted it: nothing is in it yet.
pub(super) async fn end_unknown(bundle: &Bundle) {
    if bundle.bootstrap().is_some() {
        return;
    }
    let Some(address) = bundle.address().and_then(|text| Address::new(2, text.trim(), "").ok()) else {
        return;
    };
    let ended = async {
        let shim = Shim::connect(&address, None).await?;
        shim.call::<_, ()>("Shutdown", &ShutdownRequest { now: true, ..ShutdownRequest::default() }).await
    };
    // One that does not answer is not there.
    drop(tokio::time::timeout(LOAD_TIMEOUT, ended).await);
}

/// The shim of a bundle, and its task's process; none for one without a task.
async fn connect(bundle: &Bundle, key: &Key) -> Option<(Shim, u32)> {
    let address = Address::from_json(&bundle.bootstrap()?).ok()?;
    let shim = Shim::connect(&address, Some(Log::follow(bundle, key))).await.ok()?;
    let request = ConnectRequest { id: key.id.clone() };
    let answer: ConnectResponse = shim.call("Connect", &request).await.ok()?;
    (answer.task_pid != 0).then_some((shim, answer.task_pid))
}
