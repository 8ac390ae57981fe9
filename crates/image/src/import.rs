//! Importing a root file system: a tar becomes an image of one layer.
//!
//! The archive is stored as it came. The same archive with the same options gives the same image, but for the time in
//! its configuration.

use std::fs::File;
use std::os::fd::OwnedFd;

use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::image_config::{History, ImageConfig, RootFs, RuntimeConfig};
use oci::manifest::{Manifest, media_type};
use oci::platform::Platform;
use store::Commit;
use store::edges::Held;

use crate::archive::{MAX_LAYER_SIZE, copy, layer_type};
use crate::error::{Error, Result};
use crate::images::{Images, parse_tag};
pub use changes::ChangeError;
pub use download::Download;

mod changes;
mod download;

/// How an import is recorded.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name it gets.
    pub reference: Option<String>,
    /// Dockerfile instructions for its configuration: `CMD ["sh"]`, `ENV a=b`.
    pub changes: Vec<String>,
    /// What its history says.
    pub message: String,
    /// `linux/amd64`; this machine's by default.
    pub platform: Option<String>,
    /// RFC 3339; now by default.
    pub created: Option<String>,
}

impl Images {
    /// Makes an image of a root file system's tar (plain, gzip or zstd) that comes as a stream; returns its id.
    pub fn import(&self, namespace: &str, input: OwnedFd, options: &ImportOptions) -> Result<Digest> {
        self.collected(self.try_import(namespace, input, options))
    }

    fn try_import(&self, namespace: &str, input: OwnedFd, options: &ImportOptions) -> Result<Digest> {
        let name = options.reference.as_deref().map(parse_tag).transpose()?;
        let platform = match &options.platform {
            None => Platform::host(),
            Some(text) => Platform::parse(text)?,
        };
        let config = changed(RuntimeConfig::default(), &options.changes)?;
        let content = self.store.content();
        let mut ingest = content.ingest(MAX_LAYER_SIZE)?;
        copy(&mut File::from(input), &mut ingest, &mut |_| {}).map_err(|source| Error::File {
            what: "store",
            path: "the archive".into(),
            source,
        })?;
        let (layer, _layer_pin) = ingest.commit(None)?;
        let (outcome, _lease) = self.unpack_base(&layer.digest)?;
        let diff_id = outcome.diff_id.clone().ok_or(Error::NoLayers)?;

        let document = image_config(&diff_id, platform, config, options).to_json();
        let (config_blob, _config_pin) = content.put(&document)?;
        let layer = Descriptor::new(layer_type(outcome.compression), layer.digest, layer.size);
        let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &document), vec![layer.clone()]);
        let (manifest_blob, _manifest_pin) = content.put(&manifest.to_json())?;
        let parent = manifest_blob.digest.clone();
        self.store.write(Commit::Ordered, move |tx| {
            store::edges::add(tx, &parent, Held::Blob(&config_blob.digest))?;
            store::edges::add(tx, &parent, Held::Blob(&layer.digest))
        })?;
        self.hold(&manifest_blob.digest, &diff_id)?;
        let target = Descriptor::new(media_type::OCI_MANIFEST, manifest_blob.digest, manifest_blob.size);
        self.name(namespace, name.as_ref(), target, outcome.size_bytes)?;
        Ok(manifest.config.digest)
    }
}

/// A configuration after Dockerfile instructions.
pub(crate) fn changed(mut config: RuntimeConfig, changes: &[String]) -> Result<RuntimeConfig> {
    let mut instructions = Vec::new();
    for change in changes {
        let applied = changes::apply(&mut config, change);
        instructions.push(applied.map_err(|source| match source {
            ChangeError::Unknown(instruction) => Error::NoChange(instruction),
            source => Error::Change { change: change.clone(), source },
        })?);
    }
    let sets = |instruction: &str| instructions.iter().any(|known| known == instruction);
    if sets("ENTRYPOINT") && !sets("CMD") {
        // It was meant for another entrypoint.
        config.cmd = None;
    }
    Ok(config)
}

fn image_config(
    diff_id: &Digest,
    platform: Platform,
    config: RuntimeConfig,
    options: &ImportOptions,
) -> ImageConfig {
    let created = options.created.clone().unwrap_or_else(|| jiff::Timestamp::now().to_string());
    let comment = match options.message.as_str() {
        "" => "imported from a tar archive",
        message => message,
    };
    ImageConfig {
        created: Some(created.clone()),
        platform,
        config,
        rootfs: RootFs { diff_ids: vec![diff_id.clone()], ..RootFs::default() },
        history: vec![History { created: Some(created), comment: comment.to_owned(), ..History::default() }],
        comment: comment.to_owned(),
        ..ImageConfig::default()
    }
}
