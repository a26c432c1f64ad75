//! Writes statuses and events: what has changed, once.

use super::FIELD_MANAGER;
use super::condition::transitions;
use super::status::Said;
use crate::telemetry::OperatorMetrics;
use futures_util::StreamExt;
use futures_util::stream;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tracing::{debug, warn};

const AT_ONCE: usize = 16;
/// The API server takes a kibibyte.
const NOTE_BYTES: usize = 1000;

/// Writes what resources are told.
pub(super) struct Teller {
    client: Client,
    recorder: Recorder,
    metrics: OperatorMetrics,
    /// What was written over which version of a resource, by its uid: the watch tells later that it was.
    written: Mutex<HashMap<String, (String, Value)>>,
}

impl Teller {
    pub(super) fn new(client: Client, identity: &str, metrics: OperatorMetrics) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client.clone(), reporter), client, metrics, written: Mutex::default() }
    }

    /// Writes what is news; how many could not be written.
    pub(super) async fn tell(&self, all: Vec<Said>) -> usize {
        self.forget_others(&all);
        let news = all.into_iter().filter(|said| said.is_news && !self.is_written(said));
        let outcomes = stream::iter(news).map(|said| async move { self.tell_one(&said).await }).buffer_unordered(AT_ONCE);
        outcomes.filter(|written| std::future::ready(!written)).count().await
    }

    async fn tell_one(&self, said: &Said) -> bool {
        let reference = &said.reference;
        let (Some(name), Some(kind)) = (&reference.name, &reference.kind) else { return true };
        let patch = json!({
            "apiVersion": reference.api_version,
            "kind": kind,
            // With its uid, so that one that was deleted meanwhile is not made again.
            "metadata": {"name": name, "namespace": reference.namespace, "uid": reference.uid},
            "status": said.status,
        });
        let api = api(&self.client, reference);
        match api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(_) => {
                self.metrics.written(kind);
                self.remember(said);
                self.event(said).await;
                true
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                debug!(kind, name, "it was deleted or made anew meanwhile");
                true
            }
            Err(error) => {
                warn!(kind, name, %error, "a status can't be written yet");
                false
            }
        }
    }

    async fn event(&self, said: &Said) {
        let is_source = said.reference.kind.as_deref() == Some("DataSource");
        for transition in transitions(is_source, &said.before, &said.after) {
            let type_ = if transition.is_good { EventType::Normal } else { EventType::Warning };
            self.publish(&said.reference, type_, &transition.reason, &transition.message).await;
        }
    }

    /// Tells of something that is no condition.
    pub(super) async fn warn(&self, reference: &ObjectReference, reason: &str, message: &str) {
        self.publish(reference, EventType::Warning, reason, message).await;
    }

    async fn publish(&self, reference: &ObjectReference, type_: EventType, reason: &str, message: &str) {
        let note = Some(message[..message.floor_char_boundary(NOTE_BYTES)].to_owned());
        let event = Event { type_, reason: reason.to_owned(), note, action: "Reconcile".to_owned(), secondary: None };
        // An event of another version of the resource would be another event and not the same once more.
        let reference = ObjectReference { resource_version: None, ..reference.clone() };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            warn!(name = reference.name, reason, %error, "an event can't be written");
        }
    }

    fn is_written(&self, said: &Said) -> bool {
        let (Some(uid), version) = (&said.reference.uid, said.reference.resource_version.clone().unwrap_or_default()) else {
            return false;
        };
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(uid).is_some_and(|(over, status)| *over == version && is_same(status, &said.status))
    }

    fn remember(&self, said: &Said) {
        if let (Some(uid), Some(version)) = (&said.reference.uid, &said.reference.resource_version) {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert(uid.clone(), (version.clone(), said.status.clone()));
        }
    }

    fn forget_others(&self, all: &[Said]) {
        let there: std::collections::HashSet<&String> = all.iter().filter_map(|said| said.reference.uid.as_ref()).collect();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| there.contains(uid));
    }
}

/// The interface to the namespace and kind of a resource.
pub(super) fn api(client: &Client, reference: &ObjectReference) -> Api<DynamicObject> {
    let version = reference.api_version.as_deref().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = reference.kind.as_deref().unwrap_or_default();
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let resource = match kind {
        "Entity" => ApiResource::from_gvk_with_plural(&gvk, "entities"),
        "AccessPolicy" => ApiResource::from_gvk_with_plural(&gvk, "accesspolicies"),
        _ => ApiResource::from_gvk(&gvk),
    };
    Api::namespaced_with(client.clone(), reference.namespace.as_deref().unwrap_or_default(), &resource)
}

/// Whether two statuses are the same but for times.
fn is_same(one: &Value, other: &Value) -> bool {
    let timeless = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        status
    };
    timeless(one) == timeless(other)
}
