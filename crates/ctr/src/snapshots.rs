//! `ctr snapshots`.

use std::collections::BTreeMap;
use std::fmt::Write;

use api::types::Mount;
use grpc::snapshots::{
    CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, UpdateSnapshotRequest, UsageRequest, ViewSnapshotRequest,
};
use prost_types::FieldMask;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::documents::{self, pretty};
use crate::error::{Error, words};
use crate::grammar::Call;
use crate::{labels, output, table, text};

pub(crate) mod layers;

/// The snapshot that a caller made is kept until somebody removes it.
pub(crate) const ROOT_LABEL: &str = "containerd.io/gc.root";

fn usage(call: &Call, least: usize, most: usize, message: &str) -> Result<(), Error> {
    match (least..=most).contains(&call.operands.len()) {
        true => Ok(()),
        false => Err(Error::Usage(message.into())),
    }
}

/// Every snapshot of the namespace, sorted by key.
async fn all(client: &Client, snapshotter: &str) -> Result<Vec<Info>, Error> {
    let request = ListSnapshotsRequest { snapshotter: snapshotter.into(), filters: Vec::new() };
    let mut stream = client.snapshots().list(request).await?.into_inner();
    let mut snapshots = Vec::new();
    while let Some(message) = stream.message().await? {
        snapshots.extend(message.info);
    }
    snapshots.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(snapshots)
}

fn kind(info: &Info) -> &'static str {
    match info.kind() {
        Kind::Active => "Active",
        Kind::View => "View",
        Kind::Committed => "Committed",
        Kind::Unknown => "Unknown",
    }
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let mut lines = "KEY\tPARENT\tKIND\t\n".to_owned();
    for info in all(&client, &snapshotter).await? {
        let _ = writeln!(lines, "{}\t{}\t{}\t", info.name, info.parent, kind(&info));
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

pub(crate) async fn disk_usage(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let keys = match call.operands.is_empty() {
        true => all(&client, &snapshotter).await?.into_iter().map(|info| info.name).collect(),
        false => call.operands.clone(),
    };
    let text = usage_table(&client, &snapshotter, &keys, call.is("b")).await?;
    output::text(&text).map(|()| 0)
}

/// What `keys` take on the disk, as a table.
pub(crate) async fn usage_table(
    client: &Client,
    snapshotter: &str,
    keys: &[String],
    in_bytes: bool,
) -> Result<String, Error> {
    let mut lines = "KEY\tSIZE\tINODES\t\n".to_owned();
    for key in keys {
        let request = UsageRequest { snapshotter: snapshotter.into(), key: key.clone() };
        let usage = client.snapshots().usage(request).await?.into_inner();
        let size = if in_bytes { usage.size.to_string() } else { text::size_binary(usage.size) };
        let _ = writeln!(lines, "{key}\t{size}\t{}\t", usage.inodes);
    }
    Ok(table::layout(table::NARROW, &lines))
}

pub(crate) async fn remove(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    for key in &call.operands {
        let request = RemoveSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone() };
        let removed = client.snapshots().remove(request).await;
        removed.map_err(|status| Error::from(status).while_doing(format!("failed to remove {key:?}")))?;
    }
    Ok(0)
}

pub(crate) async fn prepare(call: &Call) -> Result<u8, Error> {
    usage(call, 1, 2, "snapshot key and optionally parent are needed: prepare <key> [<parent>]")?;
    let client = Client::connect(call).await?;
    let request = PrepareSnapshotRequest {
        snapshotter: client.snapshotter(call).await,
        key: call.operand(0).into(),
        parent: call.operand(1).into(),
        labels: root_label(),
    };
    let mounts = client.snapshots().prepare(request).await?.into_inner().mounts;
    show_mounts(call, &mounts)
}

pub(crate) async fn view(call: &Call) -> Result<u8, Error> {
    usage(call, 1, 2, "snapshot key and optionally parent are needed: view <key> [<parent>]")?;
    let client = Client::connect(call).await?;
    let request = ViewSnapshotRequest {
        snapshotter: client.snapshotter(call).await,
        key: call.operand(0).into(),
        parent: call.operand(1).into(),
        labels: root_label(),
    };
    let mounts = client.snapshots().view(request).await?.into_inner().mounts;
    show_mounts(call, &mounts)
}

fn root_label() -> std::collections::HashMap<String, String> {
    [(ROOT_LABEL.to_owned(), text::now())].into()
}

fn show_mounts(call: &Call, mounts: &[Mount]) -> Result<u8, Error> {
    let target = call.text("target");
    if !target.is_empty() {
        output::text(&commands(target, mounts))?;
    }
    if call.is("mounts") {
        let list: Vec<Value> = mounts
            .iter()
            .map(|mount| {
                json!({"Type": mount.r#type, "Source": mount.source, "Target": mount.target, "Options": mount.options})
            })
            .collect();
        output::line(&pretty(&list.into()))?;
    }
    Ok(0)
}

/// The commands that mount a snapshot at `target`.
fn commands(target: &str, mounts: &[Mount]) -> String {
    let command = |mount: &Mount| {
        format!("mount -t {} {} {target} -o {}\n", mount.r#type, mount.source, mount.options.join(","))
    };
    mounts.iter().map(command).collect()
}

pub(crate) async fn mounts(call: &Call) -> Result<u8, Error> {
    usage(call, 2, 2, "a target and a key are needed: mounts <target> <key>")?;
    let client = Client::connect(call).await?;
    let request = MountsRequest { snapshotter: client.snapshotter(call).await, key: call.operand(1).into() };
    let mounts = client.snapshots().mounts(request).await?.into_inner().mounts;
    output::text(&commands(call.operand(0), &mounts)).map(|()| 0)
}

pub(crate) async fn commit(call: &Call) -> Result<u8, Error> {
    usage(call, 2, 2, "a key and an active snapshot are needed: commit <key> <active>")?;
    let client = Client::connect(call).await?;
    let request = CommitSnapshotRequest {
        snapshotter: client.snapshotter(call).await,
        name: call.operand(0).into(),
        key: call.operand(1).into(),
        labels: root_label(),
        parent: String::new(),
    };
    client.snapshots().commit(request).await?;
    Ok(0)
}

pub(crate) async fn tree(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let snapshotter = client.snapshotter(call).await;
    let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for info in all(&client, &snapshotter).await? {
        below.entry(info.parent).or_default().push(info.name);
    }
    // A stack, not recursion: how deep the tree is, the daemon's clients decide.
    let mut stack: Vec<(usize, String)> = children(&below, "", 0);
    let mut text = String::new();
    while let Some((depth, name)) = stack.pop() {
        let _ = match depth {
            0 => writeln!(text, " {name}"),
            depth => writeln!(text, "{}\\_ {name}", "  ".repeat(depth)),
        };
        stack.extend(children(&below, &name, depth + 1));
    }
    output::text(&text).map(|()| 0)
}

fn children(below: &BTreeMap<String, Vec<String>>, parent: &str, depth: usize) -> Vec<(usize, String)> {
    below.get(parent).into_iter().flatten().rev().map(|name| (depth, name.clone())).collect()
}

pub(crate) async fn info(call: &Call) -> Result<u8, Error> {
    usage(call, 1, 1, "a key is needed: info <key>")?;
    let client = Client::connect(call).await?;
    let request =
        StatSnapshotRequest { snapshotter: client.snapshotter(call).await, key: call.operand(0).into() };
    let info = client.snapshots().stat(request).await?.into_inner().info.unwrap_or_default();
    let mut object = Map::new();
    object.insert("Kind".into(), kind(&info).into());
    object.insert("Name".into(), info.name.clone().into());
    if !info.parent.is_empty() {
        object.insert("Parent".into(), info.parent.clone().into());
    }
    if !info.labels.is_empty() {
        object.insert("Labels".into(), documents::labels(&info.labels));
    }
    object.insert("Created".into(), text::rfc3339(info.created_at.as_ref()).into());
    object.insert("Updated".into(), text::rfc3339(info.updated_at.as_ref()).into());
    output::line(&pretty(&object.into())).map(|()| 0)
}

pub(crate) async fn label(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("a key is needed: label <name> [<label>=<value> ...]".into()));
    }
    let client = Client::connect(call).await?;
    let labels = labels::parse(&call.operands[1..], "");
    let request = UpdateSnapshotRequest {
        snapshotter: client.snapshotter(call).await,
        update_mask: Some(FieldMask { paths: labels::paths(&labels) }),
        info: Some(Info { name: call.operand(0).into(), labels, ..Info::default() }),
    };
    let info = client.snapshots().update(request).await?.into_inner().info.unwrap_or_default();
    if !info.labels.is_empty() {
        output::line(&labels::joined(&info.labels))?;
    }
    Ok(0)
}

/// Removes the snapshot of a container that is gone; one that is gone, too, is no failure.
/// A container without one (its root is a folder) has an empty `key`.
pub(crate) async fn discard(client: &Client, snapshotter: &str, key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Ok(());
    }
    let request = RemoveSnapshotRequest { snapshotter: snapshotter.into(), key: key.into() };
    match client.snapshots().remove(request).await {
        Err(status) if status.code() != tonic::Code::NotFound => {
            Err(Error::Usage(format!("failed to remove snapshot {key:?}: {}", words(&status))))
        }
        _ => Ok(()),
    }
}
