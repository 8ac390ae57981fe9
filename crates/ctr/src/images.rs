//! `ctr images`: names, and what is behind them; how images come and go is in a file per command.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use api::types::Descriptor as Target;
use grpc::content::InfoRequest;
use grpc::images::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};
use grpc::snapshots::StatSnapshotRequest;
use oci::platform::Platform;
use prost_types::FieldMask;

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::{labels, output, snapshots, table, text};

pub(crate) mod convert;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod mount;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod tree;

use tree::Stock;

/// An image, by its whole name. One that is only in another namespace is pointed at.
pub(crate) async fn get(client: &Client, name: &str) -> Result<Image, Error> {
    let status = match client.images().get(GetImageRequest { name: name.into() }).await {
        Ok(response) => return Ok(response.into_inner().image.unwrap_or_default()),
        Err(status) => status,
    };
    let hint = match status.code() {
        tonic::Code::NotFound => elsewhere(client, name).await,
        _ => None,
    };
    Err(Error::Status { what: None, status: Box::new(status), hint })
}

/// Where an image of this name is instead: in another namespace, or here under its whole name.
async fn elsewhere(client: &Client, name: &str) -> Option<String> {
    if let Ok(whole) =
        oci::reference::Reference::parse_normalized(name).map(|reference| reference.to_string())
        && whole != name
        && client.images().get(GetImageRequest { name: whole.clone() }).await.is_ok()
    {
        return Some(format!("there is an image {whole:?}: names are given whole"));
    }
    let namespaces =
        client.namespaces().list(grpc::namespaces::ListNamespacesRequest::default()).await.ok()?;
    for namespace in namespaces.into_inner().namespaces {
        let other = client.in_namespace(&namespace.name)?;
        if namespace.name != client.namespace()
            && other.images().get(GetImageRequest { name: name.into() }).await.is_ok()
        {
            return Some(format!("it is in namespace {0:?}: ctr -n {0} ...", namespace.name));
        }
    }
    None
}

pub(crate) async fn all(client: &Client, filters: &[String]) -> Result<Vec<Image>, Error> {
    let request = ListImagesRequest { filters: filters.to_vec() };
    Ok(client.images().list(request).await?.into_inner().images)
}

fn target(image: &Image) -> Target {
    image.target.clone().unwrap_or_default()
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let images = all(&client, &call.operands).await?;
    if call.is("quiet") {
        let names: String = images.iter().map(|image| format!("{}\n", image.name)).collect();
        return output::text(&names).map(|()| 0);
    }
    let mut lines = "REF\tTYPE\tDIGEST\tSIZE\tPLATFORMS\tLABELS\t\n".to_owned();
    for image in &images {
        let target = target(image);
        let stock = match Stock::of(&client, &target).await {
            Ok(stock) => stock,
            Err(error) => {
                // One damaged image does not hide the others.
                output::warn("error", &format!("failed calculating size for image {}: {error}", image.name));
                Stock::default()
            }
        };
        let size = text::size_binary(stock.size(&Platform::host()));
        let platforms: BTreeSet<String> = stock.platforms().iter().map(ToString::to_string).collect();
        let platforms = platforms.into_iter().collect::<Vec<_>>().join(",");
        let platforms = if platforms.is_empty() { "-" } else { &platforms };
        let labels = labels::column(&image.labels);
        let _ = writeln!(
            lines,
            "{}\t{}\t{}\t{size}\t{platforms}\t{labels}\t",
            image.name, target.media_type, target.digest
        );
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

pub(crate) async fn check(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let images = all(&client, &call.operands).await?;
    let mut lines = "REF\tTYPE\tDIGEST\tSTATUS\tSIZE\tUNPACKED\t\n".to_owned();
    let mut ready = String::new();
    for image in &images {
        let target = target(image);
        let state = state(&client, &snapshotter, &target).await?;
        if state.is_complete && state.is_unpacked {
            let _ = writeln!(ready, "{}", image.name);
        }
        let (status, size, unpacked) = (&state.status, &state.size, state.is_unpacked);
        let _ = writeln!(
            lines,
            "{}\t{}\t{}\t{status}\t{size}\t{unpacked}",
            image.name, target.media_type, target.digest
        );
    }
    if call.is("quiet") {
        return output::text(&ready).map(|()| 0);
    }
    if images.is_empty() {
        return Ok(0);
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

struct State {
    status: String,
    size: String,
    is_complete: bool,
    is_unpacked: bool,
}

/// How much of an image is here. Its configuration and layers count, the manifest that names them does not.
async fn state(client: &Client, snapshotter: &str, target: &Target) -> Result<State, Error> {
    let stock = match Stock::of(client, target).await {
        Ok(stock) => stock,
        Err(error) if error.is(tonic::Code::NotFound) => Stock::default(),
        Err(error) => return Err(error),
    };
    let Some(image) = stock.image(&Platform::host()) else {
        let status = "unavailable (0/?)".to_owned();
        return Ok(State { status, size: "0.0 B/?".into(), is_complete: false, is_unpacked: false });
    };
    let (mut present, mut present_bytes, mut required, mut required_bytes) = (0, 0, 0, 0);
    for blob in &image.children {
        required += 1;
        required_bytes += blob.size;
        match client.content().info(InfoRequest { digest: blob.digest.clone() }).await {
            Ok(_) => {
                present += 1;
                present_bytes += blob.size;
            }
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    let is_complete = present == required;
    let word = if is_complete { "complete" } else { "incomplete" };
    Ok(State {
        status: format!("{word} ({present}/{required})"),
        size: format!("{}/{}", text::size_binary(present_bytes), text::size_binary(required_bytes)),
        is_complete,
        is_unpacked: match image.chain().last() {
            Some(chain) => is_unpacked(client, snapshotter, chain).await?,
            None => false,
        },
    })
}

async fn is_unpacked(client: &Client, snapshotter: &str, chain: &str) -> Result<bool, Error> {
    let request = StatSnapshotRequest { snapshotter: snapshotter.into(), key: chain.into() };
    match client.snapshots().stat(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == tonic::Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

pub(crate) async fn usage(call: &Call) -> Result<u8, Error> {
    let name = call.operand(0);
    if name.is_empty() {
        return Err(Error::Usage("please provide an image reference to mount: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let image = get(&client, name).await;
    let image =
        image.map_err(|error| error.while_doing(format!("failed to ensure if image {name} exists")))?;
    let snapshotter = client.snapshotter(call).await;
    let stock = Stock::of(&client, &target(&image)).await?;
    let chain = stock.image(&Platform::host()).map(|image| image.chain().to_vec()).unwrap_or_default();
    // The top layer comes first.
    let keys: Vec<String> = chain.into_iter().rev().collect();
    output::text(&snapshots::usage_table(&client, &snapshotter, &keys, false).await?).map(|()| 0)
}

pub(crate) async fn inspect(call: &Call) -> Result<u8, Error> {
    let name = call.operand(0);
    if name.is_empty() {
        return Err(Error::Usage("please provide an image name to inspect".into()));
    }
    let client = Client::connect(call).await?;
    let image = get(&client, name).await?;
    let mut out = format!("{}\n", image.name);
    let _ = writeln!(out, "│    Created: {}", text::go_time(image.created_at.as_ref()));
    let _ = writeln!(out, "│    Updated: {}", text::go_time(image.updated_at.as_ref()));
    let mut labels: Vec<_> = image.labels.iter().collect();
    labels.sort_unstable();
    for (key, value) in labels {
        let _ = writeln!(out, "│    Label {key:?}: {value:?}");
    }
    let stock = Stock::of(&client, &target(&image)).await?;
    stock.draw(call.is("content"), &mut out);
    output::text(&out).map(|()| 0)
}

pub(crate) async fn label(call: &Call) -> Result<u8, Error> {
    let name = call.operand(0);
    let labels = labels::parse(call.operands.get(1..).unwrap_or_default(), "");
    if name.is_empty() {
        return Err(Error::Usage("please specify an image".into()));
    }
    let client = Client::connect(call).await?;
    let paths = match call.is("replace-all") {
        true => vec!["labels".to_owned()],
        false => labels::paths(&labels),
    };
    // An update of nothing would be an update of everything.
    let image = match paths.is_empty() {
        true => get(&client, name).await?,
        false => {
            // containerd 2.1 does not survive an update without a target, even where the target stays.
            let target = Some(Target::default());
            let image = Some(Image { name: name.into(), labels, target, ..Image::default() });
            let update_mask = Some(FieldMask { paths });
            let request = UpdateImageRequest { image, update_mask, source_date_epoch: None };
            client.images().update(request).await?.into_inner().image.unwrap_or_default()
        }
    };
    output::line(&labels::joined(&image.labels)).map(|()| 0)
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let mut failure = None;
    for (index, name) in call.operands.iter().enumerate() {
        // Waiting for the collection once, at the end, is enough.
        let sync = call.is("sync") && index + 1 == call.operands.len();
        match client.images().delete(DeleteImageRequest { name: name.clone(), sync, target: None }).await {
            Ok(_) => output::line(name)?,
            Err(status) if status.code() == tonic::Code::NotFound => {
                output::warn("warning", &format!("{name}: image not found"));
                if let Some(hint) = elsewhere(&client, name).await {
                    output::tell(&format!("hint: {hint}\n"));
                }
            }
            Err(status) => {
                let error = Error::from(status).while_doing(format!("unable to delete {name}"));
                output::warn("error", &error.to_string());
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

pub(crate) async fn prune(call: &Call) -> Result<u8, Error> {
    if !call.is("all") {
        output::warn("warning", "No images pruned. `image prune` requires --all to be specified.");
        return Ok(0);
    }
    let client = Client::connect(call).await?;
    let containers =
        client.containers().list(grpc::containers::ListContainersRequest::default()).await?.into_inner();
    let used: BTreeSet<String> = containers.containers.into_iter().map(|container| container.image).collect();
    for image in all(&client, &[]).await?.into_iter().filter(|image| !used.contains(&image.name)) {
        let request = DeleteImageRequest { name: image.name.clone(), sync: false, target: None };
        client.images().delete(request).await.map_err(|status| {
            Error::from(status).while_doing(format!("failed to delete image {}", image.name))
        })?;
        output::line(&image.name)?;
    }
    Ok(0)
}

pub(crate) async fn tag(call: &Call) -> Result<u8, Error> {
    if call.operand(0).is_empty() {
        return Err(Error::Usage("please provide an image reference to tag from: invalid argument".into()));
    }
    if call.operand(1).is_empty() {
        return Err(Error::Usage("please provide an image reference to tag to: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let image = get(&client, call.operand(0)).await?;
    // By the transfer service a name that is taken moves; by hand only when it is forced to.
    let moves = !call.is("local") || call.is("force");
    for name in &call.operands[1..] {
        create(&client, name, &image, moves).await?;
        output::line(name)?;
    }
    Ok(0)
}

/// Gives `image` the name `name` as well.
async fn create(client: &Client, name: &str, image: &Image, moves: bool) -> Result<(), Error> {
    let labels: HashMap<String, String> = image.labels.clone();
    let image = Image { name: name.into(), labels, target: image.target.clone(), ..Image::default() };
    let request = CreateImageRequest { image: Some(image.clone()), source_date_epoch: None };
    match client.images().create(request).await {
        Ok(_) => Ok(()),
        Err(status) if moves && status.code() == tonic::Code::AlreadyExists => {
            let request =
                UpdateImageRequest { image: Some(image), update_mask: None, source_date_epoch: None };
            client.images().update(request).await?;
            Ok(())
        }
        Err(status) => Err(status.into()),
    }
}
