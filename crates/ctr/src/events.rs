//! `ctr events`: what happens, in all namespaces, until it is stopped.

use std::collections::BTreeMap;

use api::types::Envelope;
use grpc::events::SubscribeRequest;
use prost_types::Any;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::documents;
use crate::error::Error;
use crate::grammar::Call;
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

/// What a field of an event holds. Fields that are empty are not shown.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Switch,
    Time,
    Labels,
    Opaque,
    One(&'static [Field]),
    Many(&'static [Field]),
}

type Field = (u32, &'static str, Kind);

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

/// A message by its fields; `None` when it is none of that kind.
fn message(fields: &[Field], bytes: &[u8]) -> Option<Value> {
    let mut found: BTreeMap<u32, Value> = BTreeMap::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, wire) = next(&mut rest)?;
        let Some((_, _, kind)) = fields.iter().find(|field| field.0 == number) else { continue };
        let value = match (kind, wire) {
            (Kind::Text, Wire::Bytes(bytes)) => std::str::from_utf8(bytes).ok()?.into(),
            (Kind::Number, Wire::Number(number)) => number.into(),
            (Kind::Switch, Wire::Number(number)) => (number != 0).into(),
            (Kind::Time, Wire::Bytes(bytes)) => {
                let time: prost_types::Timestamp = prost::Message::decode(bytes).ok()?;
                message(
                    &[(1, "seconds", Kind::Number), (2, "nanos", Kind::Number)],
                    &prost::Message::encode_to_vec(&time),
                )?
            }
            (Kind::Labels, Wire::Bytes(bytes)) => {
                let pair = message(&[(1, "key", Kind::Text), (2, "value", Kind::Text)], bytes)?;
                let text = |name: &str| pair[name].as_str().unwrap_or_default().to_owned();
                let mut labels = found.remove(&number).unwrap_or_else(|| Map::new().into());
                labels[text("key")] = text("value").into();
                labels
            }
            (Kind::Opaque, Wire::Bytes(bytes)) => documents::opaque(&prost::Message::decode(bytes).ok()?),
            (Kind::One(fields), Wire::Bytes(bytes)) => message(fields, bytes)?,
            (Kind::Many(fields), Wire::Bytes(bytes)) => {
                let mut list = found.remove(&number).unwrap_or_else(|| Vec::<Value>::new().into());
                list.as_array_mut()?.push(message(fields, bytes)?);
                list
            }
            _ => return None,
        };
        // A repeated text is a list; what comes once is itself.
        match found.remove(&number) {
            Some(Value::Array(mut list)) => {
                list.push(value);
                found.insert(number, list.into());
            }
            Some(before) => drop(found.insert(number, vec![before, value].into())),
            None => drop(found.insert(number, value)),
        }
    }
    let named =
        fields.iter().filter_map(|(number, name, _)| Some(((*name).to_owned(), found.remove(number)?)));
    Some(named.collect::<Map<_, _>>().into())
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The next field of a message.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u32, Wire<'a>)> {
    let key = prost::encoding::decode_varint(rest).ok()?;
    let wire = match key & 7 {
        0 => Wire::Number(prost::encoding::decode_varint(rest).ok()?),
        2 => {
            let length = usize::try_from(prost::encoding::decode_varint(rest).ok()?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Wire::Bytes(bytes)
        }
        _ => return None,
    };
    Some((u32::try_from(key >> 3).ok()?, wire))
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
