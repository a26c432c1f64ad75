//! Statements that try a manifest's SQL: to be prepared against the live database, and never run.
//!
//! Each uses its fragment in every place that a request can, so that a wrong type is found as well as a wrong name.

use super::order::order_by;
use super::predicate::predicate;
use super::writer::Sql;
use super::{json, writer::Alias};
use crate::catalog::{Entity, Kind};
use crate::database::{Dialect, Statement};
use crate::engine::plan::{Comparison, Match, Operand, OperandSource, OrderKey, Predicate, Value};
use crate::protocol::options::Direction;

/// A declared column: answered, compared and sorted by, as far as its kind allows.
#[must_use]
pub fn computed(entity: &Entity, place: usize) -> Statement {
    let kind = entity.computed[place].kind.clone();
    let comparison = if kind == Kind::Json { Comparison::Null(false) } else { Comparison::Value(Match::Equal, Value::Null) };
    let ordered = kind.is_ordered();
    let operand = Operand { source: OperandSource::Computed(place), kind, nullable: true };
    let order: Vec<OrderKey> = ordered.then(|| OrderKey::new(operand.clone(), Direction::Ascending, None)).into_iter().collect();
    let condition = Predicate::Compare(operand, comparison);
    statement(entity, &|sql| json::computed(sql, entity, place), &|sql, alias| {
        predicate(sql, entity, alias, &condition);
        order_by(sql, entity, alias, &order);
    })
}

/// A declared condition, its parameters NULL.
#[must_use]
pub fn operator(entity: &Entity, place: usize) -> Statement {
    let values = entity.operators[place].parameters.iter().map(|_| Value::Null).collect();
    let condition = Predicate::Declared(place, values);
    statement(entity, &|sql| _ = sql.push("'1'"), &|sql, alias| predicate(sql, entity, alias, &condition))
}

fn statement(entity: &Entity, answered: &dyn Fn(&mut Sql), condition: &dyn Fn(&mut Sql, Alias)) -> Statement {
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    let json = sql.dialect == Dialect::Postgres;
    sql.push(if json { "select row_to_json(r.*) from (select " } else { "select " });
    answered(&mut sql);
    sql.push(if json { " as c from " } else { " from " }).table_as(&entity.table, alias).push(" where ");
    condition(&mut sql, alias);
    sql.push(if json { ") r" } else { "" });
    sql.finish(0)
}
