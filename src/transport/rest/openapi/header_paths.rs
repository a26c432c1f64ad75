//! The header style's paths: the method is the operation.

use super::body_paths::{id_parameter, operation_id, place};
use super::header_parameters::{of_read, reference};
use super::responses::{Style, failures, header_ref};
use super::wording;
use crate::catalog::Entity;
use crate::protocol::Operation;
use crate::transport::describe::rows::shown;
use crate::transport::describe::visible::{Visible, component, schema_ref};
use serde_json::{Map, Value, json};

/// Adds an entity's paths.
pub(super) fn add(paths: &mut Map<String, Value>, visible: &Visible<'_>, entity: &Entity) {
    let (rights, place) = (visible.rights(entity.id), place("/rest", entity));
    let (mut all, mut one) = (Map::new(), Map::new());
    let keyed = !entity.primary_key.is_empty();
    if rights.read {
        all.insert("get".to_owned(), read(visible, entity, false));
        if keyed {
            one.insert("get".to_owned(), read(visible, entity, true));
        }
        paths.insert(format!("{place}/metadata"), json!({"get": metadata(entity)}));
    }
    if rights.create {
        all.insert("post".to_owned(), create(visible, entity));
    }
    if rights.update {
        for method in ["post", "put", "patch"] {
            one.insert(method.to_owned(), update(visible, entity, method));
        }
    }
    if rights.delete {
        all.insert("delete".to_owned(), delete_named(visible, entity));
        one.insert("delete".to_owned(), delete(visible, entity));
    }
    if !all.is_empty() {
        paths.insert(place.clone(), Value::Object(all));
    }
    if !one.is_empty() {
        one.insert("parameters".to_owned(), json!([id_parameter()]));
        paths.insert(format!("{place}/{{id}}"), Value::Object(one));
    }
}

/// One operation, with its failures.
struct Described<'e> {
    entity: &'e Entity,
    operation: Operation,
    id: String,
    summary: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    success: Value,
}

impl Described<'_> {
    fn into_json(self) -> Value {
        let Self { entity, operation, id, summary, parameters, body, success } = self;
        let mut responses = Map::from_iter([("200".to_owned(), success)]);
        if operation == Operation::Read {
            responses.insert("304".to_owned(), reference_to_unchanged());
        }
        responses.extend(failures(Style::Header, &[operation]));
        let mut described = json!({
            "tags": [entity.full_name()],
            "operationId": operation_id(&id, entity),
            "summary": format!("{summary} of {}", entity.full_name()),
            "parameters": parameters,
            "responses": responses,
        });
        if operation == Operation::Read {
            described["description"] = json!(wording::HEADER_FILTERS);
        }
        if let Some(schema) = body {
            described["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        described
    }
}

fn reference_to_unchanged() -> Value {
    json!({"$ref": "#/components/responses/NotModified"})
}

fn read(visible: &Visible<'_>, entity: &Entity, with_id: bool) -> Value {
    let row = shown(visible, entity);
    let rows = json!({"type": "array", "items": row});
    let names = ["ETag", "Content-Range", "X-Api-Range-Total", "X-Api-Range-Size", "X-Api-Range-From"];
    let headers: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), header_ref(name))).collect();
    // X-DetailAPI and X-Syncfusion put the rows into an object.
    let laid_out = json!({
        "type": "object",
        "title": "detail or syncfusion",
        "properties": {
            "items": {"anyOf": [row, rows]},
            "result": {"anyOf": [row, rows]},
            "count": {"type": ["string", "integer"]},
            "total": {"type": "string"},
            "fields": {"type": "array", "items": {"type": "object"}},
            "tablename": {"type": "string"},
            "tableprefix": {"type": "string"},
        },
    });
    let shape = if with_id { json!({"anyOf": [row, rows, laid_out]}) } else { json!({"anyOf": [rows, laid_out]}) };
    Described {
        entity,
        operation: Operation::Read,
        id: if with_id { "rest.row.read" } else { "rest.read" }.to_owned(),
        summary: if with_id { "One row" } else { "Rows" },
        parameters: of_read(entity, with_id),
        body: None,
        success: answer("The rows, or the row.", &shape, Value::Object(headers)),
    }
    .into_json()
}

fn create(visible: &Visible<'_>, entity: &Entity) -> Value {
    let (input, row) = (schema_ref(&component("Create", entity)), shown(visible, entity));
    Described {
        entity,
        operation: Operation::Create,
        id: "rest.create".to_owned(),
        summary: "Adds rows",
        parameters: vec![reference("Idempotency-Key")],
        body: Some(json!({"anyOf": [input, {"type": "array", "items": input}]})),
        success: answer(
            "The rows as the database has them.",
            &json!({"anyOf": [row, {"type": "array", "items": row}]}),
            replayed(),
        ),
    }
    .into_json()
}

fn update(visible: &Visible<'_>, entity: &Entity, method: &str) -> Value {
    Described {
        entity,
        operation: Operation::Update,
        id: format!("rest.row.{method}"),
        summary: "Changes one row",
        parameters: vec![reference("Idempotency-Key"), reference("If-Match")],
        body: Some(schema_ref(&component("Update", entity))),
        success: answer("The row as the database has it.", &shown(visible, entity), replayed()),
    }
    .into_json()
}

fn delete(visible: &Visible<'_>, entity: &Entity) -> Value {
    Described {
        entity,
        operation: Operation::Delete,
        id: "rest.row.delete".to_owned(),
        summary: "Removes one row",
        parameters: vec![reference("Idempotency-Key"), reference("If-Match")],
        body: None,
        success: answer("The row that was removed.", &shown(visible, entity), replayed()),
    }
    .into_json()
}

/// The rows whose keys are in the body: a list of them, or the key columns of one.
fn delete_named(visible: &Visible<'_>, entity: &Entity) -> Value {
    let keys = json!({"type": "array", "items": schema_ref("Key")});
    Described {
        entity,
        operation: Operation::Delete,
        id: "rest.delete".to_owned(),
        summary: "Removes the rows of a list of keys, or the row of one,",
        parameters: vec![reference("Idempotency-Key"), reference("If-Match")],
        body: Some(json!({"anyOf": [keys, {"type": "object", "description": "The columns of a key."}]})),
        success: answer(
            "How many rows were removed, or the row that was.",
            &json!({"anyOf": [shown(visible, entity), schema_ref("Deleted")]}),
            replayed(),
        ),
    }
    .into_json()
}

fn metadata(entity: &Entity) -> Value {
    Described {
        entity,
        operation: Operation::Meta,
        id: "rest.metadata".to_owned(),
        summary: "Metadata",
        parameters: Vec::new(),
        body: None,
        success: answer("The entity's metadata.", &schema_ref("EntityMetadata"), json!({})),
    }
    .into_json()
}

fn replayed() -> Value {
    json!({"Idempotency-Replayed": header_ref("Idempotency-Replayed")})
}

fn answer(description: &str, schema: &Value, headers: Value) -> Value {
    let mut answer = json!({"description": description, "content": {"application/json": {"schema": schema}}});
    if headers.as_object().is_some_and(|headers| !headers.is_empty()) {
        answer["headers"] = headers;
    }
    answer
}
