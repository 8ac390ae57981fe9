//! Rubbish: what nothing holds any more goes, some time after what held it.
//!
//! Removals reply when the record is gone; the bytes go in the background, one collection at a time however many removals ask
//! for it. Who makes things without removing any ([`Engine::look_later`]) has them looked at a minute later, or when there are
//! many; what has an end of its own (a lease, an image, an upload) goes at its end. New layers are synced in the background
//! likewise. Of the images and snapshots that go, whoever listens at the exchange is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use api::events::SnapshotRemove;
use api::services::images::ImageDelete;
use store::{GcReport, Gone};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::clock::now_ns;
use crate::engine::Engine;
use crate::error::Result;

/// A lost database loses no more than this.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(3600);

/// What was made and is held by nothing stays so long; so does the end of a lease that was made since the last collection.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// So many changes are looked at at once when nobody says, as in containerd.
const CHANGES_MAX: u32 = 100;

/// Work that is asked for often and done once.
#[derive(Debug)]
pub(crate) struct Background {
    collect: AtomicBool,
    sync: AtomicBool,
    /// Since the last collection.
    changes: AtomicU32,
    /// So many are looked at at once.
    changes_max: AtomicU32,
    /// When the next collection is due, in nanoseconds since 1970.
    due_ns: AtomicI64,
    /// Who waits for that time looks at it again.
    is_due_earlier: Notify,
}

impl Default for Background {
    fn default() -> Background {
        Background {
            collect: AtomicBool::default(),
            sync: AtomicBool::default(),
            changes: AtomicU32::default(),
            changes_max: AtomicU32::new(CHANGES_MAX),
            due_ns: AtomicI64::new(i64::MAX),
            is_due_earlier: Notify::default(),
        }
    }
}

impl Background {
    /// A collection is due at that time, if none is before.
    fn is_due(&self, due_ns: i64) {
        if due_ns < self.due_ns.fetch_min(due_ns, Ordering::AcqRel) {
            self.is_due_earlier.notify_one();
        }
    }

    /// How long it is until the next collection.
    fn wait(&self, now_ns: i64) -> Duration {
        let wait_ns = self.due_ns.load(Ordering::Acquire).saturating_sub(now_ns);
        Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0))
    }
}

impl Engine {
    /// Collects garbage soon.
    pub fn collect_later(self: &Arc<Self>) {
        self.later(
            |background| &background.collect,
            "garbage could not be collected",
            |engine| engine.collect().map(drop),
        );
    }

    /// Collects garbage; the space of what went is free when this returns.
    pub async fn collect_now(self: &Arc<Self>) -> Result<()> {
        let engine = self.clone();
        blocking(move || engine.collect().map(drop)).await
    }

    /// From now on so many changes are looked at at once, and fewer a minute later.
    pub fn look_after_changes(&self, changes: u32) {
        self.background.changes_max.store(changes, Ordering::Relaxed);
    }

    /// Something was made or changed of which nobody says whether anything holds it, or how long.
    pub fn look_later(self: &Arc<Self>) {
        if self.background.changes.fetch_add(1, Ordering::AcqRel) + 1
            >= self.background.changes_max.load(Ordering::Relaxed)
        {
            self.collect_later();
        } else {
            let after_ns = i64::try_from(LOOK_AFTER.as_nanos()).unwrap_or(i64::MAX);
            self.background.is_due(now_ns().saturating_add(after_ns));
        }
    }

    /// Writes new layers to disk soon; until then they count as volatile.
    pub fn sync_layers_later(self: &Arc<Self>) {
        self.later(
            |background| &background.sync,
            "new layers could not be synced",
            |engine| Ok(engine.store.sync_layers()?),
        );
    }

    /// Collects garbage when it is due, and at least every hour, when the database is copied, too; as long as the engine lives.
    pub(crate) fn keep_house(self: &Arc<Self>) {
        let (engine, background) = (Arc::downgrade(self), self.background.clone());
        tokio::spawn(async move {
            let mut house_at = Instant::now() + HOUSEKEEPING_INTERVAL;
            loop {
                let until_house = house_at.saturating_duration_since(Instant::now());
                tokio::select! {
                    () = tokio::time::sleep(background.wait(now_ns()).min(until_house)) => {}
                    () = background.is_due_earlier.notified() => continue,
                }
                let Some(engine) = engine.upgrade() else { return };
                let is_hour = Instant::now() >= house_at;
                if is_hour {
                    house_at += HOUSEKEEPING_INTERVAL;
                }
                if let Err(error) = blocking(move || engine.clean(is_hour)).await {
                    tracing::warn!(error = error.chain(), "housekeeping failed");
                }
            }
        });
    }

    /// One round of the housekeeping.
    fn clean(&self, is_hour: bool) -> Result<()> {
        self.collect()?;
        if is_hour {
            self.store.backup()?;
        }
        Ok(())
    }

    /// Collects garbage, tells of it, and notes when the next collection is due.
    pub(crate) fn collect(&self) -> Result<GcReport> {
        // What changes from here on is looked at again.
        self.background.changes.store(0, Ordering::Release);
        self.background.due_ns.store(i64::MAX, Ordering::Release);
        let report = self.store.gc()?;
        if let Some(next_ns) = report.next_ns {
            self.background.is_due(next_ns.saturating_add(1));
        }
        for removed in &report.removed {
            match &removed.what {
                Gone::Image(name) => {
                    let event = ImageDelete { name: name.clone() };
                    self.exchange.publish(&removed.namespace, "/images/delete", &event);
                }
                Gone::Snapshot { snapshotter, key } => {
                    let event = SnapshotRemove { snapshotter: snapshotter.clone(), key: key.clone() };
                    self.exchange.publish(&removed.namespace, "/snapshot/remove", &event);
                }
                Gone::Content(_) | Gone::Ingest { .. } | Gone::Lease(_) => {}
            }
        }
        Ok(report)
    }

    fn later(
        self: &Arc<Self>,
        flag: fn(&Background) -> &AtomicBool,
        complaint: &'static str,
        work: fn(&Engine) -> Result<()>,
    ) {
        // Whoever finds it set is served by the one who set it: the flag falls before the work begins.
        if flag(&self.background).swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = self.clone();
        tokio::task::spawn(async move {
            blocking(move || {
                flag(&engine.background).store(false, Ordering::Release);
                if let Err(error) = work(&engine) {
                    tracing::warn!(error = error.chain(), "{complaint}");
                }
            })
            .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Background;

    #[tokio::test]
    async fn the_earliest_time_counts_and_whoever_waits_is_told_of_an_earlier_one() {
        let background = Background::default();
        assert!(background.wait(0) > Duration::from_secs(1 << 32), "nothing is due");
        background.is_due(5_000_000_000);
        background.is_due_earlier.notified().await;
        background.is_due(9_000_000_000);
        assert_eq!(background.wait(2_000_000_000), Duration::from_secs(3));
        assert_eq!(background.wait(6_000_000_000), Duration::ZERO, "what is past is due now");
        background.is_due(4_000_000_000);
        background.is_due_earlier.notified().await;
        assert_eq!(background.wait(2_000_000_000), Duration::from_secs(2));
    }
}
