//! Holds manifests against facts: what is left out is filled in, what contradicts the database is a problem.
//!
//! Pure: no connection needed. All problems are told together, each with file and line.

mod alone;
mod columns;
mod draft;
mod fragment;
mod keys;
pub(in crate::catalog) mod near;
mod operations;
mod relation;
mod said;
mod through;

pub use alone::alone;
pub(in crate::catalog) use columns::is_name_character;
pub(in crate::catalog) use draft::Draft;

use super::derive::Graph;
use super::entity::{Entity, EntityId, Limits, Operations};
use super::facts::FactsBySource;
use super::lookup::Catalog;
use super::policy;
use super::relation::Relation;
use super::source::captures;
use crate::manifest::problem::Cause;
use crate::manifest::{AccessPolicy, Declared, Manifests, Problem};
use std::collections::{HashMap, HashSet};

/// What holds for every entity that says nothing else.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Bounds of what one request can ask.
    pub limits: Limits,
}

/// Makes the catalog. Facts are by the sources' keys.
pub fn compile(manifests: &Manifests, facts: &FactsBySource, settings: &Settings) -> Result<Catalog, Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    let captures = captures(manifests, &mut problems);
    let mut drafts = Vec::new();
    let mut missing = Vec::new();
    for declared in &manifests.entities {
        let found = draft::locate(declared, manifests, facts).map(|table| (EntityId(drafts.len()), table));
        match found {
            Ok((id, located)) => drafts.push(Draft::new(id, declared, &located, settings, &mut problems)),
            Err(problem) => {
                missing.push(draft::public_name(declared).to_owned());
                problems.push(problem);
                // What is wrong by itself is told with it, and not only when the table is there.
                let dialect = facts.get(&declared.source_key()).map(|facts| facts.dialect);
                let dialects = dialect.as_ref().map_or(&alone::DIALECTS[..], std::slice::from_ref);
                alone::problems(declared, dialects, &mut problems);
            }
        }
    }
    close(&mut drafts, &manifests.policies);
    find_shared_paths(&drafts, &mut problems);
    let graph = Graph::new(&drafts);
    let relations: Vec<Vec<Relation>> =
        drafts.iter().map(|draft| relations(draft, &graph, facts, &missing, &mut problems)).collect();
    if !problems.is_empty() {
        problems.sort_by(|left, right| (&left.file, left.line, left.column).cmp(&(&right.file, right.line, right.column)));
        return Err(problems);
    }
    let with_relations = |(draft, relations): (Draft<'_>, _)| Entity { relations, ..draft.entity };
    let entities = drafts.into_iter().zip(relations).map(with_relations).collect();
    Ok(Catalog::new(entities, default_schemas(manifests, facts), captures))
}

fn relations(
    draft: &Draft<'_>,
    graph: &Graph<'_, '_>,
    facts: &FactsBySource,
    missing: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Relation> {
    if draft.declared.resource.spec.relations.is_none() {
        return graph.relations(draft);
    }
    facts.get(&draft.entity.source).map_or_else(Vec::new, |facts| {
        let resolver = relation::Resolver { this: draft, drafts: graph.drafts(), facts, missing };
        resolver.relations(problems)
    })
}

/// Nothing pretends: while policies can't be enforced, an entity that has one is closed to everybody, whatever the policy says.
fn close(drafts: &mut [Draft<'_>], policies: &[Declared<AccessPolicy>]) {
    let closed: HashSet<String> = policies.iter().map(policy::entity_key).collect();
    for draft in drafts.iter_mut().filter(|draft| closed.contains(&draft.declared.key())) {
        draft.entity.operations = Operations::default();
        draft.entity.is_closed = true;
    }
}

fn find_shared_paths(drafts: &[Draft<'_>], problems: &mut Vec<Problem>) {
    let mut first: HashMap<String, &Draft<'_>> = HashMap::new();
    for draft in drafts {
        if let Some(earlier) = first.insert(draft.entity.full_name(), draft) {
            let place = &earlier.declared.place;
            let reason = format!("two entities are '{}', the first at {place}", draft.entity.full_name());
            let advice = "give one of them another `name` or `apiSchema`";
            problems.push(draft.declared.problem("spec.name", reason).advise(advice).because(Cause::PathTaken));
        }
    }
}

fn default_schemas(manifests: &Manifests, facts: &FactsBySource) -> Vec<String> {
    let mut schemas = Vec::new();
    for source in &manifests.sources {
        let schema = facts.get(&source.key()).map(|facts| facts.default_schema.clone());
        schemas.extend(schema.filter(|schema| !schemas.contains(schema)));
    }
    schemas
}

#[cfg(test)]
mod tests;
