//! The schemas of an entity's rows: as they are read, created, patched, and nested in another row's write.

use super::kinds;
use super::visible::{Rights, Visible, component, schema_ref};
use crate::catalog::{Column, ColumnId, Entity, Relation, RelationKind};
use serde_json::{Map, Value, json};

/// Adds the schemas that the principal's rights call for.
pub(in crate::transport) fn add(schemas: &mut Map<String, Value>, visible: &Visible<'_>, entity: &Entity) {
    let rights = visible.rights(entity.id);
    if rights.read {
        schemas.insert(component("Row", entity), row(visible, entity));
    }
    if rights.create {
        schemas.insert(component("Create", entity), create(visible, entity));
    }
    if rights.update {
        schemas.insert(component("Update", entity), update(visible, entity));
    }
    if rights.writes() {
        schemas.insert(component("Nested", entity), nested(visible, entity, rights));
    }
}

/// What a write answers and a read shows: the row, or any object for who may not read it.
pub(in crate::transport) fn shown(visible: &Visible<'_>, entity: &Entity) -> Value {
    if visible.rights(entity.id).read { schema_ref(&component("Row", entity)) } else { json!({"type": "object"}) }
}

/// A row as it is read. Columns can be left out by a request, so that none is required.
fn row(visible: &Visible<'_>, entity: &Entity) -> Value {
    let mut properties = Map::new();
    for column in entity.columns.iter().filter(|column| column.readable()) {
        properties.insert(column.name.clone(), read_column(column));
    }
    for computed in &entity.computed {
        let mut schema = kinds::kind(&computed.kind, true);
        schema["readOnly"] = json!(true);
        schema["description"] = json!("Declared column; answered where computedColumns names it.");
        properties.insert(computed.name.clone(), schema);
    }
    for relation in entity.relations.iter().filter(|relation| visible.rights(relation.target).read) {
        let target = schema_ref(&component("Row", visible.entity(relation.target)));
        properties.insert(relation.name.clone(), related(relation, &target, "Answered where preload names it."));
    }
    let mut schema = json!({"type": "object", "properties": properties, "x-resolvespec": facts(visible, entity)});
    if let Some(description) = &entity.description {
        schema["description"] = json!(description);
    }
    schema
}

fn read_column(column: &Column) -> Value {
    let mut schema = kinds::stored(column);
    if column.read_only {
        schema["readOnly"] = json!(true);
    }
    schema
}

/// One row or none, or a list.
fn related(relation: &Relation, target: &Value, description: &str) -> Value {
    if relation.is_single() {
        json!({"anyOf": [target, {"type": "null"}], "description": description})
    } else {
        json!({"type": "array", "items": target, "description": description})
    }
}

/// A row to add: what the database neither fills nor a related row gives is required.
fn create(visible: &Visible<'_>, entity: &Entity) -> Value {
    let given_by_relation = |id: &ColumnId| {
        let mut relations = entity.relations.iter();
        relations.any(|relation| matches!(relation.kind, RelationKind::BelongsTo) && relation.columns.contains(id))
    };
    let required = entity.columns().filter(|(id, column)| {
        column.writable() && !column.nullable && !column.has_default && !column.auto_increment && !given_by_relation(id)
    });
    let required: Vec<&str> = required.map(|(_, column)| column.name.as_str()).collect();
    let mut schema = writable(visible, entity, false);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A row to change: only the columns that are given are written, and null clears.
fn update(visible: &Visible<'_>, entity: &Entity) -> Value {
    let mut schema = writable(visible, entity, true);
    schema["description"] = json!("Only the columns that are given are written; null clears.");
    schema
}

/// A row inside another row's write, with what to do with it.
fn nested(visible: &Visible<'_>, entity: &Entity, rights: Rights) -> Value {
    let upsert = rights.create && rights.update;
    let words = [("insert", rights.create), ("update", rights.update), ("delete", rights.delete), ("upsert", upsert)];
    let words: Vec<&str> = words.into_iter().filter(|(_, may)| *may).map(|(word, _)| word).collect();
    let mut schema = writable(visible, entity, true);
    schema["properties"]["_request"] = json!({"type": "string", "enum": words, "description": "What to do with this row; the outer row's operation without it."});
    schema
}

/// The columns that can be written, and the relations whose rows can be; with `keyed`, the key too, which names the row.
fn writable(visible: &Visible<'_>, entity: &Entity, keyed: bool) -> Value {
    let mut properties = Map::new();
    for (id, column) in entity.columns() {
        let names_row = keyed && !column.hidden && entity.primary_key.contains(&id);
        if column.writable() || names_row {
            let mut schema = kinds::column(column);
            if column.write_only {
                schema["writeOnly"] = json!(true);
            }
            properties.insert(column.name.clone(), schema);
        }
    }
    for relation in entity.relations.iter().filter(|relation| visible.rights(relation.target).writes()) {
        let target = schema_ref(&component("Nested", visible.entity(relation.target)));
        properties.insert(relation.name.clone(), related(relation, &target, "Rows written in the same transaction."));
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// What JSON schema has no word for.
fn facts(visible: &Visible<'_>, entity: &Entity) -> Value {
    let shown = |id: &&ColumnId| entity.column(**id).readable();
    let key: Vec<&str> = entity.primary_key.iter().filter(shown).map(|id| entity.column(*id).name.as_str()).collect();
    let readable = |relation: &&Relation| visible.rights(relation.target).read;
    let relations = entity.relations.iter().filter(readable).map(|relation| {
        let target = visible.entity(relation.target).full_name();
        (relation.name.clone(), json!({"kind": relation.kind_name(), "target": target}))
    });
    let operators = entity.operators.iter().map(|operator| {
        let parameters = operator.parameters.iter();
        let parameters =
            parameters.map(|one| json!({"name": one.name, "type": one.kind.as_str(), "schema": kinds::kind(&one.kind, false)}));
        json!({"name": operator.name, "parameters": parameters.collect::<Vec<_>>()})
    });
    json!({
        "schema": entity.schema,
        "entity": entity.name,
        "primaryKey": key,
        "relations": relations.collect::<Map<_, _>>(),
        "operators": operators.collect::<Vec<_>>(),
        "computed": entity.computed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        "maxRows": entity.limits.max_rows,
    })
}
