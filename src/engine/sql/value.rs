//! Values as binds, in the form that each database compares and stores.

use super::writer::Sql;
use crate::catalog::{Column, Kind};
use crate::database::{Bind, Dialect};
use crate::engine::plan::Value;
use std::fmt::Write;

/// The bind of a value.
pub(super) fn to_bind(value: &Value, dialect: Dialect) -> Bind {
    match value {
        Value::Null => Bind::Null,
        Value::Boolean(truth) => Bind::Bool(*truth),
        Value::Integer(number) => Bind::Integer(*number),
        Value::Decimal(digits) => Bind::Text(digits.clone()),
        Value::Float(number) => Bind::Float(*number),
        Value::Text(text) | Value::Json(text) => Bind::Text(text.clone()),
        Value::Uuid(uuid) => Bind::Text(uuid.to_string()),
        Value::Date(date) => Bind::Text(date.to_string()),
        Value::Time(time) => Bind::Text(time.to_string()),
        Value::Timestamp(moment) if dialect == Dialect::Postgres => Bind::Text(moment.to_string()),
        // The form of the databases' own functions, which sorts as text where it is stored as one.
        Value::Timestamp(moment) => {
            Bind::Text(moment.to_zoned(jiff::tz::TimeZone::UTC).datetime().to_string().replacen('T', " ", 1))
        }
        Value::Bytes(bytes) => Bind::Bytes(bytes.clone()),
        Value::Array(items) => Bind::Text(array_literal(items, dialect)),
    }
}

/// PostgreSQL's text form of an array, such as `{"a","b",NULL}`.
pub(super) fn array_literal(items: &[Value], dialect: Dialect) -> String {
    let mut text = String::from("{");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        match item {
            Value::Array(inner) => text.push_str(&array_literal(inner, dialect)),
            item => match to_bind(item, dialect) {
                Bind::Null => text.push_str("NULL"),
                Bind::Bool(truth) => text.push(if truth { '1' } else { '0' }),
                Bind::Integer(number) => _ = write!(text, "{number}"),
                Bind::Float(number) => _ = write!(text, "{number}"),
                Bind::Text(item) => quote_item(&item, &mut text),
                Bind::Bytes(bytes) => {
                    let hex = bytes.iter().fold(String::from("\\x"), |mut hex, byte| {
                        _ = write!(hex, "{byte:02x}");
                        hex
                    });
                    quote_item(&hex, &mut text);
                }
            },
        }
    }
    text.push('}');
    text
}

fn quote_item(item: &str, text: &mut String) {
    text.push('"');
    for character in item.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

/// Writes a value that is compared with a column.
pub(super) fn compared(sql: &mut Sql, column: &Column, value: &Value) {
    if sql.dialect == Dialect::Postgres && exceeds(column, value) {
        sql.push("cast(").value(value).push(" as bigint)");
        return;
    }
    untyped(sql, value);
}

/// Whether a whole number lies beyond what PostgreSQL would take for the column's own type. It can still be compared.
pub(super) fn exceeds(column: &Column, value: &Value) -> bool {
    match (value, column.declared_type.as_str()) {
        (Value::Integer(_), "bigint") => false,
        (Value::Integer(number), "smallint") => i16::try_from(*number).is_err(),
        (Value::Integer(number), _) => i32::try_from(*number).is_err(),
        _ => false,
    }
}

fn untyped(sql: &mut Sql, value: &Value) {
    let bind = to_bind(value, sql.dialect);
    match (value, sql.dialect) {
        // A text would be compared as a floating-point number, and be rounded.
        (Value::Decimal(_), Dialect::Mysql(_)) => _ = sql.push("cast(").bind(bind).push(" as decimal(65,30))"),
        (Value::Decimal(_), Dialect::Sqlite) => _ = sql.push("cast(").bind(bind).push(" as numeric)"),
        _ => _ = sql.bind(bind),
    }
}

/// Writes a value whose type the database can't tell from its place.
pub(super) fn declared(sql: &mut Sql, value: &Value, kind: &Kind) {
    if sql.dialect != Dialect::Postgres {
        return untyped(sql, value);
    }
    let bind = to_bind(value, sql.dialect);
    sql.push("cast(").bind(bind).push(" as ").push(postgres_type(kind)).push(")");
}

fn postgres_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Integer => "bigint",
        Kind::Decimal => "numeric",
        Kind::Float => "double precision",
        Kind::Uuid => "uuid",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Timestamp { zoned: true } => "timestamptz",
        Kind::Timestamp { zoned: false } => "timestamp",
        Kind::Bytes => "bytea",
        Kind::Json => "jsonb",
        Kind::Text | Kind::Enum(_) | Kind::Array(_) | Kind::Other => "text",
    }
}
