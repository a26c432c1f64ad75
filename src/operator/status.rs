//! The last step before it is written: what each resource is told. Pure.
//!
//! Messages say nothing that changes by itself, such as how many replicas there are: a resource at rest is not written again.

use super::condition::{Conditions, say_the_same};
use super::replicas::{MqttPrefix, Replicas, Told};
use super::seen::Unreadable;
use super::validate::{JudgedEntity, JudgedPolicy, JudgedSource, Validated, is_leaving, origin};
use super::verdict::{Finding, Verdict};
use crate::generation::Generation;
use crate::manifest::status::{AccessPolicyStatus, Condition, DataSourceStatus, Endpoints, EntityStatus, Truth};
use crate::manifest::{AccessPolicy, DataSource, Entity};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was applied, as far as statuses tell of it.
pub(super) struct Applied {
    /// The generation that is wanted now, as far as it could be published.
    pub(super) wanted: Option<Arc<Generation>>,
    /// The generation in which each resource came to be what it is, by its origin.
    pub(super) since: HashMap<String, u64>,
    /// Why resources are not published as they are, by their origins.
    pub(super) unpublished: HashMap<String, Finding>,
    /// Why changes of sources can't be captured, by their keys.
    pub(super) capture_faults: HashMap<String, String>,
    /// Sources of which this operator does not know that yet.
    pub(super) capture_untried: HashSet<String>,
}

const CAPTURE_FAILED: &str = "CaptureFailed";

/// What every policy is told until there is more to say.
pub(super) const NOT_ENFORCED: &str = "policies can't be enforced yet; nobody may use the entity while this one is there";

/// What one resource is told.
pub(super) struct Said {
    pub(super) reference: ObjectReference,
    pub(super) before: Vec<Condition>,
    pub(super) after: Vec<Condition>,
    pub(super) status: Value,
    /// Whether it is told something else than it says.
    pub(super) is_news: bool,
}

/// What all resources are told at a moment.
pub(super) fn statuses(validated: &Validated, applied: &Applied, replicas: &Replicas, now: &str) -> Vec<Said> {
    let mut all = Vec::new();
    let is_told = |source: &&JudgedSource| !source.is_paused && !is_leaving(&*source.resource) && !is_about_to_be_known(source);
    for source in validated.sources.iter().filter(is_told) {
        let entities =
            validated.entities.iter().filter(|entity| entity.outgoing.is_some() && entity.source == source.key).count();
        all.push(data_source(source, entities, applied, replicas, now));
    }
    for entity in &validated.entities {
        let policies = &validated.policies;
        all.extend(entity.verdict.as_ref().map(|verdict| self::entity(entity, verdict, policies, applied, replicas, now)));
    }
    let is_told = |policy: &&JudgedPolicy| {
        !policy.is_paused && !is_leaving(&*policy.resource) && !waits_for_its_entity(policy, &validated.entities)
    };
    for policy in validated.policies.iter().filter(is_told) {
        all.push(access_policy(policy, applied, replicas, now));
    }
    all.extend(validated.unreadable.iter().filter_map(|(kind, resource)| unreadable(kind, resource, now)));
    all
}

/// Whether it was told how it is, and its database is only about to be looked at, by an operator that has just begun.
fn is_about_to_be_known(source: &JudgedSource) -> bool {
    let resource = &source.resource;
    let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
    let is_unknown = source.verdict.accepted.truth == Truth::Unknown && source.verdict.resolved.truth != Truth::False;
    is_unknown && !source.is_seen() && observed == resource.metadata.generation
}

/// The same of a policy: whether its entity is only about to be looked at.
fn waits_for_its_entity(policy: &JudgedPolicy, entities: &[JudgedEntity]) -> bool {
    let resource = &policy.resource;
    let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
    let is_unknown = policy.verdict.resolved.truth == Truth::Unknown && observed == resource.metadata.generation;
    is_unknown && entities.iter().any(|entity| policy.is_of(&entity.resource) && entity.verdict.is_none())
}

fn data_source(source: &JudgedSource, entities: usize, applied: &Applied, replicas: &Replicas, now: &str) -> Said {
    let verdict = &source.verdict;
    let programmed = if !verdict.accepted.holds() || verdict.resolved.truth == Truth::False {
        not_served()
    } else if let Some(waits) = &source.waits {
        waits.clone()
    } else if entities == 0 {
        Finding::yes("NothingToServe", "no entity of it is in the catalog")
    } else {
        programmed(&origin(&*source.resource), applied, replicas)
    };
    let fault = applied.capture_faults.get(&source.key).cloned();
    let capture = fault.or_else(|| known_fault(source, applied)).map(|fault| Finding::yes(CAPTURE_FAILED, fault));
    let conditions = Conditions {
        accepted: verdict.accepted.clone(),
        resolved: verdict.resolved.clone(),
        programmed,
        closed: verdict.unusable(),
        degraded: verdict.degraded().or(capture),
    };
    let resource = &*source.resource;
    let before = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let after = DataSourceStatus {
        observed_generation: generation,
        entities: i64::try_from(entities).ok(),
        conditions: conditions.written(&before.conditions, generation, now),
    };
    let same = (after.observed_generation, after.entities) == (before.observed_generation, before.entities);
    said(resource, before.conditions, after.conditions.clone(), json!(after), same)
}

/// Why its changes could not be captured when another operator led, until this one has tried.
fn known_fault(source: &JudgedSource, applied: &Applied) -> Option<String> {
    if !applied.capture_untried.contains(&source.key) {
        return None;
    }
    let conditions = &source.resource.status.as_ref()?.conditions;
    let is_it = |one: &&Condition| one.kind == "Degraded" && one.status == Truth::True && one.reason == CAPTURE_FAILED;
    Some(conditions.iter().find(is_it)?.message.clone())
}

fn entity(
    entity: &JudgedEntity,
    verdict: &Verdict,
    policies: &[JudgedPolicy],
    applied: &Applied,
    replicas: &Replicas,
    now: &str,
) -> Said {
    let resource = &*entity.resource;
    let is_out = entity.outgoing.is_some();
    let programmed = match &entity.waits {
        Some(waits) if verdict.accepted.holds() => waits.clone(),
        _ if !is_out => not_served(),
        _ => programmed(&origin(resource), applied, replicas),
    };
    let conditions = Conditions {
        accepted: verdict.accepted.clone(),
        resolved: verdict.resolved.clone(),
        programmed,
        closed: policies.iter().find(|policy| policy.is_of(resource)).map(closed_by).or_else(|| verdict.unusable()),
        degraded: verdict.degraded(),
    };
    let before = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let endpoints = match &entity.named {
        Some((schema, name)) if is_out => Some(endpoints(schema, name, mqtt_topic(replicas, before.endpoints.as_ref()))),
        // It is served as it was, and its database can't say under which name.
        None if is_out => before.endpoints.clone(),
        _ => None,
    };
    let after = EntityStatus {
        observed_generation: generation,
        endpoints,
        conditions: conditions.written(&before.conditions, generation, now),
    };
    let same = after.observed_generation == before.observed_generation && after.endpoints == before.endpoints;
    said(resource, before.conditions, after.conditions.clone(), json!(after), same)
}

fn closed_by(policy: &JudgedPolicy) -> Finding {
    let name = policy.resource.name_any();
    let message = format!(
        "the AccessPolicy '{name}' holds for it, and policies can't be enforced yet; nobody may use it until the policy is removed"
    );
    Finding::no("PolicyNotEnforced", message)
}

fn access_policy(policy: &JudgedPolicy, applied: &Applied, replicas: &Replicas, now: &str) -> Said {
    let JudgedPolicy { resource, verdict, outgoing, .. } = policy;
    let programmed = match outgoing {
        None => not_served(),
        Some(_) => programmed(&origin(&**resource), applied, replicas),
    };
    let conditions = Conditions {
        accepted: verdict.accepted.clone(),
        resolved: verdict.resolved.clone(),
        programmed,
        closed: Some(Finding::no("NotEnforced", NOT_ENFORCED)),
        degraded: None,
    };
    let before = resource.status.clone().unwrap_or_default();
    let generation = resource.metadata.generation;
    let after = AccessPolicyStatus {
        observed_generation: generation,
        conditions: conditions.written(&before.conditions, generation, now),
    };
    let same = after.observed_generation == before.observed_generation;
    said(&**resource, before.conditions, after.conditions.clone(), json!(after), same)
}

/// One that this version can't read. What it was told may be readable all the same, and is not told again then.
fn unreadable(kind: &str, resource: &Unreadable, now: &str) -> Option<Said> {
    let Unreadable { metadata, status: before, .. } = resource;
    let refused = Verdict::refused(Finding::no("Unreadable", resource.told()));
    let conditions = Conditions {
        accepted: refused.accepted,
        resolved: refused.resolved,
        programmed: not_served(),
        closed: None,
        degraded: None,
    };
    let observed = before["observedGeneration"].as_i64();
    let before: Vec<Condition> = serde_json::from_value(before["conditions"].clone()).unwrap_or_default();
    let after = conditions.written(&before, metadata.generation, now);
    let is_news = observed != metadata.generation || !say_the_same(&before, &after);
    let status = json!({"observedGeneration": metadata.generation, "conditions": after});
    let reference = match kind {
        "DataSource" => reference::<DataSource>(metadata),
        "Entity" => reference::<Entity>(metadata),
        "AccessPolicy" => reference::<AccessPolicy>(metadata),
        _ => return None,
    };
    Some(Said { reference, before, after, status, is_news })
}

fn said<K: Resource<DynamicType = ()>>(
    resource: &K,
    before: Vec<Condition>,
    after: Vec<Condition>,
    status: Value,
    same: bool,
) -> Said {
    let is_news = !same || !say_the_same(&before, &after);
    Said { reference: reference::<K>(resource.meta()), before, after, status, is_news }
}

fn reference<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        resource_version: metadata.resource_version.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn not_served() -> Finding {
    Finding::no("NotInCatalog", "it is not in the catalog")
}

/// Where clients reach an entity.
fn endpoints(schema: &str, name: &str, mqtt_topic: Option<String>) -> Endpoints {
    Endpoints {
        rest: format!("/api/{schema}/{name}"),
        rest_headers: format!("/rest/{schema}/{name}"),
        web_socket_entity: format!("{schema}.{name}"),
        grpc_name: "resolvespec.v1.ResolveSpec/Call".to_owned(),
        mqtt_topic,
    }
}

/// Where requests over MQTT go to, as those say who take them: any of them, since a broker hands a request to whoever listens.
/// Where none serves, or some are too old to say, what was told before holds.
fn mqtt_topic(replicas: &Replicas, before: Option<&Endpoints>) -> Option<String> {
    let told: Vec<&MqttPrefix> =
        replicas.values().filter(|told| told.generation.is_some()).map(|told| &told.mqtt_prefix).collect();
    let prefix = told.iter().find_map(|told| if let MqttPrefix::With(prefix) = told { Some(prefix) } else { None });
    if let Some(prefix) = prefix {
        return Some(format!("{prefix}/{{client}}/request"));
    }
    let is_known = !told.is_empty() && !told.contains(&&MqttPrefix::Untold);
    if is_known { None } else { before.and_then(|before| before.mqtt_topic.clone()) }
}

/// Whether every replica serves a resource as it is.
fn programmed(origin: &str, applied: &Applied, replicas: &Replicas) -> Finding {
    if let Some(why) = applied.unpublished.get(origin) {
        return why.clone();
    }
    let (Some(wanted), Some(since)) = (&applied.wanted, applied.since.get(origin)) else {
        return Finding::no("Pending", "it is about to be published");
    };
    if replicas.is_empty() {
        return Finding::no("NoReplicas", "no replica is there");
    }
    // One that starts serves nobody yet, and so tells nothing of what is served.
    let starts = |told: &Told| told.generation.is_none() && told.refused.is_none();
    let mut ready = replicas.iter().filter(|(_, told)| !starts(told)).peekable();
    if ready.peek().is_none() {
        return Finding::no("NoReplicas", "no replica is ready yet");
    }
    let behind = || replicas.iter().filter(|(_, told)| !starts(told) && !serves(told, *since, wanted));
    if behind().next().is_none() {
        return Finding::yes("Programmed", "every replica serves it");
    }
    let refuses = |told: &Told| told.refused.as_ref().filter(|refused| refused.generation == Some(wanted.number)).cloned();
    if let Some((name, refused)) = behind().find_map(|(name, told)| Some((name, refuses(told)?))) {
        let number = wanted.number;
        let message = format!("the replica '{name}' can't serve generation {number} of the catalog: {}", refused.reason);
        return Finding::no("RefusedByReplica", message);
    }
    Finding::no("Pending", "not every replica serves it yet")
}

/// Whether a replica serves a generation that has what is asked for. Where generations were counted anew, one with a higher
/// number is an older one, which may have the same content.
pub(super) fn serves(told: &Told, since: u64, wanted: &Generation) -> bool {
    let is_wanted = told.digest.as_deref() == Some(&wanted.digest);
    is_wanted || told.generation.is_some_and(|number| since <= number && number < wanted.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(generation: u64, digest: &str) -> Told {
        Told {
            generation: Some(generation),
            digest: Some(digest.to_owned()),
            refused: None,
            databases: std::collections::BTreeSet::new(),
            mqtt_prefix: MqttPrefix::Without,
        }
    }

    #[test]
    fn a_topic_is_told_where_a_replica_serves_mqtt() {
        let topic = |replicas: &[Told], before: Option<&str>| {
            let replicas = replicas.iter().enumerate().map(|(number, told)| (number.to_string(), told.clone())).collect();
            mqtt_topic(&replicas, Some(&endpoints("public", "items", before.map(ToOwned::to_owned))))
        };
        let without = told(7, "seven");
        let with = Told { mqtt_prefix: MqttPrefix::With("shop".to_owned()), ..without.clone() };
        let starts = Told { generation: None, ..with.clone() };
        let (shop, before) = (Some("shop/{client}/request".to_owned()), Some("spec/{client}/request"));
        assert_eq!(topic(std::slice::from_ref(&without), before), None);
        assert_eq!(topic(std::slice::from_ref(&with), None), shop);
        assert_eq!(topic(&[without.clone(), with.clone()], before), shop, "one that serves it is enough");
        let older = Told { mqtt_prefix: MqttPrefix::Untold, ..without.clone() };
        assert_eq!(topic(&[without.clone(), older.clone()], before).as_deref(), before, "one may serve it and not say so");
        assert_eq!(topic(&[older.clone(), with], before), shop, "what is said counts");
        assert_eq!(topic(&[older], None), None, "nothing was told before");
        assert_eq!(topic(&[without, starts.clone()], before), None, "one that starts serves nobody yet");
        assert_eq!(topic(&[starts], before).as_deref(), before, "nobody serves who could say something else");
        assert_eq!(topic(&[], before).as_deref(), before, "nobody is known yet");
    }

    fn finding(replicas: &[(&str, Told)]) -> (bool, String) {
        let wanted = Generation { number: 7, digest: "seven".to_owned(), published_at: String::new(), manifests: Vec::new() };
        let since = HashMap::from([("Entity a/b".to_owned(), 5)]);
        let applied = Applied {
            wanted: Some(Arc::new(wanted)),
            since,
            unpublished: HashMap::from([("Entity a/c".to_owned(), Finding::no("PublishFailed", "NATS is away"))]),
            capture_faults: HashMap::new(),
            capture_untried: HashSet::new(),
        };
        let replicas = replicas.iter().map(|(name, told)| ((*name).to_owned(), told.clone())).collect();
        assert_eq!(programmed("Entity a/c", &applied, &replicas).reason, "PublishFailed", "whatever replicas serve");
        let finding = programmed("Entity a/b", &applied, &replicas);
        (finding.holds(), finding.reason)
    }

    #[test]
    fn a_resource_waits_for_the_generation_that_has_it_and_for_no_later_one() {
        assert_eq!(finding(&[]), (false, "NoReplicas".to_owned()));
        assert_eq!(finding(&[("one", told(4, "four"))]), (false, "Pending".to_owned()));
        assert!(finding(&[("one", told(5, "five")), ("two", told(7, "seven"))]).0);
        assert!(!finding(&[("one", told(4, "four")), ("two", told(7, "seven"))]).0);
        assert!(!finding(&[("one", told(7, "another seven"))]).0, "generations were counted anew");
        assert!(!finding(&[("one", told(9, "nine"))]).0, "generations were counted anew");
        assert!(finding(&[("one", told(9, "seven"))]).0, "generations were counted anew, with the same content");
        let refused = super::super::replicas::Refused { generation: Some(7), reason: "no table".to_owned() };
        let refusing = Told { refused: Some(refused), ..told(4, "four") };
        assert_eq!(finding(&[("one", refusing.clone())]), (false, "RefusedByReplica".to_owned()));
        let starts = Told { generation: None, digest: None, ..told(0, "") };
        assert!(finding(&[("one", told(7, "seven")), ("two", starts.clone())]).0, "one that starts does not serve anything yet");
        assert!(!finding(&[("one", told(4, "four")), ("two", starts.clone())]).0);
        assert_eq!(finding(&[("one", starts.clone())]), (false, "NoReplicas".to_owned()));
        let refuses_first = Told { generation: None, digest: None, ..refusing };
        assert_eq!(finding(&[("one", told(7, "seven")), ("two", refuses_first)]), (false, "RefusedByReplica".to_owned()));
    }

    #[test]
    fn what_can_not_be_read_is_told_once() {
        let metadata = ObjectMeta { name: Some("shop".to_owned()), generation: Some(3), ..ObjectMeta::default() };
        let told = |generation, status: &Value, reason: &str| {
            let metadata = ObjectMeta { generation: Some(generation), ..metadata.clone() };
            let resource = Unreadable { metadata, reason: reason.to_owned(), spec: Value::Null, status: status.clone() };
            unreadable("DataSource", &resource, "now").expect("it is told")
        };
        let first = told(3, &Value::Null, "unknown engine");
        assert!(first.is_news);
        assert!(!told(3, &first.status, "unknown engine").is_news);
        assert!(told(4, &first.status, "unknown engine").is_news);
        assert!(told(3, &first.status, "unknown mode").is_news);
        assert!(told(3, &json!({"conditions": "none"}), "unknown engine").is_news, "of a later version as well");
    }
}
