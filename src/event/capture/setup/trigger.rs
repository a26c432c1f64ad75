//! A trigger: its name, and the statements that make it.

use super::PREFIX;
use crate::catalog::ident::quote;
use crate::database::Dialect;
use xxhash_rust::xxh3::xxh3_64;

/// A trigger that a table needs.
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) statements: Vec<String>,
}

impl Trigger {
    /// Makes the statements with the name, which is made of everything that `basis` says.
    pub(super) fn new(basis: &str, statements: impl FnOnce(&str) -> Vec<String>) -> Self {
        let name = format!("{PREFIX}{:016x}", xxh3_64(basis.as_bytes()));
        Self { statements: statements(&name), name }
    }
}

/// Drops a trigger that the database told of.
pub(super) fn drop_trigger(dialect: Dialect, schema: &str, table: &str, name: &str) -> String {
    let quoted = |name: &str| quoted(name, dialect);
    match dialect {
        Dialect::Postgres => format!("drop trigger if exists {} on {}.{}", quoted(name), quoted(schema), quoted(table)),
        Dialect::Mysql(_) => format!("drop trigger if exists {}.{}", quoted(schema), quoted(name)),
        Dialect::Sqlite => format!("drop trigger if exists {}", quoted(name)),
    }
}

/// A name as an identifier.
pub(super) fn quoted(name: &str, dialect: Dialect) -> String {
    let mut sql = String::new();
    quote(name, dialect, &mut sql);
    sql
}

/// A name as a text literal.
pub(super) fn literal(name: &str, dialect: Dialect) -> String {
    let name = name.replace('\'', "''");
    match dialect {
        Dialect::Mysql(_) => format!("'{}'", name.replace('\\', "\\\\")),
        Dialect::Postgres | Dialect::Sqlite => format!("'{name}'"),
    }
}
