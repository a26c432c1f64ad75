//! All entities together, held against their databases: what does not fit is taken out, until the rest does.
//!
//! In an order, so that nobody pays for the fault of another: first what is wrong by itself, then whoever wants a path that an
//! older one has, then relations that lead nowhere, which are left out of entities that are served without them.

use super::entity::{Candidate, Form, refused, without_relations};
use super::{ByOrigin, JudgedEntity, JudgedSource, origin};
use crate::catalog::facts::{FactsBySource, TableFacts};
use crate::catalog::{Catalog, compile};
use crate::manifest::problem::Cause;
use crate::manifest::status::Truth;
use crate::manifest::{Declared, Entity, Manifests, Problem};
use crate::operator::verdict::{Finding, Verdict};
use std::collections::{BTreeSet, HashMap};
use xxhash_rust::xxh3::xxh3_128;

/// What has come of all entities.
pub(super) struct Compiled {
    pub(super) catalog: Catalog,
    pub(super) entities: Vec<JudgedEntity>,
    /// What is wrong with sources as a whole.
    pub(super) at_sources: ByOrigin,
}

/// Holds all candidates against their databases.
pub(super) fn compile_all(sources: &[JudgedSource], mut candidates: Vec<Candidate>) -> Result<Compiled, String> {
    let facts: FactsBySource =
        sources.iter().filter_map(|source| Some((source.key.clone(), source.look.facts.as_deref()?.clone()))).collect();
    let mut at_sources = ByOrigin::new();
    // A source whose connection is not there for replicas yet has a database all the same.
    let mut declared: Vec<_> = sources.iter().map(|source| super::source::declared(&source.resource)).collect();
    let catalog = loop {
        let compiled: Vec<usize> = (0..candidates.len()).filter(|place| is_tried(&candidates[*place], &facts)).collect();
        let entities = compiled.iter().filter_map(|place| candidates[*place].form.declared().cloned()).collect();
        let manifests = Manifests { sources: declared.clone(), entities, policies: Vec::new() };
        match compile::compile(&manifests, &facts, &compile::Settings::default()) {
            Ok(catalog) => break catalog,
            Err(problems) => {
                let first = first_of(problems);
                let by_origin = by_origin(first);
                let mut anything = false;
                for candidate in &mut candidates {
                    if let Some(problems) = by_origin.get(&origin(&*candidate.resource)) {
                        candidate.amend(problems);
                        anything = true;
                    }
                }
                let is_at_source = |one: &crate::manifest::Declared<_>| by_origin.contains_key(&one.place.to_string());
                if declared.iter().any(is_at_source) {
                    anything = true;
                    for candidate in candidates
                        .iter_mut()
                        .filter(|candidate| declared.iter().any(|one| is_at_source(one) && one.key() == candidate.source))
                    {
                        let message = "its DataSource can't be used as it is";
                        candidate.verdict = Some(Verdict::unresolved(Finding::no("DataSourceNotReady", message)));
                        candidate.form = Form::Out;
                    }
                    declared.retain(|one| !is_at_source(one));
                    at_sources.extend(by_origin.iter().map(|(origin, problems)| (origin.clone(), problems.clone())));
                }
                if !anything {
                    return Err(format!("problems of no resource: {by_origin:?}"));
                }
            }
        }
    };
    let mut served = catalog.entities().iter();
    let by_key: HashMap<&str, &JudgedSource> = sources.iter().map(|source| (source.key.as_str(), source)).collect();
    let mut entities = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        // The catalog has its entities in the order of the manifests.
        let entity = if is_tried(&candidate, &facts) { served.next() } else { None };
        let named = entity.map(|entity| (entity.schema.clone(), entity.name.clone()));
        let table = entity.and_then(|entity| {
            let facts = facts.get(&entity.source)?;
            facts.table(entity.table.schema.as_str(), entity.table.name.as_str()).map(fingerprint)
        });
        // While its database is not known, it goes out as it did.
        let table = if entity.is_none() || candidate.is_held { candidate.published_table.clone() } else { table };
        let source = by_key.get(candidate.source.as_str()).copied();
        entities.push(candidate.judged(source, named, table));
    }
    Ok(Compiled { catalog, entities, at_sources })
}

fn is_tried(candidate: &Candidate, facts: &FactsBySource) -> bool {
    candidate.form.declared().is_some() && facts.contains_key(&candidate.source)
}

/// The problems that come first; the others may be gone with them.
fn first_of(problems: Vec<Problem>) -> Vec<Problem> {
    let rank = |problem: &Problem| match problem.cause {
        Cause::Invalid | Cause::NoSource | Cause::NoTable | Cause::Database => 0,
        Cause::PathTaken => 1,
        Cause::Relation(_) => 2,
    };
    let first = problems.iter().map(rank).min().unwrap_or_default();
    problems.into_iter().filter(|problem| rank(problem) == first).collect()
}

fn by_origin(problems: Vec<Problem>) -> ByOrigin {
    let mut by_origin = ByOrigin::new();
    for problem in problems {
        let origin = problem.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
        by_origin.entry(origin).or_default().push(problem);
    }
    by_origin
}

fn fingerprint(table: &TableFacts) -> String {
    format!("{:032x}", xxh3_128(format!("{table:?}").as_bytes()))
}

impl Form {
    fn declared(&self) -> Option<&Declared<Entity>> {
        match self {
            Form::Current(declared) | Form::Published(declared) => Some(declared),
            Form::Out => None,
        }
    }
}

impl Candidate {
    /// Makes the best of problems: leaves out relations, or falls back to what is published, or gives it up.
    fn amend(&mut self, problems: &[Problem]) {
        let relations: BTreeSet<u32> = problems
            .iter()
            .filter_map(|problem| match problem.cause {
                Cause::Relation(place) => Some(place),
                _ => None,
            })
            .collect();
        if !relations.is_empty() {
            self.drop_relations(&relations);
            self.dropped.extend(problems.iter().cloned());
            return;
        }
        match std::mem::replace(&mut self.form, Form::Out) {
            Form::Current(current) => {
                self.verdict = Some(refused(&self.resource, problems));
                let differs = |published: &Declared<Entity>| published.resource.spec != current.resource.spec;
                self.form = self.published.clone().filter(differs).map_or(Form::Out, Form::Published);
            }
            Form::Published(_) => {
                // What was published can't be served either; what is wrong with the resource as it is may have been said before.
                let is_refused = |verdict: &Verdict| verdict.accepted.truth == Truth::False;
                if !self.verdict.as_ref().is_some_and(is_refused) {
                    self.verdict = Some(refused(&self.resource, problems));
                }
            }
            Form::Out => {}
        }
    }

    fn drop_relations(&mut self, places: &BTreeSet<u32>) {
        let (Form::Current(declared) | Form::Published(declared)) = &mut self.form else { return };
        let mut place = 0;
        if let Some(relations) = &mut declared.resource.spec.relations {
            relations.retain(|_| {
                place += 1;
                !places.contains(&(place - 1))
            });
        }
    }

    fn judged(self, source: Option<&JudgedSource>, named: Option<(String, String)>, table: Option<String>) -> JudgedEntity {
        let Self { resource, source: key, mut verdict, form, dropped, .. } = self;
        let is_former = matches!(form, Form::Published(_));
        let outgoing = match form {
            Form::Current(declared) | Form::Published(declared) => Some(declared),
            Form::Out => None,
        };
        if let Some(verdict) = &mut verdict {
            if !dropped.is_empty() {
                let relations = Finding::of(&dropped);
                verdict.degraded = Some(Finding::yes(&relations.reason, without_relations(&dropped)));
                verdict.resolved = relations;
            }
            if is_former && outgoing.is_some() && verdict.degraded().is_none() && !verdict.accepted.holds() {
                verdict.degraded = Some(Finding::yes("FormerServed", "what was accepted before is still served"));
            }
        }
        // What replicas can't reach yet goes out when they can.
        let (outgoing, waits) = match source {
            Some(source) if source.outgoing.is_none() => (None, source.waits.clone()),
            Some(source) if !is_former => (outgoing, source.waits.clone()),
            _ => (outgoing, None),
        };
        JudgedEntity { resource, verdict, outgoing, waits, named, table, source: key, is_former }
    }
}
