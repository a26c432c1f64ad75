//! The second step, which asks nobody: what of all that was gathered can be served, and what is wrong with the rest.
//!
//! One resource that is wrong takes no other one down. Of an Entity that was changed into something that can't be served, what
//! was published before stays; so it does while a database is away or a resource is paused.

mod catalog;
mod entity;
mod policy;
mod source;

pub(super) use entity::{alone as entity_alone, declared as declared_entity, without_relations};
pub(super) use policy::{JudgedPolicy, alone as policy_alone};
pub(super) use source::{alone as source_alone, declared as declared_source, of_the_operator, secret, unsupported};

use super::database::Look;
use super::dereference::{Dereferenced, Place};
use super::finalizer;
use super::illegible::Illegible;
use super::seen::Unreadable;
use super::verdict::{Finding, Verdict};
use crate::auth::Secret;
use crate::catalog::Catalog;
use crate::generation::Generation;
use crate::manifest::data_source::CaptureMode;
use crate::manifest::declared::key;
use crate::manifest::status::Truth;
use crate::manifest::{AccessPolicy, DataSource, Declared, Entity, Problem};
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;

/// What stops the operator at a resource, until it is taken away.
const PAUSED: &str = "resolvespec.dev/paused";

/// Everything, judged.
pub(super) struct Validated {
    pub(super) sources: Vec<JudgedSource>,
    pub(super) entities: Vec<JudgedEntity>,
    pub(super) policies: Vec<JudgedPolicy>,
    pub(super) unreadable: Vec<(&'static str, Unreadable)>,
    /// What is known all the same of sources that can't be read, and whose changes are captured.
    pub(super) illegible: Vec<Illegible>,
    /// The entities that could be held against their databases.
    pub(super) catalog: Arc<Catalog>,
}

impl Validated {
    /// Whether the cluster has no entity at all.
    pub(super) fn declares_nothing(&self) -> bool {
        self.entities.is_empty() && self.unreadable.iter().all(|(kind, _)| *kind != "Entity")
    }
}

/// A source, judged.
pub(super) struct JudgedSource {
    pub(super) resource: Arc<DataSource>,
    pub(super) key: String,
    pub(super) verdict: Verdict,
    /// What is published of it.
    pub(super) outgoing: Option<Declared<DataSource>>,
    /// Why it is not published yet as it is, though nothing is wrong with it.
    pub(super) waits: Option<Finding>,
    pub(super) place: Option<Place>,
    pub(super) look: Look,
    /// The URL that replicas were handed last, while its Secret does not tell one.
    pub(super) handed: Option<Secret>,
    /// It is paused, and nothing is said of it.
    pub(super) is_paused: bool,
    /// Its changes were captured, for all that is known.
    pub(super) was_captured: bool,
    /// It goes out as it did before, until what captures its changes is installed.
    pub(super) is_held: bool,
}

impl JudgedSource {
    /// Whether its database was looked at, be it without success. That of an operator which has just begun was not.
    pub(super) fn is_seen(&self) -> bool {
        self.look.facts.is_some() || self.look.fault.is_some()
    }

    /// Whether it is itself what keeps it from being published, and not that its database is away or its Secret can't be read.
    pub(super) fn is_shut(&self) -> bool {
        let is_bad = self.verdict.accepted.truth == Truth::False || self.verdict.resolved.truth == Truth::False;
        let is_judged = !self.is_paused && !is_leaving(&*self.resource);
        is_judged && is_bad && self.outgoing.is_none() && self.look.fault.is_none()
    }
}

/// An entity, judged.
pub(super) struct JudgedEntity {
    pub(super) resource: Arc<Entity>,
    /// Nothing, where it is not known yet or not to be said.
    pub(super) verdict: Option<Verdict>,
    /// What is published of it.
    pub(super) outgoing: Option<Declared<Entity>>,
    /// Why it is not published yet as it is, though nothing is wrong with it.
    pub(super) waits: Option<Finding>,
    /// The public schema and name, if it is in the catalog.
    pub(super) named: Option<(String, String)>,
    /// What its table comes to.
    pub(super) table: Option<String>,
    /// The key of its source.
    pub(super) source: String,
    /// It goes out as it was published before, and not as it is now.
    pub(super) is_former: bool,
}

/// Judges everything. An error is a fault of the operator itself.
pub(super) fn validate(found: Dereferenced) -> Result<Validated, String> {
    let before = Before::of(found.published.as_deref());
    let sources: Vec<JudgedSource> =
        found.sources.iter().map(|source| source::judge(source, &found.grants, &found.own, &before)).collect();
    let by_key: HashMap<&str, &JudgedSource> = sources.iter().map(|source| (source.key.as_str(), source)).collect();
    let standing = entity::Ground { found: &found, sources: &by_key, before: &before };
    let candidates: Vec<entity::Candidate> =
        found.entities.iter().filter(|entity| !is_leaving(&*entity.resource)).map(|entity| standing.candidate(entity)).collect();
    let catalog::Compiled { catalog, entities, at_sources } = catalog::compile_all(&sources, candidates)?;
    let sources = sources.into_iter().map(|source| source::with_problems(source, &at_sources)).collect();
    let policies = found.policies.iter().map(|policy| policy::judge(policy, &entities, &catalog, &before)).collect();
    Ok(Validated {
        sources,
        entities,
        policies,
        unreadable: found.unreadable,
        illegible: found.illegible,
        catalog: Arc::new(catalog),
    })
}

/// What problems and what is published call a resource.
pub(super) fn origin<K: kube::Resource<DynamicType = ()>>(resource: &K) -> String {
    format!("{} {}/{}", K::kind(&()), resource.namespace().unwrap_or_default(), resource.name_any())
}

pub(super) fn is_paused(resource: &impl ResourceExt) -> bool {
    resource.annotations().get(PAUSED).is_some_and(|value| value == "true")
}

pub(super) fn is_leaving(resource: &impl ResourceExt) -> bool {
    resource.meta().deletion_timestamp.is_some()
}

/// What is published now, by the resources' keys.
struct Before {
    /// Whether anything is, as far as it can be read.
    is_known: bool,
    sources: HashMap<String, DataSource>,
    entities: HashMap<String, Entity>,
    policies: HashMap<String, AccessPolicy>,
    /// What the entities' tables came to.
    tables: HashMap<String, String>,
}

impl Before {
    fn of(published: Option<&Generation>) -> Self {
        // What can't be read was published by a newer version, and is not known here.
        let carried =
            published.iter().flat_map(|published| &published.manifests).filter(|carried| carried.resource["kind"] == "Entity");
        let tables = carried.filter_map(|carried| {
            let field = |name: &str| carried.resource["metadata"][name].as_str();
            Some((key(field("namespace")?, field("name")?), carried.table.clone()?))
        });
        let tables = tables.collect();
        let manifests = published.and_then(|published| published.unpack().ok());
        let is_known = manifests.is_some();
        let manifests = manifests.unwrap_or_default();
        Self {
            is_known,
            sources: manifests.sources.into_iter().map(|declared| (declared.key(), declared.resource)).collect(),
            entities: manifests.entities.into_iter().map(|declared| (declared.key(), declared.resource)).collect(),
            policies: manifests.policies.into_iter().map(|declared| (declared.key(), declared.resource)).collect(),
            tables,
        }
    }

    fn source(&self, key: &str, origin: &str) -> Option<Declared<DataSource>> {
        self.sources.get(key).map(|resource| Declared::without_lines(resource.clone(), origin))
    }

    /// Whether a source's changes were captured. Where nothing tells what was published, whoever is kept for it has it to undo.
    fn captured(&self, key: &str, resource: &DataSource) -> bool {
        match self.sources.get(key) {
            Some(published) => published.spec.capture.mode != CaptureMode::None,
            None => !self.is_known && finalizer::keeps(&resource.metadata),
        }
    }

    fn entity(&self, key: &str, origin: &str) -> Option<Declared<Entity>> {
        self.entities.get(key).map(|resource| Declared::without_lines(resource.clone(), origin))
    }

    fn policy(&self, key: &str, origin: &str) -> Option<Declared<AccessPolicy>> {
        self.policies.get(key).map(|resource| Declared::without_lines(resource.clone(), origin))
    }
}

/// Problems by the origins of the resources that they are of.
type ByOrigin = HashMap<String, Vec<Problem>>;

#[cfg(test)]
mod tests;
