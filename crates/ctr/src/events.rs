//! `ctr events`: what happens, in all namespaces, until it is stopped.

use api::types::Envelope;
use grpc::events::SubscribeRequest;
use prost_types::Any;
use serde_json::Value;

use crate::client::Client;
use crate::documents;
use crate::error::Error;
use crate::grammar::Call;
use crate::wire::{Field, Kind, message};
use crate::{output, text};

pub(crate) async fn watch(call: &Call) -> Result<u8, Error> {
    let client = Client::connect(call).await?;
    let request = SubscribeRequest { filters: call.operands.clone() };
    let mut stream = client.events().subscribe(request).await?.into_inner();
    while let Some(envelope) = stream.message().await? {
        output::line(&line(&envelope))?;
    }
    Ok(0)
}

fn line(envelope: &Envelope) -> String {
    let event = envelope.event.as_ref().map_or(Value::Null, document);
    let time = text::go_time(envelope.timestamp.as_ref());
    format!("{time} {} {} {event}", envelope.namespace, envelope.topic)
}

const RUNTIME: &[Field] = &[(1, "name", Kind::Text), (2, "options", Kind::Opaque)];
const IO: &[Field] = &[
    (1, "stdin", Kind::Text),
    (2, "stdout", Kind::Text),
    (3, "stderr", Kind::Text),
    (4, "terminal", Kind::Switch),
];
const MOUNT: &[Field] = &[
    (1, "type", Kind::Text),
    (2, "source", Kind::Text),
    (3, "target", Kind::Text),
    (4, "options", Kind::Text),
];
const LABELLED: &[Field] = &[(1, "name", Kind::Text), (2, "labels", Kind::Labels)];
const NAMED: &[Field] = &[(1, "name", Kind::Text)];
const TASK: &[Field] = &[(1, "container_id", Kind::Text)];
const SANDBOX: &[Field] = &[(1, "sandbox_id", Kind::Text)];

/// The fields of containerd's events, by the name of the message without its package.
fn fields(message: &str) -> Option<&'static [Field]> {
    use Kind::{Labels, Many, Number, One, Text, Time};
    Some(match message {
        "ContainerCreate" => &[(1, "id", Text), (2, "image", Text), (3, "runtime", One(RUNTIME))],
        "ContainerUpdate" => {
            &[(1, "id", Text), (2, "image", Text), (3, "labels", Labels), (4, "snapshot_key", Text)]
        }
        "ContainerDelete" => &[(1, "id", Text)],
        "ContentCreate" => &[(1, "digest", Text), (2, "size", Number)],
        "ContentDelete" => &[(1, "digest", Text)],
        "ImageCreate" | "ImageUpdate" | "NamespaceCreate" | "NamespaceUpdate" => LABELLED,
        "ImageDelete" | "NamespaceDelete" => NAMED,
        "SandboxCreate" | "SandboxStart" => SANDBOX,
        "SandboxExit" => &[(1, "sandbox_id", Text), (2, "exit_status", Number), (3, "exited_at", Time)],
        "SnapshotPrepare" => &[(1, "key", Text), (2, "parent", Text), (5, "snapshotter", Text)],
        "SnapshotCommit" => &[(1, "key", Text), (2, "name", Text), (5, "snapshotter", Text)],
        "SnapshotRemove" => &[(1, "key", Text), (5, "snapshotter", Text)],
        "TaskCreate" => &[
            (1, "container_id", Text),
            (2, "bundle", Text),
            (3, "rootfs", Many(MOUNT)),
            (4, "io", One(IO)),
            (5, "checkpoint", Text),
            (6, "pid", Number),
        ],
        "TaskStart" => &[(1, "container_id", Text), (2, "pid", Number)],
        "TaskExit" => &[
            (1, "container_id", Text),
            (2, "id", Text),
            (3, "pid", Number),
            (4, "exit_status", Number),
            (5, "exited_at", Time),
        ],
        "TaskDelete" => &[
            (1, "container_id", Text),
            (2, "pid", Number),
            (3, "exit_status", Number),
            (4, "exited_at", Time),
            (5, "id", Text),
        ],
        "TaskOOM" | "TaskPaused" | "TaskResumed" => TASK,
        "TaskExecAdded" => &[(1, "container_id", Text), (2, "exec_id", Text)],
        "TaskExecStarted" => &[(1, "container_id", Text), (2, "exec_id", Text), (3, "pid", Number)],
        "TaskCheckpointed" => &[(1, "container_id", Text), (2, "checkpoint", Text)],
        _ => return None,
    })
}

/// An event as JSON; one of an unknown type by its type and its bytes.
fn document(event: &Any) -> Value {
    let name = event.type_url.rsplit(['.', '/']).next().unwrap_or_default();
    fields(name).and_then(|fields| message(fields, &event.value)).unwrap_or_else(|| documents::opaque(event))
}

#[cfg(test)]
mod tests {
    use super::document;
    use api::any::pack;
    use api::events::{ContainerUpdate, TaskExit};

    #[test]
    fn events_are_json_in_the_names_of_their_fields() {
        let exit = TaskExit {
            container_id: "c".into(),
            id: "c".into(),
            pid: 7,
            exit_status: 0,
            exited_at: Some(prost_types::Timestamp { seconds: 3, nanos: 4 }),
        };
        let text = document(&pack(&exit)).to_string();
        assert_eq!(text, r#"{"container_id":"c","id":"c","pid":7,"exited_at":{"seconds":3,"nanos":4}}"#);
        let update = ContainerUpdate {
            id: "c".into(),
            labels: [("a".into(), "b".into())].into(),
            ..Default::default()
        };
        assert_eq!(document(&pack(&update)).to_string(), r#"{"id":"c","labels":{"a":"b"}}"#);
    }

    #[test]
    fn what_is_no_event_is_shown_as_its_bytes() {
        let any = prost_types::Any { type_url: "containerd.events.TaskExit".into(), value: vec![0x0a, 9] };
        assert_eq!(document(&any).to_string(), r#"{"type_url":"containerd.events.TaskExit","value":"Cgk="}"#);
    }
}
