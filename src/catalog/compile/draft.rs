//! One entity on its way into the catalog: everything but its relations, which need the other entities.

use super::columns::Columns;
use super::near::advice;
use super::{Settings, alone, fragment, operations};
use crate::catalog::entity::{ColumnId, Entity, EntityId};
use crate::catalog::facts::{Facts, FactsBySource, TableFacts};
use crate::catalog::ident::TableName;
use crate::manifest::problem::Cause;
use crate::manifest::{self, Declared, Manifests, Problem};

/// An entity without relations, the manifest that declares it and the table that it stands for.
pub(in crate::catalog) struct Draft<'a> {
    pub(in crate::catalog) declared: &'a Declared<manifest::Entity>,
    pub(in crate::catalog) table: &'a TableFacts,
    pub(in crate::catalog) entity: Entity,
}

/// A table that a manifest names.
pub(super) struct Located<'a> {
    facts: &'a Facts,
    table: &'a TableFacts,
    source: String,
    ident: TableName,
}

/// The name that clients use.
pub(super) fn public_name(declared: &Declared<manifest::Entity>) -> &str {
    declared.resource.spec.name.as_deref().unwrap_or_else(|| table_name(declared))
}

fn table_name(declared: &Declared<manifest::Entity>) -> &str {
    declared.resource.spec.table.as_deref().unwrap_or_else(|| declared.name())
}

/// Finds the source and the table.
pub(super) fn locate<'a>(
    declared: &Declared<manifest::Entity>,
    manifests: &Manifests,
    facts: &'a FactsBySource,
) -> Result<Located<'a>, Problem> {
    let spec = &declared.resource.spec;
    let source = declared.source_key();
    let Some(facts) = facts.get(&source) else {
        let sources = manifests.sources.iter().filter(|source| source.namespace() == declared.source_namespace());
        let reason = if manifests.sources.iter().any(|declared| declared.key() == source) {
            format!("the database of DataSource '{source}' was not looked at")
        } else {
            format!("there is no DataSource '{source}'")
        };
        let advice = advice(&spec.source, sources.map(Declared::name));
        return Err(declared.problem("spec.source", reason).advise(advice).because(Cause::NoSource));
    };
    let schema = spec.schema.as_deref().unwrap_or(&facts.default_schema);
    let name = table_name(declared);
    let located = facts.table(schema, name).zip(TableName::new(schema, name));
    let Some((table, ident)) = located else {
        let reason = format!("the database of '{source}' has no table or view '{schema}.{name}'");
        let tables = facts.tables().filter(|table| table.schema == schema);
        let path = if spec.table.is_some() { "spec.table" } else { "metadata.name" };
        let advice = advice(name, tables.map(|table| table.name.as_str()));
        return Err(declared.problem(path, reason).advise(advice).because(Cause::NoTable));
    };
    Ok(Located { facts, table, source, ident })
}

impl<'a> Draft<'a> {
    /// Fills in what the manifest leaves out. Each part reports its own problems and makes the best of them.
    pub(super) fn new(
        id: EntityId,
        declared: &'a Declared<manifest::Entity>,
        located: &Located<'a>,
        settings: &Settings,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let spec = &declared.resource.spec;
        let table = located.table;
        alone::problems(declared, &[located.facts.dialect], problems);
        let columns = Columns::compile(declared, table, problems);
        let primary_key = columns.primary_key(declared, table, problems);
        let entity = Entity {
            id,
            schema: spec.api_schema.clone().unwrap_or_else(|| table.schema.clone()),
            name: public_name(declared).to_owned(),
            source: located.source.clone(),
            dialect: located.facts.dialect,
            table: located.ident.clone(),
            description: spec.description.clone().or_else(|| table.comment.clone()),
            is_view: table.is_view,
            relations: Vec::new(),
            operations: operations::operations(declared, table, !primary_key.is_empty(), problems),
            is_closed: false,
            computed: fragment::computed(declared, &columns, problems),
            operators: fragment::operators(declared, located.facts.dialect),
            limits: operations::limits(declared, settings.limits),
            default_sort: columns.default_sort(declared, problems),
            constraints: columns.constraints(table),
            column_index: columns.index(),
            folded_index: columns.folded_index(),
            columns: columns.with_key(&primary_key),
            primary_key,
        };
        Self { declared, table, entity }
    }

    /// The entity's column of a database name, or else of a public name.
    pub(in crate::catalog) fn column_named(&self, name: &str) -> Option<ColumnId> {
        let columns = || self.entity.columns();
        let by_ident = columns().find(|(_, column)| column.ident.as_str() == name);
        by_ident.or_else(|| columns().find(|(_, column)| column.name == name)).map(|(id, _)| id)
    }

    /// The database's name of a column.
    pub(in crate::catalog) fn ident(&self, id: ColumnId) -> &str {
        self.entity.column(id).ident.as_str()
    }

    /// The entity's columns of database names.
    pub(in crate::catalog) fn ids(&self, names: &[String]) -> Option<Vec<ColumnId>> {
        names.iter().map(|name| self.column_named(name)).collect()
    }
}
