//! `google.protobuf.Any` as containerd uses it: the type URL is the bare full name of the message.

use prost::{DecodeError, Message, Name};
use prost_types::Any;

/// Wraps a message.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// Unwraps a message; `None` when it is of another type. Prefixes as `type.googleapis.com/` are tolerated.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Option<Result<M, DecodeError>> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    (name == M::full_name()).then(|| M::decode(any.value.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use crate::events::{TaskOom, TaskStart};

    #[test]
    fn a_packed_message_has_its_bare_name_and_comes_back() {
        let start = TaskStart { container_id: "one".into(), pid: 7 };
        let mut any = pack(&start);
        assert_eq!(any.type_url, "containerd.events.TaskStart");
        assert_eq!(unpack::<TaskStart>(&any), Some(Ok(start.clone())));
        assert!(unpack::<TaskOom>(&any).is_none());
        any.type_url.insert_str(0, "type.googleapis.com/");
        assert_eq!(unpack::<TaskStart>(&any), Some(Ok(start)));
        any.value = vec![0xff];
        assert!(unpack::<TaskStart>(&any).is_some_and(|result| result.is_err()));
    }
}
