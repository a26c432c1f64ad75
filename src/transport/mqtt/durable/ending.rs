//! How a subscription over MQTT ends: its client says so, its broker gives the client's session up, or it ends by itself.
//!
//! Who tells its notifications sees in the roll that it is no more; nothing is said here to anyone but the hooks.

use super::Shared;
use super::kept::{self, Kept};
use super::unreachable;
use crate::protocol::{Code, Error};
use crate::store::{self, Bucket};
use crate::transport::mqtt::Speaker;
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

impl Shared {
    pub(super) async fn unsubscribe(&self, speaker: &Speaker, id: &str) -> Result<Bytes, Error> {
        let unknown = || {
            let message = "this client has no subscription with this id; it may have ended";
            Error::new(Code::SubscriptionNotFound, message).with_detail(id.chars().take(80).collect::<String>())
        };
        if !kept::is_id(id) {
            return Err(unknown());
        }
        let entry = self.bucket.get(&kept::key(id)).await.map_err(|error| unreachable(&error))?.ok_or_else(unknown)?;
        let kept: Kept = serde_json::from_slice(&entry.value).map_err(|_| unknown())?;
        if kept.broker != speaker.broker.name() || kept.client != *speaker.client || !kept.is_of(&speaker.principal) {
            return Err(unknown());
        }
        self.end(speaker, id, &kept, kept.begun(entry.revision)).await?;
        Ok(json!({ "unsubscribed": true, "subscription_id": id }).to_string().into())
    }

    pub(super) async fn unsubscribe_all(&self, speaker: &Speaker) -> Result<Bytes, Error> {
        // Another replica may have begun some of them a moment ago. What is begun from here on is not meant: a client that asks again
        // since the answer is late may begin something when one of the two is answered, while the other is still worked on.
        let now = self.roll.catch_up(&*self.bucket, &self.holder).await.map_err(|error| unreachable(&error))?;
        let mut count = 0;
        for (id, entered) in self.roll.of_client(speaker.broker.name(), &speaker.client) {
            let is_meant = entered.begun() < now && entered.kept.is_of(&speaker.principal);
            if is_meant && self.end(speaker, &id, &entered.kept, entered.begun()).await? {
                count += 1;
            }
        }
        Ok(json!({ "unsubscribed": count }).to_string().into())
    }

    /// Ends what a client has whose session is no more. One that has come back since, by the time that is given, keeps what it has
    /// begun then, or in the same second.
    pub(super) async fn given_up(self: &Arc<Self>, broker: &str, client: &str, at: Option<u64>) -> Result<usize, Error> {
        self.roll.catch_up(&*self.bucket, &self.holder).await.map_err(|error| unreachable(&error))?;
        let mut count = 0;
        for (id, entered) in self.roll.of_client(broker, client) {
            let is_newer = at.is_some_and(|at| entered.kept.created.saturating_add(1).saturating_mul(1000) > at);
            let removed = async || remove_unless_anew(&*self.bucket, &kept::key(&id), entered.begun()).await;
            if !is_newer && removed().await.map_err(|error| unreachable(&error))? {
                self.tell_hooks_of_end(id, entered.kept);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Ends one that was kept first under a revision, and says whether it was there.
    async fn end(&self, speaker: &Speaker, id: &str, kept: &Kept, begun: u64) -> Result<bool, Error> {
        let current = self.engine.current();
        let entity = current.served().catalog.named(&kept.schema, &kept.entity);
        if let Some(entity) = entity {
            self.engine.unsubscribing(&current, &speaker.principal, entity, id).await?;
        }
        let removed = remove_unless_anew(&*self.bucket, &kept::key(id), begun).await.map_err(|error| unreachable(&error))?;
        if let Some(entity) = entity.filter(|_| removed) {
            self.engine.unsubscribed(&current, &speaker.principal, entity, id).await;
        }
        Ok(removed)
    }

    /// Removes a subscription that was kept first under a revision and has ended by itself.
    pub(super) fn remove(self: &Arc<Self>, id: Arc<str>, since: u64) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let is_that = |kept: &Kept, revision| kept.since.unwrap_or(revision) == since;
            if let Err(error) = remove_if(&*shared.bucket, &kept::key(&id), is_that).await {
                tracing::warn!(%error, "a subscription that has ended can't be removed, and may be told so again");
            }
        });
    }

    /// Tells the hooks that a subscription has ended of which the hub does not know why.
    pub(super) fn tell_hooks_of_end(self: &Arc<Self>, id: Arc<str>, kept: Arc<Kept>) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let current = shared.engine.current();
            if let Some(entity) = current.served().catalog.named(&kept.schema, &kept.entity) {
                shared.engine.unsubscribed(&current, &kept.principal(), entity, &id).await;
            }
        });
    }
}

/// Removes what was kept first under a revision, and says whether it was there to be removed. Its client may have begun it anew.
pub(super) async fn remove_unless_anew(bucket: &dyn Bucket, key: &str, begun: u64) -> Result<bool, store::Error> {
    remove_if(bucket, key, |kept, revision| kept.begun(revision) == begun).await
}

async fn remove_if(bucket: &dyn Bucket, key: &str, is_that: impl Fn(&Kept, u64) -> bool + Send) -> Result<bool, store::Error> {
    while let Some(there) = bucket.get(key).await? {
        if !serde_json::from_slice(&there.value).is_ok_and(|kept: Kept| is_that(&kept, there.revision)) {
            break;
        }
        if bucket.remove(key, there.revision).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
