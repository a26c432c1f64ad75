//! The code of gRPC of every error and of every end, two exhaustive tables; and the details that go with it.
//!
//! An error is told as ErrorInfo, with our stable code as its reason, so that clients act on the same codes everywhere.

use crate::protocol::{self, Error};
use crate::transport::conversation::{Close, Reconnect};
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Whose the reasons are.
const DOMAIN: &str = "resolvespec.dev";

/// As long as the header `retry-after` says over HTTP.
const RETRY: Duration = Duration::from_secs(1);

/// The code that goes with one of ours.
#[must_use]
pub fn code(code: protocol::Code) -> Code {
    use protocol::Code as Our;
    match code {
        Our::InvalidRequest
        | Our::InvalidOperation
        | Our::InvalidData
        | Our::InvalidOption
        | Our::InvalidColumn
        | Our::InvalidOperator
        | Our::UnmatchableFilter
        | Our::InvalidValue
        | Our::InvalidPreload
        | Our::RawSqlRefused
        | Our::MissingId
        | Our::CursorError
        | Our::RowNumberError
        | Our::LimitExceeded
        | Our::NotNullViolation
        | Our::CheckViolation
        | Our::UnsupportedMediaType
        | Our::InvalidMessage
        | Our::InvalidMessageType
        | Our::InvalidSubscriptionOperation
        | Our::MissingSubscriptionId
        | Our::InvalidSubscription => Code::InvalidArgument,
        Our::PayloadTooLarge => Code::ResourceExhausted,
        Our::Conflict => Code::AlreadyExists,
        Our::ForeignKeyViolation | Our::IdempotencyKeyReused | Our::HookError | Our::NotCaptured => Code::FailedPrecondition,
        // Whoever reads again may write again.
        Our::SerializationFailure | Our::PreconditionFailed => Code::Aborted,
        Our::Unauthorized => Code::Unauthenticated,
        Our::Forbidden | Our::AuthError => Code::PermissionDenied,
        Our::NotFound | Our::ModelNotFound | Our::SubscriptionNotFound | Our::SessionNotFound => Code::NotFound,
        Our::ResyncRequired => Code::OutOfRange,
        Our::MethodNotAllowed => Code::Unimplemented,
        Our::RequestTimeout | Our::DeadlineExceeded => Code::DeadlineExceeded,
        Our::Unavailable => Code::Unavailable,
        Our::InternalError => Code::Internal,
    }
}

/// An error as it is told.
#[must_use]
pub fn status(error: &Error) -> Status {
    let mut metadata = HashMap::new();
    if let Some(detail) = &error.detail {
        metadata.insert("detail".to_owned(), detail.clone());
    }
    if error.code.retryable() {
        metadata.insert("retryable".to_owned(), "true".to_owned());
    }
    told(code(error.code), &error.message, error.code.as_str(), metadata, error.code.retryable())
}

/// Why a stream ends, as it is told, and whether to come back.
#[must_use]
pub fn end(close: &Close) -> Status {
    let code = match close {
        Close::Refused(error) => return status(error),
        Close::Protocol | Close::NotText => Code::InvalidArgument,
        Close::TooLarge | Close::SlowConsumer => Code::ResourceExhausted,
        Close::Failed => Code::Internal,
        Close::Restart(_) | Close::Unresponsive => Code::Unavailable,
        Close::TokenExpired => Code::Unauthenticated,
    };
    let told_reason = close.reason();
    let (reason, text) = told_reason.split_once(": ").unwrap_or(("internal_error", &told_reason));
    let reconnect = match close.reconnect() {
        Reconnect::Yes => "yes",
        Reconnect::WithNewToken => "with_new_token",
        Reconnect::No => "no",
    };
    let mut text = text.to_owned();
    if close.reconnect() != Reconnect::No {
        text.push_str("; a session goes on by its id in the metadata resolvespec-session");
    }
    let mut metadata = HashMap::from([("reconnect".to_owned(), reconnect.to_owned())]);
    if let Close::Restart(Some(session)) = close {
        metadata.insert("session".to_owned(), session.to_string());
    }
    told(code, &text, reason, metadata, close.reconnect() == Reconnect::Yes)
}

fn told(code: Code, message: &str, reason: &str, metadata: HashMap<String, String>, retry: bool) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if retry {
        details.set_retry_info(Some(RETRY));
    }
    Status::with_error_details(code, message, details)
}

/// The name of a code, as metrics label it.
#[must_use]
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_tells_our_code_and_no_error_is_told_as_success() {
        for our in protocol::Code::ALL {
            let told = status(&Error::new(*our, "why").with_detail("where"));
            let info = told.get_details_error_info().unwrap();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str(), info.metadata["detail"].as_str()),
                (our.as_str(), DOMAIN, "where")
            );
            assert!(!matches!(told.code(), Code::Ok | Code::Unknown), "{our}");
            assert_eq!(told.get_details_retry_info().is_some(), our.retryable(), "{our}");
        }
    }

    #[test]
    fn an_end_says_whether_to_come_back() {
        for (close, code, reason, reconnect) in [
            (Close::Restart(None), Code::Unavailable, "unavailable", "yes"),
            (Close::TokenExpired, Code::Unauthenticated, "token_expired", "with_new_token"),
            (Close::SlowConsumer, Code::ResourceExhausted, "slow_consumer", "yes"),
            (Close::TooLarge, Code::ResourceExhausted, "payload_too_large", "no"),
        ] {
            let told = end(&close);
            let info = told.get_details_error_info().unwrap();
            assert_eq!((told.code(), info.reason.as_str(), info.metadata["reconnect"].as_str()), (code, reason, reconnect));
            assert_eq!(told.message().contains("resolvespec-session"), reconnect != "no");
        }
    }
}
