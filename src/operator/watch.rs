//! What the cluster has now: a reflector for each kind, which all parts share, and a word whenever anything changes.

use super::grant::ReferenceGrant;
use super::seen::{Seen, Unreadable};
use crate::manifest::{AccessPolicy, DataSource, Entity};
use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// What the cluster has. Cheap to clone.
#[derive(Clone)]
pub(super) struct World {
    sources: Stores<DataSource>,
    entities: Stores<Entity>,
    policies: Stores<AccessPolicy>,
    grants: Stores<ReferenceGrant>,
}

/// One for each namespace that is watched, or one for all of them.
type Stores<K> = Vec<Watched<K>>;

/// What one namespace has of a kind, or all of them have.
#[derive(Clone)]
struct Watched<K: Resource<DynamicType = ()> + 'static> {
    store: Store<Seen<K>>,
    /// Ends when the API server says that it has no such kind, or shows none there.
    refused: CancellationToken,
}

/// All of it at one moment, the oldest first.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) sources: Vec<Arc<DataSource>>,
    pub(super) entities: Vec<Arc<Entity>>,
    pub(super) policies: Vec<Arc<AccessPolicy>>,
    pub(super) grants: Vec<Arc<ReferenceGrant>>,
    /// What can't be read, with its kind.
    pub(super) unreadable: Vec<(&'static str, Unreadable)>,
}

impl World {
    /// Begins to watch, in some namespaces, or in all of them if none is named.
    pub(super) fn watch(client: &Client, namespaces: &[String], changed: &Arc<Notify>, tasks: &TaskTracker) -> Self {
        Self {
            sources: reflect(client, namespaces, changed, tasks),
            entities: reflect(client, namespaces, changed, tasks),
            policies: reflect(client, namespaces, changed, tasks),
            grants: reflect(client, namespaces, changed, tasks),
        }
    }

    /// Waits until everything has been told once: what a grant permits would be taken out before it is there. Our own kinds are
    /// waited for, however long that takes; not every cluster has the kind of the grants, and not every namespace shows them.
    pub(super) async fn is_known(&self) -> bool {
        let ours = is_known(&self.sources).await && is_known(&self.entities).await && is_known(&self.policies).await;
        if !ours {
            return false;
        }
        for grants in &self.grants {
            // What one namespace does not show says nothing of the others.
            let is_known = grants.refused.run_until_cancelled(grants.store.wait_until_ready()).await;
            if is_known.is_some_and(|known| known.is_err()) {
                return false;
            }
        }
        true
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut unreadable = Vec::new();
        Snapshot {
            sources: readable("DataSource", &self.sources, &mut unreadable),
            entities: readable("Entity", &self.entities, &mut unreadable),
            policies: readable("AccessPolicy", &self.policies, &mut unreadable),
            grants: readable("ReferenceGrant", &self.grants, &mut unreadable),
            unreadable,
        }
    }
}

async fn is_known<K: Resource<DynamicType = ()> + Clone>(stores: &Stores<K>) -> bool {
    for watched in stores {
        if watched.store.wait_until_ready().await.is_err() {
            return false;
        }
    }
    true
}

/// The oldest first: who came first keeps what two want.
fn readable<K>(kind: &'static str, stores: &Stores<K>, unreadable: &mut Vec<(&'static str, Unreadable)>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let mut resources = Vec::new();
    for seen in stores.iter().flat_map(|watched| watched.store.state()) {
        match &seen.0 {
            Ok(resource) => resources.push(Arc::new(resource.clone())),
            Err(error) => unreadable.push((kind, error.clone())),
        }
    }
    resources.sort_by_key(|resource| {
        let since = resource.creation_timestamp().map(|since| since.0);
        (since, resource.namespace(), resource.name_any())
    });
    resources
}

fn reflect<K>(client: &Client, namespaces: &[String], changed: &Arc<Notify>, tasks: &TaskTracker) -> Stores<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let apis: Vec<Api<Seen<K>>> = match namespaces {
        [] => vec![Api::all(client.clone())],
        some => some.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect(),
    };
    apis.into_iter().map(|api| reflect_one(api, Arc::clone(changed), tasks)).collect()
}

fn reflect_one<K>(api: Api<Seen<K>>, changed: Arc<Notify>, tasks: &TaskTracker) -> Watched<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let refused = CancellationToken::new();
    let watched = Watched { store, refused: refused.clone() };
    tasks.spawn(async move {
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().reflect(writer));
        let kind = K::kind(&());
        let mut told = false;
        while let Some(event) = events.next().await {
            if event.as_ref().is_err_and(is_refusal) {
                refused.cancel();
            }
            match event {
                // A list that begins need not come to its end.
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {
                    told = false;
                    changed.notify_one();
                }
                // A watch that ends is begun again, and one that can't begin is told of once.
                Err(error) if told => debug!(%kind, %error, "can't be watched"),
                Err(error) => {
                    told = true;
                    warn!(%kind, %error, "can't be watched; it is tried again");
                }
            }
        }
    });
    watched
}

/// Whether the API server has no such kind, or does not show it. It says so in words of its own where it has the group, and by the
/// code alone where it has not.
fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster;
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;
    use tokio::time::timeout;

    type Answer = Option<(u16, Value)>;

    /// Whether everything is known of a cluster that has nothing of ours, and that answers so for the grants.
    async fn is_known(grants: Answer, patience: Duration) -> bool {
        is_known_in(&[], move |_| grants.clone(), patience).await
    }

    /// The same in some namespaces, each of which answers by its address.
    async fn is_known_in(namespaces: &[&str], grants: impl Fn(&str) -> Answer + Send + 'static, patience: Duration) -> bool {
        let client = test_cluster::client(move |uri| match uri {
            watch if watch.contains("watch=") => None,
            list if list.contains("/referencegrants") => grants(list),
            _ => Some((200, nothing())),
        });
        let namespaces: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
        let world = World::watch(&client, &namespaces, &Arc::default(), &TaskTracker::new());
        timeout(patience, world.is_known()).await.unwrap_or(false)
    }

    fn refusal(code: u16, reason: &str) -> (u16, Value) {
        (code, json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason}))
    }

    fn nothing() -> Value {
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []})
    }

    #[tokio::test]
    async fn grants_are_waited_for_where_there_can_be_any() {
        let long = Duration::from_secs(10);
        assert!(is_known(Some((200, nothing())), long).await);
        assert!(is_known(Some(refusal(404, "NotFound")), long).await, "the kind is not installed");
        assert!(is_known(Some((404, json!("404 page not found"))), long).await, "nor is its group");
        assert!(is_known(Some(refusal(403, "Forbidden")), long).await, "nobody can agree to anything");
        let short = Duration::from_millis(300);
        assert!(!is_known(None, short).await, "they may be told yet");
        assert!(!is_known(Some(refusal(503, "ServiceUnavailable")), short).await, "they may be told yet");
    }

    #[tokio::test]
    async fn a_namespace_that_shows_no_grants_says_nothing_of_the_others() {
        let closed = |uri: &str| uri.contains("/namespaces/closed/");
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(10));
        for namespaces in [["closed", "open"], ["open", "closed"]] {
            let waiting = move |uri: &str| closed(uri).then(|| refusal(403, "Forbidden"));
            assert!(!is_known_in(&namespaces, waiting, short).await, "{namespaces:?}: those of the other may be told yet");
            let told = move |uri: &str| Some(if closed(uri) { refusal(403, "Forbidden") } else { (200, nothing()) });
            assert!(is_known_in(&namespaces, told, long).await, "{namespaces:?}");
        }
    }
}
