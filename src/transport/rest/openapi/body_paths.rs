//! The body style's paths: one POST whose body names the operation, and GET for metadata.

use super::envelope::envelope;
use super::responses::{Style, failures, header_ref};
use crate::catalog::Entity;
use crate::protocol::Operation;
use crate::transport::describe;
use crate::transport::describe::rows::shown;
use crate::transport::describe::visible::{Rights, Visible, component, schema_ref};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Adds an entity's paths.
pub(super) fn add(paths: &mut Map<String, Value>, visible: &Visible<'_>, entity: &Entity) {
    let place = place("/api", entity);
    let rights = visible.rights(entity.id);
    let mut whole = Map::from_iter([("post".to_owned(), post(visible, entity, false))]);
    if rights.read {
        whole.insert("get".to_owned(), metadata(entity, "api.metadata"));
    }
    paths.insert(place.clone(), Value::Object(whole));
    let keyed = !entity.primary_key.is_empty();
    if keyed && (rights.read || rights.update || rights.delete) {
        let mut one = Map::from_iter([("parameters".to_owned(), json!([id_parameter()]))]);
        one.insert("post".to_owned(), post(visible, entity, true));
        if rights.read {
            one.insert("get".to_owned(), metadata(entity, "api.row.metadata"));
        }
        paths.insert(format!("{place}/{{id}}"), Value::Object(one));
    }
}

/// The path of an entity below a style's prefix.
pub(super) fn place(prefix: &str, entity: &Entity) -> String {
    format!("{prefix}/{}/{}", utf8_percent_encode(&entity.schema, IN_PATH), utf8_percent_encode(&entity.name, IN_PATH))
}

/// The row's key in the path.
pub(super) fn id_parameter() -> Value {
    json!({"$ref": "#/components/parameters/id"})
}

/// An id that no other operation of the document has.
pub(super) fn operation_id(prefix: &str, entity: &Entity) -> String {
    component(prefix, entity)
}

fn metadata(entity: &Entity, prefix: &str) -> Value {
    let mut responses = Map::from_iter([(
        "200".to_owned(),
        json!({
            "description": "The entity's metadata.",
            "content": {"application/json": {"schema": envelope(&schema_ref("EntityMetadata"), false)}},
        }),
    )]);
    responses.extend(failures(Style::Body, &[Operation::Meta]));
    json!({
        "tags": [entity.full_name()],
        "operationId": operation_id(prefix, entity),
        "summary": format!("Metadata of {}", entity.full_name()),
        "responses": responses,
    })
}

fn post(visible: &Visible<'_>, entity: &Entity, with_id: bool) -> Value {
    let rights = visible.rights(entity.id);
    let operations = operations(rights, with_id);
    let requests: Vec<Value> = operations.iter().map(|operation| request(*operation, entity, with_id)).collect();
    let mut responses = Map::from_iter([("200".to_owned(), success(visible, entity, &operations, with_id))]);
    if operations.contains(&Operation::Read) {
        responses.insert("304".to_owned(), json!({"$ref": "#/components/responses/NotModified"}));
    }
    responses.extend(failures(Style::Body, &operations));
    let words: Vec<&str> = operations.iter().map(|operation| operation.as_str()).collect();
    let mut operation = json!({
        "tags": [entity.full_name()],
        "operationId": operation_id(if with_id { "api.row" } else { "api" }, entity),
        "summary": format!("{} of {}: {}", if with_id { "One row" } else { "Rows" }, entity.full_name(), words.join(", ")),
        "description": describe::entity(entity),
        "requestBody": {"required": true, "content": {"application/json": {"schema": {"oneOf": requests}}}},
        "responses": responses,
    });
    if rights.writes() {
        operation["parameters"] = json!([
            {"$ref": "#/components/parameters/Idempotency-Key"},
            {"$ref": "#/components/parameters/If-Match"},
        ]);
    }
    operation
}

fn operations(rights: Rights, with_id: bool) -> Vec<Operation> {
    let all = [
        (Operation::Read, rights.read),
        (Operation::Create, rights.create && !with_id),
        (Operation::Update, rights.update),
        (Operation::Delete, rights.delete),
        (Operation::Meta, rights.read),
    ];
    all.into_iter().filter(|(_, may)| *may).map(|(operation, _)| operation).collect()
}

/// The body of one operation.
fn request(operation: Operation, entity: &Entity, with_id: bool) -> Value {
    let mut properties = Map::from_iter([("operation".to_owned(), json!({"const": operation.as_str()}))]);
    let mut required = vec!["operation"];
    if operation != Operation::Meta {
        properties.insert("options".to_owned(), schema_ref("Options"));
    }
    let key_or_keys = json!({"anyOf": [schema_ref("Key"), {"type": "array", "items": schema_ref("Key")}]});
    if !with_id && matches!(operation, Operation::Read | Operation::Update | Operation::Delete) {
        properties.insert("id".to_owned(), key_or_keys);
    }
    match operation {
        Operation::Create | Operation::Update => {
            let prefix = if operation == Operation::Create { "Create" } else { "Update" };
            let row = schema_ref(&component(prefix, entity));
            let rows = json!({"anyOf": [row, {"type": "array", "items": row}]});
            properties.insert("data".to_owned(), if with_id { row } else { rows });
            required.push("data");
        }
        Operation::Delete => {
            properties.insert(
                "data".to_owned(),
                json!({
                    "description": "Keys of the rows to remove, instead of an id.",
                    "anyOf": [{"type": "object"}, {"type": "array", "items": schema_ref("Key")}],
                }),
            );
        }
        Operation::Read | Operation::Meta => {}
    }
    json!({
        "title": operation.as_str(),
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What the operations answer, each shape once.
fn success(visible: &Visible<'_>, entity: &Entity, operations: &[Operation], with_id: bool) -> Value {
    let row = shown(visible, entity);
    let mut shapes = vec![row.clone()];
    if !with_id {
        shapes.push(json!({"type": "array", "items": row}));
    }
    if operations.contains(&Operation::Delete) {
        shapes.push(schema_ref("Deleted"));
    }
    if operations.contains(&Operation::Meta) {
        shapes.push(schema_ref("EntityMetadata"));
    }
    json!({
        "description": "What the operation answers; metadata beside it where it is a read.",
        "headers": {"ETag": header_ref("ETag"), "Idempotency-Replayed": header_ref("Idempotency-Replayed")},
        "content": {"application/json": {"schema": envelope(&json!({"anyOf": shapes}), operations.contains(&Operation::Read))}},
    })
}
