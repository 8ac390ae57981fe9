//! `ctr images push`: to a registry, by the daemon or by this side.

use std::sync::Mutex;

use api::any;
use api::types::transfer::Progress;
use grpc::content::InfoRequest;
use image::remote::Sent;
use oci::descriptor::Descriptor;
use oci::manifest::Document;
use oci::platform::Platform;

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::local::fetch::{AT_ONCE, chosen};
use crate::local::{self, described, descriptor, document, size};
use crate::transfer::progress::Shown;
use crate::transfer::{self, Ends, Stream};
use crate::{content, registry};

/// What the daemon's way does not know.
const ONLY_LOCAL: [&str; 4] =
    ["manifest", "manifest-type", "max-concurrent-uploaded-layers", "allow-non-distributable-blobs"];

pub(crate) async fn push(call: &Call) -> Result<u8, Error> {
    let (remote, own) = (call.operand(0), call.operand(1));
    if remote.is_empty() {
        return Err(Error::Usage("please provide a remote image reference to push".into()));
    }
    let own = if own.is_empty() { remote } else { own };
    let client = Client::connect(call).await?;
    let only_local = [&ONLY_LOCAL[..], &registry::ONLY_LOCAL].concat();
    match transfer::way(call, &client, &only_local).await? {
        Some(progress) => by_daemon(call, &client, (remote, own), progress).await,
        None => by_hand(call, &client, (remote, own)).await,
    }?;
    Ok(0)
}

fn title(name: &str) -> String {
    format!("Pushing to OCI Registry ({name})")
}

fn platforms(call: &Call) -> Result<Vec<Platform>, Error> {
    // Without a word all that is here goes.
    if call.list("platform").is_empty() { Ok(Vec::new()) } else { registry::platforms(call) }
}

async fn by_daemon(
    call: &Call,
    client: &Client,
    (remote, own): (&str, &str),
    progress: Stream,
) -> Result<(), Error> {
    let (destination, _answering) = registry::end(call, client, remote).await?;
    let store = transfer::store(own, &platforms(call)?, &[], "");
    let ends = (any::pack(&store), any::pack(&destination));
    let beside = (std::future::ready(Ok(())), Ends::WithTransfer);
    transfer::run(client, progress, ends, beside, Shown::new(title(remote))).await
}

async fn by_hand(call: &Call, client: &Client, (name, own): (&str, &str)) -> Result<(), Error> {
    let remote = registry::remote(call, name, true)?;
    let target = match call.text("manifest") {
        "" => {
            let image = super::get(client, own).await?;
            descriptor(&image.target.unwrap_or_default())?
        }
        given => stored(client, given, call.text("manifest-type")).await?,
    };
    let mut sent = Sent {
        at_once: usize::try_from(call.integer("max-concurrent-uploaded-layers")).unwrap_or_default(),
        ..Sent::default()
    };
    if sent.at_once == 0 {
        sent.at_once = AT_ONCE;
    }
    collect(client, target, &platforms(call)?, &mut sent).await?;
    if !call.is("allow-non-distributable-blobs") {
        sent.blobs.retain(|blob| !is_bound(&blob.media_type));
    }
    let shown = Mutex::new(Shown::new(title(name)));
    let tell = |event: &str, blob: &Descriptor, progress: i64| {
        let message = Progress {
            event: event.to_owned(),
            name: blob.key(),
            parents: Vec::new(),
            progress,
            total: size(blob),
            desc: Some(described(blob)),
        };
        shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).tell(&message);
    };
    sent.blobs.iter().for_each(|blob| tell("waiting", blob, 0));
    let open = |blob: &Descriptor| content::pieces(client, blob.digest.as_str());
    let told = |blob: &Descriptor, is_new| {
        tell(if is_new { "complete" } else { "already exists" }, blob, size(blob));
    };
    remote.push(&sent, &open, &told).await?;
    sent.documents.iter().for_each(|(document, _)| tell("complete", document, size(document)));
    shown.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).finish()
}

/// A manifest that is named by its digest.
async fn stored(client: &Client, given: &str, media_type: &str) -> Result<Descriptor, Error> {
    let digest = content::digest(given)?;
    let info = client.content().info(InfoRequest { digest }).await?.into_inner().info.unwrap_or_default();
    let target = api::types::Descriptor {
        media_type: media_type.to_owned(),
        digest: info.digest,
        size: info.size,
        ..api::types::Descriptor::default()
    };
    descriptor(&target)
}

/// Whether a layer's media type forbids to pass it on.
fn is_bound(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

/// Most documents of one image: an index for every platform, twice. Indexes in indexes may name more than anybody could follow.
const DOCUMENTS_MAX: usize = 1024;

/// Finds what there is to send: blobs, and documents with the outermost last. An index goes only with all that it names; where
/// one image of it is here, or asked for, that goes alone.
async fn collect(
    client: &Client,
    target: Descriptor,
    platforms: &[Platform],
    sent: &mut Sent,
) -> Result<(), Error> {
    let mut left = vec![target];
    let mut documents = Vec::new();
    while let Some(entry) = left.pop() {
        if documents.len() == DOCUMENTS_MAX {
            let reason = format!("it leads to more than {DOCUMENTS_MAX} documents");
            return Err(Error::Document { what: "the index".into(), reason });
        }
        let bytes = content::document(client, entry.digest.as_str()).await?;
        match document(&entry, &bytes)? {
            Document::Manifest(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    if !sent.blobs.contains(blob) {
                        sent.blobs.push(blob.clone());
                    }
                }
            }
            Document::Index(index) => {
                let mut entries = chosen(&index, platforms)?;
                let total = entries.len().max(index.manifests.len());
                let mut here = Vec::new();
                for child in entries.drain(..) {
                    if local::is_here(client, &child).await? {
                        here.push(child);
                    }
                }
                let is_whole = here.len() == total;
                left.extend(here);
                if !is_whole {
                    continue;
                }
            }
        }
        documents.push((entry, bytes));
    }
    match documents.is_empty() {
        false => {
            documents.reverse();
            sent.documents = documents;
            Ok(())
        }
        true => Err(Error::Usage("nothing of the image is here".into())),
    }
}
