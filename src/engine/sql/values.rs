//! Rows whose fields leave the database as values, to be encoded outside of SQL. Nothing below the first level does.
//!
//! Where PostgreSQL has to make something of a value, it does so of the rows that stay: beside a sort and a limit it would do it
//! for every row that is sorted or passed over.

use super::json;
use super::preload::{field_name, value};
use super::writer::{Alias, Sql};
use crate::catalog::Entity;
use crate::database::{Dialect, RowFields, RowForm, ValueForm};
use crate::engine::plan::{Field, Node};
use std::sync::Arc;

/// Writes `select … from …`: the fields, what is `beside` them, and by `rows` what comes from ` from ` on.
pub(super) fn select(sql: &mut Sql, node: &Node<'_>, alias: Alias, beside: &dyn Fn(&mut Sql), rows: &dyn Fn(&mut Sql)) {
    let entity = node.entity();
    let is_made = sql.dialect == Dialect::Postgres && node.fields.iter().any(|field| !is_bare(entity, field));
    if !is_made {
        sql.push("select ");
        fields(sql, node, &|sql, _, field| as_stored(sql, entity, alias, field));
        beside(sql);
        return rows(sql);
    }
    let kept = sql.alias();
    sql.push("select ");
    fields(sql, node, &|sql, place, _| {
        sql.name(kept).push(".");
        inner_name(sql, place);
    });
    beside(sql);
    sql.push(" from (select ");
    sql.separated(", ", node.fields.iter().enumerate(), |sql, (place, field)| {
        as_stored(sql, entity, alias, field);
        sql.push(" as ");
        inner_name(sql, place);
    });
    rows(sql);
    sql.push(") ").name(kept);
}

fn as_stored(sql: &mut Sql, entity: &Entity, alias: Alias, field: &Field<'_>) {
    match field {
        Field::Column(id) => _ = sql.column(alias, entity, *id),
        Field::Computed(place) => _ = sql.push("(").push(&entity.computed[*place].expression).push(")"),
        Field::Preload(_) => value(sql, entity, alias, field),
    }
}

/// Whether a field leaves as it is stored.
fn is_bare(entity: &Entity, field: &Field<'_>) -> bool {
    match field {
        Field::Column(id) => json::is_bare(entity.column(*id)),
        Field::Computed(_) => false,
        Field::Preload(_) => true,
    }
}

/// A name that no column has, since names in declared expressions must find the table's columns.
fn inner_name(sql: &mut Sql, place: usize) {
    sql.push("resolvespec_value_").number(place as u64);
}

/// Writes the fields, each of what `raw` writes, and notes how they are encoded.
fn fields(sql: &mut Sql, node: &Node<'_>, raw: &dyn Fn(&mut Sql, usize, &Field<'_>)) {
    let entity = node.entity();
    let mut forms = RowFields::with_capacity(node.fields.len());
    for (place, field) in node.fields.iter().enumerate() {
        sql.push(if place == 0 { "" } else { ", " });
        let raw = |sql: &mut Sql| raw(sql, place, field);
        let form = match field {
            Field::Column(id) => json::stored_column(sql, entity.column(*id), &raw),
            Field::Computed(place) => json::stored_computed(sql, &entity.computed[*place], &raw),
            Field::Preload(_) => {
                raw(sql);
                ValueForm::Json
            }
        };
        forms.push(field_name(entity, field), form);
    }
    sql.row = RowForm::Fields(Arc::new(forms));
}
