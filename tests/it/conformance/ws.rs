//! Cases over WebSocket. Only the envelope differs: an unreadable message has a code of its own, a delete of one row answers
//! no row, and metadata have the form of sessions around the description.

use super::case::{Expected, Wanted};
use super::compare::Seen;
use resolvespec::protocol::Code;
use resolvespec::transport::rest::status::status;
use serde_json::{Value, json};

/// The message, or why it means another thing here.
pub(crate) fn encode(wanted: &Wanted) -> Result<Value, &'static str> {
    let mut message = json!({"id": "case", "type": "request", "operation": wanted.operation, "schema": wanted.schema,
        "entity": wanted.entity});
    if !wanted.id.is_null() {
        message["record_id"] = wanted.id.clone();
    }
    if let Some(data) = &wanted.data {
        message["data"] = data.clone();
    }
    if let Some(options) = &wanted.options {
        message["options"] = options.clone();
    }
    for (key, value) in &wanted.envelope {
        match key.as_str() {
            "option" => return Err("unknown fields of a message are ignored"),
            "id" => message["record_id"] = value.clone(),
            _ => message[key.as_str()] = value.clone(),
        }
    }
    for (name, value) in &wanted.headers {
        let field = match name.as_str() {
            "Idempotency-Key" => "idempotency_key",
            "If-Match" => "if_match",
            _ => return Err("the header has no field"),
        };
        message[field] = value.clone();
    }
    Ok(message)
}

/// What is looked at of the answer.
pub(crate) fn seen(wanted: &Wanted, expected: &Expected, answer: &Value) -> Seen {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let code = text(&answer["error"]["code"]).map(|code| match code.as_str() {
        "invalid_message" => "invalid_request".to_owned(),
        _ => code,
    });
    let status = match (&code, answer["success"].as_bool(), answer["id"].as_str()) {
        (None, Some(true), Some("case")) => 200,
        (Some(code), Some(false), Some("case")) => status_of(code),
        _ => 0,
    };
    let data = match wanted.operation.as_str() {
        "delete" if answer["data"] == json!({"deleted": true}) => json_of(expected),
        "meta" => answer["data"]["description"].clone(),
        _ => answer["data"].clone(),
    };
    let metadata = answer["metadata"].as_object().cloned().unwrap_or_default();
    Seen { status, code, detail: text(&answer["error"]["detail"]), data, metadata }
}

fn status_of(code: &str) -> u16 {
    Code::ALL.iter().find(|known| known.as_str() == code).map_or(0, |code| status(*code).as_u16())
}

/// What the row that was deleted would have looked like.
fn json_of(expected: &Expected) -> Value {
    match (&expected.data, &expected.has) {
        (Some(data), _) => data.clone(),
        (None, Some(has)) => Value::Object(has.clone()),
        (None, None) => Value::Null,
    }
}
