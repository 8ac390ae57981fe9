//! containerd's messages against bytes that were written by hand, after the protocol's numbers.

use proptest::prelude::*;
use prost::{Message, Name};
use prost_types::Timestamp;

use crate::services::content::{WriteAction, WriteContentRequest};
use crate::services::images::{DeleteImageRequest, ImageCreate};
use crate::services::snapshots::{Info, Kind};
use crate::services::tasks::CreateTaskRequest;
use crate::types::{Envelope, Mount};
use crate::{cgroups2, events};

#[test]
fn a_blob_s_last_write_is_read_from_its_bytes() {
    let mut bytes = vec![0x08, 2, 0x12, 3, b'r', b'e', b'f', 0x18, 0x80, 0x01, 0x22, 2, b's', b'h'];
    bytes.extend([0x28, 5, 0x32, 2, 0, 0xff, 0x3a, 6, 0x0a, 1, b'k', 0x12, 1, b'v']);
    let request = WriteContentRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!(request.action(), WriteAction::Commit);
    assert_eq!((request.r#ref.as_str(), request.total, request.expected.as_str()), ("ref", 128, "sh"));
    assert_eq!((request.offset, request.data.as_ref()), (5, [0, 0xff].as_slice()));
    assert_eq!(request.labels["k"], "v");
    assert_eq!(request.encode_to_vec(), bytes);
}

#[test]
fn numbers_that_are_out_of_line_are_the_protocol_s() {
    // A task has no field 2; an image's times are 7 and 8; a snapshotter is the fifth field of its events.
    let task = [0x0a, 1, b'c', 0x1a, 3, 0x0a, 1, b'x', 0x22, 1, b'i', 0x38, 1, 0x52, 1, b'p'];
    let task = CreateTaskRequest::decode(task.as_slice()).unwrap();
    assert_eq!(
        (task.container_id.as_str(), task.stdin.as_str(), task.runtime_path.as_str()),
        ("c", "i", "p")
    );
    assert!(task.terminal && task.rootfs == [Mount { r#type: "x".into(), ..Mount::default() }]);
    let removed = events::SnapshotRemove { key: "k".into(), snapshotter: "s".into() };
    assert_eq!(removed.encode_to_vec(), [0x0a, 1, b'k', 0x2a, 1, b's']);
    let anon = cgroups2::MemoryStat { usage: 1, ..Default::default() };
    assert_eq!(anon.encode_to_vec(), [0x80, 0x02, 1]);
}

#[test]
fn a_target_that_is_empty_is_not_one_that_is_absent() {
    let decode = |bytes: &[u8]| DeleteImageRequest::decode(bytes).unwrap().target;
    assert!(decode(&[0x0a, 1, b'n', 0x1a, 0]).is_some());
    assert!(decode(&[0x0a, 1, b'n']).is_none());
}

#[test]
fn events_bear_the_names_that_clients_look_for() {
    assert_eq!(events::TaskExit::full_name(), "containerd.events.TaskExit");
    assert_eq!(events::SandboxExit::full_name(), "containerd.events.SandboxExit");
    assert_eq!(ImageCreate::full_name(), "containerd.services.images.v1.ImageCreate");
    assert_eq!(cgroups2::Metrics::full_name(), "io.containerd.cgroups.v2.Metrics");
    assert_eq!(crate::runtime_options::Options::full_name(), "runtimeoptions.v1.Options");
    assert_eq!(crate::types::transfer::OciRegistry::full_name(), "containerd.types.transfer.OCIRegistry");
}

proptest! {
    #[test]
    fn a_message_survives_its_bytes(
        name in ".{0,8}", labels in prop::collection::btree_map(".{0,4}", ".{0,4}", 0..4),
        seconds: i64, nanos in 0i32..1_000_000_000, number in 0i32..4,
    ) {
        let info = Info {
            name: name.clone(),
            kind: number,
            created_at: Some(Timestamp { seconds, nanos }),
            labels: labels.into_iter().collect(),
            ..Info::default()
        };
        prop_assert_eq!(info.kind() == Kind::Committed, number == 3);
        prop_assert_eq!(&Info::decode(info.encode_to_vec().as_slice()).unwrap(), &info);
        let event = events::TaskStart { container_id: name, pid: number.unsigned_abs() };
        let envelope = Envelope { event: Some(crate::any::pack(&event)), ..Envelope::default() };
        let envelope = Envelope::decode(envelope.encode_to_vec().as_slice()).unwrap();
        prop_assert_eq!(crate::any::unpack(&envelope.event.unwrap()), Some(Ok(event)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = WriteContentRequest::decode(bytes.as_slice());
        let _ = Envelope::decode(bytes.as_slice());
    }
}
