//! The schemas around rows that the two styles have of their own.

use crate::transport::describe::visible::schema_ref;
use serde_json::{Map, Value, json};

/// The shared schemas.
pub(super) fn schemas() -> Map<String, Value> {
    let schemas = [("BodyError", body_error()), ("HeaderError", header_error()), ("Deleted", deleted())];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// The body style's envelope around some data.
pub(super) fn envelope(data: &Value, with_metadata: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": true}, "data": data},
    });
    if with_metadata {
        schema["properties"]["metadata"] = schema_ref("Metadata");
    }
    schema
}

fn body_error() -> Value {
    json!({
        "type": "object",
        "required": ["success", "data", "error"],
        "properties": {"success": {"const": false}, "data": {"type": "null"}, "error": schema_ref("Error")},
    })
}

fn header_error() -> Value {
    json!({
        "type": "object",
        "required": ["_error", "_retval", "error"],
        "properties": {"_error": {"type": "string"}, "_retval": {"const": 1}, "error": schema_ref("Error")},
    })
}

fn deleted() -> Value {
    json!({
        "type": "object",
        "required": ["deleted"],
        "properties": {"deleted": {"type": "integer", "format": "int64", "description": "How many rows were removed."}},
    })
}
