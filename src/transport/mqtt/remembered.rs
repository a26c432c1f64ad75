//! Whom brokers have let in as which client, for as long as their tokens are good; shared by all replicas.
//!
//! Every replica follows the bucket and so has all of it at hand, which can be late: another replica may have let a client in
//! just now. So `find` asks of a client that was not heard of, and `ask` is for where somebody else may have been let in meanwhile.
//! As long as no client of a broker was heard of, nothing is asked, or every request of a broker that does not ask us would need
//! NATS. So the very first client that a broker asks about can be nobody at another replica until that has heard of it.

use super::identity::same;
use crate::auth::Principal;
use crate::store::{Bucket, Entry, Error, Told};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clients and who they are. Cheap to clone.
#[derive(Clone)]
pub(super) struct Remembered(Arc<Inner>);

struct Inner {
    bucket: Arc<dyn Bucket>,
    /// Whether a client's name begins with its broker's.
    several: bool,
    /// Clients, with the revisions by which they are known: what is told late is not news.
    known: RwLock<HashMap<String, (u64, Principal)>>,
    /// The brokers that have ever asked us. Of the clients of others there is nothing to look up.
    asking: RwLock<HashSet<String>>,
    /// Whether all was told that there is. Before, nobody knows whether a broker has asked.
    is_current: AtomicBool,
}

/// A principal as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    subject: Option<String>,
    roles: Vec<String>,
    claims: Map<String, Value>,
    expires_at: Option<u64>,
}

const PAUSE: Duration = Duration::from_secs(1);
/// How many times a client that changes under our hands is looked at again.
const ATTEMPTS: usize = 10;

impl Remembered {
    /// Of the clients of one broker, or of several, whose names stand before their clients' then.
    pub(super) fn new(bucket: Arc<dyn Bucket>, several: bool) -> Self {
        let is_current = AtomicBool::new(false);
        Self(Arc::new(Inner { bucket, several, known: RwLock::default(), asking: RwLock::default(), is_current }))
    }

    /// Follows what other replicas remember; never ends.
    pub(super) async fn follow(&self) {
        loop {
            match self.0.bucket.watch().await {
                Ok(mut told) => {
                    let mut fresh = HashSet::new();
                    while let Some(told) = told.next().await {
                        self.hear(told, &mut fresh);
                    }
                }
                Err(error) => tracing::warn!(%error, "the clients of brokers can't be followed; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn hear(&self, told: Told, fresh: &mut HashSet<String>) {
        match told {
            Told::Beginning => {
                self.0.is_current.store(false, Ordering::Relaxed);
                // A bucket that was lost and made anew counts from one again.
                self.known_by_all().values_mut().for_each(|(revision, _)| *revision = 0);
                fresh.clear();
            }
            Told::Put(entry) => {
                fresh.insert(entry.key.clone());
                self.know(&entry, None);
            }
            Told::Removed { key } => {
                self.known_by_all().remove(&key);
            }
            Told::Current => {
                self.known_by_all().retain(|client, _| fresh.contains(client));
                self.0.is_current.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Takes note of a client. What is known by a higher revision is newer, unless that is `before`: the one that was known before
    /// the bucket was asked, which can be of a bucket that was lost.
    fn know(&self, entry: &Entry, before: Option<u64>) {
        let broker = self.broker_of(&entry.key);
        if !self.asks(broker) {
            self.0.asking.write().unwrap_or_else(PoisonError::into_inner).insert(broker.to_owned());
        }
        let Some(principal) = read(&entry.value) else {
            tracing::error!("a client of a broker is kept in a form that can't be read");
            return;
        };
        let mut known = self.known_by_all();
        if known.get(&entry.key).is_none_or(|(revision, _)| *revision <= entry.revision || Some(*revision) == before) {
            known.insert(entry.key.clone(), (entry.revision, principal));
        }
    }

    fn broker_of<'a>(&self, client: &'a str) -> &'a str {
        let named = client.split_once(' ').filter(|_| self.0.several);
        named.map_or("", |(broker, _)| broker)
    }

    fn asks(&self, broker: &str) -> bool {
        self.0.asking.read().unwrap_or_else(PoisonError::into_inner).contains(broker)
    }

    fn known_by_all(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, (u64, Principal)>> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who a client is, as far as it is known here.
    pub(super) fn known(&self, client: &str) -> Option<Principal> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(client).map(|(_, principal)| principal).filter(|principal| lives(principal)).cloned()
    }

    /// Whether a client is this caller, as far as it is known here.
    pub(super) fn is_known_as(&self, client: &str, principal: &Principal) -> bool {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(client).is_some_and(|(_, known)| lives(known) && same(known, principal))
    }

    /// Who a client is, where nobody else gets in under its name while it is known.
    pub(super) async fn find(&self, client: &str) -> Result<Option<Principal>, Error> {
        match self.known(client) {
            Some(principal) => Ok(Some(principal)),
            None => self.ask(client).await,
        }
    }

    /// Who a client is at this moment, whatever is known here.
    pub(super) async fn ask(&self, client: &str) -> Result<Option<Principal>, Error> {
        if self.0.is_current.load(Ordering::Relaxed) && !self.asks(self.broker_of(client)) {
            return Ok(None);
        }
        let entry = self.0.bucket.get(client).await?;
        Ok(entry.and_then(|entry| read(&entry.value)).filter(lives))
    }

    /// Remembers who a client is, unless it is somebody else by now and the newcomer has not proven that it is theirs.
    pub(super) async fn remember(&self, client: &str, principal: &Principal, proven: bool) -> Result<bool, Error> {
        let kept = Kept {
            subject: principal.subject.clone(),
            roles: principal.roles.clone(),
            claims: principal.claims.clone(),
            expires_at: principal.expires_at,
        };
        let value = serde_json::to_vec(&kept).map_err(|error| Error::Unusable(error.to_string()))?;
        let lifetime = principal.expires_at.map(|end| Duration::from_secs(end.saturating_sub(now()).max(1)));
        let value = Bytes::from(value);
        for _ in 0..ATTEMPTS {
            let before = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(client).map(|(revision, _)| *revision);
            let entry = self.0.bucket.get(client).await?;
            let earlier = entry.as_ref().and_then(|entry| read(&entry.value)).filter(lives);
            if !proven && earlier.is_some_and(|earlier| !same(&earlier, principal)) {
                return Ok(false);
            }
            let revision = entry.map(|entry| entry.revision);
            if let Some(revision) = self.0.bucket.replace(client, value.clone(), revision, lifetime).await? {
                self.know(&Entry { key: client.to_owned(), value, revision }, before);
                return Ok(true);
            }
            // Another replica is asked about the same client at the same time, maybe because it connects again: who it let in counts.
        }
        Err(Error::Unavailable(format!("who the client '{client}' is, is written by others again and again")))
    }
}

fn read(bytes: &[u8]) -> Option<Principal> {
    let Kept { subject, roles, claims, expires_at } = serde_json::from_slice(bytes).ok()?;
    Some(Principal { subject, roles, claims, expires_at })
}

fn lives(principal: &Principal) -> bool {
    principal.expires_at.is_none_or(|end| now() < end)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Busy, MemoryBucket};

    fn named(name: &str) -> Principal {
        Principal { subject: Some(name.to_owned()), ..Principal::anonymous() }
    }

    fn name(found: Option<Principal>) -> Option<String> {
        found.and_then(|found| found.subject)
    }

    #[tokio::test]
    async fn a_replica_that_was_told_nothing_yet_asks() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        assert!(Remembered::new(Arc::clone(&bucket), false).remember("dev", &named("ann"), false).await.unwrap());
        let other = Remembered::new(bucket, false);
        assert!(other.known("dev").is_none());
        assert_eq!(name(other.find("dev").await.unwrap()).as_deref(), Some("ann"));
        assert!(other.find("nobody").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_has_taken_a_client_over_is_known_by_asking_and_what_is_told_late_is_no_news() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let (here, there) = (Remembered::new(Arc::clone(&bucket), false), Remembered::new(Arc::clone(&bucket), false));
        assert!(here.remember("dev", &named("ann"), true).await.unwrap());
        let late = bucket.get("dev").await.unwrap().unwrap();
        assert!(there.remember("dev", &named("bob"), true).await.unwrap());
        assert_eq!(name(here.find("dev").await.unwrap()).as_deref(), Some("ann"), "here it is not told yet");
        assert_eq!(name(here.ask("dev").await.unwrap()).as_deref(), Some("bob"));
        there.hear(Told::Put(late), &mut HashSet::new());
        assert_eq!(name(there.known("dev")).as_deref(), Some("bob"));
    }

    #[tokio::test]
    async fn a_bucket_that_was_lost_and_made_anew_is_heard() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let here = Remembered::new(Arc::clone(&bucket), false);
        for _ in 0..5 {
            assert!(here.remember("dev", &named("ann"), true).await.unwrap());
        }
        let anew: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        assert!(Remembered::new(Arc::clone(&anew), false).remember("dev", &named("bob"), true).await.unwrap());
        let first = anew.get("dev").await.unwrap().unwrap();
        let mut fresh = HashSet::new();
        here.hear(Told::Put(Entry { ..first.clone() }), &mut fresh);
        assert_eq!(name(here.known("dev")).as_deref(), Some("ann"), "in one bucket it would be late");
        here.hear(Told::Beginning, &mut fresh);
        here.hear(Told::Put(first), &mut fresh);
        assert_eq!(name(here.known("dev")).as_deref(), Some("bob"));
    }

    #[tokio::test]
    async fn two_replicas_that_are_asked_at_once_let_the_same_client_in_and_nobody_else() {
        for (quicker, let_in) in [("ann", true), ("bob", false)] {
            let elsewhere: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
            assert!(Remembered::new(Arc::clone(&elsewhere), false).remember("dev", &named(quicker), true).await.unwrap());
            let written = elsewhere.get("dev").await.unwrap().unwrap().value;
            let bucket = Busy::default();
            *bucket.then.lock().unwrap() = Some(("dev".to_owned(), written));
            let here = Remembered::new(Arc::new(bucket), false);
            assert_eq!(here.remember("dev", &named("ann"), false).await.unwrap(), let_in, "{quicker}");
            assert_eq!(name(here.ask("dev").await.unwrap()).as_deref(), Some(quicker));
        }
    }

    #[tokio::test]
    async fn of_the_clients_of_a_broker_that_does_not_ask_nothing_is_looked_up() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let here = Remembered::new(Arc::clone(&bucket), true);
        here.hear(Told::Current, &mut HashSet::new());
        assert!(here.remember("one:1883 dev", &named("ann"), false).await.unwrap());
        let there = Remembered::new(bucket, true);
        assert!(there.remember("one:1883 other", &named("bob"), false).await.unwrap());
        assert!(there.remember("two:1883 other", &named("bob"), false).await.unwrap());
        assert_eq!(name(here.ask("one:1883 other").await.unwrap()).as_deref(), Some("bob"));
        assert!(here.ask("two:1883 other").await.unwrap().is_none());
    }
}
