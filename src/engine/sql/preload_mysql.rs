//! Lists of related rows on MySQL and MariaDB, which both order and cut in ways of their own.
//!
//! MySQL lets a derived table see the outer row. MariaDB does not, but a table that `json_table` makes can see it: where
//! rows have related rows of their own, the keys of the rows that stay are found first, so that nothing is made of the others.

use super::order::{order_by, order_keys};
use super::preload::{Parent, limit, linked, related, row_text};
use super::writer::{Alias, PLACE, ROW, Sql};
use crate::catalog::{Column, ColumnId, Entity, Kind};
use crate::database::Flavour;
use crate::engine::plan::{Field, PreloadPlan};

/// Writes the list of a parent's related rows.
pub(super) fn list(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>, alias: Alias, flavour: Flavour) {
    let cut = plan.limit.is_some() || plan.offset > 0;
    sql.push("(select concat('[',ifnull(group_concat(");
    if cut && flavour == Flavour::Mysql {
        numbered(sql, parent, plan, alias);
    } else if cut && !plan.node.entity().primary_key.is_empty() && has_related(plan) {
        chosen_first(sql, parent, plan, alias);
    } else {
        row_text(sql, &plan.node, alias);
        order_by(sql, plan.node.entity(), alias, &plan.node.order);
        sql.push(" separator ','");
        if cut {
            literal_limit(sql, plan);
        }
        sql.push("),''),']')");
        related(sql, parent, plan, alias);
    }
    sql.push(")");
}

fn has_related(plan: &PreloadPlan<'_>) -> bool {
    plan.node.fields.iter().any(|field| matches!(field, Field::Preload(_)))
}

/// MySQL has no limit within an aggregate.
fn numbered(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>, alias: Alias) {
    sql.push("d.").push(ROW).push(" order by d.").push(PLACE).push(" separator ','),''),']') from (select ");
    row_text(sql, &plan.node, alias);
    sql.push(" as ").push(ROW).push(", row_number() over (order by ");
    order_keys(sql, plan.node.entity(), alias, &plan.node.order);
    sql.push(") as ").push(PLACE);
    related(sql, parent, plan, alias);
    order_by(sql, plan.node.entity(), alias, &plan.node.order);
    limit(sql, plan);
    sql.push(") d");
}

/// MariaDB would make every row before it cuts; here it makes those whose keys it has cut to.
fn chosen_first(sql: &mut Sql, parent: Parent<'_>, plan: &PreloadPlan<'_>, alias: Alias) {
    let entity = plan.node.entity();
    row_text(sql, &plan.node, alias);
    order_by(sql, entity, alias, &plan.node.order);
    sql.push(" separator ','),''),']') from json_table((select concat('[',group_concat(concat('['");
    let candidate = sql.alias();
    for (place, id) in entity.primary_key.iter().enumerate() {
        sql.push(if place == 0 { "," } else { ",','," });
        KeyForm::of(entity.column(*id)).write_json(sql, entity, candidate, *id);
    }
    sql.push(",']')");
    order_by(sql, entity, candidate, &plan.node.order);
    sql.push(" separator ','");
    literal_limit(sql, plan);
    sql.push("),']')");
    related(sql, parent, plan, candidate);
    let keys = sql.alias();
    sql.push("),'$[*]' columns (");
    sql.separated(", ", entity.primary_key.iter().enumerate(), |sql, (place, id)| {
        key_name(sql, place);
        sql.push(" ").push(KeyForm::of(entity.column(*id)).type_name()).push(" path '$[").number(place as u64).push("]'");
    });
    sql.push(")) ").name(keys).push(" join ").table_as(&entity.table, alias).push(" on ");
    sql.separated(" and ", entity.primary_key.iter().enumerate(), |sql, (place, id)| {
        KeyForm::of(entity.column(*id)).write(sql, entity, alias, *id);
        sql.push(" = ").name(keys).push(".");
        key_name(sql, place);
    });
    // The keys are of narrowed rows already; the relation is said again for the index that keys in bytes do not have.
    sql.push(" where ");
    linked(sql, parent, plan, alias);
}

/// A name that no column has, since names in declared expressions must find one table only.
fn key_name(sql: &mut Sql, place: usize) {
    sql.push("resolvespec_key_").number(place as u64);
}

fn literal_limit(sql: &mut Sql, plan: &PreloadPlan<'_>) {
    // Neither takes a placeholder here.
    sql.push(" limit ").number(plan.offset).push(",").number(plan.limit.unwrap_or(i64::MAX as u64));
}

/// How a key goes through JSON and is found again: whole numbers through their index, others by their exact bytes.
#[derive(Clone, Copy)]
enum KeyForm {
    Signed,
    Unsigned,
    Float,
    Bytes,
}

impl KeyForm {
    fn of(column: &Column) -> Self {
        match column.kind {
            Kind::Integer if column.declared_type.contains("unsigned") => KeyForm::Unsigned,
            Kind::Integer => KeyForm::Signed,
            Kind::Float => KeyForm::Float,
            _ => KeyForm::Bytes,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            KeyForm::Signed => "bigint",
            KeyForm::Unsigned => "bigint unsigned",
            // Twice the longest key that an index holds.
            KeyForm::Float | KeyForm::Bytes => "varchar(6144) character set ascii",
        }
    }

    fn write(self, sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId) {
        let (before, after) = match self {
            KeyForm::Signed | KeyForm::Unsigned => ("", ""),
            // A short one would lose digits as text.
            KeyForm::Float => ("hex(concat(cast(", " as double)))"),
            KeyForm::Bytes => ("hex(concat(", "))"),
        };
        sql.push(before).column(alias, entity, id).push(after);
    }

    fn write_json(self, sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId) {
        match self {
            KeyForm::Signed | KeyForm::Unsigned => self.write(sql, entity, alias, id),
            KeyForm::Float | KeyForm::Bytes => {
                sql.push("'\"',");
                self.write(sql, entity, alias, id);
                sql.push(",'\"'");
            }
        }
    }
}
