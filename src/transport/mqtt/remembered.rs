//! Whom brokers have let in as which client, for as long as their tokens are good; shared by all replicas.
//!
//! Every replica follows the bucket and so has all of it at hand. Only of a client that it has not heard of does it ask,
//! since another replica may have let it in just now.

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
    known: RwLock<HashMap<String, Principal>>,
    /// Whether a broker has ever asked us. If none does, there is nothing to look up.
    used: AtomicBool,
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

impl Remembered {
    pub(super) fn new(bucket: Arc<dyn Bucket>) -> Self {
        let (used, is_current) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { bucket, known: RwLock::default(), used, is_current }))
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
                fresh.clear();
            }
            Told::Put(entry) => {
                fresh.insert(entry.key.clone());
                self.know(&entry);
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

    fn know(&self, entry: &Entry) {
        self.0.used.store(true, Ordering::Relaxed);
        if let Some(principal) = read(&entry.value) {
            self.known_by_all().insert(entry.key.clone(), principal);
        } else {
            tracing::error!("a client of a broker is kept in a form that can't be read");
        }
    }

    fn known_by_all(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Principal>> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who a client is, as far as it is known here.
    pub(super) fn known(&self, client: &str) -> Option<Principal> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(client).filter(|principal| lives(principal)).cloned()
    }

    /// Who a client is.
    pub(super) async fn find(&self, client: &str) -> Result<Option<Principal>, Error> {
        if let Some(principal) = self.known(client) {
            return Ok(Some(principal));
        }
        if self.0.is_current.load(Ordering::Relaxed) && !self.0.used.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let entry = self.0.bucket.get(client).await?;
        Ok(entry.and_then(|entry| read(&entry.value)).filter(lives))
    }

    /// Remembers who a client is, unless it is somebody else by now and the newcomer has not proven that it is theirs.
    pub(super) async fn remember(&self, client: &str, principal: &Principal, proven: bool) -> Result<bool, Error> {
        let entry = self.0.bucket.get(client).await?;
        let earlier = entry.as_ref().and_then(|entry| read(&entry.value)).filter(lives);
        if !proven && earlier.is_some_and(|earlier| !same(&earlier, principal)) {
            return Ok(false);
        }
        let kept = Kept {
            subject: principal.subject.clone(),
            roles: principal.roles.clone(),
            claims: principal.claims.clone(),
            expires_at: principal.expires_at,
        };
        let value = serde_json::to_vec(&kept).map_err(|error| Error::Unusable(error.to_string()))?;
        let lifetime = principal.expires_at.map(|end| Duration::from_secs(end.saturating_sub(now()).max(1)));
        let revision = entry.map(|entry| entry.revision);
        let kept = self.0.bucket.replace(client, Bytes::from(value.clone()), revision, lifetime).await?;
        if let Some(revision) = kept {
            self.know(&Entry { key: client.to_owned(), value: value.into(), revision });
        }
        Ok(kept.is_some())
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
    use crate::store::MemoryBucket;

    #[tokio::test]
    async fn a_replica_that_was_told_nothing_yet_asks() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let ann = Principal { subject: Some("ann".to_owned()), ..Principal::anonymous() };
        assert!(Remembered::new(Arc::clone(&bucket)).remember("dev", &ann, false).await.unwrap());
        let other = Remembered::new(bucket);
        assert!(other.known("dev").is_none());
        assert_eq!(other.find("dev").await.unwrap().and_then(|found| found.subject).as_deref(), Some("ann"));
        assert!(other.find("nobody").await.unwrap().is_none());
    }
}
