//! Predicates as SQL.

use super::operand::{null_test, operand, ordered, place_of, text_operand};
use super::value::{array_literal, compared, declared, exceeds};
use super::writer::{Alias, Sql};
use crate::catalog::entity::Piece;
use crate::catalog::{Entity, Kind};
use crate::database::{Bind, Dialect};
use crate::engine::plan::{Comparison, Key, Match, Operand, OperandSource, Predicate, TextMatch, Value};

/// Writes a predicate over the row that the alias names, in parentheses where it needs them.
pub(super) fn predicate(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Predicate) {
    match target {
        Predicate::All(parts) => joined(sql, entity, alias, parts, " and ", "1=1"),
        Predicate::Any(parts) => joined(sql, entity, alias, parts, " or ", "1=0"),
        Predicate::Not(part) => {
            sql.push("(not ");
            predicate(sql, entity, alias, part);
            sql.push(")");
        }
        Predicate::Compare(target, comparison) => compare(sql, entity, alias, target, comparison),
        Predicate::Declared(place, values) => declared_condition(sql, entity, *place, values),
        Predicate::Keys(wanted) => keys(sql, entity, alias, wanted),
    }
}

/// Writes ` where …` for everything that must hold; nothing if nothing must.
pub(super) fn where_all<'p>(
    sql: &mut Sql,
    entity: &Entity,
    alias: Alias,
    parts: impl IntoIterator<Item = &'p Predicate>,
) -> bool {
    let mut begun = false;
    for part in parts.into_iter().filter(|part| !part.is_always()) {
        sql.push(if begun { " and " } else { " where " });
        predicate(sql, entity, alias, part);
        begun = true;
    }
    begun
}

fn joined(sql: &mut Sql, entity: &Entity, alias: Alias, parts: &[Predicate], separator: &str, empty: &str) {
    match parts {
        [] => _ = sql.push(empty),
        [only] => predicate(sql, entity, alias, only),
        many => {
            sql.push("(");
            sql.separated(separator, many, |sql, part| predicate(sql, entity, alias, part));
            sql.push(")");
        }
    }
}

fn compare(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand, comparison: &Comparison) {
    match comparison {
        Comparison::Null(expected) => null_test(sql, entity, alias, target, *expected),
        Comparison::Empty(expected) => empty_test(sql, entity, alias, target, *expected),
        Comparison::Value(how, value) => {
            let is_order = !matches!(how, Match::Equal | Match::NotEqual);
            if is_order {
                ordered(sql, entity, alias, target);
            } else {
                operand(sql, entity, alias, target);
            }
            sql.push(match how {
                Match::Equal => " = ",
                Match::NotEqual => " <> ",
                Match::Less => " < ",
                Match::LessOrEqual => " <= ",
                Match::Greater => " > ",
                Match::GreaterOrEqual => " >= ",
            });
            if is_order {
                bound(sql, entity, target, value);
            } else {
                against(sql, entity, target, value);
            }
        }
        Comparison::In(values) => in_list(sql, entity, alias, target, values),
        Comparison::Between { low, high, inclusive } => {
            sql.push("(");
            ordered(sql, entity, alias, target);
            sql.push(if *inclusive { " >= " } else { " > " });
            bound(sql, entity, target, low);
            sql.push(" and ");
            ordered(sql, entity, alias, target);
            sql.push(if *inclusive { " <= " } else { " < " });
            bound(sql, entity, target, high);
            sql.push(")");
        }
        Comparison::Text(how, text) => text_match(sql, entity, alias, target, *how, text),
    }
}

/// Writes a value beside an operand. A column tells the database its type; other operands need it said.
fn against(sql: &mut Sql, entity: &Entity, target: &Operand, value: &Value) {
    match target.source {
        OperandSource::Column(id) => compared(sql, entity.column(id), value),
        OperandSource::Computed(_) | OperandSource::Json(..) => declared(sql, value, &target.kind),
    }
}

/// Writes a value beside an operand whose order counts.
fn bound(sql: &mut Sql, entity: &Entity, target: &Operand, value: &Value) {
    match place_of(sql, entity, target, value) {
        Some(place) => _ = sql.number(place),
        None => against(sql, entity, target, value),
    }
}

fn empty_test(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand, expected: bool) {
    if target.kind != Kind::Text {
        return null_test(sql, entity, alias, target, expected);
    }
    sql.push("(");
    null_test(sql, entity, alias, target, expected);
    sql.push(if expected { " or " } else { " and " });
    text_operand(sql, entity, alias, target);
    sql.push(if expected { " = '')" } else { " <> '')" });
}

/// Writes membership. PostgreSQL takes the list as one array; elsewhere the list's length is rounded up by repeating its
/// last value, so that few statements serve all lengths.
fn in_list(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand, values: &[Value]) {
    let Some(last) = values.last() else {
        sql.push("1=0");
        return;
    };
    operand(sql, entity, alias, target);
    // Lists of lists would be taken for one with more dimensions.
    let plain = !matches!(target.kind, Kind::Array(_));
    if let (Dialect::Postgres, OperandSource::Column(id), true) = (sql.dialect, &target.source, plain) {
        let list = Bind::Text(array_literal(values, sql.dialect));
        let wide = values.iter().any(|value| exceeds(entity.column(*id), value));
        sql.push(" = any(").bind(list).push(if wide { "::bigint[])" } else { ")" });
        return;
    }
    sql.push(" in (");
    let repeats = values.len().next_power_of_two() - values.len();
    let padded = values.iter().chain(std::iter::repeat_n(last, repeats));
    sql.separated(",", padded, |sql, value| against(sql, entity, target, value));
    sql.push(")");
}

fn text_match(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand, how: TextMatch, text: &str) {
    let (pattern, cased) = (how.pattern(text), how.is_cased());
    match sql.dialect {
        Dialect::Postgres => {
            text_operand(sql, entity, alias, target);
            sql.push(if cased { " like " } else { " ilike " }).bind(Bind::Text(pattern));
        }
        Dialect::Mysql(_) if cased => {
            text_operand(sql, entity, alias, target);
            sql.push(" like ").bind(Bind::Text(pattern)).push(" collate utf8mb4_bin");
        }
        Dialect::Mysql(_) => {
            sql.push("lower(");
            text_operand(sql, entity, alias, target);
            sql.push(") like lower(").bind(Bind::Text(pattern)).push(") collate utf8mb4_bin");
        }
        Dialect::Sqlite if cased => {
            text_operand(sql, entity, alias, target);
            sql.push(" like ").bind(Bind::Text(pattern)).push(" escape '\\'");
        }
        Dialect::Sqlite => {
            sql.push("resolvespec_lower(");
            text_operand(sql, entity, alias, target);
            sql.push(") like resolvespec_lower(").bind(Bind::Text(pattern)).push(") escape '\\'");
        }
    }
}

fn declared_condition(sql: &mut Sql, entity: &Entity, place: usize, values: &[Value]) {
    let operator = &entity.operators[place];
    sql.push("(");
    for piece in &operator.pieces {
        match piece {
            Piece::Sql(text) => _ = sql.push(text),
            Piece::Parameter(index) => declared(sql, &values[*index], &operator.parameters[*index].kind),
        }
    }
    sql.push(")");
}

fn keys(sql: &mut Sql, entity: &Entity, alias: Alias, keys: &[Key]) {
    if let ([id], [_, _, ..] | []) = (entity.primary_key.as_slice(), keys) {
        let values: Vec<Value> = keys.iter().flat_map(|key| key.0.iter().cloned()).collect();
        return in_list(sql, entity, alias, &Operand::column(entity, *id), &values);
    }
    if let (Dialect::Sqlite, [_, _, ..]) = (sql.dialect, keys) {
        return key_rows(sql, entity, alias, keys);
    }
    sql.push("(");
    sql.separated(" or ", keys, |sql, key| key_equals(sql, entity, alias, key));
    sql.push(if keys.is_empty() { "1=0)" } else { ")" });
}

/// Writes keys of several columns for SQLite, to which alternatives are an expression as deep as they are many: it takes a
/// thousand, and needs ever longer for each.
fn key_rows(sql: &mut Sql, entity: &Entity, alias: Alias, keys: &[Key]) {
    sql.push("(");
    sql.separated(",", &entity.primary_key, |sql, id| _ = sql.column(alias, entity, *id));
    sql.push(") in (values ");
    sql.separated(",", keys, |sql, key| {
        sql.push("(");
        let values = entity.primary_key.iter().zip(&key.0);
        sql.separated(",", values, |sql, (id, value)| compared(sql, entity.column(*id), value));
        sql.push(")");
    });
    sql.push(")");
}

/// Writes that the row has a key.
pub(super) fn key_equals(sql: &mut Sql, entity: &Entity, alias: Alias, key: &Key) {
    sql.separated(" and ", entity.primary_key.iter().zip(&key.0), |sql, (id, value)| {
        sql.column(alias, entity, *id).push(" = ");
        compared(sql, entity.column(*id), value);
    });
}
