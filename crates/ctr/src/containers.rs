//! `ctr containers`: what the daemon keeps of them. What runs in them is `ctr tasks`.

use std::collections::HashMap;

use grpc::containers::{
    Container, DeleteContainerRequest, GetContainerRequest, ListContainersRequest, UpdateContainerRequest,
};
use prost_types::FieldMask;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::documents::{self, pretty};
use crate::error::{Error, words};
use crate::grammar::Call;
use crate::{labels, output, snapshots, table, text};

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let request = ListContainersRequest { filters: call.operands.clone() };
    let containers = client.containers().list(request).await?.into_inner().containers;
    if call.is("quiet") {
        let ids: String = containers.iter().map(|container| format!("{}\n", container.id)).collect();
        return output::text(&ids).map(|()| 0);
    }
    let mut lines = "CONTAINER\tIMAGE\tRUNTIME\t\n".to_owned();
    for container in &containers {
        let image = if container.image.is_empty() { "-" } else { &container.image };
        let runtime = container.runtime.as_ref().map_or("", |runtime| &runtime.name);
        lines.push_str(&format!("{}\t{image}\t{runtime}\t\n", container.id));
    }
    output::text(&table::layout(table::WIDE, &lines)).map(|()| 0)
}

/// One container, by its id.
pub(crate) async fn get(client: &Client, id: &str) -> Result<Container, Error> {
    let response = client.containers().get(GetContainerRequest { id: id.into() }).await?;
    Ok(response.into_inner().container.unwrap_or_default())
}

pub(crate) async fn info(call: &Call) -> Result<u8, Error> {
    let id = call.operand(0);
    if id.is_empty() {
        return Err(Error::Usage("container id must be provided: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let container = get(&client, id).await?;
    let spec = container.spec.as_ref().map(documents::any);
    let document = if call.is("spec") { spec.unwrap_or(Value::Null) } else { document(&container, spec) };
    output::line(&pretty(&document)).map(|()| 0)
}

fn document(container: &Container, spec: Option<Value>) -> Value {
    let mut runtime = Map::new();
    let kept = container.runtime.clone().unwrap_or_default();
    runtime.insert("Name".into(), kept.name.into());
    runtime.insert("Options".into(), kept.options.as_ref().map_or(Value::Null, documents::opaque));
    let mut extensions: Vec<_> = container.extensions.iter().collect();
    extensions.sort_unstable_by_key(|(name, _)| *name);
    let extensions: Map<_, _> =
        extensions.into_iter().map(|(name, value)| (name.clone(), documents::opaque(value))).collect();
    let mut object = json!({
        "ID": container.id,
        "Labels": if container.labels.is_empty() { Value::Null } else { documents::labels(&container.labels) },
        "Image": container.image,
        "Runtime": runtime,
        "SnapshotKey": container.snapshot_key,
        "Snapshotter": container.snapshotter,
        "CreatedAt": text::rfc3339(container.created_at.as_ref()),
        "UpdatedAt": text::rfc3339(container.updated_at.as_ref()),
        "Extensions": extensions,
        "SandboxID": container.sandbox,
    });
    if let (Some(object), Some(spec)) = (object.as_object_mut(), spec) {
        object.insert("Spec".into(), spec);
    }
    object
}

pub(crate) async fn label(call: &Call) -> Result<u8, Error> {
    let id = call.operand(0);
    if id.is_empty() {
        return Err(Error::Usage("container id must be provided: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let labels: HashMap<String, String> = labels::parse(&call.operands[1..], "");
    let container = match labels.is_empty() {
        // An update of nothing would be an update of everything: what is there is shown instead.
        true => get(&client, id).await?,
        false => {
            let update_mask = Some(FieldMask { paths: labels::paths(&labels) });
            let container = Some(Container { id: id.into(), labels, ..Container::default() });
            let response =
                client.containers().update(UpdateContainerRequest { container, update_mask }).await?;
            response.into_inner().container.unwrap_or_default()
        }
    };
    output::line(&labels::joined(&container.labels)).map(|()| 0)
}

pub(crate) async fn delete(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("must specify at least one container to delete: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let mut failure = None;
    for id in &call.operands {
        if let Err(error) = delete_one(&client, id, call.is("keep-snapshot")).await {
            output::warn_of(&format!("failed to delete container {id:?}"), &error);
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(0), Err)
}

async fn delete_one(client: &Client, id: &str, keeps_snapshot: bool) -> Result<(), Error> {
    let container = get(client, id).await?;
    let task =
        client.tasks().get(grpc::tasks::GetRequest { container_id: id.into(), exec_id: String::new() }).await;
    match task {
        Ok(_) => {
            return Err(Error::Usage(format!(
                "cannot delete a non stopped container: task {id:?} exists: failed precondition"
            )));
        }
        Err(status) if status.code() == tonic::Code::NotFound => {}
        Err(status) => return Err(Error::Usage(words(&status))),
    }
    client.containers().delete(DeleteContainerRequest { id: id.into() }).await?;
    if !keeps_snapshot && !container.snapshot_key.is_empty() {
        snapshots::discard(client, &container.snapshotter, &container.snapshot_key).await?;
    }
    Ok(())
}
