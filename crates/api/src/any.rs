//! `google.protobuf.Any` as containerd uses it: the type URL is the bare full name of the message, or, of what has no
//! message, the address of a Go type, and the value is JSON.

use prost::{DecodeError, Message, Name};
use prost_types::Any;
use serde::{Serialize, de::DeserializeOwned};

/// Where the types of OCI's runtime specification are, by major version: a container's `spec`, an exec's, and the
/// `resources` of an update.
pub const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
pub const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
pub const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
pub const LINUX_RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// Wraps a message.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

/// Unwraps a message; `None` when it is of another type. Prefixes as `type.googleapis.com/` are tolerated.
pub fn unpack<M: Message + Name + Default>(any: &Any) -> Option<Result<M, DecodeError>> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    (name == M::full_name()).then(|| M::decode(any.value.as_slice()))
}

/// Wraps a value as JSON under the address of its type, as [`SPEC`].
pub fn pack_json<T: Serialize>(type_url: &str, value: &T) -> serde_json::Result<Any> {
    Ok(Any { type_url: type_url.to_owned(), value: serde_json::to_vec(value)? })
}

/// Unwraps JSON; `None` when it is of another type. Unlike a message's name, an address is whole.
pub fn unpack_json<T: DeserializeOwned>(type_url: &str, any: &Any) -> Option<serde_json::Result<T>> {
    (any.type_url == type_url).then(|| serde_json::from_slice(&any.value))
}

#[cfg(test)]
mod tests {
    use super::{PROCESS, SPEC, pack, pack_json, unpack, unpack_json};
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

    #[test]
    fn json_is_unwrapped_by_the_whole_address_of_its_type() {
        let mut any = pack_json(SPEC, &serde_json::json!({"ociVersion": "1.2.0"})).unwrap();
        assert_eq!(any.type_url, "types.containerd.io/opencontainers/runtime-spec/1/Spec");
        assert_eq!(any.value, br#"{"ociVersion":"1.2.0"}"#);
        let spec: serde_json::Value = unpack_json(SPEC, &any).unwrap().unwrap();
        assert_eq!(spec["ociVersion"], "1.2.0");
        assert!(unpack_json::<serde_json::Value>(PROCESS, &any).is_none());
        any.type_url = "elsewhere.example/Spec".into();
        assert!(unpack_json::<serde_json::Value>(SPEC, &any).is_none());
        any = super::Any { type_url: SPEC.into(), value: b"{".to_vec() };
        assert!(unpack_json::<serde_json::Value>(SPEC, &any).unwrap().is_err());
    }
}
