//! `ctr run`, `ctr containers create`, and `ctr tasks start` and `exec`: from an image to a process.

mod owners;

use std::collections::HashMap;

use api::types::Mount;
use grpc::containers::{Container, CreateContainerRequest, DeleteContainerRequest};
use grpc::snapshots::{MountsRequest, PrepareSnapshotRequest};
use grpc::tasks::{CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest};
use oci::image_config::is_reserved_label;
use oci::platform::Platform;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::images::tree::Stock;
use crate::process::Process;
use crate::stdio::Stdio;
use crate::{
    cni, containers, documents, images, labels, local, output, runtime, snapshots, spec, tasks, text,
};

pub(crate) async fn run(call: &Call) -> Result<u8, Error> {
    if call.is("rm") && call.is("detach") {
        return Err(Error::Usage("flags --detach and --rm cannot be specified together".into()));
    }
    if call.is("cni") && call.is("net-host") {
        return Err(Error::Usage(
            "flags --cni and --net-host cannot be specified together: the host's network is no container's"
                .into(),
        ));
    }
    let client = Client::connect(call).await?;
    let container = make(call, &client).await?;
    let outcome = go(call, &client, &container).await;
    if call.is("rm") {
        client.containers().delete(DeleteContainerRequest { id: container.id.clone() }).await?;
        snapshots::discard(&client, &container.snapshotter, &container.snapshot_key).await?;
    }
    outcome
}

pub(crate) async fn create(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    make(call, &client).await.map(|_| 0)
}

pub(crate) async fn start(call: &Call) -> Result<u8, Error> {
    if call.operand(0).is_empty() {
        return Err(Error::Usage("container id must be provided".into()));
    }
    let client = Client::connect(call).await?;
    let container = containers::get(&client, call.operand(0)).await?;
    go(call, &client, &container).await
}

fn document(container: &Container) -> Value {
    let kept = container.spec.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
    serde_json::from_slice(kept).unwrap_or_default()
}

/// Makes the task of a container, starts it and, unless it is left alone, sees it to its end.
async fn go(call: &Call, client: &Client, container: &Container) -> Result<u8, Error> {
    let has_terminal = document(container)["process"]["terminal"] == true;
    let network = if call.is("cni") { Some(cni::network()?) } else { None };
    let mut stdio = Stdio::of(call, &container.id, has_terminal)?;
    let is_left = call.is("detach");
    let held = if is_left { stdio.hold()? } else { Vec::new() };
    let ended = if is_left { None } else { stdio.copy() };
    let attached = match create_task(call, client, container, &stdio).await {
        Ok(pid) => attach(call, client, network, (&container.id, pid)).await,
        Err(error) => Err(error),
    };
    let attachment = match attached {
        Ok(attachment) => attachment,
        Err(error) => {
            stdio.remove();
            return Err(error);
        }
    };
    let process = Process {
        client: client.clone(),
        container: container.id.clone(),
        exec: String::new(),
        has_terminal,
    };
    if is_left {
        let started = process.start().await.map(|_| 0);
        // The shim holds the pipes from here on.
        drop(held);
        if started.is_err() {
            detach(attachment).await;
        }
        return started;
    }
    let outcome = process.run(ended).await;
    if outcome.is_ok() {
        stdio.finish().await
    } else {
        stdio.remove()
    }
    detach(attachment).await;
    let deleted = client.tasks().delete(DeleteTaskRequest { container_id: container.id.clone() }).await;
    let status = outcome?;
    deleted?;
    Ok(tasks::code(status))
}

/// Writes down which process the task's first one is, and gives it a network. A task without the network that it should have goes again.
async fn attach(
    call: &Call,
    client: &Client,
    network: Option<cni::Configuration>,
    (id, pid): (&str, u32),
) -> Result<Option<cni::Attachment>, Error> {
    write_pid(call, pid)?;
    let Some(network) = network else { return Ok(None) };
    match cni::attach(client, network, id, pid).await {
        Ok(attachment) => Ok(Some(attachment)),
        Err(error) => {
            if let Err(left) = tasks::discard(client, id).await {
                output::warn_of("failed to cleanup task", &left);
            }
            Err(error)
        }
    }
}

/// Takes a container that has ended out of its network. What is told is the container's end; this only beside it.
async fn detach(attachment: Option<cni::Attachment>) {
    if let Some(attachment) = attachment
        && let Err(error) = attachment.finish().await
    {
        output::warn_of("failed to remove network", &error);
    }
}

async fn create_task(
    call: &Call,
    client: &Client,
    container: &Container,
    stdio: &Stdio,
) -> Result<u32, Error> {
    let rootfs = match container.snapshot_key.as_str() {
        "" => Vec::new(),
        key => mounts(client, &container.snapshotter, key).await?,
    };
    let document = document(container);
    let runtime = container.runtime.clone().unwrap_or_default();
    // Whom the container's first user and group are outside: the pipes are theirs.
    let host =
        |list: &str| document["linux"][list][0]["hostID"].as_u64().and_then(|id| u32::try_from(id).ok());
    let owner = host("uidMappings").zip(host("gidMappings"));
    let options = runtime::task_options(runtime.options.as_ref(), &runtime.name, owner, call.is("no-pivot"))?;
    let request = CreateTaskRequest {
        container_id: container.id.clone(),
        rootfs,
        stdin: stdio.stdin.clone(),
        stdout: stdio.stdout.clone(),
        stderr: stdio.stderr.clone(),
        terminal: document["process"]["terminal"] == true,
        options,
        ..CreateTaskRequest::default()
    };
    Ok(client.tasks().create(request).await?.into_inner().pid)
}

async fn mounts(client: &Client, snapshotter: &str, key: &str) -> Result<Vec<Mount>, Error> {
    let request = MountsRequest { snapshotter: snapshotter.into(), key: key.into() };
    Ok(client.snapshots().mounts(request).await?.into_inner().mounts)
}

fn write_pid(call: &Call, pid: u32) -> Result<(), Error> {
    match call.text("pid-file") {
        "" => Ok(()),
        path => std::fs::write(path, pid.to_string())
            .map_err(|source| Error::File { what: format!("write {path}"), source }),
    }
}

/// Makes a container of the words: its snapshot, its document, its record.
async fn make(call: &Call, client: &Client) -> Result<Container, Error> {
    let Words { source, id, command } = words(call)?;
    let options = runtime::options(call)?;
    let mut container = Container {
        id: id.into(),
        labels: labels::parse(call.list("label"), "true"),
        sandbox: call.text("sandbox").into(),
        ..Container::default()
    };
    let mut parent = None;
    let mut document = match source {
        Source::Config(path) => spec::flags::read_config(path)?,
        Source::Folder(path) => from_folder(client, id, path, command)?,
        Source::Image(reference) => {
            let (document, chain) = from_image(call, client, reference, command, &mut container).await?;
            parent = Some(chain);
            document
        }
    };
    if call.is("cni") {
        cni::mark(&mut container);
    }
    spec::flags::apply(call, &mut document)?;
    spec::arrange(&mut document);
    container.runtime =
        Some(grpc::containers::container::Runtime { name: runtime::name(call).into(), options });
    container.spec = Some(api::any::pack_json(api::any::SPEC, &document).map_err(|error| {
        Error::Document { what: "the container's document".into(), reason: error.to_string() }
    })?);
    if call.has("dump-config") {
        let path = call.text("dump-config");
        std::fs::write(path, documents::indented(&document, b"  "))
            .map_err(|source| Error::File { what: format!("write {path:?}"), source })?;
    }
    match parent {
        Some(chain) if !call.list("uidmap").is_empty() && !call.is("remap-labels") => {
            local::leased(client, async |client| {
                let snapshotter = client.snapshotter(call).await;
                let copy = owners::given_away(client, &snapshotter, &chain, &document).await?;
                store(call, client, container, Some(copy)).await
            })
            .await
        }
        parent => store(call, client, container, parent).await,
    }
}

/// Where a container's files and document come from.
#[derive(Clone, Copy)]
enum Source<'a> {
    Image(&'a str),
    Folder(&'a str),
    /// A document that is whole.
    Config(&'a str),
}

struct Words<'a> {
    source: Source<'a>,
    id: &'a str,
    command: &'a [String],
}

fn words(call: &Call) -> Result<Words<'_>, Error> {
    let (first, config) = (call.operand(0), call.text("config"));
    let wrong = |text: &str| Err(Error::Usage(text.to_owned()));
    let (source, id, command) = match (config, call.is("rootfs")) {
        ("", false) => (Source::Image(first), call.operand(1), call.operands.get(2..)),
        ("", true) => (Source::Folder(first), call.operand(1), call.operands.get(2..)),
        (path, false) => (Source::Config(path), first, call.operands.get(1..)),
        (_, true) => {
            return wrong("--config and --rootfs cannot be specified together: the document names the root");
        }
    };
    let command = command.unwrap_or_default();
    match source {
        Source::Config(_) if !command.is_empty() => {
            return wrong("with spec config file, only container id should be provided");
        }
        Source::Image("") | Source::Folder("") => return wrong("image ref must be provided"),
        _ if id.is_empty() => return wrong("container id must be provided"),
        _ => {}
    }
    Ok(Words { source, id, command })
}

/// The document of a container whose root is a folder.
fn from_folder(client: &Client, id: &str, path: &str, command: &[String]) -> Result<Value, Error> {
    let mut document = spec::default_spec(client.namespace(), id);
    let path = std::path::absolute(path).map_err(|source| Error::File { what: path.into(), source })?;
    document["root"]["path"] = path.to_string_lossy().into();
    spec::apply_image(&mut document, &Value::Null, command).map_err(Error::Usage)?;
    Ok(document)
}

/// The document of a container of an image, and the snapshot that it starts from; the record learns what the image says.
async fn from_image(
    call: &Call,
    client: &Client,
    reference: &str,
    command: &[String],
    container: &mut Container,
) -> Result<(Value, String), Error> {
    let platform = match call.text("platform") {
        "" => Platform::host(),
        text => Platform::parse(text).map_err(|error| Error::Usage(format!("--platform {text}: {error}")))?,
    };
    let mut document = spec::default_spec(client.namespace(), &container.id);
    let image = images::get(client, reference).await?;
    let stock = Stock::of(client, &image.target.clone().unwrap_or_default()).await?;
    let node = stock.image(&platform).ok_or_else(|| {
        let what =
            if call.text("platform").is_empty() { "this machine's platform" } else { call.text("platform") };
        Error::Usage(format!("image {reference:?} has nothing for {what}: not found"))
    })?;
    let config = node.config().cloned().unwrap_or_default();
    spec::apply_image(&mut document, &config["config"], command).map_err(Error::Usage)?;
    for (key, value) in image_labels(&config) {
        container.labels.entry(key).or_insert(value);
    }
    let stop = config["config"]["StopSignal"].as_str().unwrap_or("SIGTERM");
    container.labels.insert("io.containerd.image.config.stop-signal".into(), stop.into());
    container.image = image.name;
    Ok((document, node.chain().last().cloned().unwrap_or_default()))
}

/// The labels that an image gives its containers. None by which the daemon would take orders from it: it starts tasks, and
/// programs for their logs, as labels say.
fn image_labels(config: &Value) -> impl Iterator<Item = (String, String)> {
    let labels = config["config"]["Labels"].as_object().into_iter().flatten();
    labels
        .filter(|(key, _)| !is_reserved_label(key))
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
}

/// Prepares the snapshot and stores the record; without the record the snapshot goes again.
async fn store(
    call: &Call,
    client: &Client,
    mut container: Container,
    parent: Option<String>,
) -> Result<Container, Error> {
    if let Some(parent) = parent {
        container.snapshotter = client.snapshotter(call).await;
        container.snapshot_key = container.id.clone();
        // Until the record refers to the snapshot, this label keeps it.
        let mut labels: HashMap<String, String> = labels::parse(call.list("snapshotter-label"), "true");
        if call.is("remap-labels") {
            for (label, flag) in [("uidmapping", "uidmap"), ("gidmapping", "gidmap")] {
                labels.insert(format!("containerd.io/snapshot/{label}"), call.list(flag).join(","));
            }
        }
        labels.insert(snapshots::ROOT_LABEL.into(), text::now());
        let (snapshotter, key) = (container.snapshotter.clone(), container.id.clone());
        client.snapshots().prepare(PrepareSnapshotRequest { snapshotter, key, parent, labels }).await?;
    }
    let request = CreateContainerRequest { container: Some(container.clone()) };
    match client.containers().create(request).await {
        Ok(response) => Ok(response.into_inner().container.unwrap_or(container)),
        Err(status) => {
            snapshots::discard(client, &container.snapshotter, &container.snapshot_key).await?;
            Err(status.into())
        }
    }
}

pub(crate) async fn exec(call: &Call) -> Result<u8, Error> {
    let (id, exec) = (call.operand(0), call.text("exec-id"));
    if exec.is_empty() {
        return Err(Error::Usage("Required flag \"exec-id\" not set".into()));
    }
    let words = call.operands.get(1..).unwrap_or_default();
    let client = Client::connect(call).await?;
    let container = containers::get(&client, id).await?;
    let has_terminal = call.is("tty");
    let mut document = document(&container);
    document["process"]["args"] = json!(words);
    document["process"]["terminal"] = has_terminal.into();
    if !call.text("cwd").is_empty() {
        document["process"]["cwd"] = call.text("cwd").into();
    }
    if !call.text("user").is_empty() {
        spec::set_user(&mut document, call.text("user")).map_err(Error::Usage)?;
    }
    let process = api::any::pack_json(api::any::PROCESS, &document["process"])
        .map_err(|error| Error::Document { what: "the process".into(), reason: error.to_string() })?;
    let mut stdio = Stdio::of(call, &format!("{id}-{exec}"), has_terminal)?;
    let request = ExecProcessRequest {
        container_id: id.into(),
        exec_id: exec.into(),
        stdin: stdio.stdin.clone(),
        stdout: stdio.stdout.clone(),
        stderr: stdio.stderr.clone(),
        terminal: has_terminal,
        spec: Some(process),
    };
    let is_left = call.is("detach");
    let held = if is_left { stdio.hold()? } else { Vec::new() };
    let ended = if is_left { None } else { stdio.copy() };
    if let Err(status) = client.tasks().exec(request).await {
        stdio.remove();
        return Err(status.into());
    }
    let process = Process { client: client.clone(), container: id.into(), exec: exec.into(), has_terminal };
    if is_left {
        let started = process.start().await.map(|_| 0);
        drop(held);
        return started;
    }
    let outcome = process.run(ended).await;
    if outcome.is_ok() {
        stdio.finish().await
    } else {
        stdio.remove()
    }
    let request = DeleteProcessRequest { container_id: id.into(), exec_id: exec.into() };
    let deleted = client.tasks().delete_process(request).await;
    let status = outcome?;
    deleted?;
    Ok(tasks::code(status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::image_labels;

    #[test]
    fn an_image_gives_no_orders_by_its_labels() {
        let config = json!({"config": {"Labels": {
            "containerd.io/restart.loguri": "binary:///bin/sh?x",
            "containerd.io/restart.status": "running",
            "containerd.io/gc.ref.content": "sha256:0",
            "io.cri-containerd.kind": "sandbox",
            "io.kubernetes.pod.name": "kube-system",
            "io.containerd.image.config.stop-signal": "SIGKILL",
            "nerdctl/log-uri": "binary:///bin/sh",
            "maintainer": "somebody",
            "my.containerd.io/x": "y",
        }}});
        let labels: Vec<(String, String)> = image_labels(&config).collect();
        let harmless = [("maintainer", "somebody"), ("my.containerd.io/x", "y")];
        assert_eq!(labels, harmless.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
