//! The schemas of a request's options: filters, sort keys, preloads, declared fragments.

use super::visible::schema_ref;
use crate::protocol::Operator;
use serde_json::{Map, Value, json};

/// The shared schemas.
pub(in crate::transport) fn schemas() -> Map<String, Value> {
    let schemas = [
        ("Options", options()),
        ("Filter", filter()),
        ("Operator", operator()),
        ("Sort", sort()),
        ("Preload", preload()),
        ("Fragment", fragment()),
        ("Parameter", parameter()),
        ("Key", key()),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

pub(in crate::transport) fn list_of(name: &str, description: &str) -> Value {
    json!({"type": "array", "items": schema_ref(name), "description": description})
}

pub(in crate::transport) fn names(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

pub(in crate::transport) fn count(description: &str) -> Value {
    json!({"type": "integer", "format": "int64", "minimum": 0, "description": description})
}

pub(in crate::transport) fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "additionalProperties": false});
    schema["properties"] = properties;
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn options() -> Value {
    object(
        json!({
            "columns": names("Columns to answer; all without it."),
            "omit_columns": names("Columns to leave out."),
            "filters": list_of("Filter", "Which rows. An OR filter joins the ones before it."),
            "sort": list_of("Sort", "In which order; the primary key follows."),
            "limit": count("At most so many rows; 0 is none given."),
            "offset": count("Rows to skip."),
            "preload": list_of("Preload", "Relations to answer within each row."),
            "customOperators": list_of("Fragment", "Declared conditions that must hold."),
            "computedColumns": list_of("Fragment", "Declared columns to answer."),
            "parameters": list_of("Parameter", "Values for the parameters of declared conditions."),
            "cursor_forward": schema_ref("Key"),
            "cursor_backward": schema_ref("Key"),
            "fetch_row_number": schema_ref("Key"),
            "skip_count": {"type": "boolean", "description": "Leaves total and filtered uncounted; they are -1 then."},
        }),
        &[],
    )
}

fn filter() -> Value {
    let logic = json!({
        "type": "string", "enum": ["AND", "OR"], "default": "AND", "description": "How it joins the filter before it."
    });
    let group = |word: &str| json!({"type": "array", "items": schema_ref("Filter"), "description": word});
    let comparison = json!({
        "column": {
            "type": "string",
            "description": "A column, `all` for any column, or `column->path->>leaf` for a place in a JSON column.",
        },
        "operator": schema_ref("Operator"),
        "value": {"description": "A value of the column's type; a list for in, between and between_inclusive."},
        "logic_operator": logic,
    });
    json!({
        "description": "A comparison, or a group of filters.",
        "oneOf": [
            object(comparison, &["column", "operator"]),
            object(json!({"and": group("All must hold."), "logic_operator": logic}), &["and"]),
            object(json!({"or": group("One must hold."), "logic_operator": logic}), &["or"]),
            object(json!({"not": schema_ref("Filter"), "logic_operator": logic}), &["not"]),
        ],
    })
}

fn operator() -> Value {
    json!({
        "type": "string",
        "enum": Operator::ALL.iter().map(|operator| operator.as_str()).collect::<Vec<_>>(),
        "description": "How a column is compared. `between` excludes both values; contains, startswith and endswith have no \
                        regard to case. Other spellings, such as `=` and `>=`, are read too.",
    })
}

fn sort() -> Value {
    object(
        json!({
            "column": {"type": "string", "description": "A column, a declared column, or a place in a JSON column."},
            "direction": {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
            "nulls": {"type": "string", "enum": ["first", "last"], "description": "Where NULLs go."},
        }),
        &["column"],
    )
}

fn preload() -> Value {
    object(
        json!({
            "relation": {"type": "string", "description": "The relation's name; a dotted path loads those on the way too."},
            "columns": names("Columns to answer; all without it."),
            "omit_columns": names("Columns to leave out."),
            "filters": list_of("Filter", "Which related rows."),
            "where": {"type": "string", "description": "The name of a declared condition of the related entity."},
            "sort": list_of("Sort", "Order within each parent."),
            "limit": count("At most so many rows for each parent."),
            "offset": count("Rows to skip for each parent."),
            "preload": list_of("Preload", "Relations of the related rows."),
            "computed_ql": {
                "type": "object",
                "additionalProperties": {"type": ["boolean", "string", "null"]},
                "description": "Declared columns of the related entity to answer, as keys with the value true.",
            },
            "recursive": {"type": "boolean", "description": "Follows the relation again from the related rows."},
        }),
        &["relation"],
    )
}

fn fragment() -> Value {
    object(json!({"name": {"type": "string", "description": "The declared name."}}), &["name"])
}

fn parameter() -> Value {
    object(json!({"name": {"type": "string"}, "value": {"description": "A value of the declared type."}}), &["name", "value"])
}

fn key() -> Value {
    json!({
        "description": "A primary key: a value, or an object with the key's columns. Several columns can also be one text with \
                        commas between the values.",
        "anyOf": [{"type": "string"}, {"type": "integer", "format": "int64"}, {"type": "object"}],
    })
}
