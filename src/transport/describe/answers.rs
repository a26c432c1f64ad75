//! The schemas around rows that answers of all transports have: metadata, errors and their codes.

use super::visible::schema_ref;
use crate::protocol::Code;
use serde_json::{Map, Value, json};

/// The shared schemas; errors have one of these codes.
pub(in crate::transport) fn schemas(codes: &[Code]) -> Map<String, Value> {
    let schemas = [("Metadata", metadata()), ("Code", code(codes)), ("Error", error()), ("EntityMetadata", entity_metadata())];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// The description of codes, as a list.
pub(in crate::transport) fn code_list(codes: &[Code]) -> String {
    codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.description())).collect::<Vec<_>>().join("\n")
}

fn metadata() -> Value {
    let count = |description: &str| json!({"type": "integer", "format": "int64", "description": description});
    json!({
        "type": "object",
        "description": "Where the rows of an answer stand among all.",
        "required": ["total", "count", "filtered", "limit", "offset"],
        "properties": {
            "total": count("Rows that the caller may see; -1 if not counted."),
            "count": count("Rows in this answer."),
            "filtered": count("Rows that meet the filters; -1 if not counted."),
            "limit": count("The limit that held."),
            "offset": count("Rows that were skipped."),
            "row_number": count("The row's place, from 1, where fetch_row_number asked for it."),
        },
    })
}

fn code(codes: &[Code]) -> Value {
    let descriptions: Map<String, Value> =
        codes.iter().map(|code| (code.as_str().to_owned(), json!(code.description()))).collect();
    json!({
        "type": "string",
        "enum": codes.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
        "description": format!("What went wrong. Codes are stable.\n\n{}", code_list(codes)),
        "x-enumDescriptions": descriptions,
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": schema_ref("Code"),
            "message": {"type": "string", "description": "Where, and what to do."},
            "detail": {"type": "string", "description": "More about it, such as the column or the constraint."},
        },
    })
}

fn entity_metadata() -> Value {
    json!({
        "type": "object",
        "description": "An entity's columns, relations, operations and declared fragments.",
        "required": ["schema", "table", "columns", "relations"],
        "properties": {
            "schema": {"type": "string"},
            "table": {"type": "string", "description": "The entity's name."},
            "columns": {"type": "array", "items": {
                "type": "object",
                "required": ["name", "type", "is_nullable", "is_primary", "is_unique", "has_index"],
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string"},
                    "is_nullable": {"type": "boolean"},
                    "is_primary": {"type": "boolean"},
                    "is_unique": {"type": "boolean"},
                    "has_index": {"type": "boolean"},
                },
            }},
            "relations": {"type": "array", "items": {"type": "string"}},
        },
    })
}
