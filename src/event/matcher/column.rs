//! How a column's values are compared by its database, where that is known exactly.
//!
//! One decision a column, from facts of the catalog alone. A refusal is the reason as the client reads it.

use super::domain::Domain;
use crate::catalog::{Column, Entity, Kind, TextComparison};
use crate::database::Dialect;

/// How a column's values are read and compared.
pub(super) fn domain(entity: &Entity, column: &Column) -> Result<Domain, String> {
    let domain = match entity.dialect {
        Dialect::Postgres => postgres(column),
        Dialect::Mysql(_) => mysql(column),
        Dialect::Sqlite => sqlite(column),
    }?;
    if domain.comparison().tells_equal() {
        return Ok(domain);
    }
    Err("the collation of its texts is not known to compare byte by byte".to_owned())
}

fn postgres(column: &Column) -> Result<Domain, String> {
    let declared = column.declared_type.as_str();
    match (&column.kind, &column.native) {
        (Kind::Boolean, Kind::Boolean) => Ok(Domain::Boolean),
        (Kind::Integer, Kind::Integer) if matches!(declared, "smallint" | "integer" | "bigint") => Ok(Domain::Number),
        (Kind::Decimal, Kind::Decimal) => Ok(Domain::Number),
        (Kind::Float, Kind::Float) if declared == "double precision" => Ok(Domain::Double),
        (Kind::Float, Kind::Float) if declared == "real" => Ok(Domain::Single),
        (Kind::Uuid, Kind::Uuid) => Ok(Domain::Uuid { ordered: true }),
        (Kind::Date, Kind::Date) => Ok(Domain::Day),
        (Kind::Time, Kind::Time) => Ok(Domain::Time),
        (Kind::Timestamp { .. }, Kind::Timestamp { .. }) => Ok(Domain::Moment),
        (Kind::Bytes, Kind::Bytes) => Ok(Domain::Bytes),
        (Kind::Enum(_), Kind::Enum(_)) => Ok(Domain::Text(TextComparison::Bytes)),
        (Kind::Text | Kind::Uuid | Kind::Date | Kind::Time | Kind::Enum(_), Kind::Text) => {
            Ok(Domain::Text(column.collation.comparison))
        }
        (Kind::Array(_), _) => Err("reads do not tell where an array's numbering begins, which the database compares".to_owned()),
        _ => Err(foreign(column)),
    }
}

fn mysql(column: &Column) -> Result<Domain, String> {
    let declared = column.declared_type.to_ascii_lowercase();
    match (&column.kind, &column.native) {
        (Kind::Boolean, Kind::Boolean | Kind::Integer) => Ok(Domain::Boolean),
        (Kind::Integer, Kind::Integer) if !declared.starts_with("year") => Ok(Domain::Number),
        (Kind::Decimal, Kind::Decimal) => Ok(Domain::Number),
        (Kind::Float, Kind::Float) if declared == "double" => Ok(Domain::Double),
        (Kind::Float, Kind::Float) => Err("the database compares more of its digits than reads answer".to_owned()),
        (Kind::Uuid, Kind::Uuid) => Ok(Domain::Uuid { ordered: false }),
        (Kind::Date, Kind::Date) => Ok(Domain::Day),
        (Kind::Time, Kind::Time) => Ok(Domain::Time),
        (Kind::Timestamp { .. }, Kind::Timestamp { .. }) => Ok(Domain::Moment),
        (Kind::Bytes, Kind::Bytes) if !declared.starts_with("bit") => Ok(Domain::Bytes),
        (Kind::Enum(_), Kind::Enum(labels)) if are_distinct(labels) => Ok(Domain::Text(TextComparison::Bytes)),
        (Kind::Enum(_), Kind::Enum(_)) => Err("some of its values may be equal to each other by its collation".to_owned()),
        (Kind::Text, Kind::Text) if declared.starts_with("set") => Err(foreign(column)),
        (Kind::Text | Kind::Uuid | Kind::Date | Kind::Enum(_), Kind::Text) => Ok(Domain::Text(column.collation.comparison)),
        _ => Err(foreign(column)),
    }
}

/// Whether no collation takes two of these for the same: printable ASCII, and different without regard to case.
fn are_distinct(labels: &[String]) -> bool {
    let plain = |label: &String| label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let again = |(place, label): (usize, &String)| labels[..place].iter().any(|other| other.eq_ignore_ascii_case(label));
    labels.iter().all(plain) && !labels.iter().enumerate().any(again)
}

fn sqlite(column: &Column) -> Result<Domain, String> {
    match &column.kind {
        Kind::Boolean => Ok(Domain::Boolean),
        Kind::Timestamp { .. } => Ok(Domain::Moment),
        Kind::Decimal if !affinity(column).is_numeric() => Err(foreign(column)),
        Kind::Integer
        | Kind::Decimal
        | Kind::Float
        | Kind::Text
        | Kind::Uuid
        | Kind::Date
        | Kind::Time
        | Kind::Enum(_)
        | Kind::Other => Ok(Domain::Stored(column.collation.comparison)),
        Kind::Bytes => Err("reads do not tell bytes from a text, which SQLite does".to_owned()),
        Kind::Json | Kind::Array(_) => Err(foreign(column)),
    }
}

/// What SQLite turns a value into before it stores or compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Text,
    Number,
    None,
}

impl Affinity {
    pub(super) fn is_numeric(self) -> bool {
        self == Affinity::Number
    }
}

/// By the rules of SQLite's documentation, in their order.
pub(super) fn affinity(column: &Column) -> Affinity {
    let declared = column.declared_type.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match () {
        () if has(&["INT"]) => Affinity::Number,
        () if has(&["CHAR", "CLOB", "TEXT"]) => Affinity::Text,
        () if declared.is_empty() || has(&["BLOB"]) => Affinity::None,
        () => Affinity::Number,
    }
}

/// Whether an image's `null` says of every row whether the column is NULL.
pub(super) fn tells_null(entity: &Entity, column: &Column) -> Result<(), String> {
    match (&column.kind, &column.native) {
        (Kind::Json, _) | (_, Kind::Json) if entity.is_view || column.nullable => {
            Err("reads do not tell NULL from JSON's null, which the database does; compare a place in it".to_owned())
        }
        (_, Kind::Other) if entity.dialect == Dialect::Postgres => {
            Err(format!("{} may have a NULL of its own", column.declared_type))
        }
        _ => Ok(()),
    }
}

/// Whether the database's text of the column's values is what reads answer.
pub(super) fn tells_text(entity: &Entity, column: &Column) -> Result<(), String> {
    let known = match (entity.dialect, &column.kind) {
        (Dialect::Postgres, Kind::Text) => column.native == Kind::Text && column.collation.comparison.tells_equal(),
        (Dialect::Mysql(_), Kind::Text) => column.native == Kind::Text && !column.declared_type.starts_with("set"),
        (Dialect::Sqlite, Kind::Decimal) => false,
        (_, kind) => {
            matches!(kind, Kind::Text | Kind::Enum(_) | Kind::Uuid | Kind::Integer | Kind::Decimal | Kind::Date | Kind::Other)
        }
    };
    if known { Ok(()) } else { Err(foreign(column)) }
}

fn foreign(column: &Column) -> String {
    let declared = if column.declared_type.is_empty() { "a column without a type" } else { column.declared_type.as_str() };
    format!("{declared} is compared by rules of the database's own")
}
