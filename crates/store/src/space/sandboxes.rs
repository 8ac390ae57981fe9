//! Sandboxes of containerd's clients: records. Nothing of them is held but what their labels name.

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::mask::{self, Path};
use super::opaque::{Extensions, Opaque};
use super::table::Table;
use super::{Space, identifier, labels};
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::{Labels, from_json, to_json, unique};

/// A sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    pub id: String,
    pub labels: Labels,
    pub runtime: String,
    pub runtime_options: Option<Opaque>,
    pub spec: Option<Opaque>,
    pub extensions: Extensions,
    /// What runs it; empty is the shim.
    pub sandboxer: String,
    /// Both are the store's: what a client says of them does not count.
    pub created_ns: i64,
    pub updated_ns: i64,
}

/// What of it is kept as one text.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    runtime: String,
    runtime_options: Option<Opaque>,
    spec: Option<Opaque>,
    extensions: Extensions,
    sandboxer: String,
}

pub(crate) const COLUMNS: &str = "id, created_ns, updated_ns, labels, document";

const TABLE: Table<Sandbox> = Table { name: "space_sandboxes", columns: COLUMNS, kind: "sandbox", read };

/// What an update changes that does not say.
const FIELDS: [&str; 4] = ["labels", "extensions", "spec", "runtime"];

/// The sandboxes of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Sandboxes<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its sandboxes.
    pub fn sandboxes(self) -> Sandboxes<'a> {
        Sandboxes(self)
    }
}

impl Sandboxes<'_> {
    /// Makes the record.
    ///
    /// # Errors
    /// `AlreadyExists` for the id.
    pub fn create(&self, sandbox: Sandbox) -> Result<Sandbox> {
        let mut sandbox = checked(sandbox).map_err(|error| error.within("failed to validate sandbox"))?;
        sandbox.created_ns = now_ns();
        sandbox.updated_ns = sandbox.created_ns;
        self.0.write(Commit::Durable, move |tx, namespace| {
            unique(write(tx, "INSERT", namespace, &sandbox), "sandbox", &sandbox.id)?;
            Ok(sandbox)
        })
    }

    /// The sandbox of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: &str) -> Result<Sandbox> {
        self.0.store.db.read(|tx| TABLE.get(tx, self.0.namespace, id))
    }

    /// All, by id.
    pub fn list(&self) -> Result<Vec<Sandbox>> {
        self.0.store.db.read(|tx| TABLE.list(tx, self.0.namespace))
    }

    /// Changes what `paths` name to what it is in `update`, or all that can be changed.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Invalid`] for what cannot be changed.
    pub fn update(&self, update: Sandbox, paths: Vec<String>) -> Result<Sandbox> {
        self.0.write(Commit::Durable, move |tx, namespace| {
            let old = TABLE.get(tx, namespace, &update.id)?;
            let sandbox = Sandbox { updated_ns: now_ns(), ..checked(masked(old, &update, &paths)?)? };
            write(tx, "REPLACE", namespace, &sandbox)?;
            Ok(sandbox)
        })
    }

    /// Removes the record.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.0.write(Commit::Durable, move |tx, namespace| TABLE.delete(tx, namespace, &id))
    }
}

pub(crate) fn read(row: &Row<'_>) -> Result<Sandbox> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let document: Document = from_json("document of a sandbox", text(4)?)?;
    Ok(Sandbox {
        id: row.get(0)?,
        created_ns: row.get(1)?,
        updated_ns: row.get(2)?,
        labels: from_json("labels of a sandbox", text(3)?)?,
        runtime: document.runtime,
        runtime_options: document.runtime_options,
        spec: document.spec,
        extensions: document.extensions,
        sandboxer: document.sandboxer,
    })
}

fn write(tx: &Tx<'_>, verb: &str, namespace: &str, sandbox: &Sandbox) -> rusqlite::Result<usize> {
    let document = Document {
        runtime: sandbox.runtime.clone(),
        runtime_options: sandbox.runtime_options.clone(),
        spec: sandbox.spec.clone(),
        extensions: sandbox.extensions.clone(),
        sandboxer: sandbox.sandboxer.clone(),
    };
    let mut statement = tx.connection.prepare_cached(&format!(
        "{verb} INTO space_sandboxes (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    ))?;
    let (labels, document) = (to_json(&sandbox.labels), to_json(&document));
    statement.execute(params![
        namespace,
        sandbox.id,
        sandbox.created_ns,
        sandbox.updated_ns,
        labels,
        document
    ])
}

/// The sandbox after an update.
fn masked(old: Sandbox, update: &Sandbox, paths: &[String]) -> Result<Sandbox> {
    if paths.is_empty() && old.runtime != update.runtime {
        return Err(Error::Invalid { why: "sandbox.Runtime.Name field is immutable".into() });
    }
    let mut new = old;
    for path in mask::or_all(paths, &FIELDS) {
        match Path::parse(path, &["labels", "extensions"]) {
            Path::Key("labels", key) => mask::set(&mut new.labels, key, &update.labels),
            Path::Key(_, key) => mask::set(&mut new.extensions, key, &update.extensions),
            Path::Field("labels") => new.labels.clone_from(&update.labels),
            Path::Field("extensions") => new.extensions.clone_from(&update.extensions),
            Path::Field("spec") => new.spec.clone_from(&update.spec),
            Path::Field("runtime") => {
                new.runtime.clone_from(&update.runtime);
                new.runtime_options.clone_from(&update.runtime_options);
            }
            Path::Field(_) => return Err(Path::refuse(path, &format!("sandbox {:?}", update.id))),
        }
    }
    Ok(new)
}

/// The sandbox as it is stored.
fn checked(mut sandbox: Sandbox) -> Result<Sandbox> {
    identifier::check(&sandbox.id).map_err(|error| error.within("invalid sandbox ID"))?;
    sandbox.labels = labels::stored(sandbox.labels)?;
    Ok(sandbox)
}
