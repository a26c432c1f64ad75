//! Names that may stand in SQL.
//!
//! An [`Ident`] is made from a manifest or from the database's own catalog, never from a request.

use crate::database::Dialect;
use std::fmt::Write;

/// A name of the database: a schema, a table, a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ident(String);

impl Ident {
    /// Takes a name from a manifest or from introspection. A NUL can't stand in any identifier.
    pub(in crate::catalog) fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        (!name.is_empty() && !name.contains('\0')).then_some(Self(name))
    }

    /// The bare name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends the name, quoted for the dialect.
    pub fn quote_into(&self, dialect: Dialect, sql: &mut String) {
        quote(&self.0, dialect, sql);
    }
}

/// Appends any text as a quoted identifier. A public name can stand as a result column's alias this way.
pub(crate) fn quote(name: &str, dialect: Dialect, sql: &mut String) {
    let mark = match dialect {
        Dialect::Postgres | Dialect::Sqlite => '"',
        Dialect::Mysql(_) => '`',
    };
    sql.push(mark);
    for character in name.chars() {
        if character == mark {
            sql.push(mark);
        }
        sql.push(character);
    }
    sql.push(mark);
}

/// A table or view and its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// PostgreSQL: the schema; MySQL: the database; SQLite: `main` or an attached name.
    pub schema: Ident,
    /// The table or view.
    pub name: Ident,
}

impl TableName {
    /// Takes names from a manifest or from introspection.
    pub(in crate::catalog) fn new(schema: &str, name: &str) -> Option<Self> {
        Some(Self { schema: Ident::new(schema)?, name: Ident::new(name)? })
    }

    /// Appends `schema.table`, quoted.
    pub fn quote_into(&self, dialect: Dialect, sql: &mut String) {
        self.schema.quote_into(dialect, sql);
        sql.push('.');
        self.name.quote_into(dialect, sql);
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.schema.as_str())?;
        f.write_char('.')?;
        f.write_str(self.name.as_str())
    }
}
