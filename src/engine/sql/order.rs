//! Sort keys, and which rows lie beyond a given row in their order.
//!
//! NULLs are placed the same on every database: written out where the database's own place differs.

use super::operand::{is_placed, ordered};
use super::writer::{Alias, Sql};
use crate::catalog::Entity;
use crate::database::Dialect;
use crate::engine::plan::{Operand, OperandSource, OrderKey};
use crate::protocol::options::{Direction, Nulls};

/// Writes ` order by …`; nothing without keys.
pub(super) fn order_by(sql: &mut Sql, entity: &Entity, alias: Alias, keys: &[OrderKey]) {
    if !keys.is_empty() {
        sql.push(" order by ");
        order_keys(sql, entity, alias, keys);
    }
}

/// Writes the keys with commas between them.
pub(super) fn order_keys(sql: &mut Sql, entity: &Entity, alias: Alias, keys: &[OrderKey]) {
    sql.separated(", ", keys, |sql, key| {
        let ascending = key.direction == Direction::Ascending;
        let nulls_last = key.nulls == Nulls::Last;
        let native = match sql.dialect {
            Dialect::Postgres => nulls_last == ascending,
            Dialect::Mysql(_) | Dialect::Sqlite => nulls_last != ascending,
        };
        let written = can_be_null(sql, entity, key) && !native;
        if written && sql.is_mysql() {
            ordered(sql, entity, alias, &key.operand);
            sql.push(if nulls_last { " is null, " } else { " is not null, " });
        }
        sort_key(sql, entity, alias, &key.operand);
        sql.push(if ascending { "" } else { " desc" });
        if written && !sql.is_mysql() {
            sql.push(if nulls_last { " nulls last" } else { " nulls first" });
        }
    });
}

/// Whether a key has no place among the others in some rows: it is NULL, or no value of its list.
fn can_be_null(sql: &Sql, entity: &Entity, key: &OrderKey) -> bool {
    key.operand.nullable || is_placed(sql, entity, &key.operand)
}

/// Whether rows can lie beyond one whose keys are all NULL, as those of a row that is not there are.
pub(super) fn goes_beyond_nulls(sql: &Sql, entity: &Entity, keys: &[OrderKey]) -> bool {
    keys.iter().any(|key| key.nulls == Nulls::First && can_be_null(sql, entity, key))
}

/// PostgreSQL takes a bare name for a result's, whose JSON form may have another order, and a bare number for a result's
/// place. A declared expression may be either; within a condition that is always true, which its planner removes, it is not.
fn sort_key(sql: &mut Sql, entity: &Entity, alias: Alias, key: &Operand) {
    let wrapped = sql.dialect == Dialect::Postgres && matches!(key.source, OperandSource::Computed(_));
    sql.push(if wrapped { "case when true then " } else { "" });
    ordered(sql, entity, alias, key);
    sql.push(if wrapped { " end" } else { "" });
}

/// Writes that the row of `alias` lies beyond another row in the order of the keys; `reference` writes the other row's
/// value of a key.
///
/// For some key, all before it are equal and it lies beyond. The leading key is said once more by itself: databases find
/// that in an index, and not the whole.
pub(super) fn beyond(sql: &mut Sql, entity: &Entity, alias: Alias, keys: &[OrderKey], reference: &dyn Fn(&mut Sql, &OrderKey)) {
    sql.push("(");
    let leading = keys.first().filter(|key| keys.len() > 1 && !can_be_null(sql, entity, key));
    if let Some(first) = leading {
        ordered(sql, entity, alias, &first.operand);
        sql.push(if first.direction == Direction::Ascending { " >= " } else { " <= " });
        reference(sql, first);
        sql.push(" and (");
    }
    sql.separated(" or ", 0..keys.len(), |sql, place| {
        sql.push("(");
        for key in &keys[..place] {
            equal(sql, entity, alias, key, reference);
            sql.push(" and ");
        }
        key_beyond(sql, entity, alias, &keys[place], reference);
        sql.push(")");
    });
    if leading.is_some() {
        sql.push(")");
    }
    sql.push(if keys.is_empty() { "1=0)" } else { ")" });
}

fn equal(sql: &mut Sql, entity: &Entity, alias: Alias, key: &OrderKey, reference: &dyn Fn(&mut Sql, &OrderKey)) {
    let same = match (can_be_null(sql, entity, key), sql.dialect) {
        (false, _) => " = ",
        (true, Dialect::Postgres) => " is not distinct from ",
        (true, Dialect::Mysql(_)) => " <=> ",
        (true, Dialect::Sqlite) => " is ",
    };
    ordered(sql, entity, alias, &key.operand);
    sql.push(same);
    reference(sql, key);
}

fn key_beyond(sql: &mut Sql, entity: &Entity, alias: Alias, key: &OrderKey, reference: &dyn Fn(&mut Sql, &OrderKey)) {
    let nulls_beyond = key.nulls == Nulls::Last;
    let nullable = can_be_null(sql, entity, key);
    if nullable {
        sql.push("(");
    }
    ordered(sql, entity, alias, &key.operand);
    sql.push(if key.direction == Direction::Ascending { " > " } else { " < " });
    reference(sql, key);
    if nullable {
        sql.push(" or (");
        ordered(sql, entity, alias, &key.operand);
        sql.push(if nulls_beyond { " is null and " } else { " is not null and " });
        reference(sql, key);
        sql.push(if nulls_beyond { " is not null))" } else { " is null))" });
    }
}
