//! `ctr images pull`: from a registry, by the daemon or by this side.

use std::cell::RefCell;

use api::any;
use api::types::Descriptor as Target;

use super::tree::{Node, Stock};
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::local::fetch::{AT_ONCE, Fetch};
use crate::local::unpack::Unpack;
use crate::local::{self, described};
use crate::transfer::progress::Shown;
use crate::transfer::{self, Ends, Stream, message};
use crate::{labels, output, registry};

/// What the daemon's way does not know.
const ONLY_LOCAL: [&str; 3] = ["max-concurrent-downloads", "print-chainid", "sync-fs"];

pub(crate) async fn pull(call: &Call) -> Result<u8, Error> {
    let name = call.operand(0);
    if name.is_empty() {
        return Err(Error::Usage("please provide an image reference to pull".into()));
    }
    let client = Client::connect(call).await?;
    let only_local = [&ONLY_LOCAL[..], &registry::ONLY_LOCAL].concat();
    match transfer::way(call, &client, &only_local).await? {
        Some(progress) => by_daemon(call, &client, name, progress).await,
        None => local::leased(&client, async |client| by_hand(call, client, name).await).await,
    }?;
    Ok(0)
}

fn title(name: &str) -> String {
    format!("Pulling from OCI Registry ({name})")
}

async fn by_daemon(call: &Call, client: &Client, name: &str, progress: Stream) -> Result<(), Error> {
    let (source, _answering) = registry::end(call, client, name).await?;
    let platforms = registry::platforms(call)?;
    let snapshotter = client.snapshotter(call).await;
    let mut store = transfer::store(name, &platforms, &platforms, &snapshotter);
    store.labels = labels::parse(call.list("label"), "");
    store.all_metadata = !call.is("skip-metadata");
    let ends = (any::pack(&source), any::pack(&store));
    let beside = (std::future::ready(Ok(())), Ends::WithTransfer);
    transfer::run(client, progress, ends, beside, Shown::new(title(name))).await
}

async fn by_hand(call: &Call, client: &Client, name: &str) -> Result<(), Error> {
    let target = fetch(call, client, name, false).await?;
    local::name(client, name, &target, &labels::parse(call.list("label"), "")).await?;
    let snapshotter = client.snapshotter(call).await;
    let unpack = Unpack { client, snapshotter: &snapshotter, is_synced: call.is("sync-fs") };
    for image in unpacked(call, client, &described(&target)).await? {
        let platform = image.platform().map(ToString::to_string).unwrap_or_default();
        output::line(&format!("unpacking {platform} {}...", target.digest))?;
        unpack.image(&image).await?;
        if call.is("print-chainid") {
            output::line(&format!("image chain ID: {}", image.chain().last().map_or("", String::as_str)))?;
        }
    }
    output::line("done")
}

/// The images behind a target that the flags say.
async fn unpacked(call: &Call, client: &Client, target: &Target) -> Result<Vec<Node>, Error> {
    let stock = Stock::of(client, target).await?;
    let platforms = registry::platforms(call)?;
    let is_image = |node: &&Node| !node.chain().is_empty();
    Ok(match platforms.is_empty() {
        true => stock.manifests().into_iter().filter(is_image).cloned().collect(),
        false => {
            platforms.iter().filter_map(|platform| stock.image(platform)).filter(is_image).cloned().collect()
        }
    })
}

/// Brings an image's content from its registry; what its name leads to.
pub(crate) async fn fetch(
    call: &Call,
    client: &Client,
    name: &str,
    metadata_only: bool,
) -> Result<oci::descriptor::Descriptor, Error> {
    let remote = registry::remote(call, name, false)?;
    let at_once = match usize::try_from(call.integer("max-concurrent-downloads")) {
        Ok(0) | Err(_) => AT_ONCE,
        Ok(number) => number,
    };
    let platforms = registry::platforms(call)?;
    let shown = RefCell::new(Shown::new(title(name)));
    Fetch { client, remote: &remote, platforms: &platforms, metadata_only, at_once, shown }.run().await
}

/// The platform of a flag that takes one, as messages have it; none without a word.
pub(crate) fn one_platform(call: &Call) -> Result<Option<oci::platform::Platform>, Error> {
    match call.text("platform") {
        "" => Ok(None),
        text => {
            let wrong = |error: oci::platform::PlatformError| Error::Usage(error.to_string());
            oci::platform::Platform::parse(text).map(Some).map_err(wrong)
        }
    }
}

/// The platforms of an export, as messages.
pub(crate) fn messages(platforms: &[oci::platform::Platform]) -> Vec<api::types::Platform> {
    platforms.iter().map(message).collect()
}
