//! One entity before it is held against its database: whether it may be, and as what.

use super::source::NOT_CAPTURED;
use super::{Before, JudgedSource, is_leaving, is_paused, origin};
use crate::catalog::compile;
use crate::manifest::problem::Cause;
use crate::manifest::status::{Condition, Truth};
use crate::manifest::{Declared, Entity, Problem};
use crate::operator::database::Fault;
use crate::operator::dereference::{Dereferenced, EntityFound};
use crate::operator::grant::Reference;
use crate::operator::seen::Unreadable;
use crate::operator::trial::Trial;
use crate::operator::verdict::{Finding, NO_RELATION, UNAVAILABLE, Verdict, reason, told};
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;

/// What is told of one whose database does not say what it thinks of its SQL.
const UNTRIED: &str = "its database has not answered yet whether it takes the SQL that is declared here";

/// What entities stand on.
pub(super) struct Ground<'f> {
    pub(super) found: &'f Dereferenced,
    pub(super) sources: &'f HashMap<&'f str, &'f JudgedSource>,
    pub(super) before: &'f Before,
}

/// An entity on its way into the catalog.
pub(super) struct Candidate {
    pub(super) resource: Arc<Entity>,
    pub(super) source: String,
    pub(super) verdict: Option<Verdict>,
    /// What is held against the database, or goes out as it is while the database is not known.
    pub(super) form: Form,
    /// What is published now, to fall back to.
    pub(super) published: Option<Declared<Entity>>,
    /// What its table came to when it was published.
    pub(super) published_table: Option<String>,
    /// Relations that were left out, since they lead nowhere.
    pub(super) dropped: Vec<Problem>,
    /// It waits for its database, and goes out as it did in every way.
    pub(super) is_held: bool,
}

/// As what an entity is served.
pub(super) enum Form {
    /// As the resource says now.
    Current(Declared<Entity>),
    /// As it was published before.
    Published(Declared<Entity>),
    /// Not at all.
    Out,
}

impl Ground<'_> {
    /// As what an entity is tried.
    pub(super) fn candidate(&self, found: &EntityFound) -> Candidate {
        let resource = &found.resource;
        let declared = declared(resource);
        let published = self.before.entity(&declared.key(), &origin(&**resource));
        let (source, declared_key) = (declared.source_key(), declared.key());
        let candidate = |verdict: Option<Verdict>, form: Form| Candidate {
            resource: Arc::clone(resource),
            source: source.clone(),
            verdict,
            form,
            published: published.clone(),
            published_table: self.before.tables.get(&declared_key).cloned(),
            dropped: Vec::new(),
            is_held: false,
        };
        let held = |candidate: Candidate| Candidate { is_held: true, ..candidate };
        let before = || published.clone().map_or(Form::Out, Form::Published);
        if let Some(finding) = self.reference(&declared) {
            return candidate(Some(Verdict::unresolved(finding)), Form::Out);
        }
        if let Some(policy) = self.unreadable_policy(resource) {
            let message = format!(
                "the AccessPolicy '{policy}' may hold for it and can't be read; it is served to nobody until the policy can be read or is removed"
            );
            return candidate(Some(Verdict::refused(Finding::no("PolicyUnreadable", message))), Form::Out);
        }
        if is_paused(&**resource) {
            return candidate(None, before());
        }
        let judged = self.sources.get(source.as_str());
        let is_known = judged.is_some_and(|source| source.look.facts.is_some());
        match judged.and_then(|source| source.look.fault.as_ref()) {
            // What it had when it was last seen judges nobody.
            Some(fault) => candidate(Some(unknown(resource, &source, fault)), before()),
            None if !is_known || !found.is_looked_at => candidate(None, before()),
            None => {
                let is_as_before = published.as_ref().is_some_and(|published| published.resource.spec == declared.resource.spec);
                let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
                // What was told of one that is served as it is holds until there is more to say.
                let pending = |message: &str| {
                    let accepted = Finding::unknown("Pending", message);
                    let is_news = observed != resource.metadata.generation || published.is_none();
                    is_news.then(|| Verdict { accepted, ..Verdict::good() })
                };
                let is_held = judged.is_some_and(|source| source.is_held);
                match self.found.trials.get(&origin(&**resource)) {
                    Some(Trial::Answered(problems)) if !problems.is_empty() => {
                        candidate(Some(refused(resource, problems)), before())
                    }
                    Some(Trial::Running) => held(candidate(None, before())),
                    // One that is served as it is was tried then.
                    Some(Trial::Unanswered) if !is_as_before => held(candidate(pending(UNTRIED), before())),
                    _ if is_held && is_as_before => held(candidate(Some(Verdict::good()), before())),
                    _ if is_held => held(candidate(pending(NOT_CAPTURED), before())),
                    _ => candidate(Some(Verdict::good()), Form::Current(declared)),
                }
            }
        }
    }

    /// What is wrong with its reference to a source.
    fn reference(&self, declared: &Declared<Entity>) -> Option<Finding> {
        let (namespace, name) = (declared.source_namespace(), declared.resource.spec.source.as_str());
        let asked = Reference {
            kind: "Entity",
            namespace: declared.namespace(),
            to_group: "resolvespec.dev",
            to_kind: "DataSource",
            to_namespace: namespace,
            to_name: name,
        };
        if !asked.is_permitted(&self.found.grants) {
            // Whether it is there is told to those only who may refer to it.
            return Some(Finding::no("RefNotPermitted", asked.advice()));
        }
        match self.sources.get(declared.source_key().as_str()) {
            None => {
                let message = format!("there is no DataSource '{name}' in the namespace '{namespace}'");
                Some(Finding::no(reason(Cause::NoSource), message))
            }
            Some(source) if is_leaving(&*source.resource) => {
                Some(Finding::no(reason(Cause::NoSource), format!("the DataSource '{name}' is being deleted")))
            }
            Some(source) if source.outgoing.is_none() && source.waits.is_none() && !source.is_paused => {
                let bad = if source.verdict.resolved.holds() { &source.verdict.accepted } else { &source.verdict.resolved };
                let is_bad = bad.truth == Truth::False;
                is_bad.then(|| Finding::no("DataSourceNotReady", format!("the DataSource '{name}': {}", bad.message)))
            }
            Some(_) => None,
        }
    }

    /// A policy that can't be read can be of any entity of its namespace, and is of all.
    fn unreadable_policy(&self, resource: &Entity) -> Option<String> {
        let is_of_namespace = |(kind, policy): &&(&'static str, Unreadable)| {
            *kind == "AccessPolicy" && policy.metadata.namespace == resource.namespace()
        };
        self.found.unreadable.iter().find(is_of_namespace).map(|(_, policy)| policy.metadata.name.clone().unwrap_or_default())
    }
}

/// What is wrong with one by itself: what makes it a `refused` one, and relations that are left out of it.
pub(in crate::operator) fn alone(resource: &Entity) -> (Vec<Problem>, Vec<Problem>) {
    let is_of_relation = |problem: &Problem| matches!(problem.cause, Cause::Relation(_));
    let (dropped, refused) = compile::alone(&declared(resource)).into_iter().partition(is_of_relation);
    (refused, dropped)
}

/// What is said of a served one without these relations.
pub(in crate::operator) fn without_relations(problems: &[Problem]) -> String {
    format!("it is served without a relation: {}", told(problems))
}

/// A resource of the cluster as if it stood in a file, without what the cluster adds.
pub(in crate::operator) fn declared(resource: &Entity) -> Declared<Entity> {
    let mut bare = Entity::new(&resource.name_any(), resource.spec.clone());
    bare.metadata.namespace = resource.namespace();
    Declared::without_lines(bare, origin(resource))
}

/// What is said of one whose database can't be looked at: what was said before, if it holds for the resource as it is.
fn unknown(resource: &Entity, source: &str, fault: &Fault) -> Verdict {
    let before =
        |kind: &str| condition(resource, kind).filter(|before| before.observed_generation == resource.metadata.generation);
    let finding = |kind: &str| before(kind).map(|before| Finding::new(before.status, &before.reason, before.message.clone()));
    let pending = || Finding::unknown(UNAVAILABLE, format!("the database could not be looked at: {}", fault.message()));
    Verdict {
        accepted: finding("Accepted").filter(|before| before.truth != Truth::Unknown).unwrap_or_else(pending),
        // Its source is there, whatever was said before.
        resolved: finding("ResolvedRefs")
            .filter(|before| before.reason == NO_RELATION)
            .unwrap_or_else(|| Verdict::good().resolved),
        degraded: finding("Degraded").filter(|before| before.holds() && before.reason != UNAVAILABLE),
        // Why is told once, by the source: a driver's words change, and an entity need not be written each time.
        away: fault
            .is_absence()
            .then(|| format!("its database can't be used now, so that requests fail; the DataSource '{source}' says why")),
    }
}

/// What is said of one that can't be served as it is now. Where nobody has changed it, the database has changed.
pub(super) fn refused(resource: &Entity, problems: &[Problem]) -> Verdict {
    let finding = Finding::of(problems);
    let holds_still = |kind: &str, is: &dyn Fn(&Condition) -> bool| {
        condition(resource, kind).is_some_and(|before| before.observed_generation == resource.metadata.generation && is(before))
    };
    let was_accepted = holds_still("Accepted", &|before| before.status == Truth::True);
    let had_drifted = holds_still("Degraded", &|before| before.reason == "SchemaDrift");
    let is_drift =
        matches!(problems.first().map(|problem| problem.cause), Some(Cause::Invalid | Cause::NoTable | Cause::Database));
    let degraded = ((was_accepted || had_drifted) && is_drift)
        .then(|| Finding::yes("SchemaDrift", format!("the database has changed under it: {}", finding.message)));
    Verdict { degraded, ..Verdict::refused(finding) }
}

fn condition<'r>(resource: &'r Entity, kind: &str) -> Option<&'r Condition> {
    resource.status.as_ref()?.conditions.iter().find(|condition| condition.kind == kind)
}
