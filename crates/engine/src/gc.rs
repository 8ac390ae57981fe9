//! Rubbish: what nothing holds any more goes, some time after what held it.
//!
//! Removals reply when the record is gone; the bytes go in the background, one collection at a time however many
//! removals ask for it. New layers are synced in the background likewise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::Store;

use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::chain;

/// A lost database loses no more than this.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3600);

/// Work that is asked for often and done once.
#[derive(Debug, Default)]
pub(crate) struct Background {
    collect: AtomicBool,
    sync: AtomicBool,
}

impl Engine {
    /// Collects garbage soon.
    pub fn collect_later(self: &Arc<Self>) {
        self.later(
            |background| &background.collect,
            "garbage could not be collected",
            |store| store.gc().map(drop),
        );
    }

    /// Writes new layers to disk soon; until then they count as volatile.
    pub fn sync_layers_later(self: &Arc<Self>) {
        self.later(|background| &background.sync, "new layers could not be synced", Store::sync_layers);
    }

    /// Collects garbage and copies the database every hour, as long as the engine lives.
    pub(crate) fn keep_house(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(HOUSEKEEPING_INTERVAL).await;
                let Some(engine) = engine.upgrade() else { return };
                let swept = blocking(move || engine.store.gc().and_then(|_| engine.store.backup())).await;
                if let Err(error) = swept {
                    tracing::warn!(error = chain(&error), "housekeeping failed");
                }
            }
        });
    }

    fn later(
        self: &Arc<Self>,
        flag: fn(&Background) -> &AtomicBool,
        complaint: &'static str,
        work: fn(&Store) -> store::Result<()>,
    ) {
        // Whoever finds it set is served by the one who set it: the flag falls before the work begins.
        if flag(&self.background).swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = self.clone();
        tokio::task::spawn(async move {
            blocking(move || {
                flag(&engine.background).store(false, Ordering::Release);
                if let Err(error) = work(&engine.store) {
                    tracing::warn!(error = chain(&error), "{complaint}");
                }
            })
            .await;
        });
    }
}
