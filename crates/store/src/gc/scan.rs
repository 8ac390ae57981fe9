//! The graph of what the records say, and what of the records is not held.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::graph::{Graph, Hold, Marks, Name, Thing};
use super::rules::{self, Rule, UsedAt};
use super::{Gone, Removed};
use crate::db::Tx;
use crate::error::Result;
use crate::records::{Labels, from_json, images};
use crate::snapshots::Info;
use crate::space::leases::{self, Resource};
use crate::space::snapshots::{OVERLAYFS, to_machine};

/// What was found at some time.
#[derive(Debug)]
pub(super) struct Scan {
    now_ns: i64,
    graph: Graph,
    ended_leases: Vec<Name>,
    /// What snapshots say of their last use, and who wants to know: evaluated when all is read.
    used: BTreeMap<Thing, i64>,
    conditions: Vec<(Thing, Thing, UsedAt)>,
    /// When something ends next.
    next_ns: Option<i64>,
}

/// Only these have labels that tell something.
const HAS_RULES: &str = "labels LIKE '%containerd.io/gc.%'";

/// What is held now.
pub(super) fn mark(tx: &Tx<'_>, now_ns: i64) -> Result<(Marks, Vec<Name>, Option<i64>)> {
    let mut scan = Scan {
        now_ns,
        graph: Graph::default(),
        ended_leases: Vec::new(),
        used: BTreeMap::new(),
        conditions: Vec::new(),
        next_ns: None,
    };
    scan.engine(tx)?;
    scan.leases(tx)?;
    scan.images(tx)?;
    scan.ingests(tx)?;
    scan.content(tx)?;
    scan.containers(tx)?;
    scan.snapshots(tx)?;
    scan.sandboxes(tx)?;
    scan.evaluate();
    Ok((scan.graph.reach(), scan.ended_leases, scan.next_ns))
}

/// What is held, what is not, and when that changes by itself.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) marks: Marks,
    /// The rows that are not held, of clients and of images.
    pub(super) rows: Vec<Removed>,
    /// The snapshots, by snapshotter.
    pub(super) snapshots: Vec<(&'static str, Info)>,
    pub(super) next_ns: Option<i64>,
}

/// Looks at everything, for the snapshotters of these names.
pub(super) fn look(tx: &Tx<'_>, now_ns: i64, snapshotters: [&'static str; 2]) -> Result<Found> {
    let (marks, ended_leases, next_ns) = mark(tx, now_ns)?;
    let rows = unheld(tx, &marks, ended_leases)?;
    let mut snapshots = Vec::new();
    for name in snapshotters {
        let garbage = crate::snapshots::garbage(tx, name, &marks)?;
        snapshots.extend(garbage.into_iter().map(|info| (name, info)));
    }
    Ok(Found { marks, rows, snapshots, next_ns })
}

fn unheld(tx: &Tx<'_>, marks: &Marks, ended_leases: Vec<Name>) -> Result<Vec<Removed>> {
    let mut garbage: Vec<Removed> = ended_leases
        .into_iter()
        .map(|lease| Removed { namespace: lease.namespace, what: Gone::Lease(lease.key) })
        .collect();
    let mut sweep = |sql: &str, thing: fn(Name, String) -> Thing, gone: fn(String, String) -> Gone| {
        each(tx, sql, |row| {
            let (name, more) = (name(row)?, row.get::<_, String>(2)?);
            if !marks.has(&thing(name.clone(), more.clone())) {
                garbage.push(Removed { namespace: name.namespace, what: gone(name.key, more) });
            }
            Ok(())
        })
    };
    sweep(
        "SELECT namespace, name, '' FROM images",
        |name, _| Thing::Image(name),
        |name, _| Gone::Image(name),
    )?;
    sweep(
        "SELECT namespace, key, snapshotter FROM space_snapshots",
        |name, snapshotter| Thing::Snapshot { snapshotter, name },
        |key, snapshotter| Gone::Snapshot { snapshotter, key },
    )?;
    sweep(
        "SELECT namespace, digest, '' FROM space_content",
        |name, _| Thing::Content(name),
        |digest, _| Gone::Content(digest),
    )?;
    sweep(
        "SELECT namespace, ref, upload FROM space_ingests",
        |name, _| Thing::Ingest(name),
        |reference, upload| Gone::Ingest { reference, upload },
    )?;
    Ok(garbage)
}

/// Removes a row.
pub(super) fn remove(tx: &Tx<'_>, removed: &Removed) -> Result<()> {
    let namespace = removed.namespace.as_str();
    let (sql, values) = match &removed.what {
        Gone::Content(digest) => {
            ("DELETE FROM space_content WHERE namespace = ?1 AND digest = ?2", vec![digest])
        }
        Gone::Ingest { reference, .. } => {
            ("DELETE FROM space_ingests WHERE namespace = ?1 AND ref = ?2", vec![reference])
        }
        Gone::Snapshot { snapshotter, key } => (
            "DELETE FROM space_snapshots WHERE namespace = ?1 AND key = ?2 AND snapshotter = ?3",
            vec![key, snapshotter],
        ),
        Gone::Image(name) => return images::delete(tx, namespace, name),
        Gone::Lease(id) => return leases::delete(tx, namespace, id).map(drop),
    };
    let values = [namespace].into_iter().chain(values.into_iter().map(String::as_str));
    tx.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

impl Scan {
    /// What the engine holds: by leases of its own, by containers, and what its blobs need.
    fn engine(&mut self, tx: &Tx<'_>) -> Result<()> {
        each(tx, "SELECT kind, target FROM leases", |row| {
            self.graph.root(machines(&row.get::<_, String>(0)?, row.get(1)?), Hold::Whole);
            Ok(())
        })?;
        each(tx, "SELECT kind, child, parent FROM edges", |row| {
            self.graph.edge(row.get(2)?, machines(&row.get::<_, String>(0)?, row.get(1)?));
            Ok(())
        })?;
        each(tx, "SELECT namespace, id, image, snapshot FROM containers", |row| {
            let name = name(row)?;
            let container = Thing::Container(name.clone());
            self.graph.root(container.clone(), Hold::Whole);
            let image = Name::new(&name.namespace, &row.get::<_, String>(2)?);
            self.graph.part(container.clone(), Thing::Content(image));
            self.graph.part(container.clone(), Thing::layer(&row.get::<_, String>(3)?));
            self.graph.part(container, Thing::Snapshot { snapshotter: OVERLAYFS.into(), name });
            Ok(())
        })?;
        let sql = "SELECT name, parent FROM snapshots WHERE snapshotter = 'overlay' AND parent IS NOT NULL";
        each(tx, sql, |row| {
            self.graph.below(row.get(0)?, row.get(1)?);
            Ok(())
        })
    }

    fn leases(&mut self, tx: &Tx<'_>) -> Result<()> {
        let mut held: BTreeMap<Name, Vec<Resource>> = BTreeMap::new();
        each(tx, "SELECT namespace, lease, kind, id FROM space_leased", |row| {
            let resource = Resource::parse(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?)?;
            held.entry(name(row)?).or_default().push(resource);
            Ok(())
        })?;
        each(tx, "SELECT namespace, id, labels FROM space_leases", |row| {
            let (lease, labels) = (name(row)?, labels(row)?);
            if self.has_ended(rules::expires_ns(&labels)) {
                self.ended_leases.push(lease);
                return Ok(());
            }
            let hold = if rules::is_flat(&labels) { Hold::Flat } else { Hold::Whole };
            for resource in held.remove(&lease).unwrap_or_default() {
                let named = |key: &str| Name::new(&lease.namespace, key);
                let thing = match resource {
                    Resource::Content(digest) => Thing::Content(named(digest.as_str())),
                    Resource::Image(image) => Thing::Image(named(&image)),
                    Resource::Ingest(reference) => Thing::Ingest(named(&reference)),
                    Resource::Snapshot { snapshotter, key } => {
                        Thing::Snapshot { snapshotter, name: named(&key) }
                    }
                };
                self.graph.root(thing, hold);
            }
            Ok(())
        })
    }

    fn images(&mut self, tx: &Tx<'_>) -> Result<()> {
        each(tx, "SELECT namespace, name, labels, digest FROM images", |row| {
            let (name, labels) = (name(row)?, labels(row)?);
            let image = Thing::Image(name.clone());
            let target = Name::new(&name.namespace, &row.get::<_, String>(3)?);
            self.graph.part(image.clone(), Thing::Content(target));
            if !self.has_ended(rules::expires_ns(&labels)) {
                self.graph.root(image.clone(), Hold::Whole);
            }
            self.follow(&name.namespace, image, &labels);
            Ok(())
        })
    }

    fn ingests(&mut self, tx: &Tx<'_>) -> Result<()> {
        each(tx, "SELECT namespace, ref, expected, expires_ns FROM space_ingests", |row| {
            let (name, expected) = (name(row)?, row.get::<_, String>(2)?);
            let ingest = Thing::Ingest(name.clone());
            if !expected.is_empty() {
                self.graph.part(ingest.clone(), Thing::Content(Name::new(&name.namespace, &expected)));
            }
            let expires_ns = row.get::<_, Option<i64>>(3)?;
            if expires_ns.is_some() && !self.has_ended(expires_ns) {
                self.graph.root(ingest, Hold::Whole);
            }
            Ok(())
        })
    }

    fn content(&mut self, tx: &Tx<'_>) -> Result<()> {
        let sql = format!("SELECT namespace, digest, labels FROM space_content WHERE {HAS_RULES}");
        each(tx, &sql, |row| {
            let (name, labels) = (name(row)?, labels(row)?);
            self.follow_or_root(&name.namespace, Thing::Content(name.clone()), &labels);
            Ok(())
        })
    }

    fn containers(&mut self, tx: &Tx<'_>) -> Result<()> {
        each(tx, "SELECT namespace, id, labels, snapshotter, snapshot_key FROM space_containers", |row| {
            let (name, labels) = (name(row)?, labels(row)?);
            let container = Thing::Container(name.clone());
            self.graph.root(container.clone(), Hold::Whole);
            let (snapshotter, key) = (row.get::<_, String>(3)?, row.get::<_, String>(4)?);
            if !snapshotter.is_empty() {
                let name = Name::new(&name.namespace, &key);
                self.graph.part(container.clone(), Thing::Snapshot { snapshotter, name });
            }
            self.follow(&name.namespace, container, &labels);
            Ok(())
        })
    }

    fn snapshots(&mut self, tx: &Tx<'_>) -> Result<()> {
        each(tx, "SELECT namespace, key, labels, snapshotter, parent, backend FROM space_snapshots", |row| {
            let (name, labels, snapshotter) = (name(row)?, labels(row)?, row.get::<_, String>(3)?);
            let snapshot = Thing::Snapshot { snapshotter: snapshotter.clone(), name: name.clone() };
            let layer =
                Thing::Layer { snapshotter: Some(to_machine(&snapshotter).to_owned()), name: row.get(5)? };
            self.graph.part(snapshot.clone(), layer);
            if let Some(parent) = row.get::<_, Option<String>>(4)? {
                let name = Name::new(&name.namespace, &parent);
                self.graph.part(snapshot.clone(), Thing::Snapshot { snapshotter, name });
            }
            self.follow_or_root(&name.namespace, snapshot, &labels);
            Ok(())
        })
    }

    /// A sandbox holds what its labels name, and nothing holds it.
    fn sandboxes(&mut self, tx: &Tx<'_>) -> Result<()> {
        let sql = format!("SELECT namespace, id, labels FROM space_sandboxes WHERE {HAS_RULES}");
        each(tx, &sql, |row| {
            for rule in rules::rules(&name(row)?.namespace, &labels(row)?) {
                if let Rule::Holds(thing) = rule {
                    self.graph.root(thing, Hold::Whole);
                }
            }
            Ok(())
        })
    }

    /// Adds what the labels of `thing` say of others, and that it is a root, if they say so.
    fn follow_or_root(&mut self, namespace: &str, thing: Thing, labels: &Labels) {
        let rules = rules::rules(namespace, labels);
        if rules.contains(&Rule::Root) {
            self.graph.root(thing.clone(), Hold::Whole);
        }
        self.add(&thing, rules);
    }

    /// Adds what the labels of `thing` say of others.
    fn follow(&mut self, namespace: &str, thing: Thing, labels: &Labels) {
        self.add(&thing, rules::rules(namespace, labels));
    }

    fn add(&mut self, thing: &Thing, rules: Vec<Rule>) {
        for rule in rules {
            match rule {
                Rule::Root => {}
                Rule::Holds(other) => self.graph.reference(thing.clone(), other),
                Rule::HeldBy(other) => self.graph.reference(other, thing.clone()),
                Rule::HoldsIf(other, condition) => self.conditions.push((thing.clone(), other, condition)),
                Rule::Used(time_ns) => drop(self.used.insert(thing.clone(), time_ns)),
            }
        }
    }

    fn evaluate(&mut self) {
        for (from, to, condition) in std::mem::take(&mut self.conditions) {
            if self.used.get(&to).is_some_and(|used_ns| condition.holds(*used_ns, self.now_ns)) {
                self.graph.reference(from, to);
            }
        }
    }

    /// Whether a time is over; the next that comes is kept.
    fn has_ended(&mut self, expires_ns: Option<i64>) -> bool {
        let Some(expires_ns) = expires_ns else { return false };
        if expires_ns < self.now_ns {
            return true;
        }
        self.next_ns = Some(self.next_ns.map_or(expires_ns, |next_ns| next_ns.min(expires_ns)));
        false
    }
}

/// What the engine's records name.
fn machines(kind: &str, name: String) -> Thing {
    match kind {
        "snapshot" => Thing::Layer { snapshotter: None, name },
        _ => Thing::Blob(name),
    }
}

fn name(row: &Row<'_>) -> Result<Name> {
    Ok(Name { namespace: row.get(0)?, key: row.get(1)? })
}

fn labels(row: &Row<'_>) -> Result<Labels> {
    from_json("labels", row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)
}

fn each(tx: &Tx<'_>, sql: &str, mut work: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    let mut statement = tx.connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        work(row)?;
    }
    Ok(())
}
