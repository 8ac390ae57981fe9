//! Error codes as gRPC's statuses.

use api::code::Code;
use tonic::Status;

/// The status of a failed call. containerd's callers tell kinds of failure apart by the code; whether the message
/// ends in the kind's words (`: not found`) is up to whoever words it.
pub fn status(code: Code, message: impl Into<String>) -> Status {
    Status::new(tonic::Code::from_i32(code.grpc()), message)
}

/// The code behind a status. `Ok` is no failure, and [`Code::Unknown`] here.
pub fn code(status: &Status) -> Code {
    Code::from_grpc(i32::from(status.code()))
}
