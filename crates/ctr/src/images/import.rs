//! `ctr images import`: from an archive, by the daemon or by this side.

use std::pin::Pin;

use api::any;
use api::types::transfer::{ImageImportStream, ImageReference};
use oci::platform::Platform;
use tokio::io::AsyncRead;

use super::pull::one_platform;
use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::images::tree::Stock;
use crate::local::archive::{Found, Names};
use crate::local::unpack::Unpack;
use crate::local::{self, archive, described};
use crate::transfer::progress::Shown;
use crate::transfer::{self, Ends, Stream, bytes};
use crate::{labels, output};

/// What the daemon's way does not know.
const ONLY_LOCAL: [&str; 2] = ["discard-unpacked-layers", "sync-fs"];

pub(crate) async fn import(call: &Call) -> Result<u8, Error> {
    let path = call.operand(0);
    if path.is_empty() {
        return Err(Error::Usage("please provide an archive to import, or - for stdin".into()));
    }
    if call.is("no-unpack") && call.is("discard-unpacked-layers") {
        return Err(Error::Usage("--no-unpack and --discard-unpacked-layers cannot be used together".into()));
    }
    let client = Client::connect(call).await?;
    match transfer::way(call, &client, &ONLY_LOCAL).await? {
        Some(progress) => by_daemon(call, &client, progress).await,
        None => local::leased(&client, async |client| by_hand(call, client).await).await,
    }?;
    Ok(0)
}

/// How images are called that the archive gives no whole name: by the day, when nobody says how.
fn names(call: &Call) -> Names {
    let base = call.text("base-name");
    Names {
        base: if base.is_empty() {
            format!("import-{}", jiff::Timestamp::now().strftime("%Y-%m-%d"))
        } else {
            base.to_owned()
        },
        any: base.is_empty(),
        with_digests: call.is("digests"),
        skip_named: call.is("skip-digest-for-named"),
    }
}

/// This machine's platform, another one, or none for all of them.
fn platforms(call: &Call) -> Result<Vec<Platform>, Error> {
    match (call.is("all-platforms"), one_platform(call)?) {
        (true, _) => Ok(Vec::new()),
        (false, None) => Ok(vec![Platform::host()]),
        (false, Some(platform)) => Ok(vec![platform]),
    }
}

async fn by_daemon(call: &Call, client: &Client, progress: Stream) -> Result<(), Error> {
    let path = call.operand(0);
    let input: Pin<Box<dyn AsyncRead>> = match path {
        "-" => Box::pin(tokio::io::stdin()),
        path => Box::pin(tokio::fs::File::open(path).await.map_err(|source| opened(path, source))?),
    };
    let stream = Stream::open(client, "import").await?;
    let source = ImageImportStream {
        stream: stream.id.clone(),
        force_compress: call.is("compress-blobs"),
        ..ImageImportStream::default()
    };
    let platforms = platforms(call)?;
    let snapshotter = client.snapshotter(call).await;
    let unpacked = if call.is("no-unpack") { &[][..] } else { &platforms[..] };
    let mut store = transfer::store(call.text("index-name"), &platforms, unpacked, &snapshotter);
    store.labels = labels::parse(call.list("label"), "");
    let names = names(call);
    store.extra_references = vec![ImageReference {
        name: names.base,
        is_prefix: true,
        allow_overwrite: names.any,
        add_digest: names.with_digests,
        skip_named_digest: names.skip_named,
    }];
    let ends = (any::pack(&source), any::pack(&store));
    let beside = (bytes::send(stream, input), Ends::WithTransfer);
    transfer::run(client, progress, ends, beside, Shown::new("Importing")).await
}

fn opened(path: &str, source: std::io::Error) -> Error {
    Error::File { what: format!("open {path}"), source }
}

async fn by_hand(call: &Call, client: &Client) -> Result<(), Error> {
    let path = call.operand(0);
    let input: Box<dyn std::io::Read> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).map_err(|source| opened(path, source))?),
    };
    let platforms = platforms(call)?;
    let Found { index, images } = archive::read(client, input, &platforms).await?;
    let (names, labels) = (names(call), labels::parse(call.list("label"), ""));
    let snapshotter = client.snapshotter(call).await;
    let unpack = Unpack { client, snapshotter: &snapshotter, is_synced: call.is("sync-fs") };
    let index_name = Some(call.text("index-name").to_owned()).filter(|name| !name.is_empty());
    let named = index_name.map(|name| (name, index));
    let images = images
        .into_iter()
        .flat_map(|image| names.of(&image).into_iter().map(move |name| (name, image.clone())));
    for (name, target) in named.into_iter().chain(images) {
        local::name(client, &name, &target, &labels).await?;
        if call.is("no-unpack") {
            continue;
        }
        output::bytes(format!("unpacking {name} ({})...", target.digest).as_bytes())?;
        let stock = Stock::of(client, &described(&target)).await?;
        for image in stock.manifests() {
            let fits =
                |own: &Platform| platforms.is_empty() || platforms.iter().any(|wanted| wanted.matches(own));
            if !image.chain().is_empty() && image.platform().is_none_or(fits) {
                unpack.image(image).await?;
                if call.is("discard-unpacked-layers") {
                    archive::discard_layers(client, image).await?;
                }
            }
        }
        output::line("done")?;
    }
    Ok(())
}
