//! Reads as one statement each: a page with its counts, or one record.

use super::operand::ordered;
use super::order::{beyond, goes_beyond_nulls, order_by, order_keys};
use super::predicate::{key_equals, predicate, where_all};
use super::preload::{row_text, select_list};
use super::values;
use super::writer::{Alias, PLACE, ROW, Sql};
use crate::catalog::Entity;
use crate::database::{Bind, Dialect, Statement};
use crate::engine::plan::{Cursor, Key, OperandSource, OrderKey, Predicate, ReadPlan, Shape};

/// A list: rows, and in number columns `total` and `filtered` if the plan counts.
#[must_use]
pub fn page(plan: &ReadPlan<'_>) -> Statement {
    let mut sql = Sql::new(plan.node.entity().dialect);
    let backward = plan.paging.cursor.as_ref().is_some_and(|cursor| cursor.backward);
    let order: Vec<OrderKey> =
        if backward { plan.node.order.iter().map(OrderKey::reversed).collect() } else { plan.node.order.clone() };
    if backward {
        sql.push("select p.").push(ROW);
        counts(&mut sql, plan);
        sql.push(" from (");
    }
    let alias = sql.alias();
    match (sql.dialect, backward) {
        (Dialect::Postgres, true) => {
            sql.push("select row_to_json(r.*) as ").push(ROW).push(", row_number() over () as ").push(PLACE);
            sql.push(" from (select ");
            select_list(&mut sql, &plan.node, alias);
            page_of(&mut sql, plan, alias, &order);
            sql.push(") r");
        }
        (Dialect::Mysql(_) | Dialect::Sqlite, true) => {
            sql.push("select ");
            row_text(&mut sql, &plan.node, alias);
            sql.push(" as ").push(ROW).push(", row_number() over (order by ");
            order_keys(&mut sql, plan.node.entity(), alias, &order);
            sql.push(") as ").push(PLACE);
            page_of(&mut sql, plan, alias, &order);
        }
        (Dialect::Mysql(_), false) => {
            sql.push("select ");
            row_text(&mut sql, &plan.node, alias);
            counts(&mut sql, plan);
            page_of(&mut sql, plan, alias, &order);
        }
        (Dialect::Postgres | Dialect::Sqlite, false) => {
            let (beside, rows) = (|sql: &mut Sql| counts(sql, plan), |sql: &mut Sql| page_of(sql, plan, alias, &order));
            values::select(&mut sql, &plan.node, alias, &beside, &rows);
        }
    }
    if backward {
        sql.push(") p order by p.").push(PLACE).push(" desc");
    }
    sql.finish(if plan.counted { 2 } else { 0 })
}

/// Writes ` from … where … order by … limit …`.
fn page_of(sql: &mut Sql, plan: &ReadPlan<'_>, alias: Alias, order: &[OrderKey]) {
    let entity = plan.node.entity();
    sql.push(" from ").table_as(&entity.table, alias);
    let begun = restricted(sql, plan, alias, true);
    if let Some(cursor) = &plan.paging.cursor {
        sql.push(if begun { " and " } else { " where " });
        let reference = |sql: &mut Sql, key: &OrderKey| cursor_value(sql, plan, cursor, key);
        beyond(sql, entity, alias, order, &reference);
        // Elsewhere nothing lies beyond a row that is gone, and the empty page has it asked for.
        if goes_beyond_nulls(sql, entity, order) {
            let alias = sql.alias();
            sql.push(" and exists (select 1 from ").table_as(&entity.table, alias);
            cursor_row(sql, plan, alias, &cursor.key);
            sql.push(")");
        }
    }
    order_by(sql, entity, alias, order);
    sql.push(" limit ").number(plan.paging.limit);
    if plan.paging.offset > 0 {
        let offset = i64::try_from(plan.paging.offset).unwrap_or(i64::MAX);
        sql.push(" offset ").bind(Bind::Integer(offset));
    }
}

/// Writes the cursor row's value of a key; the caller must be allowed to see that row.
fn cursor_value(sql: &mut Sql, plan: &ReadPlan<'_>, cursor: &Cursor, key: &OrderKey) {
    let entity = plan.node.entity();
    let alias = sql.alias();
    sql.push("(select ");
    ordered(sql, entity, alias, &key.operand);
    sql.push(" from ").table_as(&entity.table, alias);
    cursor_row(sql, plan, alias, &cursor.key);
    sql.push(")");
}

fn cursor_row(sql: &mut Sql, plan: &ReadPlan<'_>, alias: Alias, key: &Key) {
    let entity = plan.node.entity();
    sql.push(" where ");
    key_equals(sql, entity, alias, key);
    let rows = plan.node.grant.rows();
    if !rows.is_always() {
        sql.push(" and ");
        predicate(sql, entity, alias, rows);
    }
}

/// Writes everything that restricts the rows, the cursor excepted.
fn restricted(sql: &mut Sql, plan: &ReadPlan<'_>, alias: Alias, filtered: bool) -> bool {
    let keys = plan.keys.clone().map(Predicate::Keys);
    let mut parts = vec![plan.node.grant.rows()];
    if filtered {
        parts.push(&plan.node.filter);
        parts.extend(&keys);
    }
    where_all(sql, plan.node.entity(), alias, parts)
}

/// Writes `, total, filtered` if the plan counts.
fn counts(sql: &mut Sql, plan: &ReadPlan<'_>) {
    if plan.counted {
        sql.push(", ");
        count(sql, plan, false);
        sql.push(", ");
        count(sql, plan, true);
    }
}

fn count(sql: &mut Sql, plan: &ReadPlan<'_>, filtered: bool) {
    let alias = sql.alias();
    sql.push("(select count(*) from ").table_as(&plan.node.entity().table, alias);
    restricted(sql, plan, alias, filtered);
    sql.push(")");
}

/// What an empty page can't tell: the counts, and with a cursor in a third number whether its row is there.
#[must_use]
pub fn summary(plan: &ReadPlan<'_>) -> Statement {
    let mut sql = Sql::new(plan.node.entity().dialect);
    sql.push("select 'null', ");
    count(&mut sql, plan, false);
    sql.push(", ");
    count(&mut sql, plan, true);
    let Some(cursor) = &plan.paging.cursor else { return sql.finish(2) };
    let alias = sql.alias();
    sql.push(", (select count(*) from ").table_as(&plan.node.entity().table, alias);
    cursor_row(&mut sql, plan, alias, &cursor.key);
    sql.push(")");
    sql.finish(3)
}

/// One record by key; in a number column its position if the plan asks for it.
#[must_use]
pub fn record(plan: &ReadPlan<'_>) -> Statement {
    let entity = plan.node.entity();
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    let ranked = plan.shape == Shape::RowNumber;
    let position = |sql: &mut Sql| {
        if ranked {
            sql.push(", ");
            position(sql, plan, alias);
        }
    };
    let rows = |sql: &mut Sql| {
        sql.push(" from ").table_as(&entity.table, alias);
        restricted(sql, plan, alias, true);
    };
    match (sql.dialect, ranked) {
        (Dialect::Postgres, false) | (Dialect::Sqlite, _) => values::select(&mut sql, &plan.node, alias, &position, &rows),
        (Dialect::Postgres, true) => {
            sql.push("select (select row_to_json(r.*) from (select ");
            select_list(&mut sql, &plan.node, alias);
            sql.push(") r)");
            position(&mut sql);
            rows(&mut sql);
        }
        (Dialect::Mysql(_), _) => {
            sql.push("select ");
            row_text(&mut sql, &plan.node, alias);
            position(&mut sql);
            rows(&mut sql);
        }
    }
    if plan.is_short() { sql.finish_short() } else { sql.finish(usize::from(ranked)) }
}

/// Writes one more than the number of rows before the row of `alias`, under the same filter and order.
fn position(sql: &mut Sql, plan: &ReadPlan<'_>, alias: Alias) {
    let entity = plan.node.entity();
    let before = sql.alias();
    let reversed: Vec<OrderKey> = plan.node.order.iter().map(OrderKey::reversed).collect();
    sql.push("1 + (select count(*) from ").table_as(&entity.table, before);
    let begun = where_all(sql, entity, before, [plan.node.grant.rows(), &plan.node.filter]);
    sql.push(if begun { " and " } else { " where " });
    let reference = |sql: &mut Sql, key: &OrderKey| match key.operand.source {
        OperandSource::Column(_) | OperandSource::Json(..) => ordered(sql, entity, alias, &key.operand),
        // A declared expression names columns of the innermost table, so the row needs a table of its own.
        OperandSource::Computed(_) => same_row_value(sql, entity, alias, key),
    };
    beyond(sql, entity, before, &reversed, &reference);
    sql.push(")");
}

fn same_row_value(sql: &mut Sql, entity: &Entity, alias: Alias, key: &OrderKey) {
    let same = sql.alias();
    sql.push("(select ");
    ordered(sql, entity, same, &key.operand);
    sql.push(" from ").table_as(&entity.table, same).push(" where ");
    sql.separated(" and ", &entity.primary_key, |sql, id| {
        sql.column(same, entity, *id).push(" = ").column(alias, entity, *id);
    });
    sql.push(")");
}
