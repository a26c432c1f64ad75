//! Lets DataSources go where no operator is there any more: takes the finalizer off, and tells of each that what captures its
//! changes is left in its database.
//!
//! It reaches no database and needs no NATS. Whoever deletes a DataSource while an operator works has its capture undone, and does
//! not need this.

use super::finalizer::{self, Removal};
use super::{Cluster, FIELD_MANAGER};
use crate::manifest::DataSource;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ListParams, PartialObjectMeta};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Resource};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;
use tracing::warn;

/// How often it is looked whether all are let go: one that has changed meanwhile is tried again.
const ROUNDS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

const LEFT_BEHIND: &str = "the operator is gone, and what captures changes is left in the database; an operator that is installed \
                           again goes on with it, and `resolvespec capture remove` removes it";

const STILL_HELD: &str = "the finalizer comes back again and again: an operator works there still, and undoes what captures changes \
                          itself";

/// Whose DataSources are let go.
#[derive(Debug)]
pub enum Place {
    /// Those of these namespaces; of the one that whoever asks is in if none is named.
    In(Vec<String>),
    /// All.
    Everywhere,
}

/// A DataSource, as namespace and name.
type Named = (String, String);

/// What came of it.
#[derive(Debug, Default)]
pub struct Released {
    /// Those that were let go.
    pub sources: BTreeSet<Named>,
    /// Why others were not.
    pub faults: Vec<String>,
}

/// Takes the finalizer off DataSources. One that is refused, or a namespace that can't be looked at, keeps no other.
pub async fn release(cluster: &Cluster, place: Place) -> Released {
    let client = || cluster.client.clone();
    let mut apis: Vec<(String, Api<DataSource>)> = match place {
        Place::Everywhere => vec![("of the cluster".to_owned(), Api::all(client()))],
        Place::In(mut namespaces) => {
            if namespaces.is_empty() {
                namespaces.push(client().default_namespace().to_owned());
            }
            let api = |one: &String| (format!("of the namespace '{one}'"), Api::namespaced(client(), one));
            namespaces.iter().map(api).collect()
        }
    };
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
    let recorder = Recorder::new(cluster.client.clone(), reporter);
    let mut released = Released::default();
    let mut refused: BTreeSet<Named> = BTreeSet::new();
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(PAUSE).await;
        }
        let mut kept = Vec::new();
        let mut readable = Vec::new();
        for (place, api) in apis {
            match kept_in(&api).await {
                Ok(sources) => {
                    kept.extend(sources);
                    readable.push((place, api));
                }
                Err(error) => released.faults.push(format!("the DataSources {place} can't be listed: {error}")),
            }
        }
        apis = readable;
        kept.retain(|source| !refused.contains(&named(source)));
        if kept.is_empty() {
            return released;
        }
        for source in kept {
            let named = named(&source);
            match finalizer::remove(&cluster.client, source.meta()).await {
                Ok(Removal::Removed) => {
                    if released.sources.insert(named) {
                        tell(&recorder, &source).await;
                    }
                }
                // Whether it is held still is seen in the next round.
                Ok(Removal::Gone | Removal::Conflict) => {}
                Err(error) => {
                    let (namespace, name) = &named;
                    released.faults.push(format!("the DataSource {namespace}/{name} can't be let go: {error}"));
                    refused.insert(named);
                }
            }
        }
    }
    released.faults.push(STILL_HELD.to_owned());
    released
}

fn named(source: &PartialObjectMeta<DataSource>) -> Named {
    (source.metadata.namespace.clone().unwrap_or_default(), source.metadata.name.clone().unwrap_or_default())
}

/// Those of a namespace that are kept. A cluster that has no such kind has none of it.
async fn kept_in(api: &Api<DataSource>) -> Result<Vec<PartialObjectMeta<DataSource>>, kube::Error> {
    match api.list_metadata(&ListParams::default()).await {
        Ok(list) => Ok(list.items.into_iter().filter(|source| finalizer::keeps(source.meta())).collect()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Says what is left. That it can't be said keeps nothing: a namespace that is being deleted takes no event.
async fn tell(recorder: &Recorder, source: &PartialObjectMeta<DataSource>) {
    let reference = ObjectReference {
        api_version: Some(DataSource::api_version(&()).into_owned()),
        kind: Some(DataSource::kind(&()).into_owned()),
        name: source.metadata.name.clone(),
        namespace: source.metadata.namespace.clone(),
        uid: source.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: "CaptureLeftBehind".to_owned(),
        note: Some(LEFT_BEHIND.to_owned()),
        action: "Release".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &reference).await {
        warn!(name = reference.name, %error, "an event can't be written");
    }
}
