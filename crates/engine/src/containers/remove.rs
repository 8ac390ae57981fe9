//! Removal: the row first, then everything that it named.
//!
//! A kill between the two leaves rubbish without a row, which recovery removes.

use std::sync::Arc;

use super::RemoveOptions;
use super::record::Record;
use super::spec::MountSpec;
use super::state::{RemoveVerdict, State, may_remove};
use crate::blocking::blocking;
use crate::engine::Engine;
use crate::error::{Error, Result, chain};

impl Engine {
    /// Removes a container; with `force` also one that runs.
    pub(crate) async fn remove(self: &Arc<Self>, record: &Arc<Record>, options: RemoveOptions) -> Result<()> {
        loop {
            let turn = record.turn().await;
            let state = record.live.borrow().state;
            match may_remove(&state, options.force) {
                RemoveVerdict::Remove => return self.remove_at_rest(record, options.volumes).await,
                RemoveVerdict::AlreadyInProgress => {
                    return if record.live.borrow().is_gone {
                        Err(Error::NoSuchContainer(record.id.clone()))
                    } else {
                        Err(Error::Conflict(format!(
                            "removal of container {} is already in progress",
                            record.id
                        )))
                    };
                }
                RemoveVerdict::Refuse(why) => {
                    return Err(Error::Conflict(format!(
                        "cannot remove container \"{}\": {why}",
                        record.name()
                    )));
                }
                RemoveVerdict::KillFirst => {}
            }
            // The end is recorded in a turn of its own; then it is looked at again.
            drop(turn);
            self.note_stop(record).await;
            if !self.give_up_restart(record).await {
                self.kill_and_wait(record).await?;
            }
            if record.spec.auto_remove {
                return self.wait_until_gone(record).await;
            }
        }
    }

    /// Removes a container with `--rm` whose start failed.
    pub(crate) async fn auto_remove(self: &Arc<Self>, record: &Arc<Record>) {
        let _turn = record.turn().await;
        if record.live.borrow().state.run().is_some() {
            return;
        }
        if let Err(error) = self.remove_at_rest(record, true).await {
            tracing::warn!(container = record.id, error = %error.chain(), "a container could not be removed");
        }
    }

    /// Its own end removes it; what it leaves is removed in that turn.
    async fn wait_until_gone(&self, record: &Record) -> Result<()> {
        drop(record.turn().await);
        Ok(())
    }

    async fn remove_at_rest(self: &Arc<Self>, record: &Arc<Record>, volumes: bool) -> Result<()> {
        let (engine, own) = (self.clone(), record.clone());
        blocking(move || engine.delete_row(&own)).await.inspect_err(|_| {
            record.live.send_modify(|live| live.state = State::Dead);
        })?;
        self.index.remove(record);
        drop(record.take_pending());
        record.live.send_modify(|live| (live.state, live.is_gone) = (State::Removing, true));
        let (engine, own) = (self.clone(), record.clone());
        blocking(move || engine.remove_files(&own, volumes)).await;
        // Its image may have lost its name meanwhile.
        self.collect_later();
        self.publish_container(record, "destroy");
        Ok(())
    }

    /// Removes what a container without a row had: its layer, its files, its anonymous volumes. Goes on after failures,
    /// which recovery tries again.
    pub(crate) fn remove_files(&self, record: &Record, volumes: bool) {
        self.remove_layer(&record.id);
        if !volumes {
            return;
        }
        for mount in &record.spec.mounts {
            if let MountSpec::Volume(volume) = mount
                && volume.anonymous
                && self.volume_users(&volume.name).is_empty()
                && let Err(error) = self.remove_volume(&volume.name)
            {
                tracing::warn!(volume = volume.name, error = %error.chain(), "a volume could not be removed");
            }
        }
    }

    /// Removes the writable layer and the files of a container that has no row.
    pub(crate) fn remove_layer(&self, id: &str) {
        self.drop_images(id);
        let removed = self.snapshots().remove(id).and_then(|()| self.snapshots().cleanup());
        if let Err(error) = removed
            && error.code() != api::code::Code::NotFound
        {
            tracing::warn!(container = id, error = chain(&error), "a container's layer could not be removed");
        }
        let directory = self.container_path(id);
        if let Err(error) = std::fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %directory.display(), %error, "a container's files could not be removed");
        }
    }
}
