//! A value of a SQLite image, from its storage class to what a read answers.
//!
//! The triggers write numbers and texts as JSON, and `{"blob":"<hex>"}` or `{"real":"<17 digits>"}` for the classes that
//! JSON can't hold exactly.

use super::image::unhex;
use crate::catalog::Kind;
use crate::database::{sqlite_real, sqlite_timestamp};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A value with its storage class.
enum Stored {
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Marked {
    Blob(String),
    Real(String),
}

/// What a read answers for a value that is not NULL.
pub(super) fn answered<'a>(kind: &Kind, raw: &'a str) -> Cow<'a, str> {
    let Some(stored) = Stored::read(raw) else { return Cow::Borrowed(raw) };
    Cow::Owned(match kind {
        Kind::Boolean => if stored.is_true() { "true" } else { "false" }.to_owned(),
        Kind::Timestamp { .. } => match stored.moment() {
            Some(moment) => quoted(&moment),
            None => "null".to_owned(),
        },
        Kind::Bytes => quoted(&base64::engine::general_purpose::STANDARD.encode(stored.into_bytes())),
        Kind::Json => stored.json(),
        _ => stored.plain(),
    })
}

impl Stored {
    fn read(raw: &str) -> Option<Self> {
        match raw.as_bytes().first()? {
            b'"' => serde_json::from_str(raw).ok().map(Stored::Text),
            b'{' => match serde_json::from_str(raw).ok()? {
                Marked::Blob(hex) => unhex(&hex).map(Stored::Blob),
                Marked::Real(digits) => digits.parse().ok().map(Stored::Real),
            },
            _ => raw.parse().ok().map(Stored::Integer),
        }
    }

    /// As a condition regards it: a text counts as the number that it begins with.
    fn is_true(&self) -> bool {
        match self {
            Stored::Integer(number) => *number != 0,
            Stored::Real(number) => *number != 0.0,
            Stored::Text(text) => leading_number(text) != 0.0,
            Stored::Blob(bytes) => leading_number(&String::from_utf8_lossy(bytes)) != 0.0,
        }
    }

    fn moment(&self) -> Option<String> {
        match self {
            Stored::Integer(seconds) => sqlite_timestamp::of_seconds(*seconds),
            Stored::Real(julian) => sqlite_timestamp::of_julian(*julian),
            Stored::Text(text) => Some(sqlite_timestamp::of_text(text)),
            Stored::Blob(_) => None,
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Stored::Integer(number) => number.to_string().into_bytes(),
            Stored::Real(number) => number.to_string().into_bytes(),
            Stored::Text(text) => text.into_bytes(),
            Stored::Blob(bytes) => bytes,
        }
    }

    /// A text that is JSON is that, and any other is a JSON text.
    fn json(self) -> String {
        match self {
            Stored::Text(text) => match RawValue::from_string(text.clone()) {
                Ok(json) => json.get().to_owned(),
                Err(_) => quoted(&text),
            },
            other => other.plain(),
        }
    }

    fn plain(self) -> String {
        match self {
            Stored::Integer(number) => number.to_string(),
            Stored::Real(number) => sqlite_real::text(number),
            Stored::Text(text) => quoted(&text),
            Stored::Blob(bytes) => quoted(&base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn leading_number(text: &str) -> f64 {
    let text = text.trim_start();
    let is_part = |(place, character): (usize, char)| {
        character.is_ascii_digit() || character == '.' || (place == 0 && matches!(character, '+' | '-'))
    };
    let end = text.char_indices().find(|part| !is_part(*part)).map_or(text.len(), |(place, _)| place);
    text[..end].parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::answered;
    use crate::catalog::Kind;

    #[test]
    fn values_are_what_a_read_answers() {
        let cases = [
            (Kind::Boolean, "1", "true"),
            (Kind::Boolean, "\"0x\"", "false"),
            (Kind::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Kind::Decimal, r#"{"real":"5000.1000000000004"}"#, "5000.1"),
            (Kind::Float, r#"{"real":"357022"}"#, "357022.0"),
            (Kind::Float, r#"{"real":"1e+21"}"#, "1.0e+21"),
            (Kind::Float, r#"{"real":"1.5e-07"}"#, "1.5e-07"),
            (Kind::Float, r#"{"real":"12345678901234567"}"#, "12345678901234568.0"),
            (Kind::Bytes, r#"{"blob":"010203"}"#, r#""AQID""#),
            (Kind::Text, r#"{"blob":"ff"}"#, r#""/w==""#),
            (Kind::Json, r#"{"blob":"7b7d"}"#, r#""e30=""#),
            (Kind::Timestamp { zoned: true }, r#""2020-01-01 08:00:00""#, r#""2020-01-01T08:00:00+00:00""#),
            (Kind::Timestamp { zoned: false }, "0", r#""1970-01-01T00:00:00+00:00""#),
            (Kind::Json, r#""{\"a\": 1}""#, r#"{"a": 1}"#),
            (Kind::Json, r#""no json""#, r#""no json""#),
            (Kind::Text, r#""{\"a\": 1}""#, r#""{\"a\": 1}""#),
        ];
        for (kind, raw, expected) in cases {
            assert_eq!(answered(&kind, raw), expected, "{kind:?} {raw}");
        }
    }
}
