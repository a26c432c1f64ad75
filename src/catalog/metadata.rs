//! What clients are told about an entity.
//!
//! The names and meanings of the protocol's metadata, and beside them what a client needs to make good requests. Hidden
//! columns are never shown, and nothing of the manifest's SQL is.

use super::entity::{Column, ColumnId, CustomOperator, Entity, Limits, Operations};
use super::kind::Kind;
use super::lookup::Catalog;
use super::relation::Relation;
use crate::protocol::options::{Direction, Nulls};
use serde_json::{Map, Value, json};

/// The metadata of an entity.
#[must_use]
pub fn describe(catalog: &Catalog, entity: &Entity) -> Value {
    let visible = |id: &ColumnId| !entity.column(*id).hidden;
    let name = |id: ColumnId| entity.column(id).name.as_str();
    let columns = entity.columns().filter(|(id, _)| visible(id)).map(|(id, column)| column_of(entity, id, column));
    let relation = |relation: &Relation| (relation.name.clone(), relation_of(catalog, entity, relation));
    let sort = entity.default_sort.iter().filter(|sort| visible(&sort.column)).map(|sort| {
        json!({
            "column": name(sort.column),
            "direction": direction(sort.direction),
            "nulls": sort.nulls.map(nulls),
        })
    });
    json!({
        "schema": entity.schema,
        "table": entity.name,
        "description": entity.description,
        "is_view": entity.is_view,
        "columns": columns.collect::<Vec<_>>(),
        "primary_key": entity.primary_key.iter().filter(|id| visible(id)).map(|id| name(*id)).collect::<Vec<_>>(),
        "relations": entity.relations.iter().map(|relation| relation.name.as_str()).collect::<Vec<_>>(),
        "relation_details": entity.relations.iter().map(relation).collect::<Map<_, _>>(),
        "operations": operations(&entity.operations),
        "computed": entity.computed.iter().map(|one| json!({"name": one.name, "type": one.kind.as_str()})).collect::<Vec<_>>(),
        "operators": entity.operators.iter().map(operator).collect::<Vec<_>>(),
        "default_sort": sort.collect::<Vec<_>>(),
        "limits": limits(entity.limits),
    })
}

fn column_of(entity: &Entity, id: ColumnId, column: &Column) -> Value {
    let mut value = json!({
        "name": column.name,
        "type": column.kind.as_str(),
        "sql_type": column.declared_type,
        "is_nullable": column.nullable,
        "is_primary": entity.primary_key.contains(&id),
        "is_unique": column.unique,
        "has_index": column.indexed,
        "has_default": column.has_default,
        "auto_increment": column.auto_increment,
        "read_only": column.read_only,
        "write_only": column.write_only,
    });
    let (values, items) = match &column.kind {
        Kind::Enum(values) => (Some(values), None),
        Kind::Array(items) => (if let Kind::Enum(values) = items.as_ref() { Some(values) } else { None }, Some(items)),
        _ => (None, None),
    };
    if let Some(values) = values {
        value["values"] = json!(values);
    }
    if let Some(items) = items {
        value["items"] = json!(items.as_str());
    }
    if let Some(description) = &column.description {
        value["description"] = json!(description);
    }
    value
}

/// The columns of a relation are told unless one of them is hidden.
fn relation_of(catalog: &Catalog, entity: &Entity, relation: &Relation) -> Value {
    let target = catalog.entity(relation.target);
    let mut value = json!({
        "kind": relation.kind_name(),
        "schema": target.schema,
        "target": target.name,
    });
    for (key, entity, ids) in [("columns", entity, &relation.columns), ("target_columns", target, &relation.target_columns)] {
        if ids.iter().all(|id| !entity.column(*id).hidden) {
            value[key] = ids.iter().map(|id| entity.column(*id).name.as_str()).collect();
        }
    }
    value
}

fn operator(operator: &CustomOperator) -> Value {
    let parameters = operator.parameters.iter();
    let parameters = parameters.map(|parameter| json!({"name": parameter.name, "type": parameter.kind.as_str()}));
    json!({"name": operator.name, "parameters": parameters.collect::<Vec<_>>()})
}

fn operations(operations: &Operations) -> Vec<&'static str> {
    let Operations { read, create, update, delete } = operations;
    let exposed = [("read", read), ("create", create), ("update", update), ("delete", delete)];
    exposed.iter().filter(|(_, rule)| rule.is_some()).map(|(name, _)| *name).collect()
}

fn limits(limits: Limits) -> Value {
    let Limits { max_rows, max_filters, max_preload_depth, max_preloads, max_recursion, max_write_rows, max_list } = limits;
    json!({
        "max_rows": max_rows,
        "max_filters": max_filters,
        "max_preload_depth": max_preload_depth,
        "max_preloads": max_preloads,
        "max_recursion": max_recursion,
        "max_write_rows": max_write_rows,
        "max_list": max_list,
    })
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ascending => "asc",
        Direction::Descending => "desc",
    }
}

fn nulls(nulls: Nulls) -> &'static str {
    match nulls {
        Nulls::First => "first",
        Nulls::Last => "last",
    }
}

#[cfg(test)]
mod tests;
