//! The two forms of a message: JSON as it is, or a Struct, whose numbers are doubles.
//!
//! Nothing is rounded on the way: a number that a double does not hold is told as a string of its digits, and one that may
//! have been rounded before it came is refused.

use super::proto::Message;
use super::proto::message;
use crate::protocol::{Code, Error};
use crate::transport::message::Unreadable;
use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number};

/// The form of what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON text.
    Json,
    /// A Struct.
    Struct,
}

impl Form {
    /// A message with this JSON.
    pub(super) fn message(self, json: Bytes) -> Message {
        let form = match self {
            Form::Json => message::Form::Json(json),
            Form::Struct => match serde_json::from_slice::<Map<String, serde_json::Value>>(&json) {
                Ok(fields) => message::Form::Struct(structure(fields)),
                Err(error) => {
                    tracing::error!(%error, "an answer is no JSON object, and is told as text");
                    message::Form::Json(json)
                }
            },
        };
        Message { form: Some(form) }
    }
}

/// The JSON of a message.
pub(super) fn json(message: Message) -> Result<Bytes, Unreadable> {
    match message.form {
        Some(message::Form::Json(json)) => Ok(json),
        Some(message::Form::Struct(fields)) => {
            let id = match fields.fields.get("id") {
                Some(Value { kind: Some(Kind::StringValue(id)) }) => id.clone(),
                _ => String::new(),
            };
            let object = object(fields).map_err(|error| Unreadable { id, error })?;
            Ok(serde_json::Value::Object(object).to_string().into())
        }
        None => {
            let error = Error::new(Code::InvalidMessage, "the message is empty; it has json or struct");
            Err(Unreadable { id: String::new(), error })
        }
    }
}

fn structure(fields: Map<String, serde_json::Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, told(value))).collect() }
}

fn told(value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => match double(number.as_str()) {
            Some(double) => Kind::NumberValue(double),
            None => Kind::StringValue(number.to_string()),
        },
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(list) => Kind::ListValue(ListValue { values: list.into_iter().map(told).collect() }),
        serde_json::Value::Object(fields) => Kind::StructValue(structure(fields)),
    };
    Value { kind: Some(kind) }
}

fn object(fields: Struct) -> Result<Map<String, serde_json::Value>, Error> {
    fields.fields.into_iter().map(|(name, value)| Ok((name, said(value)?))).collect()
}

fn said(value: Value) -> Result<serde_json::Value, Error> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::NumberValue(double)) => number(double)?.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(said).collect::<Result<Vec<_>, _>>()?.into(),
        Some(Kind::StructValue(fields)) => object(fields)?.into(),
    })
}

/// The greatest integer up to which a double holds each.
const GREATEST: f64 = 9_007_199_254_740_991.0;

/// A number that came as a double.
fn number(double: f64) -> Result<Number, Error> {
    let refuse = |why: &str| Err(Error::new(Code::InvalidMessage, format!("the struct has the number {double}, {why}")));
    if double.fract() != 0.0 {
        return Number::from_f64(double).map_or_else(|| refuse("which JSON has not"), Ok);
    }
    if double.abs() > GREATEST {
        return refuse("which may have been rounded before it came; send it as a string, or the message as json");
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is an integer that fits")]
    Ok(Number::from(double as i64))
}

/// The double that a number's text means exactly, if there is one.
fn double(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    // A double's own text is the shortest that means it.
    (double.is_finite() && decimal(text)? == decimal(&format!("{double:e}"))?).then_some(double)
}

/// Sign, digits without zeros at their ends, and the power of ten of the first, of which there is one text for each number.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let leading = i64::try_from(whole.len()).ok()? - i64::try_from(all.len() - significant.len()).ok()?;
    let exponent: i64 = exponent.parse().ok()?;
    Some((negative, significant.trim_end_matches('0').to_owned(), exponent.checked_add(leading)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn through(text: &str) -> serde_json::Value {
        let Some(message::Form::Struct(fields)) = Form::Struct.message(Bytes::copy_from_slice(text.as_bytes())).form else {
            panic!("a struct")
        };
        let back = json(Message { form: Some(message::Form::Struct(fields)) }).unwrap();
        serde_json::from_slice(&back).unwrap()
    }

    #[test]
    fn what_a_double_holds_stays_a_number_and_the_rest_becomes_text() {
        let text = r#"{"a":1,"b":-0.1,"c":1.10,"d":9007199254740991,"e":9007199254740993,"f":-9223372036854775808,
            "g":0.1234567890123456789,"h":1e400,"i":[null,true,"x",{"j":0,"k":0.0}],"l":1.5e3}"#;
        assert_eq!(
            through(text),
            json!({"a": 1, "b": -0.1, "c": 1.1, "d": 9_007_199_254_740_991_i64, "e": "9007199254740993",
                "f": "-9223372036854775808", "g": "0.1234567890123456789", "h": "1e+400",
                "i": [null, true, "x", {"j": 0, "k": 0}], "l": 1500})
        );
    }

    #[test]
    fn a_number_that_may_have_been_rounded_is_refused_under_the_id_of_its_message() {
        for double in [9_007_199_254_740_992.0, -1e300, f64::NAN, f64::INFINITY] {
            let number = |double| Value { kind: Some(Kind::NumberValue(double)) };
            let list = Kind::ListValue(ListValue { values: vec![number(double)] });
            let fields = [("id", Value { kind: Some(Kind::StringValue("7".to_owned())) }), ("data", Value { kind: Some(list) })];
            let fields = Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() };
            let refused = json(Message { form: Some(message::Form::Struct(fields)) }).unwrap_err();
            assert_eq!((refused.id.as_str(), refused.error.code), ("7", Code::InvalidMessage), "{double}");
        }
    }
}
