//! What `docker save` writes (since 1.10): `manifest.json` lists images by the names of their members.
//!
//! It has no manifests, so each image gets one, made of what is there; the same archive always gives the same one.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use oci::descriptor::Descriptor;
use oci::digest::{Algorithm, Digest};
use oci::docker_archive::{self, SavedImage};
use oci::image_config::ImageConfig;
use oci::manifest::{Manifest, media_type};

use super::{Load, Stored, check_image, layer_type};
use crate::compression::{Compression, compression_of};
use crate::error::{Error, LayerName, Result};
use crate::images::parse_tag;

const MANIFEST: &str = "manifest.json";

impl Load<'_> {
    pub(super) fn store_docker(&mut self, manifest: &[u8]) -> Result<Vec<Stored>> {
        let images = docker_archive::parse(manifest)
            .map_err(|source| Error::DockerArchive { member: MANIFEST.to_owned(), source })?;
        images.iter().map(|image| self.store_saved(image)).collect()
    }

    fn store_saved(&mut self, saved: &SavedImage) -> Result<Stored> {
        // Names first: a wrong one should not cost the copying of gigabytes.
        let names = saved.repo_tags.iter().map(|tag| parse_tag(tag)).collect::<Result<Vec<_>>>()?;
        let config_bytes =
            self.source.document(&saved.config)?.ok_or_else(|| Error::MissingMember(saved.config.clone()))?;
        check_name(&saved.config, &config_bytes)?;
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|source| Error::Config { member: saved.config.clone(), source })?;
        let members = &saved.layers;
        let diff_ids = &config.rootfs.diff_ids;
        if members.len() != diff_ids.len() {
            return Err(Error::LayerCount { layers: members.len(), diff_ids: diff_ids.len() });
        }
        let mut layers = Vec::new();
        for (position, (member, diff_id)) in members.iter().zip(diff_ids).enumerate() {
            let layer = self.store_layer(member)?;
            // A layer as it is must be what the configuration says; of a compressed one the worker will tell.
            if layer.media_type == media_type::OCI_LAYER && layer.digest != *diff_id {
                let name = LayerName { number: position + 1, count: members.len(), digest: diff_id.clone() };
                return Err(Error::DiffId { layer: name, expected: diff_id.clone(), actual: layer.digest });
            }
            layers.push(layer);
        }
        let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &config_bytes), layers);
        let bytes = manifest.to_json();
        let target = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
        check_image(&target.digest, &manifest, &config_bytes)?;
        self.put(&config_bytes)?;
        self.store_manifest(&manifest, &bytes)?;
        Ok(Stored { target, names, annotations: BTreeMap::new() })
    }

    fn store_layer(&mut self, member: &str) -> Result<Descriptor> {
        if let Some(layer) = self.layers.get(member) {
            return Ok(layer.clone());
        }
        let compression = self.compression(member)?;
        let blob = self.store_blob(member, None)?;
        let layer = Descriptor::new(layer_type(compression), blob.digest, blob.size);
        self.layers.insert(member.to_owned(), layer.clone());
        Ok(layer)
    }

    fn compression(&self, member: &str) -> Result<Compression> {
        let failed = |source| Error::File { what: "read member", path: member.into(), source };
        let mut file = self.source.open(member)?.ok_or_else(|| Error::MissingMember(member.to_owned()))?.file;
        file.rewind().map_err(failed)?;
        compression_of(&mut file.by_ref()).map_err(failed)
    }
}

/// A configuration that is named by its digest must have it.
fn check_name(member: &str, bytes: &[u8]) -> Result<()> {
    let last = member.rsplit('/').next().unwrap_or(member);
    let stem = last.strip_suffix(".json").unwrap_or(last);
    let stated = Digest::parse(stem).or_else(|_| Digest::parse(&format!("sha256:{stem}")));
    let actual = Digest::of(bytes);
    match stated {
        Ok(expected) if expected.algorithm() == Algorithm::Sha256 && expected != actual => {
            Err(Error::WrongContent {
                member: member.to_owned(),
                source: store::Error::WrongDigest { expected, actual },
            })
        }
        _ => Ok(()),
    }
}
