//! One policy: whether it is one that its entity could be held to. Nothing enforces it yet, and its entity is closed to everybody
//! meanwhile, be the policy good or bad.

use super::{Before, JudgedEntity, is_paused, origin};
use crate::catalog::{Catalog, policy};
use crate::manifest::{AccessPolicy, Declared, Entity, Problem};
use crate::operator::verdict::{Finding, Verdict};
use kube::ResourceExt;
use std::sync::Arc;

/// A policy, judged.
pub(in crate::operator) struct JudgedPolicy {
    pub(in crate::operator) resource: Arc<AccessPolicy>,
    pub(in crate::operator) verdict: Verdict,
    /// What is published of it, if its entity is.
    pub(in crate::operator) outgoing: Option<Declared<AccessPolicy>>,
    /// It is paused, and nothing is said of it.
    pub(in crate::operator) is_paused: bool,
}

impl JudgedPolicy {
    /// Whether it holds for an entity: as it is published, which may not be how it is declared now.
    pub(in crate::operator) fn is_of(&self, entity: &Entity) -> bool {
        is_of(self.outgoing.as_ref().map_or(&*self.resource, |declared| &declared.resource), entity)
    }
}

fn is_of(policy: &AccessPolicy, entity: &Entity) -> bool {
    policy.namespace() == entity.namespace() && policy.spec.entity == entity.name_any()
}

/// Judges one policy.
pub(super) fn judge(resource: &Arc<AccessPolicy>, entities: &[JudgedEntity], catalog: &Catalog, before: &Before) -> JudgedPolicy {
    let declared = declared(resource);
    let named = &resource.spec.entity;
    let entity = entities.iter().find(|entity| is_of(resource, &entity.resource));
    let is_out = entity.is_some_and(|entity| entity.outgoing.is_some());
    if is_paused(&**resource) {
        // What is published stays, whatever entity is named now: without it, the entity that it is of would be open. So would one
        // whose policy was not published before, which goes out as it is.
        let published = before.policy(&declared.key(), &origin(&**resource));
        let outgoing = published.or_else(|| is_out.then_some(declared));
        return JudgedPolicy { resource: Arc::clone(resource), verdict: Verdict::good(), outgoing, is_paused: true };
    }
    let compiled = entity.and_then(|entity| entity.named.as_ref()).and_then(|(schema, name)| catalog.named(schema, name));
    let (known, problems) = match (entity, compiled) {
        (Some(_), Some(compiled)) => (Verdict::good(), policy::check(&declared, compiled)),
        // What is wrong whatever the entity is need not wait for it.
        (Some(_), None) => {
            let finding = Finding::unknown("EntityNotReady", format!("the Entity '{named}' can't be looked at yet"));
            (Verdict::unresolved(finding), policy::alone(&declared))
        }
        (None, _) => {
            let finding = Finding::no("EntityNotFound", format!("there is no Entity '{named}' in the namespace"));
            (Verdict::unresolved(finding), policy::alone(&declared))
        }
    };
    let verdict = if problems.is_empty() { known } else { Verdict { accepted: Finding::of(&problems), ..known } };
    JudgedPolicy { resource: Arc::clone(resource), verdict, outgoing: is_out.then_some(declared), is_paused: false }
}

/// What is wrong with one by itself.
pub(in crate::operator) fn alone(resource: &AccessPolicy) -> Vec<Problem> {
    policy::alone(&declared(resource))
}

fn declared(resource: &AccessPolicy) -> Declared<AccessPolicy> {
    let mut bare = AccessPolicy::new(&resource.name_any(), resource.spec.clone());
    bare.metadata.namespace = resource.namespace();
    Declared::without_lines(bare, origin(resource))
}
