//! The replicas that live, as they tell of themselves in NATS: what they serve, what they refuse, which URLs they were handed.

use crate::generation::ANNOUNCEMENT_LIFETIME;
use crate::store::{Bucket, Told as Step};
use futures_util::StreamExt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
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
    let mut following = Following::default();
    loop {
        match bucket.watch().await {
            Ok(mut steps) => loop {
                let is_news = tokio::select! {
                    step = steps.next() => match step {
                        Some(step) => following.take(step, &replicas, Instant::now()),
                        None => break,
                    },
                    () = following.overdue() => following.give_up(&replicas, Instant::now()),
                };
                if is_news {
                    changed.notify_one();
                }
            },
            Err(error) => warn!(%error, "the replicas can't be followed yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is known between two steps.
#[derive(Default)]
struct Following {
    /// What a listing that is not complete has told until now.
    listing: Option<Listing>,
    /// Replicas that the latest listing lacks, and until when they are believed all the same: a NATS that has lost what it had
    /// has them when they tell again, which those that live do by then.
    missing: BTreeMap<String, Instant>,
}

#[derive(Default)]
struct Listing {
    replicas: Replicas,
    /// Of these it is told that they are gone.
    gone: BTreeSet<String>,
}

impl Following {
    /// Takes note of a step; whether it is news.
    fn take(&mut self, step: Step, replicas: &watch::Sender<Replicas>, now: Instant) -> bool {
        match step {
            Step::Beginning => self.listing = Some(Listing::default()),
            Step::Put(entry) => {
                let told: Told = match serde_json::from_slice(&entry.value) {
                    Ok(told) => told,
                    Err(error) => {
                        debug!(replica = entry.key, %error, "what a replica tells can't be understood");
                        return false;
                    }
                };
                if let Some(listing) = &mut self.listing {
                    listing.gone.remove(&entry.key);
                    listing.replicas.insert(entry.key, told);
                    return false;
                }
                self.missing.remove(&entry.key);
                return replicas.send_if_modified(|replicas| replicas.insert(entry.key, told.clone()) != Some(told));
            }
            Step::Removed { key } => {
                if let Some(listing) = &mut self.listing {
                    listing.replicas.remove(&key);
                    listing.gone.insert(key);
                    return false;
                }
                self.missing.remove(&key);
                return replicas.send_if_modified(|replicas| replicas.remove(&key).is_some());
            }
            Step::Current => {
                let listing = self.listing.take().unwrap_or_default();
                return self.replace(listing, replicas, now);
            }
        }
        false
    }

    /// Takes a listing for what there is, but for replicas that it lacks without a word.
    fn replace(&mut self, listing: Listing, replicas: &watch::Sender<Replicas>, now: Instant) -> bool {
        let Listing { replicas: mut listed, gone } = listing;
        self.missing.retain(|replica, _| !listed.contains_key(replica) && !gone.contains(replica));
        let mut known = replicas.borrow().clone();
        known.retain(|replica, _| !listed.contains_key(replica) && !gone.contains(replica));
        for replica in known.keys() {
            self.missing.entry(replica.clone()).or_insert(now + ANNOUNCEMENT_LIFETIME);
        }
        listed.extend(known);
        replicas.send_if_modified(|replicas| std::mem::replace(replicas, listed.clone()) != listed)
    }

    /// Waits until a replica has been believed for long enough.
    async fn overdue(&self) {
        match self.missing.values().min() {
            Some(until) => sleep_until(*until).await,
            None => std::future::pending().await,
        }
    }

    /// Believes no more in those that have not told again by now; whether there are any.
    fn give_up(&mut self, replicas: &watch::Sender<Replicas>, now: Instant) -> bool {
        let overdue: Vec<String> =
            self.missing.iter().filter(|(_, until)| **until <= now).map(|(replica, _)| replica.clone()).collect();
        self.missing.retain(|replica, _| !overdue.contains(replica));
        replicas.send_if_modified(|replicas| {
            let before = replicas.len();
            replicas.retain(|replica, _| !overdue.contains(replica));
            replicas.len() != before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    #[test]
    fn what_an_older_replica_does_not_say_is_not_known() {
        let prefix = |told: &str| serde_json::from_str::<Told>(told).expect("it is understood").mqtt_prefix;
        assert_eq!(prefix(r#"{"generation": 7}"#), MqttPrefix::Untold);
        assert_eq!(prefix(r#"{"generation": 7, "mqtt_prefix": null}"#), MqttPrefix::Without);
        assert_eq!(prefix(r#"{"generation": 7, "mqtt_prefix": "shop"}"#), MqttPrefix::With("shop".to_owned()));
    }

    /// What is believed, and what of it is news.
    struct Believed {
        following: Following,
        replicas: watch::Sender<Replicas>,
        now: Instant,
    }

    impl Believed {
        fn told(&mut self, step: Step) -> bool {
            self.following.take(step, &self.replicas, self.now)
        }

        fn put(&mut self, replica: &str, generation: u64) -> bool {
            let value = serde_json::json!({"generation": generation}).to_string().into();
            self.told(Step::Put(Entry { key: replica.to_owned(), value, revision: 1 }))
        }

        /// A whole listing.
        fn listed(&mut self, all: &[&str]) -> bool {
            self.told(Step::Beginning);
            assert!(!all.iter().any(|replica| self.put(replica, 1)), "it is not complete");
            self.told(Step::Current)
        }

        fn all(&self) -> Vec<String> {
            self.replicas.borrow().keys().cloned().collect()
        }

        fn later(&mut self, passed: Duration) -> bool {
            self.now += passed;
            self.following.give_up(&self.replicas, self.now)
        }
    }

    fn believed(all: &[&str]) -> Believed {
        let replicas = watch::Sender::new(Replicas::new());
        let mut believed = Believed { following: Following::default(), replicas, now: Instant::now() };
        assert!(believed.listed(all), "it is news");
        believed
    }

    #[tokio::test]
    async fn who_is_missing_from_a_new_listing_is_believed_for_a_while() {
        let mut believed = believed(&["one", "two"]);
        assert!(!believed.listed(&[]), "NATS has lost everything, and nobody has gone");
        assert_eq!(believed.all(), ["one", "two"]);
        assert!(!believed.later(ANNOUNCEMENT_LIFETIME / 2));
        assert!(!believed.put("one", 1), "it says what it said");
        // Another connection that is lost makes nobody live longer.
        assert!(!believed.listed(&["one"]));
        assert!(believed.later(ANNOUNCEMENT_LIFETIME / 2));
        assert_eq!(believed.all(), ["one"]);
        assert!(!believed.later(ANNOUNCEMENT_LIFETIME));
    }

    #[tokio::test]
    async fn who_has_told_that_it_goes_is_believed() {
        let mut believed = believed(&["one", "two", "three"]);
        assert!(believed.told(Step::Removed { key: "one".to_owned() }));
        believed.told(Step::Beginning);
        believed.told(Step::Removed { key: "two".to_owned() });
        assert!(believed.told(Step::Current));
        assert_eq!(believed.all(), ["three"]);
        assert!(believed.told(Step::Removed { key: "three".to_owned() }));
        assert!(believed.all().is_empty() && !believed.later(ANNOUNCEMENT_LIFETIME));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_waited_for_as_long_as_somebody_is_missing() {
        let mut believed = believed(&["one"]);
        believed.listed(&[]);
        let since = Instant::now();
        believed.following.overdue().await;
        assert_eq!(since.elapsed().as_secs(), ANNOUNCEMENT_LIFETIME.as_secs());
    }
}
