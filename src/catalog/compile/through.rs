//! Many-to-many relations: the link table and which of its columns hold which side's key.

use super::Draft;
use super::keys::{Pair, can_be_equal, choose};
use super::near::advice;
use super::relation::{Asked, Resolver, key_of};
use crate::catalog::facts::{ForeignKey, TableFacts};
use crate::catalog::ident::{Ident, TableName};
use crate::catalog::relation::Link;
use crate::manifest::Problem;
use crate::manifest::entity::ThroughSpec;

/// The keys of both entities, and the link between them.
pub(super) fn resolve(resolver: &Resolver<'_>, asked: Asked<'_>) -> Result<(Pair, Link), Problem> {
    let Some(spec) = &asked.spec.through else {
        let problem = resolver.problem(asked, "through", "a manyToMany relation needs its link table");
        return Err(problem.advise(link_tables(resolver, asked.target)));
    };
    let schema = spec.schema.as_deref().unwrap_or(&resolver.this.table.schema);
    let found = resolver.facts.table(schema, &spec.table).zip(TableName::new(schema, &spec.table));
    let Some((table, name)) = found else {
        let reason = format!("the database has no table '{schema}.{}'", spec.table);
        let tables = resolver.facts.tables().filter(|table| table.schema == schema);
        let advice = advice(&spec.table, tables.map(|table| table.name.as_str()));
        return Err(resolver.problem(asked, "through.table", reason).advise(advice));
    };
    check_columns(resolver, asked, spec, table)?;
    let near = Side { draft: resolver.this, entity_field: "columns", link_field: "through.columns", link: &spec.columns };
    let far = Side {
        draft: asked.target,
        entity_field: "targetColumns",
        link_field: "through.targetColumns",
        link: &spec.target_columns,
    };
    // The side that names its columns is settled first, so that in a link of a table with itself the other one is left.
    let (near, far) = if spec.columns.is_empty() && !spec.target_columns.is_empty() {
        let far = far.pair(resolver, asked, table, None)?;
        (near.pair(resolver, asked, table, Some(&far))?, far)
    } else {
        let near = near.pair(resolver, asked, table, None)?;
        let far = far.pair(resolver, asked, table, Some(&near))?;
        (near, far)
    };
    let idents = |names: &[String]| names.iter().filter_map(Ident::new).collect();
    let link = Link { table: name, columns: idents(&near.far), target_columns: idents(&far.far) };
    Ok((Pair { near: near.near, far: far.near }, link))
}

/// One entity and the link table's columns for it.
struct Side<'a> {
    draft: &'a Draft<'a>,
    entity_field: &'a str,
    link_field: &'a str,
    link: &'a [String],
}

impl Side<'_> {
    /// The entity's columns and the link table's; `other` is the pair of the other side.
    fn pair(&self, resolver: &Resolver<'_>, asked: Asked<'_>, table: &TableFacts, other: Option<&Pair>) -> Result<Pair, Problem> {
        let own = if self.entity_field == "columns" { &asked.spec.columns } else { &asked.spec.target_columns };
        let given = Pair { near: resolver.named(asked, self.draft, self.entity_field, own)?, far: self.link.to_vec() };
        let is_free = |key: &&ForeignKey| other.is_none_or(|other| other.far != key.columns);
        let candidates = keys_to(table, self.draft).filter(is_free);
        let candidates = candidates.map(|key| Pair { near: key.target_columns.clone(), far: key.columns.clone() }).collect();
        let fallback = Pair { near: key_of(self.draft), far: Vec::new() };
        let between = format!("'{}' and '{}'", table.full_name(), self.draft.table.full_name());
        let pair = choose(candidates, &given, &fallback, &between, [self.entity_field, self.link_field])
            .map_err(|(reason, advice)| resolver.problem(asked, self.link_field, reason).advise(advice))?;
        for (near, far) in pair.near.iter().zip(&pair.far) {
            let found = self.draft.column_named(near).zip(table.column(far));
            let Some((near, far)) = found.map(|(near, far)| (self.draft.entity.column(near), far)) else { continue };
            if !can_be_equal(&near.kind, &far.kind, self.draft.entity.dialect) {
                let near = format!("'{}.{}' is {}", self.draft.entity.name, near.name, near.kind.as_str());
                let reason = format!("{near}, but '{}.{}' is {}", table.name, far.name, far.kind.as_str());
                return Err(resolver.problem(asked, self.link_field, reason).advise("a relation needs columns of one type"));
            }
        }
        Ok(pair)
    }
}

fn keys_to<'a>(table: &'a TableFacts, draft: &'a Draft<'_>) -> impl Iterator<Item = &'a ForeignKey> {
    table.foreign_keys.iter().filter(|key| key.target_schema == draft.table.schema && key.target_table == draft.table.name)
}

fn check_columns(resolver: &Resolver<'_>, asked: Asked<'_>, spec: &ThroughSpec, table: &TableFacts) -> Result<(), Problem> {
    for (field, names) in [("columns", &spec.columns), ("targetColumns", &spec.target_columns)] {
        for (place, name) in names.iter().enumerate() {
            if table.column(name).is_none() {
                let reason = format!("'{}' has no column '{name}'", table.full_name());
                let columns = table.columns.iter().map(|column| column.name.as_str());
                let problem = resolver.problem(asked, &format!("through.{field}[{place}]"), reason);
                return Err(problem.advise(advice(name, columns)));
            }
        }
    }
    Ok(())
}

/// Tables that have foreign keys to both sides.
fn link_tables(resolver: &Resolver<'_>, target: &Draft<'_>) -> String {
    let links = |table: &&TableFacts| {
        keys_to(table, resolver.this).next().is_some() && keys_to(table, target).next().is_some() && table.foreign_keys.len() > 1
    };
    let names: Vec<&str> = resolver.facts.tables().filter(links).map(|table| table.name.as_str()).collect();
    match names.as_slice() {
        [] => "name it under `through.table`".to_owned(),
        names => format!("write `through: {{table: {}}}`", names.join("}` or `through: {table: ")),
    }
}
