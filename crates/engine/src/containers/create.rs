//! Create: from a specification to a container at rest.
//!
//! Everything happens in one blocking step. The container exists from the commit of its row; a kill before it leaves a
//! layer and a directory that no row names, and recovery removes them. Volumes that are made on the way have intents,
//! because a volume without a row may also be somebody's data after a database was lost.

use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use store::snapshots::PrepareOptions;

use super::record::{Identity, Record, StoredSpec, StoredState};
use super::rows::NewRow;
use super::spec::{ContainerSpec, IpcMode, MountSpec, NetworkMode, PidMode, UtsMode};
use super::{Created, cdi, check, confinement, devices, merge, name, start};
use crate::blocking::blocking;
use crate::clock;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::images::Resolved;
use crate::namespaces::Namespace;

/// Made-up names that are tried before giving up: all of them taken means a broken generator.
const NAME_ATTEMPTS: u32 = 16;
/// Digits of the id that become the host name.
const SHORT_ID: usize = 12;

/// A name that is taken for a container to come; given back unless the container came.
struct Reservation<'a> {
    engine: &'a Engine,
    identity: Identity,
    kept: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.engine.index.release(&self.identity.namespace, &self.identity.name);
        }
    }
}

impl Engine {
    /// Makes a container; nothing of it is left when that fails.
    pub(crate) async fn create(
        self: &Arc<Self>,
        namespace: &Namespace,
        name: Option<&str>,
        mut spec: ContainerSpec,
    ) -> Result<Created> {
        spec.log = std::mem::take(&mut spec.log).or_default(&self.config.log);
        spec.log.check()?;
        let mut warnings = check::check(&spec)?;
        self.lend_mounts(namespace, &mut spec)?;
        self.resolve_containers(namespace, &mut spec)?;
        warnings.extend(self.resolve_networks(&mut spec)?);
        self.resolve_links(namespace, &mut spec)?;
        let mut reservation = self.reserve_name(namespace, name)?;
        let has_volumes = spec.mounts.iter().any(|mount| matches!(mount, MountSpec::Volume(_)));
        let volumes_turn = if has_volumes {
            // An image may take long to unpack, and nobody shall wait for that.
            let (engine, own, namespace) = (self.clone(), spec.image.clone(), namespace.clone());
            blocking(move || engine.resolve_image(&namespace, &own)).await?;
            Some(self.volumes_turn.lock().await)
        } else {
            // Volumes of the image are anonymous: nobody else knows their names.
            None
        };
        let (engine, identity) = (self.clone(), reservation.identity.clone());
        let record = blocking(move || engine.make(identity, spec)).await?;
        drop(volumes_turn);
        let record = Arc::new(record);
        self.index.insert(record.clone());
        reservation.kept = true;
        self.publish_container(&record, "create");
        Ok(Created { id: record.id.clone(), warnings })
    }

    fn make(&self, identity: Identity, spec: ContainerSpec) -> Result<Record> {
        let image = self.resolve_image(&identity.namespace, &spec.image)?;
        let mut spec = merge::merge(spec, &image.config.config)?;
        check::check_merged(&spec)?;
        let injected = cdi::find(&spec.device_requests, &self.config.cdi_directories)?;
        devices::find(&spec, injected.devices)?;
        confinement::check(&spec)?;
        devices::block_io(&spec.resources)?;
        self.check_cgroup_parent(&spec.cgroup_parent)?;
        for mount in &spec.mounts {
            if let MountSpec::Bind(bind) = mount
                && !bind.create_source
                && !std::path::Path::new(&bind.source).exists()
            {
                return Err(start::missing_source(&bind.source));
            }
        }
        if spec.hostname.is_empty()
            && spec.uts == UtsMode::Private
            && matches!(spec.network, NetworkMode::None | NetworkMode::Networks)
        {
            spec.hostname = identity.id[..SHORT_ID].to_owned();
        }
        let made = self.make_parts(&identity, &image, spec);
        made.inspect_err(|_| self.remove_layer(&identity.id))
    }

    fn make_parts(&self, identity: &Identity, image: &Resolved, mut spec: ContainerSpec) -> Result<Record> {
        let id = &identity.id;
        let options = PrepareOptions { commit: store::Commit::Ordered, volatile: spec.auto_remove };
        self.snapshots().prepare(id, Some(&image.layer), options)?;
        self.keep_images(identity, &mut spec)?;
        let directory = self.container_path(id);
        std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|source| Error::File {
            what: "make the directory",
            path: directory.clone(),
            source,
        })?;
        let created_ns = clock::now_ns();
        let volumes = self.make_volumes(&mut spec, &image.layer, created_ns)?;
        let new = NewRow {
            identity: identity.clone(),
            manifest: image.manifest.clone(),
            created_ns,
            stored: StoredSpec { image_id: image.id.clone(), spec },
            volumes: volumes.iter().map(|volume| volume.row.clone()).collect(),
        };
        self.insert_row(&new)?;
        for volume in volumes {
            self.volume_made(volume);
        }
        Ok(Record::new(new.identity, created_ns, new.stored, StoredState::default()))
    }

    /// Takes an id, and the name that is asked for or a made-up one.
    fn reserve_name(&self, namespace: &Namespace, name: Option<&str>) -> Result<Reservation<'_>> {
        let id = crate::random::hex::<32>();
        let taken = |name: &str| {
            let identity = Identity { namespace: namespace.clone(), id: id.clone(), name: name.to_owned() };
            Reservation { engine: self, identity, kept: false }
        };
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let name = name::parse(name)?;
            self.index.reserve(namespace, name, &id)?;
            return Ok(taken(name));
        }
        let mut attempt = 0;
        loop {
            let name = name::generate(crate::random::number(), attempt);
            match self.index.reserve(namespace, &name, &id) {
                Ok(()) => return Ok(taken(&name)),
                Err(error) if attempt == NAME_ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Names other containers by their ids: names may change.
    fn resolve_containers(&self, namespace: &Namespace, spec: &mut ContainerSpec) -> Result<()> {
        if let NetworkMode::Container(other) = &mut spec.network {
            *other = self.index.find(namespace, other)?.id.clone();
        }
        if let PidMode::Container(other) = &mut spec.pid {
            *other = self.index.find(namespace, other)?.id.clone();
        }
        if let IpcMode::Container(other) = &mut spec.ipc {
            *other = self.index.find(namespace, other)?.id.clone();
        }
        Ok(())
    }
}
