//! Messages of clients that nobody here reads.

use std::collections::HashMap;

use prost_types::Any;
use store::space::opaque::{Extensions, Opaque};

/// A message that is none of ours.
pub(crate) fn opaque(any: Any) -> Opaque {
    Opaque { type_url: any.type_url, value: any.value }
}

/// The message again.
pub(crate) fn any(opaque: Opaque) -> Any {
    Any { type_url: opaque.type_url, value: opaque.value }
}

/// Messages by name.
pub(crate) fn extensions(extensions: HashMap<String, Any>) -> Extensions {
    extensions.into_iter().map(|(key, value)| (key, opaque(value))).collect()
}
