//! The closed set of error kinds that every library error maps to, and its numbers on the wire.
//!
//! The set is containerd's `errdefs`; the gRPC numbers are those of `google.rpc.Code`, the HTTP statuses those
//! that the Docker Engine API answers with.

use std::fmt;

/// What kind of failure an error is, for a caller that must decide what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
}

impl Code {
    /// The number of `google.rpc.Code`, used by gRPC and ttrpc alike.
    pub fn grpc(self) -> i32 {
        match self {
            Code::Cancelled => 1,
            Code::Unknown => 2,
            Code::InvalidArgument => 3,
            Code::DeadlineExceeded => 4,
            Code::NotFound => 5,
            Code::AlreadyExists => 6,
            Code::PermissionDenied => 7,
            Code::ResourceExhausted => 8,
            Code::FailedPrecondition => 9,
            Code::Aborted => 10,
            Code::OutOfRange => 11,
            Code::Unimplemented => 12,
            Code::Internal => 13,
            Code::Unavailable => 14,
            Code::DataLoss => 15,
            Code::Unauthenticated => 16,
        }
    }

    /// The code behind a `google.rpc.Code` number; unknown numbers are [`Code::Unknown`].
    pub fn from_grpc(number: i32) -> Code {
        const ALL: [Code; 16] = [
            Code::Cancelled,
            Code::Unknown,
            Code::InvalidArgument,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
            Code::Unauthenticated,
        ];
        ALL.into_iter().find(|code| code.grpc() == number).unwrap_or(Code::Unknown)
    }

    /// The HTTP status that the Docker Engine API gives for this kind of failure.
    pub fn http(self) -> u16 {
        match self {
            Code::InvalidArgument | Code::OutOfRange => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 409,
            Code::Unimplemented => 501,
            Code::Unavailable => 503,
            Code::Cancelled
            | Code::DataLoss
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Unknown => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::Aborted => "aborted",
            Code::AlreadyExists => "already exists",
            Code::Cancelled => "cancelled",
            Code::DataLoss => "data loss",
            Code::DeadlineExceeded => "deadline exceeded",
            Code::FailedPrecondition => "failed precondition",
            Code::Internal => "internal error",
            Code::InvalidArgument => "invalid argument",
            Code::NotFound => "not found",
            Code::OutOfRange => "out of range",
            Code::PermissionDenied => "permission denied",
            Code::ResourceExhausted => "resource exhausted",
            Code::Unauthenticated => "unauthenticated",
            Code::Unavailable => "unavailable",
            Code::Unimplemented => "not implemented",
            Code::Unknown => "unknown error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_grpc_number_names_its_own_code() {
        for number in 1..=16 {
            assert_eq!(Code::from_grpc(number).grpc(), number);
        }
        assert_eq!(Code::from_grpc(99), Code::Unknown);
    }
}
