//! One source: whether it can be used in a cluster, what it refers to, how its database is, and what is published of it.

use super::{Before, ByOrigin, JudgedSource, is_leaving, is_paused, origin};
use crate::catalog::capture;
use crate::manifest::data_source::{Connection, Engine};
use crate::manifest::{DataSource, Declared, Problem, obstacles};
use crate::operator::database::{Fault, SecretPlace};
use crate::operator::dereference::SourceFound;
use crate::operator::grant::{Reference, ReferenceGrant};
use crate::operator::handing::OwnSecret;
use crate::operator::verdict::{Finding, Verdict};
use kube::ResourceExt;
use std::sync::Arc;

/// What is told while a database takes its time with what captures its changes.
pub(super) const NOT_CAPTURED: &str = "its database has not taken yet what captures changes, which comes before it is served";

/// Judges one source.
pub(super) fn judge(found: &SourceFound, grants: &[Arc<ReferenceGrant>], own: &OwnSecret, before: &Before) -> JudgedSource {
    let resource = &found.resource;
    let origin = origin(&**resource);
    let declared = declared(resource);
    let key = declared.key();
    let published = before.source(&key, &origin);
    let judged = |verdict: Verdict, outgoing, waits| JudgedSource {
        resource: Arc::clone(resource),
        key: key.clone(),
        verdict,
        outgoing,
        waits,
        place: found.place.clone(),
        look: found.look.clone(),
        handed: found.handed.clone(),
        is_paused: is_paused(&**resource),
        was_captured: before.captured(&key, resource),
        is_held: found.is_held,
    };
    if is_leaving(&**resource) {
        return judged(Verdict::good(), None, None);
    }
    if is_paused(&**resource) {
        return judged(Verdict::good(), published, None);
    }
    if let Some(refusal) = unsupported(resource) {
        return judged(Verdict::refused(refusal), published, None);
    }
    if let Err(reference) = secret(resource, grants, own) {
        return judged(Verdict::unresolved(reference), None, None);
    }
    let problems = contradictions(&declared);
    if !problems.is_empty() {
        return judged(Verdict::refused(Finding::of(&problems)), published, None);
    }
    let ready = match (&resource.spec.connection.secret_key_ref, &found.place) {
        (None, _) => Some(declared.clone()),
        (Some(_), Some(place)) => Some(at_file(&declared, &place.file)),
        (Some(_), None) => None,
    };
    let verdict = verdict(found);
    match (ready, &found.place) {
        (Some(_), Some(place)) if !place.is_handed => {
            let waits = Finding::no("HandingOver", "not every replica has been handed the URL of its database yet");
            judged(verdict, published, Some(waits))
        }
        (Some(ready), _) if found.is_held => {
            let is_as_before = published.as_ref().is_some_and(|published| published.resource.spec == ready.resource.spec);
            judged(verdict, published, (!is_as_before).then(|| Finding::no("Pending", NOT_CAPTURED)))
        }
        (Some(ready), _) => judged(verdict, Some(ready), None),
        (None, _) => judged(verdict, published, None),
    }
}

/// Adds what was found when its entities were held against its database.
pub(super) fn with_problems(source: JudgedSource, at_sources: &ByOrigin) -> JudgedSource {
    match at_sources.get(&origin(&*source.resource)) {
        Some(problems) => JudgedSource { verdict: Verdict::refused(Finding::of(problems)), outgoing: None, ..source },
        None => source,
    }
}

/// A resource of the cluster as if it stood in a file, without what the cluster adds.
pub(in crate::operator) fn declared(resource: &DataSource) -> Declared<DataSource> {
    let mut bare = DataSource::new(&resource.name_any(), resource.spec.clone());
    bare.metadata.namespace = resource.namespace();
    Declared::without_lines(bare, origin(resource))
}

/// Where its URL is kept, if its own namespace or the other one agrees, and it is not where the URLs of all are.
pub(in crate::operator) fn secret(
    resource: &DataSource,
    grants: &[Arc<ReferenceGrant>],
    own: &OwnSecret,
) -> Result<Option<SecretPlace>, Finding> {
    let Some(reference) = &resource.spec.connection.secret_key_ref else { return Ok(None) };
    let home = resource.namespace().unwrap_or_default();
    let namespace = reference.namespace.clone().unwrap_or_else(|| home.clone());
    let asked = Reference {
        kind: "DataSource",
        namespace: &home,
        to_group: "",
        to_kind: "Secret",
        to_namespace: &namespace,
        to_name: &reference.name,
    };
    if !asked.is_permitted(grants) {
        return Err(Finding::no("RefNotPermitted", asked.advice()));
    }
    if let Some(refusal) = of_the_operator(resource, own) {
        return Err(refusal);
    }
    Ok(Some(SecretPlace { namespace, name: reference.name.clone(), key: reference.key.clone() }))
}

/// What is wrong with one that names the Secret in which replicas get the URLs of all sources, be they of namespaces that never agreed.
pub(in crate::operator) fn of_the_operator(resource: &DataSource, own: &OwnSecret) -> Option<Finding> {
    let reference = resource.spec.connection.secret_key_ref.as_ref()?;
    let namespace = reference.namespace.clone().or_else(|| resource.namespace()).unwrap_or_default();
    (namespace == own.namespace && reference.name == own.name).then(|| {
        let message = format!(
            "the Secret '{namespace}/{}' is the operator's own, which hands the URLs of all databases over to replicas; name one that is kept for this database",
            own.name
        );
        Finding::no("RefNotPermitted", message)
    })
}

/// What is wrong with one by itself.
pub(in crate::operator) fn alone(resource: &DataSource) -> Option<Finding> {
    let told = || {
        let declared = declared(resource);
        let mut problems = contradictions(&declared);
        capture(&declared, &mut problems);
        (!problems.is_empty()).then(|| Finding::of(&problems))
    };
    unsupported(resource).or_else(told)
}

/// What a source contradicts itself in. A URL in a Secret stands in a file by the time that it matters, whatever its name is.
fn contradictions(declared: &Declared<DataSource>) -> Vec<Problem> {
    match declared.resource.spec.connection.secret_key_ref {
        Some(_) => obstacles(&at_file(declared, "/")),
        None => obstacles(declared),
    }
}

/// What works in one process and not in a cluster. An environment and files are those of the operator's and the replicas' own
/// pods, into which no resource may reach.
pub(in crate::operator) fn unsupported(resource: &DataSource) -> Option<Finding> {
    let refuse = |message: &str| Some(Finding::no("UnsupportedConnection", message));
    let Connection { env, file, .. } = &resource.spec.connection;
    match resource.spec.engine {
        Engine::Sqlite => {
            refuse("a SQLite database is a file on one machine, which replicas do not share; use postgres or mysql")
        }
        _ if env.is_some() => {
            refuse("`env` is for `dev` and `serve`; in a cluster put the URL into a Secret and name it with secretKeyRef")
        }
        _ if file.is_some() => {
            refuse("`file` is for `dev` and `serve`; in a cluster put the URL into a Secret and name it with secretKeyRef")
        }
        _ => None,
    }
}

fn at_file(declared: &Declared<DataSource>, file: &str) -> Declared<DataSource> {
    let mut declared = declared.clone();
    declared.resource.spec.connection = Connection { file: Some(file.to_owned()), ..Connection::default() };
    declared
}

/// What its database says, or why it says nothing.
fn verdict(found: &SourceFound) -> Verdict {
    let good = Verdict::good();
    match &found.look.fault {
        Some(Fault::NoSecret(message)) => Verdict { resolved: Finding::no("SecretNotFound", message), ..good },
        Some(Fault::UnreadableSecret(message)) => Verdict { resolved: Finding::unknown("SecretUnreadable", message), ..good },
        Some(Fault::Invalid(message)) => Verdict::refused(Finding::no("Invalid", message)),
        Some(Fault::Unreachable(message)) => Verdict { away: Some(message.clone()), ..good },
        None if found.look.facts.is_none() => {
            Verdict { accepted: Finding::unknown("Pending", "the database is being looked at"), ..good }
        }
        None => good,
    }
}
