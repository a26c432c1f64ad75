//! Cases in the body style.

use super::case::Wanted;
use super::compare::Seen;
use crate::support::client::{Answer, Call};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// A name or key as a part of a path.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The key that goes into the path.
pub(crate) fn path_key(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The request.
pub(crate) fn encode(wanted: &Wanted) -> Call {
    let mut path = format!("/api/{}/{}", segment(&wanted.schema), segment(&wanted.entity));
    let mut body = json!({"operation": wanted.operation});
    match path_key(&wanted.id) {
        Some(key) => path = format!("{path}/{}", segment(&key)),
        None if wanted.id.is_null() => {}
        None => body["id"] = wanted.id.clone(),
    }
    if let Some(data) = &wanted.data {
        body["data"] = data.clone();
    }
    if let Some(options) = &wanted.options {
        body["options"] = options.clone();
    }
    for (key, value) in &wanted.envelope {
        body[key.as_str()] = value.clone();
    }
    let call = Call::post(path, &body);
    wanted.headers.iter().fold(call, |call, (name, value)| call.header(name, value.as_str().unwrap_or_default()))
}

/// What is looked at of the envelope.
pub(crate) fn seen(answer: &Answer) -> Seen {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let metadata: Map<String, Value> = answer.body["metadata"].as_object().cloned().unwrap_or_default();
    Seen {
        status: answer.status.as_u16(),
        code: text(&answer.body["error"]["code"]),
        detail: text(&answer.body["error"]["detail"]),
        data: answer.body["data"].clone(),
        metadata,
    }
}
