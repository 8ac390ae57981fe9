//! `ctr sandboxes`: groups of containers that share a runtime's process, and often a machine.

use api::types::Sandbox;
use api::types::sandbox::Runtime;
use grpc::sandbox::{
    ControllerCreateRequest, ControllerShutdownRequest, ControllerStartRequest, ControllerStopRequest,
    StoreCreateRequest, StoreDeleteRequest, StoreGetRequest, StoreListRequest,
};
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::documents::{self, pretty};
use crate::error::Error;
use crate::grammar::Call;
use crate::{output, runtime, spec, table, text};

/// What controls a sandbox that does not say what: a shim.
const CONTROLLER: &str = "shim";

pub(crate) async fn run(call: &Call) -> Result<u8, Error> {
    let [config, id] = call.operands.as_slice() else {
        return Err(Error::Usage(
            "a file with the sandbox's document and the sandbox's id must be provided".into(),
        ));
    };
    let document = spec::flags::read_config(config)?;
    let client = Client::connect(call).await?;
    let spec = api::any::pack_json(api::any::SPEC, &document)
        .map_err(|error| Error::Document { what: config.clone(), reason: error.to_string() })?;
    let now = Some(text::stamp());
    let sandbox = Sandbox {
        sandbox_id: id.clone(),
        runtime: Some(Runtime { name: runtime::name(call).into(), options: None }),
        spec: Some(spec),
        created_at: now,
        updated_at: now,
        sandboxer: CONTROLLER.into(),
        ..Sandbox::default()
    };
    client
        .sandboxes()
        .create(StoreCreateRequest { sandbox: Some(sandbox.clone()) })
        .await
        .map_err(|status| Error::from(status).while_doing("failed to create new sandbox".into()))?;
    match start(&client, id, sandbox).await {
        Ok(()) => output::line(id).map(|()| 0),
        Err(error) => {
            // What never ran leaves no record. The error that counts is the first.
            let _ = shut_down(&client, id, CONTROLLER).await;
            Err(error)
        }
    }
}

async fn start(client: &Client, id: &str, sandbox: Sandbox) -> Result<(), Error> {
    let create = ControllerCreateRequest {
        sandbox_id: id.into(),
        sandbox: Some(sandbox),
        sandboxer: CONTROLLER.into(),
        ..ControllerCreateRequest::default()
    };
    let doing = |what: &str| {
        let what = what.to_owned();
        move |status: tonic::Status| Error::from(status).while_doing(what)
    };
    client
        .controller()
        .create(create)
        .await
        .map_err(doing(&format!("failed to create sandbox with {CONTROLLER} sandboxer")))?;
    let start = ControllerStartRequest { sandbox_id: id.into(), sandboxer: CONTROLLER.into() };
    client.controller().start(start).await.map_err(doing("failed to start"))?;
    Ok(())
}

pub(crate) async fn list(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let request = StoreListRequest { filters: call.list("filters").to_vec() };
    let response = client
        .sandboxes()
        .list(request)
        .await
        .map_err(|status| Error::from(status).while_doing("failed to list sandboxes".into()))?;
    let mut lines = "ID\tCREATED\tRUNTIME\t\n".to_owned();
    for sandbox in response.into_inner().list {
        let created = text::go_time(sandbox.created_at.as_ref());
        let runtime = sandbox.runtime.unwrap_or_default().name;
        lines.push_str(&format!("{}\t{created}\t{runtime}\t\n", sandbox.sandbox_id));
    }
    output::text(&table::layout(table::NARROW, &lines)).map(|()| 0)
}

async fn get(client: &Client, id: &str) -> Result<Sandbox, Error> {
    let response = client.sandboxes().get(StoreGetRequest { sandbox_id: id.into() }).await?;
    Ok(response.into_inner().sandbox.unwrap_or_default())
}

pub(crate) async fn info(call: &Call) -> Result<u8, Error> {
    let id = call.operand(0);
    if id.is_empty() {
        return Err(Error::Usage("sandbox id must be provided: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let sandbox =
        get(&client, id).await.map_err(|error| error.while_doing(format!("failed to load sandbox {id}")))?;
    output::line(&pretty(&document(&sandbox))).map(|()| 0)
}

fn document(sandbox: &Sandbox) -> Value {
    let opaque = |any: &Option<prost_types::Any>| any.as_ref().map_or(Value::Null, documents::opaque);
    let mut extensions: Vec<_> = sandbox.extensions.iter().collect();
    extensions.sort_unstable_by_key(|(name, _)| *name);
    let extensions: Map<_, _> =
        extensions.into_iter().map(|(name, value)| (name.clone(), documents::opaque(value))).collect();
    let runtime = sandbox.runtime.clone().unwrap_or_default();
    json!({
        "ID": sandbox.sandbox_id,
        "Labels": documents::labels(&sandbox.labels),
        "Runtime": {"Name": runtime.name, "Options": opaque(&runtime.options)},
        "Spec": sandbox.spec.as_ref().map_or(Value::Null, documents::any),
        "Sandboxer": sandbox.sandboxer,
        "CreatedAt": text::rfc3339(sandbox.created_at.as_ref()),
        "UpdatedAt": text::rfc3339(sandbox.updated_at.as_ref()),
        "Extensions": extensions,
    })
}

pub(crate) async fn remove(call: &Call) -> Result<u8, Error> {
    if call.operands.is_empty() {
        return Err(Error::Usage("must specify at least one sandbox to remove: invalid argument".into()));
    }
    let client = Client::connect(call).await?;
    let mut failure = None;
    for id in &call.operands {
        match remove_one(&client, id, call.is("force")).await {
            Ok(()) => output::line(id)?,
            Err(error) => {
                output::warn_of(&format!("failed to remove sandbox {id}"), &error);
                failure.get_or_insert(Error::Told);
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

async fn remove_one(client: &Client, id: &str, by_force: bool) -> Result<(), Error> {
    let sandbox = get(client, id).await?;
    let controller = if sandbox.sandboxer.is_empty() { CONTROLLER } else { &sandbox.sandboxer };
    let stop =
        ControllerStopRequest { sandbox_id: id.into(), sandboxer: controller.into(), ..Default::default() };
    match client.controller().stop(stop).await {
        // One that does not run any more has stopped.
        Err(status) if status.code() == tonic::Code::NotFound => {}
        Err(status) if by_force => output::warn_of(&format!("failed to stop sandbox {id}"), &status.into()),
        stopped => drop(stopped?),
    }
    shut_down(client, id, controller).await
}

/// Ends what holds the sandbox, and removes the record.
async fn shut_down(client: &Client, id: &str, controller: &str) -> Result<(), Error> {
    let request = ControllerShutdownRequest { sandbox_id: id.into(), sandboxer: controller.into() };
    gone(client.controller().shutdown(request).await.map(drop))?;
    gone(client.sandboxes().delete(StoreDeleteRequest { sandbox_id: id.into() }).await.map(drop))
}

/// What is not there need not go.
fn gone(outcome: Result<(), tonic::Status>) -> Result<(), Error> {
    match outcome {
        Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
        outcome => Ok(outcome?),
    }
}
