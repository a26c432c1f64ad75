//! What the API server asks before it takes a resource: whether anything is wrong with it by itself.
//!
//! The words are those of the conditions, since `validate` makes both. What only a database or another resource can tell is left
//! to the conditions, so that no state is needed, every operator says the same, and the order in which resources are applied does
//! not matter. Nothing here asks anybody, and what is there already is never refused again: only what changes a spec is judged.

use super::handing::OwnSecret;
use super::seen::Seen;
use super::status::NOT_ENFORCED;
use super::validate::{entity_alone, is_leaving, is_paused, of_the_operator, policy_alone, source_alone, without_relations};
use super::verdict::told;
use crate::manifest::{AccessPolicy, DataSource, Entity};
use kube::Resource;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND, Operation};
use serde::de::DeserializeOwned;

/// What is said of a resource that nobody looks at.
const PAUSED: &str = "the operator leaves it as it is while it is annotated with resolvespec.dev/paused";
/// The API server cuts longer ones.
const LONGEST_WARNING: usize = 256;

/// An answer, and what is counted of it.
pub struct Reviewed {
    /// The review with the answer, as JSON.
    pub body: Vec<u8>,
    /// The kind of the resource.
    pub kind: &'static str,
    /// What was said.
    pub outcome: &'static str,
}

/// Answers an AdmissionReview, where it is known which Secret is the operator's own. The error says, for people, why it is none.
pub fn review(body: &[u8], own: Option<&OwnSecret>) -> Result<Reviewed, String> {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_slice(body).map_err(|error| format!("this is no AdmissionReview: {error}"))?;
    if (review.types.api_version.as_str(), review.types.kind.as_str()) != (META_API_VERSION_V1, META_KIND) {
        let (version, kind) = (&review.types.api_version, &review.types.kind);
        return Err(format!("this is '{kind}' of '{version}'; an {META_KIND} of {META_API_VERSION_V1} is expected"));
    }
    let request: AdmissionRequest<DynamicObject> =
        review.try_into().map_err(|_| "this AdmissionReview has no request".to_owned())?;
    let judgement = judge(&request, own)?;
    let kind = kind_of(&request).unwrap_or("other");
    let response = AdmissionResponse::from(&request);
    let (response, outcome) = match judgement {
        Judgement::Allowed(warnings) if warnings.is_empty() => (response, "allowed"),
        Judgement::Allowed(warnings) => (warned(response, warnings), "warned"),
        Judgement::Refused(message) => (refused(response, &message), "refused"),
    };
    let body = serde_json::to_vec(&response.into_review()).map_err(|error| error.to_string())?;
    Ok(Reviewed { body, kind, outcome })
}

/// What is said of one resource.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// It may be applied; this is worth knowing of it.
    Allowed(Vec<String>),
    /// It may not.
    Refused(String),
}

fn warned(mut response: AdmissionResponse, warnings: Vec<String>) -> AdmissionResponse {
    let cut = |mut warning: String| {
        warning.truncate(warning.floor_char_boundary(LONGEST_WARNING));
        warning
    };
    response.warnings = Some(warnings.into_iter().map(cut).collect());
    response
}

fn refused(response: AdmissionResponse, message: &str) -> AdmissionResponse {
    let mut response = response.deny(message);
    "Invalid".clone_into(&mut response.result.reason);
    response.result.code = 422;
    response
}

/// The kind of the resource, if it is one of ours.
fn kind_of(request: &AdmissionRequest<DynamicObject>) -> Option<&'static str> {
    let kinds = ["DataSource", "Entity", "AccessPolicy"];
    let is_ours = request.kind.group == DataSource::group(&()) && request.kind.version == DataSource::version(&());
    kinds.into_iter().find(|kind| is_ours && request.kind.kind == *kind)
}

fn judge(request: &AdmissionRequest<DynamicObject>, own: Option<&OwnSecret>) -> Result<Judgement, String> {
    let allowed = || Ok(Judgement::Allowed(Vec::new()));
    let is_applied = matches!(request.operation, Operation::Create | Operation::Update);
    // Statuses and the like are the operator's own, and others may write them as well.
    let is_whole = request.sub_resource.as_deref().is_none_or(str::is_empty);
    let (Some(kind), true, true) = (kind_of(request), is_applied, is_whole) else { return allowed() };
    let Some(object) = &request.object else { return Err("this AdmissionReview has no object".to_owned()) };
    let is_as_before = request.old_object.as_ref().is_some_and(|old| old.data.get("spec") == object.data.get("spec"));
    if is_as_before || is_leaving(object) {
        return allowed();
    }
    if is_paused(object) {
        let is_policy = kind == AccessPolicy::kind(&());
        // Policies close their entities, paused or not.
        return Ok(Judgement::Allowed(vec![if is_policy { NOT_ENFORCED } else { PAUSED }.to_owned()]));
    }
    let judged = match kind {
        "DataSource" => read(object).map(|resource| source(&resource, own)),
        "Entity" => read(object).map(|resource| entity(&resource)),
        _ => read(object).map(|resource| policy(&resource)),
    };
    Ok(judged.unwrap_or_else(Judgement::Refused))
}

/// The resource as its kind; the error is what its condition says of one that can't be read.
fn read<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, String> {
    let mut object = object.clone();
    // The operator's own words are no fault of whoever changes the spec.
    object.data.as_object_mut().and_then(|fields| fields.remove("status"));
    let seen = serde_json::to_value(object).and_then(serde_json::from_value::<Seen<K>>);
    seen.map_err(|error| error.to_string())?.0.map_err(|unreadable| unreadable.told())
}

fn source(resource: &DataSource, own: Option<&OwnSecret>) -> Judgement {
    let of_the_operator = own.and_then(|own| of_the_operator(resource, own));
    of_the_operator
        .or_else(|| source_alone(resource))
        .map_or(Judgement::Allowed(Vec::new()), |finding| Judgement::Refused(finding.message))
}

fn entity(resource: &Entity) -> Judgement {
    let (wrong, relations) = entity_alone(resource);
    if !wrong.is_empty() {
        return Judgement::Refused(told(&wrong));
    }
    Judgement::Allowed(if relations.is_empty() { Vec::new() } else { vec![without_relations(&relations)] })
}

fn policy(resource: &AccessPolicy) -> Judgement {
    match policy_alone(resource) {
        problems if problems.is_empty() => Judgement::Allowed(vec![NOT_ENFORCED.to_owned()]),
        problems => Judgement::Refused(told(&problems)),
    }
}

#[cfg(test)]
mod tests;
