//! The image of a changed row, as a trigger writes it, or the engine in place of one.
//!
//! Where a trigger must list columns: on MySQL each value is the JSON of a read already. A trigger of SQLite is run by
//! any program, which has none of our functions, so values are written with their storage class, and whoever reads the
//! image makes of them what a read answers. PostgreSQL needs no list.

use super::json;
use super::writer::Sql;
use crate::catalog::{Column, Entity};
use crate::database::Dialect;

/// Which of the two rows that a trigger sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The row before.
    Old,
    /// The row after.
    New,
    /// The row of a table that is read.
    Stored,
}

/// An expression of a trigger on the entity's table: every column under the database's name, as a JSON text.
#[must_use]
pub fn image(entity: &Entity, side: Side) -> String {
    let mut sql = Sql::new(entity.dialect);
    write(&mut sql, entity, side);
    sql.finish(0).text
}

/// The same within a statement. On PostgreSQL, a table that is read must be named `resolvespec_stored`.
pub(super) fn write(sql: &mut Sql, entity: &Entity, side: Side) {
    if sql.dialect == Dialect::Postgres && side == Side::Stored {
        sql.push("row_to_json(resolvespec_stored)");
        return;
    }
    let (open, join, close) = if sql.is_mysql() { ("concat(", ",", ")") } else { ("(", "||", ")") };
    sql.push(open);
    for (place, column) in entity.columns.iter().enumerate() {
        let name = serde_json::Value::from(column.ident.as_str());
        let lead = if place == 0 { '{' } else { ',' };
        sql.literal(&format!("{lead}{name}:")).push(join);
        value(sql, column, side);
        sql.push(join);
    }
    sql.push("'}'").push(close);
}

fn value(sql: &mut Sql, column: &Column, side: Side) {
    let raw = |sql: &mut Sql| {
        let row = match side {
            Side::Old => "old.",
            Side::New => "new.",
            Side::Stored => "",
        };
        sql.push(row).ident(&column.ident);
    };
    match sql.dialect {
        // A timestamp would be told in the time zone of whoever writes; its seconds are the same everywhere.
        Dialect::Mysql(_) if column.declared_type.starts_with("timestamp") => {
            let utc = |sql: &mut Sql| {
                sql.push("(timestamp'1970-01-01 00:00:00' + interval unix_timestamp(");
                raw(sql);
                sql.push(") second)");
            };
            json::of_column(sql, column, &utc);
        }
        Dialect::Sqlite => sqlite(sql, &raw),
        Dialect::Mysql(_) | Dialect::Postgres => json::of_column(sql, column, &raw),
    }
}

/// Blobs and floating-point numbers as objects, which nothing else is; `json_quote` refuses the first, and older versions
/// round the second.
fn sqlite(sql: &mut Sql, raw: &dyn Fn(&mut Sql)) {
    sql.push("case typeof(");
    raw(sql);
    sql.push(") when 'blob' then '{\"blob\":\"'||hex(");
    raw(sql);
    sql.push(")||'\"}' when 'real' then '{\"real\":\"'||printf('%!.17g',");
    raw(sql);
    sql.push(")||'\"}' else json_quote(");
    raw(sql);
    sql.push(") end");
}
