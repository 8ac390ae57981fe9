//! What a call says beside its message: the namespace, the lease.

use api::code::Code;
use store::space::identifier;
use tonic::{Request, Status};

use crate::filter::Filter;
use crate::status;

/// Who works in a namespace says so in this header.
const NAMESPACE: &str = "containerd-namespace";
/// The lease that what a call makes is added to.
const LEASE: &str = "containerd-lease";

/// The namespace of a call.
///
/// # Errors
/// A call without one, or with one that cannot be, in containerd's words.
pub(crate) fn namespace<T>(request: &Request<T>) -> Result<String, Status> {
    let Some(namespace) = header(request, NAMESPACE)?.filter(|name| !name.is_empty()) else {
        return Err(Status::failed_precondition("namespace is required: failed precondition"));
    };
    check_identifier(&namespace)
        .map_err(|error| Status::invalid_argument(format!("namespace validation: {}", error.message())))?;
    Ok(namespace)
}

/// The lease of a call, if it has one.
pub(crate) fn lease<T>(request: &Request<T>) -> Result<Option<String>, Status> {
    Ok(header(request, LEASE)?.filter(|lease| !lease.is_empty()))
}

fn header<T>(request: &Request<T>, name: &str) -> Result<Option<String>, Status> {
    let Some(value) = request.metadata().get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(Status::invalid_argument(format!("{name}: not ASCII: invalid argument"))),
    }
}

/// Refuses what is no identifier of containerd.
pub(crate) fn check_identifier(text: &str) -> Result<(), Status> {
    identifier::check(text).map_err(|error| status::of_store(&error))
}

/// The filters of a call.
pub(crate) fn filter(filters: &[String]) -> Result<Filter, Status> {
    Filter::parse(filters).map_err(|error| status::with_suffix(Code::InvalidArgument, error.to_string()))
}

/// That an update cannot change what a path of its mask names.
pub(crate) fn no_field(path: &str, what: &str) -> Status {
    status::with_suffix(Code::InvalidArgument, format!("cannot update {path:?} field on {what}"))
}

/// What gRPC says of a message above the bound, if that is what tonic wanted to say.
pub(crate) fn too_large(status: &Status) -> Option<Status> {
    let sizes = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = sizes.strip_suffix(" bytes")?.split_once(" bytes, the limit is: ")?;
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Some(Status::resource_exhausted(text))
}
