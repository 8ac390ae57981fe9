//! `ctr content prune references`: layers that are unpacked may be collected, when nothing else needs them.

use std::collections::HashMap;

use grpc::leases::DeleteRequest;

use super::blobs;
use super::write::labelled;
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::{leases, local, output};

/// By which labels a manifest keeps its layers.
const LAYERS: &str = "containerd.io/gc.ref.content.l.";

pub(crate) async fn references(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    for blob in blobs(&client, &[]).await? {
        let is_layer = |label: &&String| label.starts_with(LAYERS);
        let mut held: Vec<&String> = blob.labels.keys().filter(is_layer).collect();
        held.sort_unstable();
        for label in &held {
            output::line(&format!("{} {label}={}", blob.digest, blob.labels[*label]))?;
        }
        if !call.is("dry") {
            let removed: HashMap<String, String> =
                held.iter().map(|label| ((*label).clone(), String::new())).collect();
            labelled(&client, &blob.digest, &removed).await?;
        }
    }
    if !call.is("dry") && !call.is("async") {
        // The end of a lease may be waited for, and with it the collection.
        let id = local::lease(&client, leases::generated(), HashMap::new()).await?;
        client.leases().delete(DeleteRequest { id, sync: true }).await?;
    }
    Ok(0)
}
