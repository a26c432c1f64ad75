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

/// The schema of a column's values as the table has them. The database holds no text to a list that only the manifest knows.
pub(in crate::transport) fn stored(column: &Column) -> Value {
    let mut schema = self::column(column);
    if let (Kind::Enum(_), Kind::Text | Kind::Other) = (&column.kind, &column.native)
        && let Some(listed) = schema.as_object_mut().and_then(|schema| schema.remove("enum"))
    {
        schema["anyOf"] = json!([{"enum": listed}, {"type": "string"}]);
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
        // PostgreSQL's arrays may hold NULL, and have as many dimensions as a row likes, whatever the column says.
        Kind::Array(items) => {
            let dimension = json!({"type": "array", "description": "One more dimension."});
            schema["items"] = json!({"anyOf": [self::kind(items, true), dimension]});
        }
        _ => {}
    }
    schema
}
