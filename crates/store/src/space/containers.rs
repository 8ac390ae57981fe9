//! Containers of containerd's clients: records, of which the task service and the garbage collection make something.
//!
//! An id is unique in its namespace, also among the containers that the engine made there.

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::mask::{self, Path};
use super::opaque::{Extensions, Opaque};
use super::table::Table;
use super::{Space, identifier, labels};
use crate::Store;
use crate::clock::now_ns;
use crate::db::{Commit, Tx};
use crate::error::{Error, Result};
use crate::records::{Labels, from_json, to_json, unique};

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub labels: Labels,
    /// A name; nothing is held by it.
    pub image: String,
    pub runtime: String,
    pub runtime_options: Option<Opaque>,
    pub spec: Option<Opaque>,
    /// As clients call it; it and the key are empty when there is no snapshot.
    pub snapshotter: String,
    pub snapshot_key: String,
    pub extensions: Extensions,
    /// The id of the sandbox that it is in, or empty.
    pub sandbox: String,
    /// Both are the store's: what a client says of them does not count.
    pub created_ns: i64,
    pub updated_ns: i64,
}

/// What of it is kept as one text.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    runtime_options: Option<Opaque>,
    spec: Option<Opaque>,
    extensions: Extensions,
}

pub(crate) const COLUMNS: &str =
    "id, image, runtime, snapshotter, snapshot_key, sandbox, created_ns, updated_ns, labels, document";

const TABLE: Table<Container> = Table { name: "space_containers", columns: COLUMNS, kind: "container", read };

/// What an update changes that does not say.
const FIELDS: [&str; 5] = ["labels", "spec", "extensions", "image", "snapshotkey"];

/// The containers of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'a>(Space<'a>);

impl<'a> Space<'a> {
    /// Its containers that clients made.
    pub fn containers(self) -> Containers<'a> {
        Containers(self)
    }
}

impl Store {
    /// The containers of all namespaces that have a label, with their namespaces.
    pub fn containers_labelled(&self, label: &str) -> Result<Vec<(String, Container)>> {
        // As it is in the text; so could a value be, which is why they are looked at once more.
        let sql = format!(
            "SELECT {COLUMNS}, namespace FROM space_containers WHERE instr(labels, ?1) ORDER BY namespace, id"
        );
        let mut found: Vec<(String, Container)> = self.db.read(|tx| {
            let mut statement = tx.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([to_json(&label)], |row| Ok((row.get(10)?, read(row))))?;
            rows.map(|row| row.map_err(Error::from).and_then(|(namespace, read)| Ok((namespace, read?))))
                .collect()
        })?;
        found.retain(|(_, container)| container.labels.contains_key(label));
        Ok(found)
    }
}

impl Containers<'_> {
    /// Makes the record.
    ///
    /// # Errors
    /// `AlreadyExists` for the id; [`Error::Invalid`] says what must be set.
    pub fn create(&self, container: Container) -> Result<Container> {
        let mut container =
            checked(container).map_err(|error| error.within("create container failed validation"))?;
        container.created_ns = now_ns();
        container.updated_ns = container.created_ns;
        self.0.write(Commit::Durable, move |tx, namespace| {
            let sql = "SELECT 1 FROM containers WHERE namespace = ?1 AND id = ?2";
            if tx.connection.prepare_cached(sql)?.exists([namespace, &container.id])? {
                return Err(Error::AlreadyExists { kind: "container", name: container.id });
            }
            unique(write(tx, "INSERT", namespace, &container), "container", &container.id)?;
            Ok(container)
        })
    }

    /// The container of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: &str) -> Result<Container> {
        self.0.store.db.read(|tx| TABLE.get(tx, self.0.namespace, id))
    }

    /// All, by id.
    pub fn list(&self) -> Result<Vec<Container>> {
        self.0.store.db.read(|tx| TABLE.list(tx, self.0.namespace))
    }

    /// Changes what `paths` name to what it is in `update`, or all that can be changed.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Invalid`] for what cannot be changed.
    pub fn update(&self, update: Container, paths: Vec<String>) -> Result<Container> {
        if update.id.is_empty() {
            return Err(Error::Invalid { why: "must specify a container id".into() });
        }
        self.0.write(Commit::Durable, move |tx, namespace| {
            let old = TABLE.get(tx, namespace, &update.id)?;
            let container = checked(masked(old, &update, &paths)?)
                .map_err(|error| error.within("update failed validation"))?;
            let container = Container { updated_ns: now_ns(), ..container };
            write(tx, "REPLACE", namespace, &container)?;
            Ok(container)
        })
    }

    /// Removes the record; its snapshot goes with the next collection, unless something else holds it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.0.write(Commit::Durable, move |tx, namespace| TABLE.delete(tx, namespace, &id))
    }
}

/// Whether a client of the namespace has a container of that id.
pub(crate) fn exists(tx: &Tx<'_>, namespace: &str, id: &str) -> Result<bool> {
    TABLE.has(tx, namespace, id)
}

pub(crate) fn read(row: &Row<'_>) -> Result<Container> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let document: Document = from_json("document of a container", text(9)?)?;
    Ok(Container {
        id: row.get(0)?,
        image: row.get(1)?,
        runtime: row.get(2)?,
        snapshotter: row.get(3)?,
        snapshot_key: row.get(4)?,
        sandbox: row.get(5)?,
        created_ns: row.get(6)?,
        updated_ns: row.get(7)?,
        labels: from_json("labels of a container", text(8)?)?,
        runtime_options: document.runtime_options,
        spec: document.spec,
        extensions: document.extensions,
    })
}

fn write(tx: &Tx<'_>, verb: &str, namespace: &str, container: &Container) -> rusqlite::Result<usize> {
    let document = Document {
        runtime_options: container.runtime_options.clone(),
        spec: container.spec.clone(),
        extensions: container.extensions.clone(),
    };
    let mut statement = tx.connection.prepare_cached(&format!(
        "{verb} INTO space_containers (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    ))?;
    statement.execute(params![
        namespace,
        container.id,
        container.image,
        container.runtime,
        container.snapshotter,
        container.snapshot_key,
        container.sandbox,
        container.created_ns,
        container.updated_ns,
        to_json(&container.labels),
        to_json(&document)
    ])
}

/// The container after an update.
fn masked(old: Container, update: &Container, paths: &[String]) -> Result<Container> {
    let immutable = |field| Err(Error::Invalid { why: format!("container.{field} field is immutable") });
    if paths.is_empty() && old.snapshotter != update.snapshotter {
        return immutable("Snapshotter");
    }
    if paths.is_empty() && old.runtime != update.runtime {
        return immutable("Runtime.Name");
    }
    let mut new = old;
    for path in mask::or_all(paths, &FIELDS) {
        match Path::parse(path, &["labels", "extensions"]) {
            Path::Key("labels", key) => mask::set(&mut new.labels, key, &update.labels),
            Path::Key(_, key) => mask::set(&mut new.extensions, key, &update.extensions),
            Path::Field("labels") => new.labels.clone_from(&update.labels),
            Path::Field("extensions") => new.extensions.clone_from(&update.extensions),
            Path::Field("spec") => new.spec.clone_from(&update.spec),
            Path::Field("image") => new.image.clone_from(&update.image),
            Path::Field("snapshotkey") => new.snapshot_key.clone_from(&update.snapshot_key),
            Path::Field(_) => return Err(Path::refuse(path, &format!("{:?}", update.id))),
        }
    }
    Ok(new)
}

/// The container as it is stored.
fn checked(mut container: Container) -> Result<Container> {
    let missing = |what: &str| Err(Error::Invalid { why: format!("container.{what}") });
    identifier::check(&container.id).map_err(|error| error.within("container.ID"))?;
    if container.extensions.contains_key("") {
        return missing("Extension keys must not be zero-length");
    }
    container.labels = labels::stored(container.labels).map_err(|error| error.within("containers.Labels"))?;
    if container.runtime.is_empty() {
        return missing("Runtime.Name must be set");
    }
    if !container.snapshot_key.is_empty() && container.snapshotter.is_empty() {
        return missing("Snapshotter must be set if container.SnapshotKey is set");
    }
    Ok(container)
}

#[cfg(test)]
mod tests {
    use super::{Container, Extensions, Labels, Opaque, masked};

    fn opaque(value: &[u8]) -> Opaque {
        Opaque { type_url: "t".into(), value: value.to_vec() }
    }

    fn container() -> Container {
        Container {
            id: "c".into(),
            labels: Labels::from([("a".into(), "1".into()), ("b.c".into(), "2".into())]),
            image: "i".into(),
            runtime: "r".into(),
            spec: Some(opaque(b"s")),
            snapshotter: "sn".into(),
            snapshot_key: "k".into(),
            extensions: Extensions::from([("e".into(), opaque(b"e"))]),
            ..Container::default()
        }
    }

    fn update(paths: &[&str], update: &Container) -> Result<Container, String> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        masked(container(), update, &paths).map_err(|error| error.to_string())
    }

    #[test]
    fn an_update_changes_what_its_mask_names() {
        let other = Container {
            labels: Labels::from([("b.c".into(), "3".into())]),
            image: "j".into(),
            spec: Some(opaque(b"t")),
            snapshot_key: "l".into(),
            extensions: Extensions::from([("f".into(), opaque(b"f"))]),
            ..container()
        };
        assert_eq!(update(&[], &other), Ok(other.clone()));
        let expected = Container { image: "j".into(), ..container() };
        assert_eq!(update(&["image"], &other), Ok(expected));
        let labels = Labels::from([("b.c".into(), "3".into())]);
        assert_eq!(update(&["labels.b.c", "labels.a"], &other), Ok(Container { labels, ..container() }));
        let extensions = Extensions::from([("e".into(), opaque(b"e")), ("f".into(), opaque(b"f"))]);
        assert_eq!(update(&["extensions.f"], &other), Ok(Container { extensions, ..container() }));
        let (spec, snapshot_key) = (other.spec.clone(), other.snapshot_key.clone());
        let expected = Container { spec, snapshot_key, ..container() };
        assert_eq!(update(&["spec", "snapshotkey"], &other), Ok(expected));
    }

    #[test]
    fn what_a_container_runs_with_cannot_be_changed() {
        for path in ["runtime", "runtime.options", "snapshotter", "id", "sandbox", "x.y"] {
            let told = format!("cannot update {path:?} field on \"c\"");
            assert_eq!(update(&[path], &container()), Err(told));
        }
        let other = Container { snapshotter: "x".into(), ..container() };
        assert_eq!(update(&[], &other), Err("container.Snapshotter field is immutable".into()));
        assert!(update(&["image"], &other).is_ok(), "what the mask does not name is not looked at");
        let other = Container { runtime: "x".into(), ..container() };
        assert_eq!(update(&[], &other), Err("container.Runtime.Name field is immutable".into()));
    }
}
