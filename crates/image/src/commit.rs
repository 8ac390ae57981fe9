//! Making an image of a container: its own layer, packed by a worker, on top of its image's.
//!
//! ```text
//! upper directory ─ worker ─▶ tar ─ hash ─▶ gzip ─▶ blob ─ worker unpack ─▶ snapshot ─▶ record
//! ```
//!
//! The layer is unpacked again like any other, so that a commit gives what a pull of it would. A container that changed
//! nothing makes an image without a layer more.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use oci::descriptor::Descriptor;
use oci::digest::{Digest, Hasher};
use oci::image_config::{History, ImageConfig, RuntimeConfig};
use oci::manifest::{Manifest, media_type};
use store::edges::Held;
use store::{Commit, Ingest, Pin, now_ns};

use crate::apply::Whiteouts;
use crate::archive::{MAX_LAYER_SIZE, layer_type};
use crate::compression::{Compression, ExpansionLimits};
use crate::error::{Error, Result};
use crate::image::{Documents, Image, check_image};
use crate::images::{Images, parse_tag};
use crate::import::changed;
use crate::worker::{Job, Limits, Packing, Task};

const BUFFER_SIZE: usize = 256 << 10;

/// How a commit is recorded.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The name it gets.
    pub reference: Option<String>,
    /// The container's own configuration.
    pub container: RuntimeConfig,
    /// What a client wants, completed with the container's. None: the container's.
    pub config: Option<RuntimeConfig>,
    /// Dockerfile instructions for that.
    pub changes: Vec<String>,
    /// The container's command, for the history.
    pub created_by: String,
    pub message: String,
    pub author: String,
}

/// Where a container's files are.
#[derive(Debug)]
pub struct ContainerLayers {
    /// Its own.
    pub upper: OwnedFd,
    /// Its image's, topmost first.
    pub lowers: Vec<OwnedFd>,
}

/// A container's layer, stored.
struct Layer {
    diff_id: Digest,
    blob: Descriptor,
}

/// What nothing holds yet.
#[derive(Default)]
struct Pins(Vec<Pin>);

impl Images {
    /// Makes an image of a container's own layer on top of the image with this manifest; returns its id.
    pub fn commit(
        &self,
        namespace: &str,
        layers: &ContainerLayers,
        manifest: &Digest,
        options: &CommitOptions,
    ) -> Result<Digest> {
        self.collected(self.try_commit(namespace, layers, manifest, options))
    }

    fn try_commit(
        &self,
        namespace: &str,
        layers: &ContainerLayers,
        manifest: &Digest,
        options: &CommitOptions,
    ) -> Result<Digest> {
        // What is wrong with the words should not cost the packing of gigabytes.
        let name = options.reference.as_deref().map(parse_tag).transpose()?;
        let config = options.config.clone().unwrap_or_else(|| options.container.clone());
        let config = merged(changed(config, &options.changes)?, &options.container);
        let base = self.documents(&Descriptor::new("", manifest.clone(), 0))?;
        let mut pins = Pins::default();
        let layer = self.store_layer(layers, &mut pins)?;
        let document = image_config(&base.config, config, layer.as_ref(), options);
        let image = self.store_documents(&base, document, layer, &mut pins)?;
        let unpacked = self.unpack_with(&image, &mut |_, _| {})?;
        self.name(namespace, name.as_ref(), image.target.clone(), self.size_of(&image)?)?;
        drop((unpacked, pins));
        Ok(image.id)
    }

    /// Packs and stores the layer, if it has anything.
    fn store_layer(&self, layers: &ContainerLayers, pins: &mut Pins) -> Result<Option<Layer>> {
        match self.pack(layers, Compression::Gzip, pins)? {
            // What would be refused as a trap when it is unpacked, because it is little but zeros, is stored as it is.
            (_, false) => Ok(self.pack(layers, Compression::None, pins)?.0),
            (layer, true) => Ok(layer),
        }
    }

    /// Also tells whether it can be unpacked again.
    fn pack(
        &self,
        layers: &ContainerLayers,
        compression: Compression,
        pins: &mut Pins,
    ) -> Result<(Option<Layer>, bool)> {
        let failed = |source| Error::File { what: "pack", path: "the container's layer".into(), source };
        let mut ingest = self.store.content().ingest(MAX_LAYER_SIZE)?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        // A smaller pipe is slower, and that is all.
        let _size = rustix::pipe::fcntl_setpipe_size(&writer, BUFFER_SIZE);
        let (packed, stored) = std::thread::scope(|scope| {
            let storing = scope.spawn(|| store_archive(reader, &mut ingest, compression));
            let job = Job {
                task: Task::Diff,
                limits: Limits::default(),
                input: writer.as_fd(),
                directory: layers.upper.as_fd(),
                lowers: layers.lowers.iter().map(AsFd::as_fd).collect(),
                whiteouts: Whiteouts::Hide,
                packing: Packing::default(),
            };
            let packed = self.worker.run(&job, &mut |_| {});
            drop(writer);
            (packed, storing.join().expect("it does not panic"))
        });
        // A full disk is why the worker's pipe broke, not the other way round.
        let (diff_id, is_plausible) = stored.map_err(failed)?;
        if packed.map_err(Error::Pack)?.entries == 0 {
            return Ok((None, true));
        }
        let (blob, pin) = ingest.commit(None)?;
        pins.0.push(pin);
        let blob = Descriptor::new(layer_type(compression), blob.digest, blob.size);
        Ok((Some(Layer { diff_id, blob }), is_plausible))
    }

    fn store_documents(
        &self,
        base: &Documents,
        config: ImageConfig,
        layer: Option<Layer>,
        pins: &mut Pins,
    ) -> Result<Image> {
        let mut layers: Vec<Descriptor> = base.manifest.layers.iter().map(in_oci_words).collect();
        layers.extend(layer.map(|layer| layer.blob));
        let document = config.to_json();
        let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &document), layers.clone());
        let bytes = manifest.to_json();
        let target = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        check_image(&target.digest, &manifest, &document)?;
        for bytes in [&document, &bytes] {
            pins.0.push(self.store.content().put(bytes)?.1);
        }
        let parent = target.digest.clone();
        let children: Vec<Digest> =
            layers.iter().chain([&manifest.config]).map(|child| child.digest.clone()).collect();
        self.store.write(Commit::Ordered, move |tx| {
            children.iter().try_for_each(|child| store::edges::add(tx, &parent, Held::Blob(child)))
        })?;
        Ok(Image {
            id: manifest.config.digest,
            manifest: target.digest.clone(),
            target,
            names: Vec::new(),
            config: config.into(),
            layers,
            size_bytes: 0,
            stored_ns: now_ns(),
        })
    }
}

/// Stores an archive as it comes; its digest before compression, and whether it expands within bounds.
fn store_archive(
    mut archive: impl Read,
    ingest: &mut Ingest<'_>,
    compression: Compression,
) -> io::Result<(Digest, bool)> {
    let limits = ExpansionLimits::default();
    let mut is_plausible = true;
    let diff_id = match compression {
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(ingest, Level::fast());
            let diff_id = hash(&mut archive, &mut |piece, total_bytes| {
                is_plausible &= limits.allow(encoder.get_ref().size(), total_bytes);
                encoder.write_all(piece)
            })?;
            encoder.finish()?;
            diff_id
        }
        Compression::None | Compression::Zstd => hash(&mut archive, &mut |piece, _| ingest.write_all(piece))?,
    };
    Ok((diff_id, is_plausible))
}

/// Passes an archive on, each piece with the bytes so far.
pub(crate) fn hash(
    archive: &mut impl Read,
    pass: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut buffer = vec![0; BUFFER_SIZE];
    let (mut hasher, mut total_bytes) = (Hasher::default(), 0);
    loop {
        let length = match archive.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        hasher.update(&buffer[..length]);
        total_bytes += length as u64;
        pass(&buffer[..length], total_bytes)?;
    }
}

/// The same layer by its name in the image specification: a manifest of one kind has layers of that kind.
fn in_oci_words(layer: &Descriptor) -> Descriptor {
    Descriptor { media_type: media_type::in_oci_words(&layer.media_type).to_owned(), ..layer.clone() }
}

fn image_config(
    base: &ImageConfig,
    config: RuntimeConfig,
    layer: Option<&Layer>,
    options: &CommitOptions,
) -> ImageConfig {
    let created = jiff::Timestamp::now().to_string();
    let mut image = ImageConfig {
        created: Some(created.clone()),
        author: options.author.clone(),
        config,
        comment: options.message.clone(),
        ..base.clone()
    };
    image.rootfs.diff_ids.extend(layer.map(|layer| layer.diff_id.clone()));
    image.history.push(History {
        created: Some(created),
        created_by: options.created_by.clone(),
        author: options.author.clone(),
        comment: options.message.clone(),
        empty_layer: layer.is_none(),
    });
    image
}

/// What a client wants, completed with what the container has, by Docker's rules.
fn merged(mut wanted: RuntimeConfig, container: &RuntimeConfig) -> RuntimeConfig {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in &container.env {
        if !wanted.env.iter().any(|known| name(known) == name(variable)) {
            wanted.env.push(variable.clone());
        }
    }
    for (key, value) in &container.labels {
        wanted.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // Another entrypoint makes the container's command meaningless.
    if wanted.entrypoint.as_ref().is_none_or(Vec::is_empty) && wanted.cmd.as_ref().is_none_or(Vec::is_empty) {
        wanted.cmd.clone_from(&container.cmd);
    }
    wanted.entrypoint = wanted.entrypoint.or_else(|| container.entrypoint.clone());
    wanted.exposed_ports.extend(container.exposed_ports.iter().cloned());
    wanted.volumes.extend(container.volumes.iter().cloned());
    let or = |wanted: String, other: &str| if wanted.is_empty() { other.to_owned() } else { wanted };
    RuntimeConfig {
        user: or(wanted.user, &container.user),
        working_dir: or(wanted.working_dir, &container.working_dir),
        stop_signal: or(wanted.stop_signal, &container.stop_signal),
        stop_timeout: wanted.stop_timeout.or(container.stop_timeout),
        healthcheck: wanted.healthcheck.or_else(|| container.healthcheck.clone()),
        shell: wanted.shell.or_else(|| container.shell.clone()),
        on_build: if wanted.on_build.is_empty() { container.on_build.clone() } else { wanted.on_build },
        ..wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wants_stands_before_what_the_container_has() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let container = RuntimeConfig {
            env: vec!["PATH=/bin".into(), "A=1".into()],
            cmd: words("sleep 1"),
            entrypoint: words("/e"),
            user: "me".into(),
            working_dir: "/srv".into(),
            labels: [("a".to_owned(), "1".to_owned())].into(),
            exposed_ports: ["80/tcp".to_owned()].into(),
            ..RuntimeConfig::default()
        };
        let same = merged(RuntimeConfig::default(), &container);
        assert_eq!(same, container);
        let wanted = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            merged(changed(container.clone(), &changes).unwrap(), &container)
        };
        let other = wanted(&["CMD [\"other\"]", "ENV A=2 B=3", "LABEL a=2 b=3", "USER you", "EXPOSE 81"]);
        assert_eq!((other.cmd, other.entrypoint), (words("other"), words("/e")));
        assert_eq!(other.env, ["PATH=/bin", "A=2", "B=3"]);
        assert_eq!((other.labels["a"].as_str(), other.labels["b"].as_str()), ("2", "3"));
        assert_eq!((other.user.as_str(), other.working_dir.as_str()), ("you", "/srv"));
        assert_eq!(other.exposed_ports.len(), 2);
        let entry = wanted(&["ENTRYPOINT [\"x\"]"]);
        assert_eq!((entry.cmd, entry.entrypoint), (None, words("x")), "its command was for another one");
        let both = wanted(&["CMD [\"y\"]", "ENTRYPOINT [\"x\"]"]);
        assert_eq!((both.cmd, both.entrypoint), (words("y"), words("x")));
        let client = RuntimeConfig { env: vec!["A=9".into()], ..RuntimeConfig::default() };
        assert_eq!(merged(client, &container).env, ["A=9", "PATH=/bin"]);
    }

    #[test]
    fn layers_are_called_as_in_the_specification() {
        let layer = |kind: &str| Descriptor::new(kind, Digest::of(b""), 0);
        assert_eq!(
            in_oci_words(&layer(media_type::DOCKER_LAYER_GZIP)).media_type,
            media_type::OCI_LAYER_GZIP
        );
        assert_eq!(in_oci_words(&layer(media_type::OCI_LAYER_ZSTD)).media_type, media_type::OCI_LAYER_ZSTD);
    }
}
