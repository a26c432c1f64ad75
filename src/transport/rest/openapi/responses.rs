//! Failures as shared responses, by the table that gives every code its status, and the headers of answers.

use crate::protocol::{Code, Operation};
use crate::transport::describe::answers::code_list;
use crate::transport::rest::status::status;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Which style answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `/api`.
    Body,
    /// `/rest`.
    Header,
}

impl Style {
    fn word(self) -> &'static str {
        match self {
            Style::Body => "Body",
            Style::Header => "Header",
        }
    }
}

/// Every failure of both styles, as `BodyError400`.
pub(super) fn shared() -> Map<String, Value> {
    let mut responses = Map::new();
    for style in [Style::Body, Style::Header] {
        for (status, codes) in by_status(Code::ALL.iter().copied().filter(|code| !code.of_sessions())) {
            responses.insert(name(style, status), failure(style, &codes));
        }
    }
    responses.insert(
        "NotModified".to_owned(),
        json!({
            "description": "The client's copy (If-None-Match) is still good.",
            "headers": {"ETag": header_ref("ETag")},
        }),
    );
    responses
}

/// The failures that operations can have, by status.
pub(super) fn failures(style: Style, operations: &[Operation]) -> Map<String, Value> {
    let codes = Code::ALL.iter().copied().filter(|code| operations.iter().any(|operation| applies(*code, *operation)));
    let reference = |status| json!({"$ref": format!("#/components/responses/{}", name(style, status))});
    by_status(codes).into_keys().map(|status| (status.to_string(), reference(status))).collect()
}

/// The headers of answers.
pub(super) fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let count = |description: &str| json!({"description": description, "schema": {"type": "integer", "format": "int64"}});
    json!({
        "ETag": text("The state of the answer: of the row where it is one row, for If-Match and If-None-Match."),
        "Content-Range": text("`items {first}-{end}/{total}`; the end is excluded, and the total is -1 if not counted."),
        "Idempotency-Replayed": text("`true` where the answer is the one that an earlier request with this key got."),
        "X-Api-Range-Total": count("Rows that meet the filters; -1 if not counted."),
        "X-Api-Range-Size": count("Rows in this answer."),
        "X-Api-Range-From": count("Rows that were skipped."),
    })
}

/// A reference to a header of answers.
pub(super) fn header_ref(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn name(style: Style, status: u16) -> String {
    format!("{}Error{status}", style.word())
}

fn failure(style: Style, codes: &[Code]) -> Value {
    let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    json!({
        "description": code_list(codes),
        "content": {"application/json": {"schema": {
            "allOf": [
                {"$ref": format!("#/components/schemas/{}Error", style.word())},
                {"properties": {"error": {"properties": {"code": {"enum": words}}}}},
            ],
        }}},
    })
}

fn by_status(codes: impl Iterator<Item = Code>) -> BTreeMap<u16, Vec<Code>> {
    let mut statuses: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        statuses.entry(status(code).as_u16()).or_default().push(code);
    }
    statuses
}

/// Whether an operation can fail with a code, at a path and method that exist.
fn applies(code: Code, operation: Operation) -> bool {
    let writes = !matches!(operation, Operation::Read | Operation::Meta);
    match code {
        // Only subscriptions are answered with it, and they are not made over REST.
        Code::MethodNotAllowed
        | Code::UnmatchableFilter
        | Code::InvalidMessage
        | Code::InvalidMessageType
        | Code::InvalidSubscriptionOperation
        | Code::MissingSubscriptionId
        | Code::InvalidSubscription
        | Code::AuthError
        | Code::SubscriptionNotFound
        | Code::SessionNotFound
        | Code::NotCaptured
        | Code::ResyncRequired => false,
        Code::MissingId | Code::PreconditionFailed => matches!(operation, Operation::Update | Operation::Delete),
        Code::InvalidData
        | Code::NotNullViolation
        | Code::CheckViolation
        | Code::Conflict
        | Code::ForeignKeyViolation
        | Code::SerializationFailure
        | Code::IdempotencyKeyReused => writes,
        Code::CursorError | Code::RowNumberError => operation == Operation::Read,
        Code::PayloadTooLarge
        | Code::RequestTimeout
        | Code::UnsupportedMediaType
        | Code::InvalidRequest
        | Code::InvalidOperation
        | Code::InvalidOption
        | Code::InvalidColumn
        | Code::InvalidOperator
        | Code::InvalidValue
        | Code::InvalidPreload
        | Code::RawSqlRefused
        | Code::LimitExceeded
        | Code::NotFound => operation != Operation::Meta,
        Code::Unauthorized
        | Code::Forbidden
        | Code::ModelNotFound
        | Code::HookError
        | Code::DeadlineExceeded
        | Code::Unavailable
        | Code::InternalError => true,
    }
}
