//! The names that an image gets in the store, as the client says, and that it has them.

use api::code::Code;
use api::types::transfer::{ImageReference, ImageStore};
use engine::images::Named;
use grpc::images::{ImageCreate, ImageUpdate};
use oci::descriptor::{Descriptor, IMAGE_NAME, REF_NAME};
use oci::digest::Digest;
use tonic::Status;

use super::Call;
use crate::status;

/// The names for what has no name of its own: the one that is asked for, and the further ones that are whole.
pub(super) fn asked(store: &ImageStore, digest: &Digest) -> Vec<Named> {
    let first = Some(store.name.clone()).filter(|name| !name.is_empty());
    let further = store.extra_references.iter().filter_map(|reference| whole(reference, digest));
    let labels: store::Labels = store.labels.clone().into_iter().collect();
    first.into_iter().chain(further).map(|name| Named { name, labels: labels.clone() }).collect()
}

fn whole(reference: &ImageReference, digest: &Digest) -> Option<String> {
    match reference {
        ImageReference { add_digest: true, name, .. } => Some(format!("{name}@{digest}")),
        // What is only a beginning is no name.
        ImageReference { is_prefix: true, .. } => None,
        ImageReference { name, .. } => Some(name.clone()),
    }
}

/// The names for an image of an archive: what the archive calls it, where a beginning that is asked for allows that.
pub(super) fn found(store: &ImageStore, image: &Descriptor) -> Vec<Named> {
    let labels: store::Labels = store.labels.clone().into_iter().collect();
    let prefixes = store.extra_references.iter().filter(|reference| reference.is_prefix);
    let names = prefixes.flat_map(|prefix| {
        let name = told(prefix, image);
        let is_digested = prefix.add_digest && (name.is_none() || !prefix.skip_named_digest);
        let digested = is_digested.then(|| format!("{}@{}", prefix.name, image.digest));
        name.into_iter().chain(digested)
    });
    names.map(|name| Named { name, labels: labels.clone() }).collect()
}

/// What the archive calls an image: a whole name in containerd's annotation, a name or a tag in the specification's.
fn told(prefix: &ImageReference, image: &Descriptor) -> Option<String> {
    let annotation = |key| image.annotations.get(key).filter(|name| !name.is_empty());
    match annotation(IMAGE_NAME) {
        Some(name) => completed(prefix, name).filter(|completed| completed == name),
        None => completed(prefix, annotation(REF_NAME)?),
    }
}

fn completed(prefix: &ImageReference, name: &str) -> Option<String> {
    if prefix.name.is_empty() {
        return None;
    }
    if !name.contains(['/', ':', '@']) {
        return Some(format!("{}:{name}", prefix.name));
    }
    let rest = name.strip_prefix(&prefix.name);
    let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
    (prefix.allow_overwrite || is_below).then(|| name.to_owned())
}

impl Call {
    /// Gives what one name leads to further ones.
    pub(super) async fn tag(&self, source: ImageStore, destination: ImageStore) -> Result<(), Status> {
        let target = self.target(&source.name).await?;
        let names = asked(&destination, &target.digest);
        if names.is_empty() {
            return Err(status::with_suffix(Code::NotFound, "no image name found"));
        }
        self.record(&target, names, "tag").await.map(drop)
    }

    /// What a name leads to.
    pub(super) async fn target(&self, name: &str) -> Result<Descriptor, Status> {
        let target = self.images.target(name).await.map_err(|error| status::of_engine(&error))?;
        target.ok_or_else(|| status::with_suffix(Code::NotFound, format!("image {name:?}")))
    }

    /// Gives what is in the store its names, and tells the client so.
    pub(super) async fn save(
        &self,
        target: &Descriptor,
        names: Vec<Named>,
        action: &str,
    ) -> Result<(), Status> {
        for name in self.record(target, names, action).await? {
            self.progress.named("saved", &name, target).await;
        }
        Ok(())
    }

    /// Gives what is in the store its names, and publishes them; the names.
    async fn record(
        &self,
        target: &Descriptor,
        names: Vec<Named>,
        action: &str,
    ) -> Result<Vec<String>, Status> {
        let are_new = self.images.record(target, names.clone(), action).await;
        let are_new = are_new.map_err(|error| status::of_engine(&error))?;
        let exchange = self.door.exchange();
        for (named, is_new) in names.iter().zip(are_new) {
            let (name, labels) = (named.name.clone(), named.labels.clone().into_iter().collect());
            match is_new {
                true => exchange.publish(&self.namespace, "/images/create", &ImageCreate { name, labels }),
                false => exchange.publish(&self.namespace, "/images/update", &ImageUpdate { name, labels }),
            }
        }
        Ok(names.into_iter().map(|named| named.name).collect())
    }
}
