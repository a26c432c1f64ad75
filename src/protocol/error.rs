//! The one error shape that leaves the process: `{code, message, detail?}`.
//!
//! Codes are stable and are never reused. The message is chosen for the client; driver text and SQL never enter here.

use serde::Serialize;
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// What went wrong, as a client can act on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The text on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)+ }
            }

            /// What the code means, for documents made from this table.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The request could not be read: malformed JSON, a missing body, a wrong shape.
    InvalidRequest = "invalid_request",
    /// The operation is unknown or does not fit the request.
    InvalidOperation = "invalid_operation",
    /// `data` has the wrong shape, or names a column that does not exist or can't be written.
    InvalidData = "invalid_data",
    /// An option is unknown or has a value that it can't take.
    InvalidOption = "invalid_option",
    /// A column is unknown, or can't be used in this place.
    InvalidColumn = "invalid_column",
    /// A filter operator is unknown or does not fit the column's type.
    InvalidOperator = "invalid_operator",
    /// The filter can't be followed live: the database's comparison has no exact counterpart outside of it.
    UnmatchableFilter = "unmatchable_filter",
    /// A value does not parse as the column's type.
    InvalidValue = "invalid_value",
    /// A relation is unknown, or its options can't be used.
    InvalidPreload = "invalid_preload",
    /// The request carries SQL text; declared names are the only fragments that clients can use.
    RawSqlRefused = "raw_sql_refused",
    /// An update or delete has neither a key nor ids.
    MissingId = "missing_id",
    /// The row that the cursor names does not exist.
    CursorError = "cursor_error",
    /// The row whose position was asked for is not in the filtered set.
    RowNumberError = "row_number_error",
    /// The request exceeds a configured limit.
    LimitExceeded = "limit_exceeded",
    /// The body exceeds the configured size.
    PayloadTooLarge = "payload_too_large",
    /// The body is encoded in a way that is not read, such as compressed.
    UnsupportedMediaType = "unsupported_media_type",
    /// The client sent nothing of the body for too long.
    RequestTimeout = "request_timeout",
    /// A value is missing for a column that needs one.
    NotNullViolation = "not_null_violation",
    /// A check constraint of the database refuses the row.
    CheckViolation = "check_violation",
    /// Another row has the same unique value.
    Conflict = "conflict",
    /// A row that is referred to does not exist, or a row is still referred to.
    ForeignKeyViolation = "foreign_key_violation",
    /// The database refuses the write because of a concurrent one; the same request may be sent again.
    SerializationFailure = "serialization_failure",
    /// The row has changed since it was read (If-Match).
    PreconditionFailed = "precondition_failed",
    /// The idempotency key was used before with another request.
    IdempotencyKeyReused = "idempotency_key_reused",
    /// Credentials are missing or not valid.
    Unauthorized = "unauthorized",
    /// The caller may not do this.
    Forbidden = "forbidden",
    /// The row does not exist.
    NotFound = "not_found",
    /// The entity does not exist.
    ModelNotFound = "model_not_found",
    /// The path exists, but not with this method.
    MethodNotAllowed = "method_not_allowed",
    /// A hook refused the operation.
    HookError = "hook_error",
    /// Over MQTT: a hook refused the client, which came with this message.
    AuthError = "auth_error",
    /// The statement did not finish within its deadline.
    DeadlineExceeded = "deadline_exceeded",
    /// A message of a session could not be read, or lacks a field that it needs.
    InvalidMessage = "invalid_message",
    /// The type of a message is unknown.
    InvalidMessageType = "invalid_message_type",
    /// The operation on a subscription is unknown.
    InvalidSubscriptionOperation = "invalid_subscription_operation",
    /// A subscription is to be ended or acknowledged, and the message does not say which.
    MissingSubscriptionId = "missing_subscription_id",
    /// Over MQTT, what is `missing_subscription_id` elsewhere: a message about a subscription does not say which.
    InvalidSubscription = "invalid_subscription",
    /// The session has no subscription with this id.
    SubscriptionNotFound = "subscription_not_found",
    /// There is no session with this id for the caller, or its time is over.
    SessionNotFound = "session_not_found",
    /// The changes of the entity are not captured, so that nobody can be told of them.
    NotCaptured = "not_captured",
    /// The position can't be resumed from, since the changes after it are not kept any more: read again.
    ResyncRequired = "resync_required",
    /// The service or its database can't be reached now; try again later.
    Unavailable = "unavailable",
    /// The service failed; the log has the cause under the request id.
    InternalError = "internal_error",
}

impl Code {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Code::Unavailable | Code::DeadlineExceeded | Code::SerializationFailure)
    }

    /// Whether only sessions have it, such as those over WebSocket, and no answer over HTTP.
    #[must_use]
    pub fn of_sessions(self) -> bool {
        matches!(
            self,
            Code::InvalidMessage
                | Code::InvalidMessageType
                | Code::InvalidSubscriptionOperation
                | Code::MissingSubscriptionId
                | Code::InvalidSubscription
                | Code::AuthError
                | Code::SubscriptionNotFound
                | Code::SessionNotFound
                | Code::NotCaptured
                | Code::ResyncRequired
        )
    }

    /// Whether only answers over MQTT have it, of all sessions.
    #[must_use]
    pub fn of_mqtt(self) -> bool {
        matches!(self, Code::InvalidSubscription | Code::AuthError)
    }

    /// Whether only answers over HTTP have it, and none of a session.
    #[must_use]
    pub fn of_http(self) -> bool {
        matches!(self, Code::MethodNotAllowed | Code::UnsupportedMediaType | Code::RequestTimeout)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// What went wrong.
    pub code: Code,
    /// Where, and what to do.
    pub message: String,
    /// More about it, such as the column or the constraint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Error {
    /// An error with a code and a message for the client.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// Adds what helps to find the place, such as the column's name.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The one text of every failure that is ours; the cause belongs in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "the service failed to answer this request; its log has the cause under the request id")
    }
}
