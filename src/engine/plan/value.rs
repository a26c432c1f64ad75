//! Values with the type of their column.
//!
//! A value that does not parse as its column's kind is an error here, before any connection is taken.

use crate::catalog::Kind;
use crate::protocol::{Code, Error};
use base64::Engine as _;
use jiff::civil;
use serde_json::Value as Json;

/// A value of a known kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// An exact decimal, as its digits.
    Decimal(String),
    /// A floating-point number, finite.
    Float(f64),
    /// A text without NUL.
    Text(String),
    /// A UUID.
    Uuid(uuid::Uuid),
    /// A day.
    Date(civil::Date),
    /// A time of day.
    Time(civil::Time),
    /// A moment.
    Timestamp(jiff::Timestamp),
    /// Bytes.
    Bytes(Vec<u8>),
    /// JSON, as its text.
    Json(String),
    /// The items of an array.
    Array(Vec<Value>),
}

impl Value {
    /// Reads a JSON value as a kind; `column` is for the error.
    pub fn from_json(json: &Json, kind: &Kind, column: &str) -> Result<Self, Error> {
        if *kind == Kind::Json {
            if has_nul(json) {
                return Err(mismatch(column, kind, "a text with NUL in it"));
            }
            return Ok(if json.is_null() { Value::Null } else { Value::Json(json.to_string()) });
        }
        match json {
            Json::Null => Ok(Value::Null),
            Json::Bool(truth) if *kind == Kind::Boolean => Ok(Value::Boolean(*truth)),
            Json::Number(number) if takes_numbers(kind) => Value::from_text(&number.to_string(), kind, column),
            Json::String(text) => Value::from_text(text, kind, column),
            Json::Array(items) => match kind {
                Kind::Array(_) if dimensions(json) > MAX_DIMENSIONS => Err(mismatch(column, kind, "so many lists in lists")),
                Kind::Array(item) => {
                    items.iter().map(|json| item_of(json, item, kind, column)).collect::<Result<_, _>>().map(Value::Array)
                }
                _ => Err(mismatch(column, kind, "a list")),
            },
            Json::Bool(_) => Err(mismatch(column, kind, "a truth value")),
            Json::Number(_) => Err(mismatch(column, kind, "a number")),
            Json::Object(_) => Err(mismatch(column, kind, "an object")),
        }
    }

    /// Reads a text, from a header or a path, as a kind; `column` is for the error.
    pub fn from_text(text: &str, kind: &Kind, column: &str) -> Result<Self, Error> {
        let bad = || mismatch(column, kind, &format!("'{}'", shorten(text)));
        match kind {
            Kind::Boolean => parse_boolean(text).map(Value::Boolean).ok_or_else(bad),
            Kind::Integer => text.trim().parse().map(Value::Integer).map_err(|_| bad()),
            Kind::Decimal => {
                if is_decimal(text.trim()) {
                    Ok(Value::Decimal(text.trim().to_owned()))
                } else {
                    Err(bad())
                }
            }
            Kind::Float => {
                let number: f64 = text.trim().parse().map_err(|_| bad())?;
                if number.is_finite() { Ok(Value::Float(number)) } else { Err(bad()) }
            }
            Kind::Text | Kind::Other if text.contains('\0') => Err(bad()),
            Kind::Text | Kind::Other => Ok(Value::Text(text.to_owned())),
            Kind::Enum(values) if values.iter().any(|value| value == text) => Ok(Value::Text(text.to_owned())),
            Kind::Enum(values) => Err(Error::new(
                Code::InvalidValue,
                format!("'{}' is none of {column}'s values: {}", shorten(text), values.join(", ")),
            )),
            Kind::Uuid => uuid::Uuid::try_parse(text.trim()).map(Value::Uuid).map_err(|_| bad()),
            Kind::Date => text.trim().parse().map(Value::Date).map_err(|_| bad()),
            Kind::Time => text.trim().parse().map(Value::Time).map_err(|_| bad()),
            Kind::Timestamp { .. } => parse_timestamp(text.trim()).map(Value::Timestamp).ok_or_else(bad),
            Kind::Bytes => base64::engine::general_purpose::STANDARD.decode(text.trim()).map(Value::Bytes).map_err(|_| bad()),
            Kind::Json => {
                let json: Json = serde_json::from_str(text).map_err(|_| bad())?;
                Value::from_json(&json, kind, column)
            }
            Kind::Array(_) => {
                let json: Json = serde_json::from_str(text).map_err(|_| bad())?;
                if json.is_array() { Value::from_json(&json, kind, column) } else { Err(bad()) }
            }
        }
    }
}

/// The dimensions that PostgreSQL's arrays can have; their type does not tell how many they do.
const MAX_DIMENSIONS: usize = 6;

/// How many lists stand in one another.
fn dimensions(json: &Json) -> usize {
    json.as_array().map_or(0, |items| 1 + items.iter().map(dimensions).max().unwrap_or_default())
}

/// An item of a list, or a list of them; where items are JSON, a list is one of them.
fn item_of(json: &Json, item: &Kind, list: &Kind, column: &str) -> Result<Value, Error> {
    let nested = json.is_array() && *item != Kind::Json;
    Value::from_json(json, if nested { list } else { item }, column)
}

/// PostgreSQL can't store NUL in JSON, so nobody does.
pub(super) fn has_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(has_nul),
        Json::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

fn takes_numbers(kind: &Kind) -> bool {
    matches!(kind, Kind::Integer | Kind::Decimal | Kind::Float | Kind::Boolean | Kind::Other)
}

fn mismatch(column: &str, kind: &Kind, found: &str) -> Error {
    Error::new(Code::InvalidValue, format!("{column} takes {}, not {found}", describe(kind))).with_detail(column)
}

fn describe(kind: &Kind) -> &'static str {
    match kind {
        Kind::Boolean => "true or false",
        Kind::Integer => "a whole number of at most 64 bits",
        Kind::Decimal => "a decimal number",
        Kind::Float => "a number",
        Kind::Text | Kind::Other => "a text",
        Kind::Uuid => "a UUID",
        Kind::Date => "a date such as 2026-03-01",
        Kind::Time => "a time such as 10:00:00",
        Kind::Timestamp { .. } => "a timestamp such as 2026-03-01T10:00:00Z",
        Kind::Bytes => "base64 text",
        Kind::Json => "JSON",
        Kind::Enum(_) => "one of its values",
        Kind::Array(_) => "a list",
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).filter(|character| !character.is_control()).collect();
    if text.chars().count() > 40 {
        short.push('…');
    }
    short
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Digits with an optional sign, point and exponent, within what every database can hold.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) =
        digits.split_once(['e', 'E']).map_or((digits, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| exponent.parse::<i16>().is_ok_and(|exponent| exponent.abs() <= 60));
    !(whole.is_empty() && fraction.is_empty()) && all_digits(whole) && all_digits(fraction) && text.len() <= 128 && exponent_fits
}

/// RFC 3339; without a zone it is read as UTC, and a day as its first moment.
pub(crate) fn parse_timestamp(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp);
    }
    let civil: civil::DateTime = text.parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
