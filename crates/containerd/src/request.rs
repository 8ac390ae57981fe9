//! What a call says beside its message: the namespace, the lease.

use tonic::{Request, Status};

/// Who works in a namespace says so in this header.
const NAMESPACE: &str = "containerd-namespace";
/// The lease that what a call makes is added to.
const LEASE: &str = "containerd-lease";
/// containerd's bound of identifiers.
const IDENTIFIER_MAX_BYTES: usize = 76;

/// The namespace of a call.
///
/// # Errors
/// A call without one, or with one that cannot be, in containerd's words.
pub(crate) fn namespace<T>(request: &Request<T>) -> Result<String, Status> {
    let Some(namespace) = header(request, NAMESPACE)?.filter(|name| !name.is_empty()) else {
        return Err(Status::failed_precondition("namespace is required: failed precondition"));
    };
    check_identifier("namespace", &namespace)
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

/// Checks containerd's rule of identifiers: words of letters and digits, joined by single `.`, `_` or `-`.
pub(crate) fn check_identifier(what: &str, text: &str) -> Result<(), Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument("identifier must not be empty: invalid argument"));
    }
    if text.len() > IDENTIFIER_MAX_BYTES {
        return Err(Status::invalid_argument(format!(
            "identifier {text:?} greater than maximum length ({IDENTIFIER_MAX_BYTES} characters): invalid argument"
        )));
    }
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if text.split(['.', '_', '-']).all(is_word) {
        return Ok(());
    }
    tracing::debug!(what, text, "an identifier was refused");
    Err(Status::invalid_argument(format!(
        "identifier {text:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument"
    )))
}
