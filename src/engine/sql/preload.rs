//! Related rows as a correlated aggregate inside the parent's statement: one request, one round trip.
//!
//! Each parent's rows are filtered, ordered and cut within its own sub-select, so a limit is per parent.

use super::json;
use super::order::order_by;
use super::predicate::predicate;
use super::preload_mysql;
use super::writer::{Alias, ROW, Sql};
use crate::catalog::{Entity, RelationKind};
use crate::database::{Bind, Dialect};
use crate::engine::plan::{Field, Node, PreloadPlan};

/// A parent's row, whose related rows are wanted.
#[derive(Clone, Copy)]
pub(super) struct Parent<'e> {
    pub(super) entity: &'e Entity,
    pub(super) alias: Alias,
}

/// Writes the fields of a row, each with its name, as a select list for `row_to_json`.
pub(super) fn select_list(sql: &mut Sql, node: &Node<'_>, alias: Alias) {
    let entity = node.entity();
    sql.separated(", ", &node.fields, |sql, field| {
        value(sql, entity, alias, field);
        sql.push(" as ").public_name(field_name(entity, field));
    });
}

/// Writes a row as one JSON text, where the database has no `row_to_json`.
pub(super) fn row_text(sql: &mut Sql, node: &Node<'_>, alias: Alias) {
    let entity = node.entity();
    let (open, join, close) = if sql.is_mysql() { ("concat(", ",", ")") } else { ("(", "||", ")") };
    sql.push(open);
    for (place, field) in node.fields.iter().enumerate() {
        sql.literal(&lead(place, field_name(entity, field))).push(join);
        value(sql, entity, alias, field);
        sql.push(join);
    }
    sql.push("'}'").push(close);
}

/// The text before a field's value.
fn lead(place: usize, name: &str) -> String {
    format!("{}{}:", if place == 0 { '{' } else { ',' }, serde_json::Value::from(name))
}

pub(super) fn field_name<'f>(entity: &'f Entity, field: &'f Field<'_>) -> &'f str {
    match field {
        Field::Column(id) => &entity.column(*id).name,
        Field::Computed(place) => &entity.computed[*place].name,
        Field::Preload(plan) => &plan.relation.name,
    }
}

pub(super) fn value(sql: &mut Sql, entity: &Entity, alias: Alias, field: &Field<'_>) {
    match field {
        Field::Column(id) => json::column(sql, entity, alias, *id),
        Field::Computed(place) => json::computed(sql, entity, *place),
        Field::Preload(plan) => preload(sql, Parent { entity, alias }, plan),
    }
}

fn preload(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>) {
    let alias = sql.alias();
    match (sql.dialect, plan.relation.is_single()) {
        (Dialect::Postgres, true) => {
            let row = sql.alias();
            sql.push("(select row_to_json(").name(row).push(".*) from (select ");
            select_list(sql, &plan.node, alias);
            related(sql, parent, plan, alias);
            sql.push(" limit 1) ").name(row).push(")");
        }
        (Dialect::Postgres, false) => {
            let row = sql.alias();
            sql.push("(select coalesce(json_agg(row_to_json(").name(row).push(".*)),'[]') from (select ");
            select_list(sql, &plan.node, alias);
            related(sql, parent, plan, alias);
            order_by(sql, plan.node.entity(), alias, &plan.node.order);
            limit(sql, plan);
            sql.push(") ").name(row).push(")");
        }
        (Dialect::Mysql(_) | Dialect::Sqlite, true) => {
            sql.push("ifnull((select ");
            row_text(sql, &plan.node, alias);
            related(sql, parent, plan, alias);
            sql.push(" limit 1),'null')");
        }
        (Dialect::Mysql(flavour), false) => preload_mysql::list(sql, parent, plan, alias, flavour),
        (Dialect::Sqlite, false) => {
            sql.push("(select '['||ifnull(group_concat(").push(ROW).push(",','),'')||']' from (select ");
            row_text(sql, &plan.node, alias);
            sql.push(" as ").push(ROW);
            related(sql, parent, plan, alias);
            order_by(sql, plan.node.entity(), alias, &plan.node.order);
            // A limit keeps the sub-select's order from being dropped.
            limit(sql, plan);
            if plan.limit.is_none() && plan.offset == 0 {
                sql.push(" limit -1");
            }
            sql.push("))");
        }
    }
}

pub(super) fn limit(sql: &mut Sql, plan: &PreloadPlan<'_>) {
    if plan.limit.is_some() || plan.offset > 0 {
        sql.push(" limit ").number(plan.limit.unwrap_or(i64::MAX as u64));
    }
    if plan.offset > 0 {
        let offset = i64::try_from(plan.offset).unwrap_or(i64::MAX);
        sql.push(" offset ").bind(Bind::Integer(offset));
    }
}

/// Writes ` from … where …`: the related rows of one parent row.
pub(super) fn related(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>, alias: Alias) {
    sql.push(" from ").table_as(&plan.node.entity().table, alias).push(" where ");
    linked(sql, parent, plan, alias);
    narrowed(sql, &plan.node, alias);
}

/// Writes that a row is related to its parent.
pub(super) fn linked(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>, alias: Alias) {
    let target = plan.node.entity();
    let relation = plan.relation;
    match &relation.kind {
        RelationKind::ManyToMany(link) => {
            // Not a join: names in declared expressions must find one table only, and a doubled link one row.
            let between = sql.alias();
            sql.push("exists (select 1 from ").table_as(&link.table, between).push(" where ");
            sql.separated(" and ", link.target_columns.iter().zip(&relation.target_columns), |sql, (ident, id)| {
                sql.name(between).push(".").ident(ident).push(" = ").column(alias, target, *id);
            });
            sql.push(" and ");
            sql.separated(" and ", link.columns.iter().zip(&relation.columns), |sql, (ident, id)| {
                sql.name(between).push(".").ident(ident).push(" = ").column(parent.alias, parent.entity, *id);
            });
            if let Some(link) = &plan.link {
                narrowed(sql, link, between);
            }
            sql.push(")");
        }
        RelationKind::BelongsTo | RelationKind::HasMany | RelationKind::HasOne => {
            sql.separated(" and ", relation.target_columns.iter().zip(&relation.columns), |sql, (there, here)| {
                sql.column(alias, target, *there).push(" = ").column(parent.alias, parent.entity, *here);
            });
        }
    }
}

/// Writes the filter of related rows, and what the caller may see of them.
pub(super) fn narrowed(sql: &mut Sql, node: &Node<'_>, alias: Alias) {
    for part in [node.grant.rows(), &node.filter] {
        if !part.is_always() {
            sql.push(" and ");
            predicate(sql, node.entity(), alias, part);
        }
    }
}
