//! One exposed table or view: its columns, key, rules and declared fragments.
//!
//! Built by `compile` alone; afterwards read by everyone and never changed.

use super::collation::Collation;
use super::ident::{Ident, TableName};
use super::kind::Kind;
use super::relation::Relation;
use crate::database::Dialect;
use crate::protocol::options::{Direction, Nulls};
use std::collections::HashMap;

/// An entity's place in its catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(pub(in crate::catalog) usize);

impl EntityId {
    /// The place in lists that follow the catalog's order.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// A column's place in its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub(in crate::catalog) usize);

impl ColumnId {
    /// The place in lists that follow the entity's order.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// A table or view that clients can name.
#[derive(Debug, Clone)]
pub struct Entity {
    /// Its place in the catalog.
    pub id: EntityId,
    /// The schema that clients name.
    pub schema: String,
    /// The name that clients use.
    pub name: String,
    /// The data source's name.
    pub source: String,
    /// The source's SQL.
    pub dialect: Dialect,
    /// The table or view.
    pub table: TableName,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is a view.
    pub is_view: bool,
    /// All columns, hidden ones too.
    pub columns: Vec<Column>,
    /// The primary key; empty for a view without one.
    pub primary_key: Vec<ColumnId>,
    /// Relations by declared order.
    pub relations: Vec<Relation>,
    /// Who may do what.
    pub operations: Operations,
    /// An AccessPolicy holds for it, so that nobody may do anything while policies can't be enforced.
    pub is_closed: bool,
    /// Declared columns.
    pub computed: Vec<Computed>,
    /// Declared conditions.
    pub operators: Vec<CustomOperator>,
    /// Bounds of what a request can ask.
    pub limits: Limits,
    /// The order when a request has none; the primary key follows.
    pub default_sort: Vec<SortDefault>,
    /// Columns of each constraint and unique index, by its name in the database.
    pub constraints: HashMap<String, Vec<ColumnId>>,
    pub(in crate::catalog) column_index: HashMap<String, ColumnId>,
    pub(in crate::catalog) folded_index: HashMap<String, Option<ColumnId>>,
}

/// One column.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact about a column, as the database tells it")]
pub struct Column {
    /// The name that clients use.
    pub name: String,
    /// The name in the database.
    pub ident: Ident,
    /// What its values are.
    pub kind: Kind,
    /// What its values are in the database, whatever the manifest takes them for.
    pub native: Kind,
    /// The database's own type.
    pub declared_type: String,
    /// How the database compares its values as texts.
    pub collation: Collation,
    /// What it is for.
    pub description: Option<String>,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Whether the database fills it when an insert leaves it out.
    pub has_default: bool,
    /// Whether the database counts it up.
    pub auto_increment: bool,
    /// Whether it alone is unique.
    pub unique: bool,
    /// Whether an index starts with it.
    pub indexed: bool,
    /// Clients can neither see nor name it.
    pub hidden: bool,
    /// Clients can't write it.
    pub read_only: bool,
    /// Clients can write it and never see it.
    pub write_only: bool,
}

impl Column {
    /// Whether clients can read, filter and sort by it.
    #[must_use]
    pub fn readable(&self) -> bool {
        !self.hidden && !self.write_only
    }

    /// Whether clients can write it.
    #[must_use]
    pub fn writable(&self) -> bool {
        !self.hidden && !self.read_only
    }
}

/// A declared column: an expression under a name.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The name that clients use.
    pub name: String,
    /// SQL of the manifest, over the entity's own columns.
    pub expression: String,
    /// What its values are.
    pub kind: Kind,
}

/// A declared condition with typed parameters.
#[derive(Debug, Clone)]
pub struct CustomOperator {
    /// The name that clients use.
    pub name: String,
    /// SQL of the manifest, cut at its parameters: text, parameter, text, …
    pub pieces: Vec<Piece>,
    /// The parameters.
    pub parameters: Vec<DeclaredParameter>,
}

/// A part of a declared condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// SQL of the manifest.
    Sql(String),
    /// A parameter's place in the list.
    Parameter(usize),
}

/// A parameter of a declared condition.
#[derive(Debug, Clone)]
pub struct DeclaredParameter {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// Who may do what; an operation that is absent is not exposed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reading.
    pub read: Option<Rule>,
    /// Adding.
    pub create: Option<Rule>,
    /// Changing.
    pub update: Option<Rule>,
    /// Removing.
    pub delete: Option<Rule>,
}

/// Who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Every caller that gets in.
    Everyone,
    /// Callers with one of these roles.
    Roles(Vec<String>),
}

/// Bounds of what one request can ask of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a page, also the limit of a request that names none.
    pub max_rows: u64,
    /// Comparisons of a request, preloads included.
    pub max_filters: usize,
    /// Nested preloads.
    pub max_preload_depth: usize,
    /// Preloads of a request.
    pub max_preloads: usize,
    /// Levels that a recursive preload follows.
    pub max_recursion: usize,
    /// Rows of a write, nested ones included.
    pub max_write_rows: usize,
    /// Items of an `in` list, or ids.
    pub max_list: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_rows: 100_000,
            max_filters: 64,
            max_preload_depth: 8,
            max_preloads: 32,
            max_recursion: 8,
            max_write_rows: 1_000,
            max_list: 1_000,
        }
    }
}

/// One key of the default order.
#[derive(Debug, Clone, Copy)]
pub struct SortDefault {
    /// The column.
    pub column: ColumnId,
    /// Which way.
    pub direction: Direction,
    /// Where NULLs go.
    pub nulls: Option<Nulls>,
}

impl Entity {
    /// The column at a place.
    #[must_use]
    pub fn column(&self, id: ColumnId) -> &Column {
        &self.columns[id.0]
    }

    /// Columns with their places.
    pub fn columns(&self) -> impl Iterator<Item = (ColumnId, &Column)> {
        self.columns.iter().enumerate().map(|(place, column)| (ColumnId(place), column))
    }

    /// The column with exactly this public name.
    #[must_use]
    pub fn column_named(&self, name: &str) -> Option<ColumnId> {
        self.column_index.get(name).copied()
    }

    /// Finds a column by its public name; without regard to case if only one fits, since header names lose theirs.
    #[must_use]
    pub fn find_column(&self, name: &str) -> Option<ColumnId> {
        if let Some(id) = self.column_index.get(name) {
            return Some(*id);
        }
        self.folded_index.get(&name.to_lowercase()).copied().flatten()
    }

    /// Finds a relation by its name, or else by its target's name if only one fits, without regard to case.
    #[must_use]
    pub fn find_relation(&self, name: &str) -> Option<&Relation> {
        let exact = self.relations.iter().find(|relation| relation.name == name);
        exact
            .or_else(|| only(self.relations.iter().filter(|relation| relation.name.eq_ignore_ascii_case(name))))
            .or_else(|| only(self.relations.iter().filter(|relation| relation.target_name.eq_ignore_ascii_case(name))))
    }

    /// Finds a declared column.
    #[must_use]
    pub fn find_computed(&self, name: &str) -> Option<&Computed> {
        self.computed.iter().find(|computed| computed.name.eq_ignore_ascii_case(name))
    }

    /// Finds a declared condition.
    #[must_use]
    pub fn find_operator(&self, name: &str) -> Option<&CustomOperator> {
        self.operators.iter().find(|operator| operator.name.eq_ignore_ascii_case(name))
    }

    /// The public names of a constraint's columns.
    #[must_use]
    pub fn constraint_columns(&self, constraint: &str) -> Vec<String> {
        let ids = self.constraints.get(constraint).map(Vec::as_slice).unwrap_or_default();
        ids.iter().map(|id| self.column(*id)).filter(|column| !column.hidden).map(|column| column.name.clone()).collect()
    }

    /// `schema.name`, as errors and metrics say it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
