//! What a database has: tables, columns, keys and constraints, the same words for every database.
//!
//! Introspection makes facts, `compile` holds manifests against them. Names here are the database's own.

use super::collation::Collation;
use super::kind::Kind;
use crate::database::Dialect;
use std::collections::{BTreeMap, HashMap};

/// What each source's database has, by the sources' keys.
pub type FactsBySource = HashMap<String, Facts>;

/// What one database has, within the schemas that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its SQL.
    pub dialect: Dialect,
    /// The schema of an entity that names none.
    pub default_schema: String,
    tables: BTreeMap<(String, String), TableFacts>,
}

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableFacts {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is a view.
    pub is_view: bool,
    /// What the database says that it is for.
    pub comment: Option<String>,
    /// Its columns in their order.
    pub columns: Vec<ColumnFacts>,
    /// The primary key's columns in their order.
    pub primary_key: Vec<String>,
    /// Its indexes, those of its primary key and unique constraints included.
    pub indexes: Vec<Index>,
    /// Its foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Its CHECK constraints.
    pub checks: Vec<Check>,
    /// What the database lets anyone do with its rows.
    pub writable: Writable,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact about a column, as the database tells it")]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// The type in the database's words.
    pub declared_type: String,
    /// What its values are.
    pub kind: Kind,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether the database fills it when an insert leaves it out.
    pub has_default: bool,
    /// Whether the database counts it up.
    pub auto_increment: bool,
    /// Whether only the database writes it.
    pub generated: bool,
    /// How its values are compared as texts.
    pub collation: Collation,
    /// What the database says that it is for.
    pub comment: Option<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The columns that it is made of, in the order of its keys.
    pub columns: Vec<String>,
    /// Whether no two rows are the same in it.
    pub unique: bool,
    /// Whether it is over the bare columns of all rows: no expression, no condition.
    pub plain: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name; SQLite's have none.
    pub name: Option<String>,
    /// The columns that hold the key.
    pub columns: Vec<String>,
    /// The schema of the table that it leads to.
    pub target_schema: String,
    /// The table that it leads to.
    pub target_table: String,
    /// The columns that it leads to, in the same order.
    pub target_columns: Vec<String>,
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, or what the database calls it in its errors.
    pub name: String,
    /// The columns that it names.
    pub columns: Vec<String>,
}

/// What can be done with a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Writable {
    /// Rows can be added.
    pub insert: bool,
    /// Rows can be changed.
    pub update: bool,
    /// Rows can be removed.
    pub delete: bool,
}

impl Writable {
    /// As every table is.
    pub const FULLY: Writable = Writable { insert: true, update: true, delete: true };
}

impl Facts {
    /// Gathers tables.
    pub fn new(dialect: Dialect, default_schema: impl Into<String>, tables: impl IntoIterator<Item = TableFacts>) -> Self {
        let tables = tables.into_iter().map(|table| ((table.schema.clone(), table.name.clone()), table)).collect();
        Self { dialect, default_schema: default_schema.into(), tables }
    }

    /// Finds a table.
    #[must_use]
    pub fn table(&self, schema: &str, name: &str) -> Option<&TableFacts> {
        self.tables.get(&(schema.to_owned(), name.to_owned()))
    }

    /// Every table, by schema and name.
    pub fn tables(&self) -> impl Iterator<Item = &TableFacts> {
        self.tables.values()
    }
}

impl TableFacts {
    /// `schema.table`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Finds a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether no two rows are the same in these columns.
    #[must_use]
    pub fn is_unique(&self, columns: &[String]) -> bool {
        let covered = |key: &[String]| !key.is_empty() && key.iter().all(|column| columns.contains(column));
        covered(&self.primary_key) || self.indexes.iter().any(|index| index.unique && index.plain && covered(&index.columns))
    }

    /// Whether an index begins with a column.
    #[must_use]
    pub fn is_indexed(&self, column: &str) -> bool {
        let leads = |columns: &[String]| columns.first().is_some_and(|first| first == column);
        leads(&self.primary_key) || self.indexes.iter().any(|index| index.plain && leads(&index.columns))
    }
}
