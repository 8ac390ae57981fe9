//! `ctr run`, `ctr containers create`, and `ctr tasks start` and `exec`: from an image to a process.

use std::collections::HashMap;

use api::types::Mount;
use grpc::containers::{Container, CreateContainerRequest, DeleteContainerRequest};
use grpc::snapshots::{MountsRequest, PrepareSnapshotRequest};
use grpc::tasks::{CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest};
use oci::platform::Platform;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::grammar::Call;
use crate::images::tree::Stock;
use crate::process::Process;
use crate::stdio::Stdio;
use crate::{containers, images, labels, snapshots, spec, tasks, text};

const DEFAULT_RUNTIME: &str = "io.containerd.runc.v2";

pub(crate) async fn run(call: &Call) -> Result<u8, Error> {
    if call.is("rm") && call.is("detach") {
        return Err(Error::Usage("flags --detach and --rm cannot be specified together".into()));
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
    let mut stdio = Stdio::of(call, &container.id, has_terminal)?;
    // The shim opens the pipes when the task is made, and waits for this side.
    let ended = stdio.copy();
    let created = create_task(client, container, &stdio, has_terminal).await;
    let pid = match created {
        Ok(pid) => pid,
        Err(error) => {
            stdio.remove();
            return Err(error);
        }
    };
    write_pid(call, pid)?;
    let process = Process {
        client: client.clone(),
        container: container.id.clone(),
        exec: String::new(),
        has_terminal,
    };
    let request = DeleteTaskRequest { container_id: container.id.clone() };
    if call.is("detach") {
        // The shim holds the pipes from here on; nobody reads them, as with ctr.
        return process.start().await.map(|_| 0);
    }
    let outcome = process.run(ended).await;
    if outcome.is_ok() {
        stdio.finish().await
    } else {
        stdio.remove()
    }
    let deleted = client.tasks().delete(request).await;
    let status = outcome?;
    deleted?;
    Ok(tasks::code(status))
}

async fn create_task(
    client: &Client,
    container: &Container,
    stdio: &Stdio,
    terminal: bool,
) -> Result<u32, Error> {
    let rootfs = match container.snapshot_key.as_str() {
        "" => Vec::new(),
        key => mounts(client, &container.snapshotter, key).await?,
    };
    let request = CreateTaskRequest {
        container_id: container.id.clone(),
        rootfs,
        stdin: stdio.stdin.clone(),
        stdout: stdio.stdout.clone(),
        stderr: stdio.stderr.clone(),
        terminal,
        options: container.runtime.as_ref().and_then(|runtime| runtime.options.clone()),
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
    let (reference, id) = (call.operand(0), call.operand(1));
    if reference.is_empty() {
        return Err(Error::Usage("image ref must be provided".into()));
    }
    if id.is_empty() {
        return Err(Error::Usage("container id must be provided".into()));
    }
    let words = call.operands.get(2..).unwrap_or_default();
    let mut document = spec::default_spec(client.namespace(), id);
    let mut container =
        Container { id: id.into(), labels: labels::parse(call.list("label"), ""), ..Container::default() };
    let mut parent = None;
    if call.is("rootfs") {
        document["root"]["path"] = std::path::absolute(reference)
            .map_err(|source| Error::File { what: reference.into(), source })?
            .to_string_lossy()
            .into();
        spec::apply_image(&mut document, &Value::Null, words).map_err(Error::Usage)?;
    } else {
        let image = images::get(client, reference).await?;
        let stock = Stock::of(client, &image.target.clone().unwrap_or_default()).await?;
        let node = stock.image(&Platform::host()).ok_or_else(|| {
            Error::Usage(format!("image {reference:?} has nothing for this machine's platform: not found"))
        })?;
        let config = node.config().cloned().unwrap_or_default();
        spec::apply_image(&mut document, &config["config"], words).map_err(Error::Usage)?;
        for (key, value) in config["config"]["Labels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            container.labels.entry(key.clone()).or_insert(value);
        }
        let stop = config["config"]["StopSignal"].as_str().unwrap_or("SIGTERM");
        container.labels.insert("io.containerd.image.config.stop-signal".into(), stop.into());
        container.image = image.name;
        parent = Some(node.chain().last().cloned().unwrap_or_default());
    }
    apply_flags(call, &mut document)?;
    let runtime = if call.text("runtime").is_empty() { DEFAULT_RUNTIME } else { call.text("runtime") };
    let options = (runtime == DEFAULT_RUNTIME).then(|| api::any::pack(&api::runc::Options::default()));
    container.runtime = Some(grpc::containers::container::Runtime { name: runtime.into(), options });
    container.spec = Some(api::any::pack_json(api::any::SPEC, &document).map_err(|error| {
        Error::Document { what: "the container's document".into(), reason: error.to_string() }
    })?);
    store(call, client, container, parent).await
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
        let mut labels: HashMap<String, String> = labels::parse(call.list("snapshotter-label"), "");
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

/// What the flags change in the document.
fn apply_flags(call: &Call, document: &mut Value) -> Result<(), Error> {
    spec::set_env(document, call.list("env"));
    if !call.text("cwd").is_empty() {
        document["process"]["cwd"] = call.text("cwd").into();
    }
    if !call.text("user").is_empty() {
        spec::set_user(document, call.text("user")).map_err(Error::Usage)?;
    }
    for mount in call.list("mount") {
        spec::add_mount(document, mount).map_err(Error::Usage)?;
    }
    if call.is("net-host") {
        spec::set_namespace(document, "network", "");
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            spec::add_mount(document, &format!("type=bind,src={file},dst={file},options=rbind:ro"))
                .map_err(Error::Usage)?;
        }
    }
    for namespace in call.list("with-ns") {
        let (kind, path) = namespace.split_once(':').ok_or_else(|| {
            Error::Usage("joining a Linux namespace using --with-ns requires the format 'nstype:path'".into())
        })?;
        spec::set_namespace(document, kind, path);
    }
    if call.is("tty") {
        document["process"]["terminal"] = true.into();
        spec::set_env(document, &["TERM=xterm".to_owned()]);
    }
    if call.is("read-only") {
        document["root"]["readonly"] = true.into();
    }
    if call.is("allow-new-privs") {
        document["process"]["noNewPrivileges"] = false.into();
    }
    if call.integer("memory-limit") > 0 {
        document["linux"]["resources"]["memory"] = json!({"limit": call.integer("memory-limit")});
    }
    if !call.text("hostname").is_empty() {
        document["hostname"] = call.text("hostname").into();
    }
    if !call.text("cgroup").is_empty() {
        document["linux"]["cgroupsPath"] = call.text("cgroup").into();
    }
    for (key, value) in labels::parse(call.list("annotation"), "") {
        document["annotations"][key] = value.into();
    }
    Ok(())
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
    let ended = stdio.copy();
    if let Err(status) = client.tasks().exec(request).await {
        stdio.remove();
        return Err(status.into());
    }
    let process = Process { client: client.clone(), container: id.into(), exec: exec.into(), has_terminal };
    if call.is("detach") {
        return process.start().await.map(|_| 0);
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
