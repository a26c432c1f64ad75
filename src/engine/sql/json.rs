//! How a column's value leaves as JSON, on each database.
//!
//! On PostgreSQL this is an expression that `row_to_json` renders; elsewhere it is the JSON text itself, `null` included.
//! The fields of pages and records leave PostgreSQL and SQLite as they are stored where this process can write the same text from that.

use super::writer::{Alias, Sql};
use crate::catalog::{Column, ColumnId, Computed, Entity, Kind};
use crate::database::{Dialect, ValueForm};

/// Writes a column for the JSON of a row.
pub(super) fn column(sql: &mut Sql, entity: &Entity, alias: Alias, id: ColumnId) {
    let column = entity.column(id);
    let raw = |sql: &mut Sql| _ = sql.column(alias, entity, id);
    value(sql, &column.kind, Some(column), &raw);
}

/// Writes a column's value for the JSON of a row, however it is named.
pub(super) fn of_column(sql: &mut Sql, column: &Column, raw: &dyn Fn(&mut Sql)) {
    value(sql, &column.kind, Some(column), raw);
}

/// Writes a declared column for the JSON of a row.
pub(super) fn computed(sql: &mut Sql, entity: &Entity, place: usize) {
    let computed = &entity.computed[place];
    let raw = |sql: &mut Sql| _ = sql.push("(").push(&computed.expression).push(")");
    value(sql, &computed.kind, None, &raw);
}

/// Writes a column that is encoded outside of SQL, and says how.
pub(super) fn stored_column(sql: &mut Sql, column: &Column, raw: &dyn Fn(&mut Sql)) -> ValueForm {
    stored(sql, &column.kind, Some(column), raw)
}

/// Writes a declared column that is encoded outside of SQL, and says how.
pub(super) fn stored_computed(sql: &mut Sql, computed: &Computed, raw: &dyn Fn(&mut Sql)) -> ValueForm {
    stored(sql, &computed.kind, None, raw)
}

fn stored(sql: &mut Sql, kind: &Kind, column: Option<&Column>, raw: &dyn Fn(&mut Sql)) -> ValueForm {
    if sql.dialect == Dialect::Postgres { stored_in_postgres(sql, kind, column, raw) } else { stored_in_sqlite(sql, kind, raw) }
}

/// Whether a column leaves PostgreSQL as it is stored, for next to nothing.
pub(super) fn is_bare(column: &Column) -> bool {
    is_binary(&column.kind, &column.declared_type) || (column.kind == Kind::Json && is_json(&column.declared_type))
}

/// Whether values of a type are read in their binary form.
fn is_binary(kind: &Kind, declared: &str) -> bool {
    let is_known = match kind {
        Kind::Integer => matches!(declared, "smallint" | "integer" | "bigint"),
        Kind::Text => declared == "text" || declared.starts_with("character varying"),
        Kind::Boolean => declared == "boolean",
        Kind::Uuid => declared == "uuid",
        Kind::Timestamp { .. } => declared.starts_with("timestamp"),
        _ => false,
    };
    is_known && !declared.ends_with("[]")
}

fn is_json(declared: &str) -> bool {
    matches!(declared, "json" | "jsonb")
}

/// What is known in its binary form comes in it; of anything else PostgreSQL makes the JSON.
fn stored_in_postgres(sql: &mut Sql, kind: &Kind, column: Option<&Column>, raw: &dyn Fn(&mut Sql)) -> ValueForm {
    let declared = column.map_or("", |column| column.declared_type.as_str());
    match kind {
        // Of the one type of texts, whatever becomes of the column's own while the statement is prepared.
        Kind::Text if is_binary(kind, declared) => {
            around(sql, "(", raw, ")::text");
            ValueForm::Stored
        }
        _ if is_binary(kind, declared) => {
            raw(sql);
            ValueForm::Stored
        }
        Kind::Decimal if declared.starts_with("numeric") && !declared.ends_with("[]") => {
            around(sql, "(", raw, ")::text");
            ValueForm::Number
        }
        Kind::Json if is_json(declared) => {
            raw(sql);
            ValueForm::Json
        }
        _ => {
            around(sql, "to_json(", &|sql| postgres(sql, kind, column, raw), ")");
            ValueForm::Json
        }
    }
}

fn stored_in_sqlite(sql: &mut Sql, kind: &Kind, raw: &dyn Fn(&mut Sql)) -> ValueForm {
    match kind {
        Kind::Boolean => {
            // Whatever is stored, as 0, 1 or NULL.
            around(sql, "not not ", raw, "");
            ValueForm::Boolean
        }
        Kind::Json => {
            sqlite(sql, kind, raw);
            ValueForm::Json
        }
        Kind::Timestamp { .. } => {
            raw(sql);
            ValueForm::Timestamp
        }
        Kind::Bytes => {
            raw(sql);
            ValueForm::Bytes
        }
        _ => {
            raw(sql);
            ValueForm::Stored
        }
    }
}

fn value(sql: &mut Sql, kind: &Kind, column: Option<&Column>, raw: &dyn Fn(&mut Sql)) {
    match sql.dialect {
        Dialect::Postgres => postgres(sql, kind, column, raw),
        Dialect::Mysql(_) => mysql(sql, kind, column, raw),
        Dialect::Sqlite => sqlite(sql, kind, raw),
    }
}

fn around(sql: &mut Sql, before: &str, raw: &dyn Fn(&mut Sql), after: &str) {
    sql.push(before);
    raw(sql);
    sql.push(after);
}

fn postgres(sql: &mut Sql, kind: &Kind, column: Option<&Column>, raw: &dyn Fn(&mut Sql)) {
    let declared = column.map_or("", |column| column.declared_type.as_str());
    match kind {
        Kind::Timestamp { zoned: false } if declared.starts_with("timestamp") => around(sql, "(", raw, " at time zone 'UTC')"),
        Kind::Bytes => around(sql, "translate(encode(", raw, ",'base64'),E'\\n','')"),
        Kind::Json if !declared.starts_with("json") => around(sql, "(", raw, ")::json"),
        Kind::Boolean if column.is_some_and(|column| column.native == Kind::Integer) => around(sql, "(", raw, " <> 0)"),
        Kind::Boolean if column.is_some_and(|column| column.native != Kind::Boolean) => around(sql, "(", raw, ")::int::boolean"),
        Kind::Text if column.is_some_and(|column| column.native == Kind::Other) => around(sql, "(", raw, ")::text"),
        Kind::Other => around(sql, "(", raw, ")::text"),
        Kind::Array(item) => postgres_list(sql, item, raw),
        _ => raw(sql),
    }
}

/// Items leave as a column of their kind would.
fn postgres_list(sql: &mut Sql, item: &Kind, raw: &dyn Fn(&mut Sql)) {
    match item {
        Kind::Timestamp { zoned: false } => around(sql, "(", raw, ")::timestamptz[]"),
        Kind::Bytes => {
            around(sql, "case when ", raw, " is not null then array(select translate(encode(u.item,'base64'),E'\\n','')");
            around(sql, " from unnest(", raw, ") with ordinality u(item, place) order by u.place) end");
        }
        _ => raw(sql),
    }
}

fn mysql(sql: &mut Sql, kind: &Kind, column: Option<&Column>, raw: &dyn Fn(&mut Sql)) {
    let fractional = column.is_none_or(|column| column.declared_type.contains('('));
    match kind {
        Kind::Other | Kind::Text if column.is_some_and(|column| column.is_opaque(sql.dialect)) => {
            around(sql, "ifnull(json_quote(st_astext(", raw, ")),'null')");
        }
        Kind::Integer | Kind::Decimal | Kind::Float => around(sql, "ifnull(", raw, ",'null')"),
        Kind::Boolean => {
            around(sql, "if(", raw, " is null,'null',");
            around(sql, "if(", raw, ",'true','false'))");
        }
        Kind::Text | Kind::Enum(_) => around(sql, "ifnull(json_quote(convert(", raw, " using utf8mb4)),'null')"),
        Kind::Other | Kind::Array(_) => around(sql, "ifnull(json_quote(cast(", raw, " as char character set utf8mb4)),'null')"),
        Kind::Uuid | Kind::Date => around(sql, "ifnull(concat('\"',", raw, ",'\"'),'null')"),
        Kind::Time if fractional => {
            around(
                sql,
                "ifnull(concat('\"',trim(trailing '.' from trim(trailing '0' from time_format(",
                raw,
                ",'%H:%i:%s.%f'))),'\"'),'null')",
            );
        }
        Kind::Time => around(sql, "ifnull(time_format(", raw, ",'\"%H:%i:%s\"'),'null')"),
        Kind::Timestamp { .. } if fractional => around(
            sql,
            "ifnull(concat('\"',trim(trailing '.' from trim(trailing '0' from date_format(",
            raw,
            ",'%Y-%m-%dT%H:%i:%s.%f'))),'+00:00\"'),'null')",
        ),
        Kind::Timestamp { .. } => around(sql, "ifnull(date_format(", raw, ",'\"%Y-%m-%dT%H:%i:%s+00:00\"'),'null')"),
        Kind::Bytes => around(sql, "ifnull(concat('\"',replace(to_base64(", raw, "),'\\n',''),'\"'),'null')"),
        Kind::Json => {
            around(sql, "ifnull(if(json_valid(", raw, "),");
            around(sql, "", raw, ",json_quote(");
            around(sql, "", raw, ")),'null')");
        }
    }
}

fn sqlite(sql: &mut Sql, kind: &Kind, raw: &dyn Fn(&mut Sql)) {
    match kind {
        Kind::Boolean => {
            around(sql, "case when ", raw, " is null then 'null' when ");
            around(sql, "", raw, " then 'true' else 'false' end");
        }
        Kind::Timestamp { .. } => around(sql, "ifnull('\"'||resolvespec_timestamp(", raw, ")||'\"','null')"),
        Kind::Bytes => around(sql, "ifnull('\"'||resolvespec_base64(", raw, ")||'\"','null')"),
        Kind::Json => {
            // Bytes are none, even where they could be read as JSON.
            around(sql, "case when typeof(", raw, ") = 'text' and json_valid(");
            around(sql, "", raw, ") then ");
            around(sql, "", raw, " else resolvespec_quote(");
            around(sql, "", raw, ") end");
        }
        _ => around(sql, "resolvespec_quote(", raw, ")"),
    }
}
