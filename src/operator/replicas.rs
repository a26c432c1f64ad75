//! The replicas that live, as they tell of themselves in NATS: what they serve, what they refuse, which URLs they were handed.

use crate::store::{Bucket, Told as Step};
use futures_util::StreamExt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

const PAUSE: Duration = Duration::from_secs(1);

/// What one replica tells.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Told {
    /// The generation that it serves.
    pub(super) generation: Option<u64>,
    pub(super) digest: Option<String>,
    pub(super) refused: Option<Refused>,
    /// The files with URLs of databases that it can read.
    #[serde(default)]
    pub(super) databases: BTreeSet<String>,
    /// What the topics of MQTT begin with.
    #[serde(default)]
    pub(super) mqtt_prefix: MqttPrefix,
}

/// What the topics of a replica begin with.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<String>")]
pub(super) enum MqttPrefix {
    /// It does not say: it is of a version that did not tell.
    #[default]
    Untold,
    /// It does not serve MQTT.
    Without,
    With(String),
}

impl From<Option<String>> for MqttPrefix {
    fn from(told: Option<String>) -> Self {
        told.map_or(Self::Without, Self::With)
    }
}

/// A generation that a replica can't serve.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Refused {
    pub(super) generation: Option<u64>,
    pub(super) reason: String,
}

/// The replicas that live, by name.
pub(super) type Replicas = BTreeMap<String, Told>;

/// Follows the bucket of the replicas; it has no end.
pub(super) async fn follow(bucket: Arc<dyn Bucket>, replicas: watch::Sender<Replicas>, changed: Arc<Notify>) {
    loop {
        match bucket.watch().await {
            Ok(mut steps) => {
                let mut listing: Option<Replicas> = None;
                while let Some(step) = steps.next().await {
                    if take(step, &mut listing, &replicas) {
                        changed.notify_one();
                    }
                }
            }
            Err(error) => warn!(%error, "the replicas can't be followed yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes note of a step; whether it is news.
fn take(step: Step, listing: &mut Option<Replicas>, replicas: &watch::Sender<Replicas>) -> bool {
    match step {
        Step::Beginning => *listing = Some(Replicas::new()),
        Step::Put(entry) => {
            let told: Told = match serde_json::from_slice(&entry.value) {
                Ok(told) => told,
                Err(error) => {
                    debug!(replica = entry.key, %error, "what a replica tells can't be understood");
                    return false;
                }
            };
            if let Some(listing) = listing {
                listing.insert(entry.key, told);
                return false;
            }
            return replicas.send_if_modified(|replicas| replicas.insert(entry.key, told.clone()) != Some(told));
        }
        Step::Removed { key } => match listing {
            Some(listing) => _ = listing.remove(&key),
            None => return replicas.send_if_modified(|replicas| replicas.remove(&key).is_some()),
        },
        Step::Current => {
            let listed = listing.take().unwrap_or_default();
            return replicas.send_if_modified(|replicas| std::mem::replace(replicas, listed.clone()) != listed);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_replica_does_not_say_is_not_known() {
        let prefix = |told: &str| serde_json::from_str::<Told>(told).expect("it is understood").mqtt_prefix;
        assert_eq!(prefix(r#"{"generation": 7}"#), MqttPrefix::Untold);
        assert_eq!(prefix(r#"{"generation": 7, "mqtt_prefix": null}"#), MqttPrefix::Without);
        assert_eq!(prefix(r#"{"generation": 7, "mqtt_prefix": "shop"}"#), MqttPrefix::With("shop".to_owned()));
    }
}
