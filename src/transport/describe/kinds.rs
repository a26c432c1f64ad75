//! The JSON schema of each kind of value, as the engine writes and reads it.

use crate::catalog::{Column, Kind};
use serde_json::{Value, json};

/// The schema of a column, with its description.
pub(in crate::transport) fn column(column: &Column) -> Value {
    let mut schema = kind(&column.kind, column.nullable);
    if let Some(description) = &column.description {
        schema["description"] = json!(description);
    }
    schema
}

/// The schema of a kind.
pub(in crate::transport) fn kind(kind: &Kind, nullable: bool) -> Value {
    let (word, format) = match kind {
        Kind::Boolean => ("boolean", None),
        Kind::Integer => ("integer", Some("int64")),
        Kind::Decimal => ("number", Some("decimal")),
        Kind::Float => ("number", Some("double")),
        Kind::Uuid => ("string", Some("uuid")),
        Kind::Date => ("string", Some("date")),
        Kind::Time => ("string", Some("time-local")),
        Kind::Timestamp { .. } => ("string", Some("date-time")),
        Kind::Text | Kind::Bytes | Kind::Enum(_) | Kind::Other => ("string", None),
        Kind::Array(_) => ("array", None),
        // Any JSON, null too.
        Kind::Json => return json!({}),
    };
    let mut schema = if nullable { json!({"type": [word, "null"]}) } else { json!({"type": word}) };
    if let Some(format) = format {
        schema["format"] = json!(format);
    }
    match kind {
        Kind::Bytes => schema["contentEncoding"] = json!("base64"),
        Kind::Enum(values) => {
            let values = values.iter().map(|value| json!(value));
            schema["enum"] = values.chain(nullable.then_some(Value::Null)).collect();
        }
        // PostgreSQL's arrays may hold NULL.
        Kind::Array(items) => schema["items"] = self::kind(items, true),
        _ => {}
    }
    schema
}
