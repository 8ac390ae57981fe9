//! Containers in the database.
//!
//! Kept containers are committed durably when they are made, when they end and when they go. A container with `--rm`
//! need not survive a power failure, so its commits are only ordered; the same holds for the fact that one runs, because
//! recovery asks the shims.

use store::{Commit, containers};

use super::record::{Identity, Record, StoredSpec, StoredState};
use super::spec::ContainerSpec;
use crate::engine::{Engine, OWNER};
use crate::error::{Result, chain};
use crate::namespaces::Namespace;

/// A container to come, complete.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub(crate) identity: Identity,
    /// Of the image's manifest: it holds the image's content while the container exists.
    pub(crate) manifest: String,
    pub(crate) created_ns: i64,
    pub(crate) stored: StoredSpec,
    /// Volumes that are made with it.
    pub(crate) volumes: Vec<store::volumes::Volume>,
}

/// How much of a container's own commits must be on disk.
pub(crate) fn commit_class(spec: &ContainerSpec) -> Commit {
    if spec.auto_remove { Commit::Ordered } else { Commit::Durable }
}

impl Engine {
    /// Makes the container's row and those of its new volumes, in one commit.
    pub(crate) fn insert_row(&self, new: &NewRow) -> Result<()> {
        // A volume outlives its container, also one with `--rm`.
        let class = if new.volumes.is_empty() { commit_class(&new.stored.spec) } else { Commit::Durable };
        let row = containers::Container {
            uid: new.identity.id.clone(),
            namespace: new.identity.namespace.to_string(),
            id: new.identity.id.clone(),
            name: new.identity.name.clone(),
            owner: OWNER.into(),
            image: new.manifest.clone(),
            snapshot: new.identity.id.clone(),
            created_ns: new.created_ns,
            spec: to_json(&new.stored),
            state: to_json(&StoredState::default()),
        };
        let volumes = new.volumes.clone();
        self.store.write(class, move |tx| {
            for volume in &volumes {
                store::volumes::insert(tx, volume)?;
            }
            containers::insert(tx, &row)
        })?;
        Ok(())
    }

    /// All containers, with what is stored of them.
    pub(crate) fn read_rows(&self) -> Result<Vec<Record>> {
        let rows = self.store.read(containers::list_all)?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let (spec, state) = (serde_json::from_str(&row.spec), serde_json::from_str(&row.state));
            match (spec, state) {
                (Ok(spec), Ok(state)) => {
                    let namespace = Namespace::stored(&row.namespace);
                    let identity = Identity { namespace, id: row.uid, name: row.name };
                    records.push(Record::new(identity, row.created_ns, spec, state));
                }
                (Err(error), _) | (_, Err(error)) => {
                    // One damaged row must not keep all others from their containers.
                    tracing::error!(container = row.uid, %error, "a container's row is damaged; it is left alone");
                }
            }
        }
        Ok(records)
    }

    /// Notes the state. A failure is only logged: the kernel has the truth, and recovery finds it.
    pub(crate) fn store_state(&self, record: &Record, class: Commit) {
        self.update(record, &record.stored_state(), class);
    }

    /// Notes an exit.
    pub(crate) fn store_exit(&self, record: &Record, state: &StoredState) {
        self.update(record, state, Commit::Durable);
    }

    fn update(&self, record: &Record, state: &StoredState, class: Commit) {
        let class = if record.spec.auto_remove { Commit::Ordered } else { class };
        let (id, text) = (record.id.clone(), to_json(state));
        if let Err(error) = self.store.write(class, move |tx| containers::update_state(tx, &id, &text)) {
            tracing::error!(
                container = record.id,
                error = chain(&error),
                "a container's state could not be stored"
            );
        }
    }

    pub(crate) fn rename_row(&self, record: &Record, name: &str) -> Result<()> {
        let (id, name) = (record.id.clone(), name.to_owned());
        self.store.write(commit_class(&record.spec), move |tx| containers::rename(tx, &id, &name))?;
        Ok(())
    }

    /// Removes the row. That ends the container; whatever is left of it is rubbish from then on.
    pub(crate) fn delete_row(&self, record: &Record) -> Result<()> {
        let id = record.id.clone();
        self.store.write(commit_class(&record.spec), move |tx| containers::delete(tx, &id))?;
        Ok(())
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types are always JSON")
}
