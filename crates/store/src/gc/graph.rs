//! What holds what: a graph, and what is reached in it.
//!
//! ```text
//!   lease, time to come ──▶ content ──▶ blob ─(edges)─▶ blob, layer
//!   image ────────────────▶ content     ▲
//!   container ──▶ snapshot ──▶ parent   └── the engine's images, containers and leases
//!                     └──▶ layer
//! ```
//!
//! Things of clients are names in a namespace; blobs and layers are the machine's. A thing need not have a row: content that the
//! engine stored has none until a client asks, and what is reached through it is reached all the same.
//!
//! There are two ways to reach a thing. *Flat* is what a lease with `containerd.io/gc.flat` does: along what a thing is made of
//! (a parent, a target), not along its references.

use std::collections::{BTreeMap, BTreeSet};

use crate::space::snapshots::OVERLAYFS;

/// Something that is held, or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// A blob of the machine, with what the engine's edges say it needs.
    Blob(String),
    /// The bytes of a blob.
    Bytes(String),
    /// A snapshot of the machine; without a snapshotter, of any that has one of the name.
    Layer {
        snapshotter: Option<String>,
        name: String,
    },
    Container(Name),
    Content(Name),
    Image(Name),
    Ingest(Name),
    Snapshot {
        snapshotter: String,
        name: Name,
    },
}

/// What something is called in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) key: String,
}

/// How far a thing holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// With all that it refers to.
    Whole,
    /// With what it is made of.
    Flat,
}

/// Everything, and what it holds.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    roots: Vec<(Thing, Hold)>,
    /// What a thing is made of.
    parts: BTreeMap<Thing, Vec<Thing>>,
    /// What it refers to.
    references: BTreeMap<Thing, Vec<Thing>>,
    /// What the engine's edges lead to, by blob.
    edges: BTreeMap<String, Vec<Thing>>,
    /// The parents of the engine's layers.
    parents: BTreeMap<String, String>,
}

/// What is held.
#[derive(Debug, Default)]
pub(crate) struct Marks(BTreeSet<Thing>);

impl Name {
    pub(crate) fn new(namespace: &str, key: &str) -> Name {
        Name { namespace: namespace.to_owned(), key: key.to_owned() }
    }
}

impl Thing {
    pub(crate) fn layer(name: &str) -> Thing {
        Thing::Layer { snapshotter: None, name: name.to_owned() }
    }
}

impl Graph {
    /// Something that is held by itself.
    pub(crate) fn root(&mut self, thing: Thing, hold: Hold) {
        self.roots.push((thing, hold));
    }

    /// `part` is held however `whole` is.
    pub(crate) fn part(&mut self, whole: Thing, part: Thing) {
        self.parts.entry(whole).or_default().push(part);
    }

    /// `to` is held with `from`, unless that is flat.
    pub(crate) fn reference(&mut self, from: Thing, to: Thing) {
        self.references.entry(from).or_default().push(to);
    }

    /// What the engine says that a blob needs.
    pub(crate) fn edge(&mut self, blob: String, to: Thing) {
        self.edges.entry(blob).or_default().push(to);
    }

    /// What a layer of the engine stands on. It is so under the same names in every namespace.
    pub(crate) fn below(&mut self, layer: String, parent: String) {
        self.parents.insert(layer, parent);
    }

    /// Everything that is reached from the roots.
    pub(crate) fn reach(&self) -> Marks {
        let mut seen = BTreeSet::new();
        let mut pending = self.roots.clone();
        while let Some((thing, hold)) = pending.pop() {
            if seen.contains(&(thing.clone(), hold)) {
                continue;
            }
            pending.extend(self.parts.get(&thing).into_iter().flatten().map(|part| (part.clone(), hold)));
            pending.extend(self.made_of(&thing).into_iter().map(|part| (part, hold)));
            if hold == Hold::Whole {
                let references = self.references.get(&thing).into_iter().flatten().cloned();
                pending.extend(references.chain(self.along_edges(&thing)).map(|thing| (thing, hold)));
            }
            seen.insert((thing, hold));
        }
        Marks(seen.into_iter().map(|(thing, _)| thing).collect())
    }

    /// What things are made of that need no row for it.
    fn made_of(&self, thing: &Thing) -> Option<Thing> {
        match thing {
            Thing::Content(name) => Some(Thing::Bytes(name.key.clone())),
            Thing::Snapshot { snapshotter, name } => {
                let parent = Name::new(&name.namespace, self.parents.get(&name.key)?);
                Some(Thing::Snapshot { snapshotter: snapshotter.clone(), name: parent })
            }
            _ => None,
        }
    }

    /// Where the engine's edges lead: from a blob to blobs and layers, from content to what is called the same in its namespace.
    fn along_edges(&self, thing: &Thing) -> Vec<Thing> {
        match thing {
            Thing::Blob(digest) => {
                let edges = self.edges.get(digest).into_iter().flatten().cloned();
                edges.chain([Thing::Bytes(digest.clone())]).collect()
            }
            Thing::Content(name) => {
                let edges = self.edges.get(&name.key).into_iter().flatten();
                let named = edges.filter_map(|edge| match edge {
                    Thing::Blob(digest) => Some(Thing::Content(Name::new(&name.namespace, digest))),
                    Thing::Layer { name: layer, .. } => Some(Thing::Snapshot {
                        snapshotter: OVERLAYFS.into(),
                        name: Name::new(&name.namespace, layer),
                    }),
                    _ => None,
                });
                named.chain([Thing::Blob(name.key.clone())]).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Marks {
    /// Whether a thing is held.
    pub(crate) fn has(&self, thing: &Thing) -> bool {
        self.0.contains(thing)
    }

    /// Whether the bytes of a blob are.
    pub(crate) fn has_bytes(&self, digest: &str) -> bool {
        self.has(&Thing::Bytes(digest.to_owned()))
    }

    /// Whether a snapshot of the machine is.
    pub(crate) fn has_layer(&self, snapshotter: &str, name: &str) -> bool {
        let named = Thing::Layer { snapshotter: Some(snapshotter.to_owned()), name: name.to_owned() };
        self.has(&named) || self.has(&Thing::layer(name))
    }
}
