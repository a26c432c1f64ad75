//! The HTTP status of every error code, one exhaustive table.

use crate::protocol::Code;
use axum::http::StatusCode;

/// The status that goes with a code.
#[must_use]
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest
        | Code::InvalidOperation
        | Code::InvalidData
        | Code::InvalidOption
        | Code::InvalidColumn
        | Code::InvalidOperator
        | Code::UnmatchableFilter
        | Code::InvalidValue
        | Code::InvalidPreload
        | Code::RawSqlRefused
        | Code::MissingId
        | Code::CursorError
        | Code::RowNumberError
        | Code::LimitExceeded
        | Code::NotNullViolation
        | Code::CheckViolation
        | Code::HookError
        | Code::InvalidMessage
        | Code::InvalidMessageType
        | Code::InvalidSubscriptionOperation
        | Code::MissingSubscriptionId
        | Code::InvalidSubscription
        | Code::NotCaptured => StatusCode::BAD_REQUEST,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::Conflict | Code::ForeignKeyViolation | Code::SerializationFailure => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::AuthError => StatusCode::FORBIDDEN,
        Code::NotFound | Code::ModelNotFound | Code::SubscriptionNotFound | Code::SessionNotFound => StatusCode::NOT_FOUND,
        Code::ResyncRequired => StatusCode::GONE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
