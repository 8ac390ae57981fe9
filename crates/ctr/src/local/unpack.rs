//! From layers in content to snapshots, one above the other.

use std::collections::HashMap;

use api::types::Descriptor as Target;
use grpc::diff::ApplyRequest;
use grpc::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest,
};

use crate::client::Client;
use crate::content::write::labelled;
use crate::error::Error;
use crate::images::tree::Node;
use crate::leases::generated;

/// Which chain of layers a snapshot is to become: a snapshotter that has it elsewhere gives it without being asked to unpack.
const REFERENCE: &str = "containerd.io/snapshot.ref";

/// Where an image is unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpack<'a> {
    pub(crate) client: &'a Client,
    pub(crate) snapshotter: &'a str,
    /// What is unpacked is on the disk when it is done.
    pub(crate) is_synced: bool,
}

impl Unpack<'_> {
    /// Unpacks what is missing of the image behind a manifest; whether anything was.
    pub(crate) async fn image(self, manifest: &Node) -> Result<bool, Error> {
        let (Some((config, layers)), chain) = (manifest.children.split_first(), manifest.chain()) else {
            return Ok(false);
        };
        if layers.len() != chain.len() {
            let reason = format!("{} layers, and its configuration names {}", layers.len(), chain.len());
            return Err(Error::Document { what: format!("content {}", manifest.digest), reason });
        }
        let mut is_new = false;
        for (number, (layer, name)) in layers.iter().zip(chain).enumerate() {
            let parent = number.checked_sub(1).map_or("", |below| chain[below].as_str());
            let diff_id = &manifest.diff_ids()[number];
            is_new |= self.layer(layer, diff_id, (parent, name)).await?;
        }
        if let Some(top) = chain.last() {
            // As long as the configuration is there, its snapshots are.
            let held = format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter);
            labelled(self.client, &config.digest, &[(held, top.clone())].into()).await?;
        }
        Ok(is_new)
    }

    async fn is_there(self, name: &str) -> Result<bool, Error> {
        let request = StatSnapshotRequest { snapshotter: self.snapshotter.into(), key: name.into() };
        match self.client.snapshots().stat(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    async fn layer(self, layer: &Node, diff_id: &str, (parent, name): (&str, &str)) -> Result<bool, Error> {
        if self.is_there(name).await? {
            return Ok(false);
        }
        let key = format!("extract-{} {name}", generated());
        let labels: HashMap<String, String> = [(REFERENCE.to_owned(), name.to_owned())].into();
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.into(),
            key: key.clone(),
            parent: parent.into(),
            labels: labels.clone(),
        };
        let mounts = match self.client.snapshots().prepare(request).await {
            Ok(response) => response.into_inner().mounts,
            // The snapshotter had it, or somebody else was faster.
            Err(status) if status.code() == tonic::Code::AlreadyExists && self.is_there(name).await? => {
                return Ok(false);
            }
            Err(status) => return Err(status.into()),
        };
        let done = async {
            let request = ApplyRequest {
                diff: Some(Target {
                    media_type: layer.media_type.clone(),
                    digest: layer.digest.clone(),
                    size: layer.size,
                    ..Target::default()
                }),
                mounts,
                payloads: HashMap::new(),
                sync_fs: self.is_synced,
            };
            let applied = self.client.diff().apply(request).await?.into_inner().applied.unwrap_or_default();
            if applied.digest != diff_id {
                let reason =
                    format!("it unpacks to {}, and the configuration says {diff_id}", applied.digest);
                return Err(Error::Document { what: format!("layer {}", layer.digest), reason });
            }
            let request = CommitSnapshotRequest {
                snapshotter: self.snapshotter.into(),
                name: name.into(),
                key: key.clone(),
                labels,
                parent: String::new(),
            };
            self.client.snapshots().commit(request).await?;
            Ok(())
        };
        let done: Result<(), Error> = done.await;
        if let Err(error) = done {
            // It is of no use to anybody; what cannot be removed goes with the lease.
            let request = RemoveSnapshotRequest { snapshotter: self.snapshotter.into(), key };
            let _ = self.client.snapshots().remove(request).await;
            return if error.is(tonic::Code::AlreadyExists) { Ok(false) } else { Err(error) };
        }
        let uncompressed = ("containerd.io/uncompressed".to_owned(), diff_id.to_owned());
        labelled(self.client, &layer.digest, &[uncompressed].into()).await?;
        Ok(true)
    }
}
