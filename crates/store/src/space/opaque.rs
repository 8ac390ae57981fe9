//! Messages that only clients understand (`google.protobuf.Any`): kept as they came, to the byte.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A message and what it says of its type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opaque {
    pub type_url: String,
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub value: Vec<u8>,
}

/// Messages by the name that a client gave each.
pub type Extensions = BTreeMap<String, Opaque>;

fn write<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(value))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
}
