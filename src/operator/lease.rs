//! Who leads: one operator of several, by a Lease that it renews.
//!
//! A candidate counts a lease's time from when it saw it renewed, so that no two clocks are compared. Whoever leads stops in
//! good time before others may take over, and gives the lease back when it is told to end.

use k8s_openapi::api::coordination::v1::{Lease as Resource, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

/// How long a lease holds that is not renewed.
const LIFETIME: Duration = Duration::from_secs(10);
/// How long whoever leads goes on without a renewal that succeeded.
const PATIENCE: Duration = Duration::from_secs(7);
const RENEWAL: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
/// For one question to the API server.
const ANSWER: Duration = Duration::from_secs(3);

/// One candidate.
pub(super) struct Lease {
    api: Api<Resource>,
    name: String,
    identity: String,
    /// The version that was seen last, and since when.
    seen: Option<(String, Instant)>,
    /// When the latest renewal that has succeeded was begun: others count from later.
    renewed: Instant,
}

impl Lease {
    pub(super) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.to_owned(), identity: identity.to_owned(), seen: None, renewed: Instant::now() }
    }

    /// Waits until this candidate leads.
    pub(super) async fn acquired(&mut self) {
        info!(lease = self.name, identity = self.identity, "waiting to lead");
        loop {
            match self.attempt().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => warn!(error, "the lease can't be asked for yet"),
            }
            sleep(RETRY).await;
        }
        info!(lease = self.name, identity = self.identity, "leading");
    }

    /// Renews the lease until it is lost; whatever is being waited for then, it is over before others may take it.
    pub(super) async fn lost(&mut self) {
        loop {
            let last = self.renewed + PATIENCE;
            let renewal = async {
                sleep(RENEWAL).await;
                self.attempt().await
            };
            match timeout_at(last, renewal).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => break,
                Ok(Err(error)) => warn!(error, "the lease can't be renewed yet"),
            }
        }
        warn!(lease = self.name, "the lease is lost");
    }

    /// Gives the lease back, so that nobody waits for its end.
    pub(super) async fn release(&self) {
        let released = async {
            let Some(mut there) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let spec = there.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &PostParams::default(), &there).await.map(|_| ())
        };
        match timeout(ANSWER, released).await {
            Ok(Ok(())) => info!(lease = self.name, "the lease is given back"),
            Ok(Err::<(), kube::Error>(error)) => debug!(%error, "the lease stays until it ends by itself"),
            Err(_) => debug!("the API server does not answer, and the lease stays until it ends by itself"),
        }
    }

    /// Takes or renews the lease, if it may be.
    async fn attempt(&mut self) -> Result<bool, String> {
        let began = Instant::now();
        match timeout(ANSWER, self.take()).await {
            Ok(Ok(taken)) => {
                if taken {
                    self.renewed = began;
                }
                Ok(taken)
            }
            // Somebody else was quicker.
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the API server does not answer".to_owned()),
        }
    }

    async fn take(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut there) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let spec = LeaseSpec { acquire_time: Some(now.clone()), ..self.held(now, 0) };
            self.api.create(&PostParams::default(), &Resource { metadata, spec: Some(spec) }).await?;
            return Ok(true);
        };
        let version = there.metadata.resource_version.clone().unwrap_or_default();
        let before = there.spec.take().unwrap_or_default();
        let holder = before.holder_identity.as_deref().unwrap_or_default();
        let is_ours = holder == self.identity;
        let (seen, since) = self.seen.get_or_insert_with(|| (version.clone(), Instant::now()));
        if *seen != version {
            (*seen, *since) = (version, Instant::now());
        }
        let lifetime = before.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let is_over = since.elapsed() >= lifetime.map_or(LIFETIME, Duration::from_secs);
        if !holder.is_empty() && !is_ours && !is_over {
            return Ok(false);
        }
        let transitions = before.lease_transitions.unwrap_or(0);
        there.spec = Some(if is_ours {
            LeaseSpec { acquire_time: before.acquire_time, ..self.held(now, transitions) }
        } else {
            LeaseSpec { acquire_time: Some(now.clone()), ..self.held(now, transitions + 1) }
        });
        self.api.replace(&self.name, &PostParams::default(), &there).await?;
        Ok(true)
    }

    fn held(&self, now: MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LIFETIME.as_secs()).ok(),
            lease_transitions: Some(transitions),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster;
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn whoever_leads_stops_before_its_lease_ends() {
        // It takes the lease, and then the API server says nothing more.
        let asked = AtomicUsize::new(0);
        let client = test_cluster::client(move |_| {
            let metadata = json!({"name": "lead", "namespace": "apps", "resourceVersion": "1"});
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}});
            (asked.fetch_add(1, Ordering::Relaxed) < 2).then_some((200, lease))
        });
        let mut lease = Lease::new(client, "apps", "lead", "one");
        lease.acquired().await;
        // As if the renewals since had failed: the next question would have its answer when others lead already.
        let ago = PATIENCE.saturating_sub(RENEWAL + Duration::from_millis(500));
        lease.renewed = lease.renewed.checked_sub(ago).expect("a time");
        let renewed = lease.renewed;
        lease.lost().await;
        let held = renewed.elapsed();
        assert!((PATIENCE..LIFETIME).contains(&held), "{held:?}");
        assert!(held < PATIENCE + Duration::from_secs(1), "{held:?}");
    }
}
