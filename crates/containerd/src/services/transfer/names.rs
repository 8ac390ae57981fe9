//! The names that an image gets in the store, as the client says, and that it has them.

use api::types::transfer::{ImageReference, ImageStore};
use engine::images::Named;
use grpc::images::{ImageCreate, ImageUpdate};
use oci::descriptor::Descriptor;
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

impl Call {
    /// Gives what is in the store its names, and says so.
    pub(super) async fn save(
        &self,
        target: &Descriptor,
        names: Vec<Named>,
        action: &str,
    ) -> Result<(), Status> {
        let are_new = self.images.record(target, names.clone(), action).await;
        let are_new = are_new.map_err(|error| status::of_engine(&error))?;
        for (Named { name, labels }, is_new) in names.into_iter().zip(are_new) {
            self.progress.named("saved", &name, target).await;
            let labels = labels.into_iter().collect();
            let exchange = self.door.exchange();
            match is_new {
                true => exchange.publish(&self.namespace, "/images/create", &ImageCreate { name, labels }),
                false => exchange.publish(&self.namespace, "/images/update", &ImageUpdate { name, labels }),
            }
        }
        Ok(())
    }
}
