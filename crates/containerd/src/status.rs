//! Errors as containerd's clients know them: a code, and a message that ends in its words.

use api::code::Code;
use tonic::Status;

/// A failure of the engine.
pub(crate) fn of_engine(error: &engine::Error) -> Status {
    with_suffix(error.code(), error.chain())
}

/// A failure of the store.
pub(crate) fn of_store(error: &store::Error) -> Status {
    let mut text = match error {
        // As containerd names what there is not, or is already; its words follow.
        store::Error::NotFound { kind, name } | store::Error::AlreadyExists { kind, name } => {
            format!("{kind} {name:?}")
        }
        store::Error::NoLease { .. } => "lease does not exist".to_owned(),
        error => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    with_suffix(error.code(), text)
}

/// The status of `code`, whose message ends in the words of its kind exactly once.
pub(crate) fn with_suffix(code: Code, message: impl Into<String>) -> Status {
    let mut message = message.into();
    if let Some(words) = words(code)
        && !message.ends_with(words)
    {
        message.push_str(": ");
        message.push_str(words);
    }
    grpc::status::status(code, message)
}

/// What containerd's library of errors appends; scripts look for it.
fn words(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::InvalidArgument => "invalid argument",
        Code::NotFound => "not found",
        Code::AlreadyExists => "already exists",
        Code::FailedPrecondition => "failed precondition",
        Code::Unavailable => "unavailable",
        Code::Unimplemented => "not implemented",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_in_the_words_of_its_code_once() {
        let message = |text: &str| with_suffix(Code::NotFound, text).message().to_owned();
        assert_eq!(message("task x"), "task x: not found");
        assert_eq!(message("task x: not found"), "task x: not found");
        assert_eq!(with_suffix(Code::Internal, "disk").message(), "disk");
    }
}
