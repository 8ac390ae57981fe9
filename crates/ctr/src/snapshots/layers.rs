//! `ctr snapshots diff` and `unpack`: from snapshots to layers, and back.

use std::collections::HashMap;

use api::types::Mount;
use grpc::content::DeleteContentRequest;
use grpc::diff::DiffRequest;
use grpc::snapshots::{Kind, MountsRequest, StatSnapshotRequest, ViewSnapshotRequest};

use super::ROOT_LABEL;
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::images::tree::Stock;
use crate::leases::generated;
use crate::local::unpack::Unpack;
use crate::{content, images, labels, local, output, text};

pub(crate) async fn diff(call: &Call) -> Result<u8, Error> {
    if call.operand(0).is_empty() {
        return Err(Error::Usage("snapshot id must be provided".into()));
    }
    let client = Client::connect(call).await?;
    local::leased(&client, async |client| print_diff(call, client).await).await.map(|()| 0)
}

async fn print_diff(call: &Call, client: &Client) -> Result<(), Error> {
    let snapshotter = client.snapshotter(call).await;
    let (first, second) = (call.operand(0), call.operand(1));
    let mut views = Views { client, snapshotter: &snapshotter, made: Vec::new() };
    let made = async {
        let (left, right) = match second {
            "" => {
                let request = StatSnapshotRequest { snapshotter: snapshotter.clone(), key: first.into() };
                let info = client.snapshots().stat(request).await?.into_inner().info.unwrap_or_default();
                (views.below(&info.parent).await?, views.of(first).await?)
            }
            second => (views.of(first).await?, views.of(second).await?),
        };
        let mut labels = labels::parse(call.list("label"), "");
        if call.is("keep") {
            labels.insert(ROOT_LABEL.to_owned(), text::now());
        }
        let request = DiffRequest {
            left,
            right,
            media_type: call.text("media-type").to_owned(),
            r#ref: match call.text("ref") {
                "" => format!("diff-{}", generated()),
                given => given.to_owned(),
            },
            labels,
            source_date_epoch: None,
        };
        Ok::<_, Error>(client.diff().diff(request).await?.into_inner().diff.unwrap_or_default())
    };
    let made = made.await;
    let removed = views.remove().await;
    let made = made?;
    removed?;
    let mut pieces = content::pieces(client, &made.digest);
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|source| Error::File { what: "read the layer".into(), source })?;
        output::bytes(&piece)?;
    }
    if !call.is("keep") {
        client.content().delete(DeleteContentRequest { digest: made.digest }).await?;
    }
    Ok(())
}

/// Snapshots that are made to be looked at.
struct Views<'a> {
    client: &'a Client,
    snapshotter: &'a str,
    made: Vec<String>,
}

impl Views<'_> {
    /// The files of a snapshot: its own mounts while it is written to, and a view of what is committed.
    async fn of(&mut self, key: &str) -> Result<Vec<Mount>, Error> {
        let (snapshotter, key) = (self.snapshotter.to_owned(), key.to_owned());
        let request = StatSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone() };
        let info = self.client.snapshots().stat(request).await?.into_inner().info.unwrap_or_default();
        if info.kind() == Kind::Committed {
            return self.below(&key).await;
        }
        let request = MountsRequest { snapshotter, key };
        Ok(self.client.snapshots().mounts(request).await?.into_inner().mounts)
    }

    /// A view of what is committed; of nothing, an empty one.
    async fn below(&mut self, parent: &str) -> Result<Vec<Mount>, Error> {
        let key = format!("view-{} {parent}", generated());
        let request = ViewSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            key: key.clone(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let mounts = self.client.snapshots().view(request).await?.into_inner().mounts;
        self.made.push(key);
        Ok(mounts)
    }

    async fn remove(self) -> Result<(), Error> {
        for key in &self.made {
            super::discard(self.client, self.snapshotter, key).await?;
        }
        Ok(())
    }
}

pub(crate) async fn unpack(call: &Call) -> Result<u8, Error> {
    let digest = content::digest(call.operand(0))?;
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let named = images::all(&client, &[]).await?.into_iter().filter_map(|image| image.target);
    let Some(target) = named.into_iter().find(|target| target.digest == digest) else {
        return Err(Error::Usage("manifest not found".into()));
    };
    let unpacked = async |client: &Client| {
        let stock = Stock::of(client, &target).await?;
        let here = stock.image(&oci::platform::Platform::host()).filter(|image| !image.chain().is_empty());
        let Some(image) = here else {
            let reason = "it has nothing for this machine's platform here".to_owned();
            return Err(Error::Document { what: format!("content {digest}"), reason });
        };
        output::bytes(format!("unpacking {digest} ({})...", target.media_type).as_bytes())?;
        let unpack = Unpack { client, snapshotter: &snapshotter, is_synced: call.is("sync-fs") };
        unpack.image(image).await?;
        output::line("done")
    };
    local::leased(&client, unpacked).await.map(|()| 0)
}
