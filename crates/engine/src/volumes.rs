//! Volumes: directories that outlive containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Result;

/// The volumes of the engine.
#[derive(Debug, Clone)]
pub struct Volumes {
    engine: Arc<Engine>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub mountpoint: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub created_ns: i64,
    /// Ids of the containers that use it.
    pub used_by: Vec<String>,
}

/// Which volumes `list` returns.
#[derive(Debug, Clone, Default)]
pub struct VolumeFilter {
    /// Parts of names.
    pub names: Vec<String>,
    pub labels: Vec<(String, Option<String>)>,
    pub dangling: Option<bool>,
}

impl Volumes {
    /// Makes a volume; one that is there already is returned as it is. No name: one is made up.
    pub async fn create(&self, _name: Option<&str>, _labels: BTreeMap<String, String>) -> Result<Volume> {
        todo!()
    }
    /// One volume.
    pub async fn inspect(&self, _name: &str) -> Result<Volume> {
        todo!()
    }
    /// Those that match, by name.
    pub async fn list(&self, _filter: &VolumeFilter) -> Result<Vec<Volume>> {
        todo!()
    }
    /// Removes it, unless a container uses it. `force`: one that is not there is no error.
    pub async fn remove(&self, _name: &str, _force: bool) -> Result<()> {
        todo!()
    }
    /// Removes anonymous volumes (`all`: any) that no container uses; returns names and bytes.
    pub async fn prune(&self, _all: bool, _labels: &BTreeMap<String, Option<String>>) -> Result<(Vec<String>, u64)> {
        todo!()
    }
}

impl Engine {
    /// The volumes.
    pub fn volumes(self: &Arc<Self>) -> Volumes {
        Volumes { engine: self.clone() }
    }
}
