//! Namespaces, which are containerd's: each has images and containers of its own. What belongs to the machine (networks, volumes,
//! content) is everybody's.
//!
//! A namespace is there because somebody made it by name, or as long as something is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use store::space::identifier;
use store::{Commit, namespaces as rows};

use crate::blocking::blocking;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::{EventFilter, EventStream};
use crate::execs::Execs;
use crate::guests::Guests;
use crate::images::Images;
use crate::info::{Info, Version};
use crate::networks::Networks;
use crate::volumes::Volumes;

/// The namespace of whoever does not say.
const DEFAULT: &str = "default";
/// Kubernetes' own. Nobody else takes images out of it unasked.
pub(crate) const KUBERNETES: &str = "k8s.io";
/// Labels of one namespace, each bounded as containerd's.
const LABELS_MAX: usize = 1000;
const LABEL_MAX: usize = 4096;

/// A namespace's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace(DEFAULT.into())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Namespace {
    /// Words of letters and digits, joined by single `.`, `_` or `-`: containerd's rule of identifiers.
    pub fn parse(text: &str) -> Result<Namespace> {
        let wrong = |why: &str| Err(Error::InvalidArgument(format!("namespace {text:?}: {why}")));
        if text.is_empty() {
            return wrong("it must not be empty");
        }
        if text.len() > identifier::MAX_BYTES {
            return wrong(&format!("it has more than {} characters", identifier::MAX_BYTES));
        }
        if !identifier::are_words(text) {
            return wrong("only letters and digits, joined by single `.`, `_` or `-`, are allowed");
        }
        Ok(Namespace(text.into()))
    }

    /// A name that was stored; it was checked when it was made.
    pub(crate) fn stored(text: &str) -> Namespace {
        Namespace(text.into())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The engine, seen from a namespace.
#[derive(Debug, Clone)]
pub struct Scope {
    engine: Arc<Engine>,
    namespace: Namespace,
}

impl Scope {
    /// The containers of the namespace.
    pub fn containers(&self) -> Containers {
        Containers { engine: self.engine.clone(), namespace: self.namespace.clone() }
    }

    /// Containers of the namespace that clients of containerd's API made.
    pub fn guests(&self) -> Guests {
        Guests { engine: self.engine.clone(), namespace: self.namespace.clone() }
    }

    /// The images of the namespace.
    pub fn images(&self) -> Images {
        Images { engine: self.engine.clone(), namespace: self.namespace.clone() }
    }

    /// What is executed in containers of the namespace.
    pub fn execs(&self) -> Execs {
        Execs { engine: self.engine.clone(), namespace: self.namespace.clone() }
    }

    /// The networks of the machine, and containers of the namespace in them.
    pub fn networks(&self) -> Networks {
        Networks { engine: self.engine.clone(), namespace: self.namespace.clone() }
    }

    /// The volumes of the machine.
    pub fn volumes(&self) -> Volumes {
        Volumes { engine: self.engine.clone() }
    }

    /// All namespaces.
    pub fn namespaces(&self) -> Namespaces {
        Namespaces { engine: self.engine.clone() }
    }

    /// What happens in the namespace and to what belongs to the machine; what happens after this returned is not missed.
    pub fn events(&self, since_ns: Option<i64>, until_ns: Option<i64>, filter: EventFilter) -> EventStream {
        let filter = EventFilter { namespace: Some(self.namespace.clone()), ..filter };
        self.engine.events.subscribe(since_ns, until_ns, filter)
    }

    /// What the namespace has and the engine runs on.
    pub async fn info(&self) -> Result<Info> {
        self.engine.info(&self.namespace).await
    }

    /// Which version the engine is.
    pub fn version(&self) -> Version {
        self.engine.version()
    }
}

impl Engine {
    /// The engine, seen from a namespace.
    pub fn within(self: &Arc<Self>, namespace: Namespace) -> Scope {
        Scope { engine: self.clone(), namespace }
    }
}

/// All namespaces.
#[derive(Debug, Clone)]
pub struct Namespaces {
    engine: Arc<Engine>,
}

/// One namespace, and how much is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceView {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub containers: usize,
    pub images: usize,
}

impl Namespaces {
    /// All, by name. The default one is always there.
    pub async fn list(&self) -> Result<Vec<NamespaceView>> {
        let engine = self.engine.clone();
        blocking(move || {
            let rows = engine.store.read(rows::list)?;
            let mut all: Vec<NamespaceView> = rows.into_iter().map(view).collect();
            if !all.iter().any(|one| one.name == DEFAULT) {
                let at = all.partition_point(|one| one.name.as_str() < DEFAULT);
                all.insert(at, NamespaceView { name: DEFAULT.into(), ..NamespaceView::default() });
            }
            Ok(all)
        })
        .await
    }

    /// One of them.
    pub async fn inspect(&self, name: &Namespace) -> Result<NamespaceView> {
        let found = self.list().await?.into_iter().find(|one| one.name == name.as_str());
        found.ok_or_else(|| Error::NoSuchNamespace(name.to_string()))
    }

    /// Makes one by name.
    pub async fn create(&self, name: &Namespace, labels: BTreeMap<String, String>) -> Result<()> {
        check_labels(&labels)?;
        let (engine, name) = (self.engine.clone(), name.clone());
        blocking(move || {
            engine.store.write(Commit::Durable, move |tx| rows::create(tx, name.as_str(), &labels))?;
            Ok(())
        })
        .await
    }

    /// Changes labels; an empty value takes a label away.
    pub async fn update(&self, name: &Namespace, changes: BTreeMap<String, String>) -> Result<()> {
        check_labels(&changes)?;
        let before = self.inspect(name).await?.labels;
        let (engine, name) = (self.engine.clone(), name.clone());
        blocking(move || {
            engine.store.write(Commit::Durable, move |tx| {
                let mut labels = rows::labels(tx, name.as_str())?.unwrap_or(before);
                for (key, value) in changes {
                    match value.is_empty() {
                        true => drop(labels.remove(&key)),
                        false => drop(labels.insert(key, value)),
                    }
                }
                rows::put(tx, name.as_str(), &labels)
            })?;
            Ok(())
        })
        .await
    }

    /// Removes one that nothing is in.
    pub async fn remove(&self, name: &Namespace) -> Result<()> {
        self.inspect(name).await?;
        let (engine, name) = (self.engine.clone(), name.clone());
        blocking(move || {
            match engine.store.write(Commit::Durable, move |tx| rows::delete(tx, name.as_str())) {
                // The default one is there without having been made.
                Err(store::Error::NotFound { .. }) => Ok(()),
                Err(error @ store::Error::NotEmpty { .. }) => Err(Error::Conflict(error.to_string())),
                done => Ok(done?),
            }
        })
        .await
    }
}

fn view(row: rows::Namespace) -> NamespaceView {
    let rows::Namespace { name, labels, containers, images } = row;
    NamespaceView { name, labels, containers, images }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<()> {
    let is_long = labels.iter().any(|(key, value)| key.is_empty() || key.len() + value.len() > LABEL_MAX);
    match is_long || labels.len() > LABELS_MAX {
        true => Err(Error::InvalidArgument(format!(
            "a label must have a name and at most {LABEL_MAX} characters, and a namespace at most {LABELS_MAX} labels"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Namespace;

    #[test]
    fn names_are_containerds_identifiers() {
        for name in ["default", "k8s.io", "a-b_c.d", "1", &"x".repeat(76)] {
            assert_eq!(Namespace::parse(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "a..b", "-a", "a-", "a/b", "a b", "ä", "a\n", &"x".repeat(77)] {
            assert!(Namespace::parse(name).is_err(), "{name:?}");
        }
    }
}
