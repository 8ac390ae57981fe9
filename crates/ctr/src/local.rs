//! Images that this side moves, by the daemon's content, snapshots, diff and images: what `ctr --local` does, and what is left when
//! the daemon has no transfer service (containerd before 1.7).
//!
//! ```text
//! registry ─ fetch ─▶ content ─ unpack ─▶ snapshots        all of it under a lease, until the image has its name
//! archive ── read ──▶ content
//! ```

use std::collections::HashMap;

use api::types;
use grpc::images::{CreateImageRequest, Image, UpdateImageRequest};
use grpc::leases::{CreateRequest, DeleteRequest};
use jiff::ToSpan as _;
use oci::descriptor::Descriptor;
use oci::digest::Digest;
use oci::manifest::{Document, media_type};

use crate::client::Client;
use crate::error::Error;
use crate::leases::generated;
use crate::text;

pub(crate) mod archive;
pub(crate) mod convert;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod unpack;

/// An index refers to indexes; deeper ones are no image.
const DEPTH_MAX: usize = 8;
/// What an image keeps of a blob: the labels by which containerd's collector follows a document to what it names.
const HELD: &str = "containerd.io/gc.ref.content";

/// Does `work` under a lease of its own, so that nothing of it is collected before it is whole. A lease that is left by a killed
/// program ends by itself.
pub(crate) async fn leased<T>(
    client: &Client,
    work: impl AsyncFnOnce(&Client) -> Result<T, Error>,
) -> Result<T, Error> {
    let id = lease(client, generated(), HashMap::new()).await?;
    let done = work(&client.with_lease(&id)?).await;
    let ended = client.leases().delete(DeleteRequest { id, sync: false }).await;
    let done = done?;
    ended?;
    Ok(done)
}

/// Makes a lease of a day; its id.
pub(crate) async fn lease(
    client: &Client,
    id: String,
    mut labels: HashMap<String, String>,
) -> Result<String, Error> {
    let end = jiff::Timestamp::now().saturating_add(24.hours()).unwrap_or(jiff::Timestamp::MAX);
    labels.insert("containerd.io/gc.expire".to_owned(), text::seconds(end));
    client.leases().create(CreateRequest { id: id.clone(), labels }).await?;
    Ok(id)
}

/// Gives an image its name, whoever has it now.
pub(crate) async fn name(
    client: &Client,
    name: &str,
    target: &Descriptor,
    labels: &HashMap<String, String>,
) -> Result<(), Error> {
    let image = Image {
        name: name.to_owned(),
        labels: labels.clone(),
        target: Some(described(target)),
        ..Image::default()
    };
    let request = CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
    match client.images().create(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::AlreadyExists => {
            let request =
                UpdateImageRequest { image: Some(image), update_mask: None, source_date_epoch: None };
            client.images().update(request).await?;
            Ok(())
        }
        Err(status) => Err(status.into()),
    }
}

/// The labels of a document's blob, which keep what it names. An index holds all that it names, so that what comes later is held, too.
pub(crate) fn holding(document: &Document) -> HashMap<String, String> {
    match document {
        Document::Index(index) => index
            .manifests
            .iter()
            .enumerate()
            .map(|(number, entry)| (format!("{HELD}.m.{number}"), entry.digest.to_string()))
            .collect(),
        Document::Manifest(manifest) => {
            let layers = manifest.layers.iter().enumerate();
            let layers =
                layers.map(|(number, layer)| (format!("{HELD}.l.{number}"), layer.digest.to_string()));
            layers.chain([(format!("{HELD}.config"), manifest.config.digest.to_string())]).collect()
        }
    }
}

/// A manifest or an index.
pub(crate) fn document(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, Error> {
    Document::parse(bytes, &descriptor.media_type).map_err(|error| Error::Document {
        what: format!("content {}", descriptor.digest),
        reason: error.to_string(),
    })
}

pub(crate) fn is_document(descriptor: &Descriptor) -> bool {
    media_type::is_index(&descriptor.media_type) || media_type::is_manifest(&descriptor.media_type)
}

pub(crate) fn described(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: size(descriptor),
        annotations: descriptor.annotations.clone().into_iter().collect(),
    }
}

/// A descriptor of the daemon's.
pub(crate) fn descriptor(message: &types::Descriptor) -> Result<Descriptor, Error> {
    let wrong = |error: oci::digest::DigestError| Error::Document {
        what: format!("digest {:?}", message.digest),
        reason: error.to_string(),
    };
    let digest = Digest::parse(&message.digest).map_err(wrong)?;
    let size = u64::try_from(message.size).unwrap_or_default();
    Ok(Descriptor {
        annotations: message.annotations.clone().into_iter().collect(),
        ..Descriptor::new(&message.media_type, digest, size)
    })
}

pub(crate) fn size(descriptor: &Descriptor) -> i64 {
    i64::try_from(descriptor.size).unwrap_or(i64::MAX)
}

/// Whether a blob is in the namespace.
pub(crate) async fn is_here(client: &Client, blob: &Descriptor) -> Result<bool, Error> {
    let request = grpc::content::InfoRequest { digest: blob.digest.to_string() };
    match client.content().info(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}
