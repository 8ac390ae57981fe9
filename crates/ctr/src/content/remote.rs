//! `ctr content fetch`, `fetch-object`, `fetch-blob` and `push-object`: content and a registry, without an image in between.

use image::remote::Sent;
use oci::digest::Digest;

use super::{digest, document, pieces};
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::images::pull;
use crate::local::{self, descriptor, is_document};
use crate::{labels, output, registry};

/// Pieces of a blob that wait to be printed.
const WAITING_MAX: usize = 4;

pub(crate) async fn fetch(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let name = call.operand(0);
    let fetched = async |client: &Client| {
        let target = pull::fetch(call, client, name, call.is("metadata-only")).await?;
        local::name(client, name, &target, &labels::parse(call.list("label"), "")).await
    };
    local::leased(&client, fetched).await.map(|()| 0)
}

/// Prints the document that a name leads to.
pub(crate) async fn fetch_object(call: &Call) -> Result<u8, Error> {
    let (_, bytes) = registry::remote(call, call.operand(0), false)?.resolve().await?;
    output::bytes(&bytes).map(|()| 0)
}

pub(crate) async fn fetch_blob(call: &Call) -> Result<u8, Error> {
    let digests = call.operands.get(1..).unwrap_or_default();
    if digests.is_empty() {
        return Err(Error::Usage("must specify digests".into()));
    }
    let remote = registry::remote(call, call.operand(0), false)?;
    for word in digests {
        let digest = Digest::parse(&digest(word)?).expect("it is one");
        let blob = remote.describe(&digest).await?;
        let (sink, mut pieces) = tokio::sync::mpsc::channel::<bytes::Bytes>(WAITING_MAX);
        let printed = async {
            let mut hasher = oci::digest::Hasher::new(digest.algorithm());
            while let Some(piece) = pieces.recv().await {
                hasher.update(&piece);
                output::bytes(&piece)?;
            }
            Ok::<_, Error>(hasher.finish())
        };
        let (fetched, printed) = tokio::join!(remote.blob(&blob, sink), printed);
        fetched?;
        let actual = printed?;
        if actual != digest {
            let reason = format!("the registry sent {actual}");
            return Err(Error::Document { what: format!("blob {digest}"), reason });
        }
    }
    Ok(0)
}

pub(crate) async fn push_object(call: &Call) -> Result<u8, Error> {
    let (name, object, media_type) = (call.operand(0), digest(call.operand(1))?, call.operand(2));
    let client = Client::connect(call).await?;
    let remote = registry::remote(call, name, true)?;
    let request = grpc::content::InfoRequest { digest: object };
    let info = client.content().info(request).await?.into_inner().info.unwrap_or_default();
    let target = descriptor(&api::types::Descriptor {
        media_type: media_type.to_owned(),
        digest: info.digest,
        size: info.size,
        ..api::types::Descriptor::default()
    })?;
    let mut sent = Sent { at_once: 1, ..Sent::default() };
    if is_document(&target) {
        let bytes = document(&client, target.digest.as_str()).await?;
        sent.documents.push((target.clone(), bytes));
    } else {
        sent.blobs.push(target.clone());
    }
    remote.push(&sent, &|blob| pieces(&client, blob.digest.as_str()), &|_, _| {}).await?;
    output::line(&format!("Pushed {} {media_type}", target.digest)).map(|()| 0)
}
