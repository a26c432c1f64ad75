//! An entity's columns: what the database has, with what the manifest says about them.

use super::near::advice;
use super::said::{self, Said};
use crate::catalog::entity::{Column, ColumnId, SortDefault};
use crate::catalog::facts::{ColumnFacts, TableFacts};
use crate::catalog::ident::Ident;
use crate::manifest::entity::{DirectionSpec, NullsSpec};
use crate::manifest::{self, Declared, Problem};
use crate::protocol::options::{Direction, Nulls};
use std::collections::HashMap;

/// The columns of one entity.
pub(super) struct Columns(Vec<Column>);

/// Whether a declared name can have it: letters of any script, digits and few marks.
pub(in crate::catalog) fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || "_-$".contains(character)
}

/// The problem of a declared name that can't stand in a path, a header or a query.
pub(super) fn check_name(declared: &Declared<manifest::Entity>, path: &str, name: &str) -> Option<Problem> {
    let good = !name.is_empty() && name.chars().all(is_name_character);
    let reason = || format!("'{name}' can't be a name that clients use");
    (!good).then(|| declared.problem(path, reason()).advise("use letters, digits, '_', '-' and '$'"))
}

/// What is wrong with what a manifest says about columns, whatever columns there are.
pub(super) fn alone(declared: &Declared<manifest::Entity>, problems: &mut Vec<Problem>) {
    let spec = &declared.resource.spec;
    for (place, column) in spec.columns.iter().enumerate() {
        let path = format!("spec.columns[{place}]");
        if spec.columns[..place].iter().any(|earlier| earlier.name == column.name) {
            let reason = format!("the column '{}' is told about twice", column.name);
            problems.push(declared.problem(&format!("{path}.name"), reason));
        }
        said::alone(declared, column, &path, problems);
    }
    for (place, name) in spec.primary_key.iter().enumerate().filter(|(place, name)| spec.primary_key[..*place].contains(name)) {
        problems.push(declared.problem(&format!("spec.primaryKey[{place}]"), format!("'{name}' is named twice")));
    }
    for (place, sort) in spec.default_sort.iter().enumerate().filter(|(place, _)| is_sorted_twice(declared, *place)) {
        problems.push(named_twice(declared, place, &sort.column));
    }
}

/// Whether an earlier key of the order names a column by the same word.
fn is_sorted_twice(declared: &Declared<manifest::Entity>, place: usize) -> bool {
    let sort = &declared.resource.spec.default_sort;
    sort[..place].iter().any(|earlier| earlier.column == sort[place].column)
}

fn named_twice(declared: &Declared<manifest::Entity>, place: usize, name: &str) -> Problem {
    declared.problem(&format!("spec.defaultSort[{place}].column"), format!("'{name}' is named twice"))
}

impl Columns {
    /// The table's columns, changed as the manifest says; what is wrong with that by itself is told by `alone`.
    pub(super) fn compile(declared: &Declared<manifest::Entity>, table: &TableFacts, problems: &mut Vec<Problem>) -> Self {
        let specs = &declared.resource.spec.columns;
        for (place, spec) in specs.iter().enumerate() {
            let path = format!("spec.columns[{place}].name");
            if table.column(&spec.name).is_none() {
                let reason = format!("'{}' has no column '{}'", table.full_name(), spec.name);
                problems.push(declared.problem(&path, reason).advise(advice(&spec.name, names(table))));
            }
        }
        let mut columns: Vec<Column> = Vec::new();
        for facts in &table.columns {
            let place = specs.iter().position(|spec| spec.name == facts.name);
            let spec = place.map(|place| (&specs[place], format!("spec.columns[{place}]")));
            let Some(ident) = Ident::new(&facts.name) else { continue };
            let mut column = by_itself(table, facts, ident);
            if let Some((spec, path)) = &spec {
                said::apply(&mut column, spec, &Said { declared, table, facts, path }, problems);
            }
            if let Some(other) = columns.iter().find(|other| other.name == column.name) {
                let reason =
                    format!("the columns '{}' and '{}' are both named '{}'", other.ident.as_str(), facts.name, column.name);
                let path = spec.map_or("spec.columns".to_owned(), |(_, path)| path);
                problems.push(declared.problem(&path, reason).advise("give one of them another `alias`"));
            }
            columns.push(column);
        }
        Self(columns)
    }

    /// The manifest's key, which must be one in the database too, or else the database's.
    pub(super) fn primary_key(
        &self,
        declared: &Declared<manifest::Entity>,
        table: &TableFacts,
        problems: &mut Vec<Problem>,
    ) -> Vec<ColumnId> {
        let spec = &declared.resource.spec.primary_key;
        if spec.is_empty() {
            return table.primary_key.iter().filter_map(|name| self.find(name)).collect();
        }
        let mut key = Vec::new();
        for (place, name) in spec.iter().enumerate() {
            let path = format!("spec.primaryKey[{place}]");
            match self.find(name) {
                Some(id) if key.contains(&id) => {}
                Some(id) => key.push(id),
                None => {
                    let reason = format!("'{}' has no column '{name}'", table.full_name());
                    problems.push(declared.problem(&path, reason).advise(advice(name, names(table))));
                }
            }
        }
        let idents: Vec<String> = key.iter().map(|id| self.0[id.0].ident.as_str().to_owned()).collect();
        if !table.is_view && key.len() == spec.len() && !table.is_unique(&idents) {
            let reason = format!("nothing in the database keeps ({}) unique in '{}'", idents.join(", "), table.full_name());
            let advice = match table.primary_key.as_slice() {
                [] => "add a unique index to the table, or name columns that have one".to_owned(),
                own => format!("leave primaryKey out to use the table's own ({})", own.join(", ")),
            };
            problems.push(declared.problem("spec.primaryKey", reason).advise(advice));
        }
        key
    }

    pub(super) fn default_sort(&self, declared: &Declared<manifest::Entity>, problems: &mut Vec<Problem>) -> Vec<SortDefault> {
        let mut sort: Vec<SortDefault> = Vec::new();
        for (place, spec) in declared.resource.spec.default_sort.iter().enumerate() {
            let path = format!("spec.defaultSort[{place}].column");
            let visible = self.0.iter().filter(|column| !column.hidden);
            let Some(column) = self.find_public(&spec.column).or_else(|| self.find(&spec.column)) else {
                let reason = format!("there is no column '{}' to sort by", spec.column);
                problems.push(
                    declared.problem(&path, reason).advise(advice(&spec.column, visible.map(|column| column.name.as_str()))),
                );
                continue;
            };
            if !self.0[column.0].kind.is_ordered() {
                let reason = format!("'{}' is {}, which has no order", spec.column, self.0[column.0].kind.as_str());
                problems.push(declared.problem(&path, reason));
            }
            // Once by its own name and once by the clients'; the same word twice is told without the table.
            if sort.iter().any(|earlier| earlier.column == column) && !is_sorted_twice(declared, place) {
                problems.push(named_twice(declared, place, &spec.column));
            }
            let direction = match spec.direction {
                DirectionSpec::Asc => Direction::Ascending,
                DirectionSpec::Desc => Direction::Descending,
            };
            let nulls = spec.nulls.map(|nulls| match nulls {
                NullsSpec::First => Nulls::First,
                NullsSpec::Last => Nulls::Last,
            });
            sort.push(SortDefault { column, direction, nulls });
        }
        sort
    }

    /// The columns of constraints by name, with which the database's errors are put in the clients' words.
    pub(super) fn constraints(&self, table: &TableFacts) -> HashMap<String, Vec<ColumnId>> {
        let indexes = table.indexes.iter().filter(|index| index.unique).map(|index| (&index.name, &index.columns));
        let keys = table.foreign_keys.iter().filter_map(|key| key.name.as_ref().map(|name| (name, &key.columns)));
        let checks = table.checks.iter().map(|check| (&check.name, &check.columns));
        let ids = |names: &Vec<String>| names.iter().filter_map(|name| self.find(name)).collect();
        indexes.chain(keys).chain(checks).map(|(name, columns)| (name.clone(), ids(columns))).collect()
    }

    /// Columns by public name, hidden ones too, since hooks may name them.
    pub(super) fn index(&self) -> HashMap<String, ColumnId> {
        self.all().map(|(id, column)| (column.name.clone(), id)).collect()
    }

    /// Columns by public name in lower case, none where two are the same.
    pub(super) fn folded_index(&self) -> HashMap<String, Option<ColumnId>> {
        let mut index: HashMap<String, Option<ColumnId>> = HashMap::new();
        for (id, column) in self.all() {
            index.entry(column.name.to_lowercase()).and_modify(|found| *found = None).or_insert(Some(id));
        }
        index
    }

    /// The columns themselves; a key of one column is unique, also in a view.
    pub(super) fn with_key(mut self, primary_key: &[ColumnId]) -> Vec<Column> {
        if let [only] = primary_key {
            self.0[only.0].unique = true;
        }
        self.0
    }

    /// The public name that is the same as `name`, in any case.
    pub(super) fn public_name_like(&self, name: &str) -> Option<&str> {
        self.all().map(|(_, column)| column.name.as_str()).find(|public| public.eq_ignore_ascii_case(name))
    }

    fn all(&self) -> impl Iterator<Item = (ColumnId, &Column)> {
        self.0.iter().enumerate().map(|(place, column)| (ColumnId(place), column))
    }

    fn find_public(&self, name: &str) -> Option<ColumnId> {
        self.all().find(|(_, column)| column.name == name).map(|(id, _)| id)
    }

    fn find(&self, name: &str) -> Option<ColumnId> {
        self.0.iter().position(|column| column.ident.as_str() == name).map(ColumnId)
    }
}

fn names(table: &TableFacts) -> impl Iterator<Item = &str> {
    table.columns.iter().map(|column| column.name.as_str())
}

/// A column about which the manifest says nothing.
fn by_itself(table: &TableFacts, facts: &ColumnFacts, ident: Ident) -> Column {
    Column {
        name: facts.name.clone(),
        ident,
        kind: facts.kind.clone(),
        native: facts.kind.clone(),
        collation: facts.collation,
        declared_type: facts.declared_type.clone(),
        description: facts.comment.clone(),
        nullable: facts.nullable,
        has_default: facts.has_default,
        auto_increment: facts.auto_increment,
        unique: table.is_unique(std::slice::from_ref(&facts.name)),
        indexed: table.is_indexed(&facts.name),
        hidden: false,
        read_only: facts.generated,
        write_only: false,
    }
}
