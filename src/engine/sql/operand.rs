//! Operands as SQL: columns, declared expressions, and places in JSON.
//!
//! A place in JSON is guarded by its type, so that a comparison with a number meets numbers only.

use super::writer::{Alias, Sql};
use crate::catalog::{ColumnId, Entity, Kind};
use crate::database::{Bind, Dialect};
use crate::engine::plan::{Operand, OperandSource, PathStep, Value};
use std::fmt::Write;

/// Writes an operand over the row that the alias names.
pub(super) fn operand(sql: &mut Sql, entity: &Entity, alias: Alias, operand: &Operand) {
    match &operand.source {
        OperandSource::Column(id) => _ = sql.column(alias, entity, *id),
        // The expression's own names resolve to the innermost table, which is the entity's.
        OperandSource::Computed(place) => _ = sql.push("(").push(&entity.computed[*place].expression).push(")"),
        OperandSource::Json(id, path) => json_place(sql, entity, alias, *id, path, &operand.kind),
    }
}

/// Writes an operand whose order counts: an enum by the place of its value in the list, the same on every database.
pub(super) fn ordered(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand) {
    let (Kind::Enum(values), true) = (&target.kind, is_placed(sql, entity, target)) else {
        return operand(sql, entity, alias, target);
    };
    sql.push("(case ");
    operand(sql, entity, alias, target);
    for (place, value) in (1..).zip(values) {
        sql.push(" when ").literal(value).push(" then ").number(place);
    }
    sql.push(" end)");
}

/// The place of an enum's value, where [`ordered`] writes places.
pub(super) fn place_of(sql: &Sql, entity: &Entity, target: &Operand, value: &Value) -> Option<u64> {
    match (&target.kind, value) {
        (Kind::Enum(values), Value::Text(text)) if is_placed(sql, entity, target) => {
            (1..).zip(values).find(|(_, known)| *known == text).map(|(place, _)| place)
        }
        _ => None,
    }
}

/// Whether [`ordered`] writes places, which are NULL for values that the list does not have. Only PostgreSQL's own enums are
/// compared by their place; MySQL sorts by it and compares by the text.
pub(super) fn is_placed(sql: &Sql, entity: &Entity, target: &Operand) -> bool {
    let is_own = || matches!(target.source, OperandSource::Column(id) if matches!(entity.column(id).native, Kind::Enum(_)));
    matches!(target.kind, Kind::Enum(_)) && !(sql.dialect == Dialect::Postgres && is_own())
}

/// Writes an operand as text, for patterns.
pub(super) fn text_operand(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand) {
    let is_text = match target.source {
        // A manifest may take for a text what the database does not.
        OperandSource::Column(id) => target.kind == Kind::Text && entity.column(id).native == Kind::Text,
        OperandSource::Computed(_) => target.kind == Kind::Text,
        OperandSource::Json(..) => true,
    };
    match sql.dialect {
        _ if is_text => operand(sql, entity, alias, target),
        Dialect::Postgres => {
            sql.push("(");
            operand(sql, entity, alias, target);
            sql.push(")::text");
        }
        Dialect::Mysql(_) if target.is_opaque(entity) => {
            sql.push("st_astext(");
            operand(sql, entity, alias, target);
            sql.push(")");
        }
        Dialect::Mysql(_) | Dialect::Sqlite => {
            sql.push("cast(");
            operand(sql, entity, alias, target);
            sql.push(if sql.is_mysql() { " as char)" } else { " as text)" });
        }
    }
}

/// Writes whether an operand is NULL; in JSON, a missing place and JSON's null are NULL.
pub(super) fn null_test(sql: &mut Sql, entity: &Entity, alias: Alias, target: &Operand, expected: bool) {
    if let (OperandSource::Json(id, path), true) = (&target.source, sql.is_mysql()) {
        sql.push("coalesce(json_type(");
        extract(sql, entity, alias, *id, path);
        sql.push(if expected { "),'NULL') = 'NULL'" } else { "),'NULL') <> 'NULL'" });
        return;
    }
    operand(sql, entity, alias, target);
    sql.push(if expected { " is null" } else { " is not null" });
}

fn json_place(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep], kind: &Kind) {
    match sql.dialect {
        Dialect::Postgres => postgres_place(sql, entity, alias, id, path, kind),
        Dialect::Mysql(_) => mysql_place(sql, entity, alias, id, path, kind),
        Dialect::Sqlite => sqlite_place(sql, entity, alias, id, path, kind),
    }
}

fn postgres_place(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep], kind: &Kind) {
    let guard = match kind {
        Kind::Decimal | Kind::Integer | Kind::Float => "'number'",
        Kind::Boolean => "'boolean'",
        _ => return postgres_walk(sql, entity, alias, id, path, "->>"),
    };
    sql.push("(case when jsonb_typeof(");
    postgres_walk(sql, entity, alias, id, path, "->");
    sql.push(") = ").push(guard).push(" then ");
    postgres_walk(sql, entity, alias, id, path, "->>");
    sql.push(if *kind == Kind::Boolean { "::boolean end)" } else { "::numeric end)" });
}

/// Writes the value at a path for PostgreSQL. An arrow with a number looks into arrays only, and one with a text into
/// objects only; in a path as one list of texts, what looks like a number would be both. But a scalar has itself as its
/// first item.
fn postgres_walk(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep], last: &str) {
    let walk = |sql: &mut Sql, path: &[PathStep], last: &str| {
        sql.column(alias, entity, id).push("::jsonb");
        for (place, step) in path.iter().enumerate() {
            sql.push(if place + 1 == path.len() { last } else { "->" });
            match step {
                PathStep::Key(key) => sql.bind(Bind::Text(key.clone())).push("::text"),
                // No list has more items than a signed number counts.
                PathStep::Item(item) => sql.bind(Bind::Integer(i64::from(*item).min(i64::from(i32::MAX)))).push("::int"),
            };
        }
    };
    let lists = lists_of(path);
    sql.push("(");
    if !lists.is_empty() {
        sql.push("case when ");
        sql.separated(" and ", &lists, |sql, list| {
            sql.push("jsonb_typeof(");
            walk(sql, list, "->");
            sql.push(") = 'array'");
        });
        sql.push(" then ");
    }
    walk(sql, path, last);
    sql.push(if lists.is_empty() { ")" } else { " end)" });
}

/// What leads to things whose first item is asked for, and which therefore must be lists.
fn lists_of(path: &[PathStep]) -> Vec<&[PathStep]> {
    path.iter().enumerate().filter(|(_, step)| **step == PathStep::Item(0)).map(|(place, _)| &path[..place]).collect()
}

fn mysql_place(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep], kind: &Kind) {
    sql.push("(case json_type(");
    extract(sql, entity, alias, id, path);
    sql.push(")");
    let value = |sql: &mut Sql| {
        sql.push("json_unquote(");
        extract(sql, entity, alias, id, path);
        sql.push(")");
    };
    match kind {
        Kind::Decimal | Kind::Integer | Kind::Float => {
            for name in ["'INTEGER'", "'UNSIGNED INTEGER'", "'DOUBLE'", "'DECIMAL'"] {
                sql.push(" when ").push(name).push(" then cast(");
                value(sql);
                sql.push(" as decimal(65,30))");
            }
        }
        Kind::Boolean => {
            sql.push(" when 'BOOLEAN' then ");
            value(sql);
            sql.push(" = 'true'");
        }
        _ => {
            sql.push(" when 'NULL' then null else ");
            value(sql);
        }
    }
    sql.push(" end)");
}

fn sqlite_place(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep], kind: &Kind) {
    let bind = Bind::Text(path_text(path));
    let call = |sql: &mut Sql, function: &str| {
        sql.push(function).push("(").column(alias, entity, id).push(",").bind(bind.clone()).push(")");
    };
    // Text that is no JSON has no places, and must not end the statement of others.
    sql.push("(case when json_valid(").column(alias, entity, id).push(") then case ");
    call(sql, "json_type");
    match kind {
        Kind::Decimal | Kind::Integer | Kind::Float => {
            for name in [" when 'integer' then ", " when 'real' then "] {
                sql.push(name);
                call(sql, "json_extract");
            }
        }
        Kind::Boolean => _ = sql.push(" when 'true' then 1 when 'false' then 0"),
        _ => {
            sql.push(" when 'true' then 'true' when 'false' then 'false' else cast(");
            call(sql, "json_extract");
            sql.push(" as text)");
        }
    }
    sql.push(" end end)");
}

/// Writes the value at a path for MySQL. To it everything that is no list is a list of itself, so that the first item is
/// looked for in lists only.
fn extract(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId, path: &[PathStep]) {
    let raw = |sql: &mut Sql, path: &[PathStep]| {
        sql.push("json_extract(").column(alias, entity, id).push(",").bind(Bind::Text(path_text(path))).push(")");
    };
    let lists = lists_of(path);
    if lists.is_empty() {
        return raw(sql, path);
    }
    sql.push("if(");
    sql.separated(" and ", lists, |sql, list| {
        sql.push("json_type(");
        raw(sql, list);
        sql.push(") = 'ARRAY'");
    });
    sql.push(",");
    raw(sql, path);
    sql.push(",null)");
}

/// The path that MySQL and SQLite read, such as `$."a"[0]`.
fn path_text(path: &[PathStep]) -> String {
    let mut text = String::from("$");
    for step in path {
        match step {
            PathStep::Item(item) => _ = write!(text, "[{item}]"),
            PathStep::Key(key) => {
                text.push_str(".\"");
                for character in key.chars() {
                    if matches!(character, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(character);
                }
                text.push('"');
            }
        }
    }
    text
}
