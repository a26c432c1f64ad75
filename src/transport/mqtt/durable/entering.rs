//! A subscription between its beginning and the moment at which its client has been answered.
//!
//! It is in the bucket before the answer is sent, so that it is not lost with this process, and names this process there. Nobody tells
//! anything of it before the broker has the answer, after which what is told comes later than the answer. If this process
//! dies in between it is told all the same: the answer may have arrived.

use super::kept::{self, Kept};
use super::{Shared, written};
use crate::transport::mqtt::Fate;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Before the bucket is asked again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Entering {
    pub shared: Arc<Shared>,
    pub id: String,
    pub kept: Kept,
    /// Under which it is in the bucket.
    pub revision: u64,
}

impl Entering {
    /// Notes what became of the answer, however long the bucket is away.
    pub(super) async fn ends(mut self, fate: Fate) {
        let since = self.revision;
        loop {
            match self.step(fate, since).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, subscription = self.id, "that a subscription is answered can't be noted for now");
                    // Whoever sees that this process is gone does not wait for it.
                    if self.shared.leaving.is_cancelled() {
                        return;
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether it is noted, or need not be.
    async fn step(&mut self, fate: Fate, since: u64) -> Result<bool, crate::store::Error> {
        let (bucket, key) = (&self.shared.bucket, kept::key(&self.id));
        if fate == Fate::Refused {
            tracing::warn!(
                client = self.kept.client,
                "the broker does not take the answer to a subscription, which ends with that"
            );
            bucket.delete(&key).await?;
            return Ok(true);
        }
        // It counts from here on: what was there before is left out by watchers that come late, and then later ones come first.
        let kept = Kept { answering: None, since: None, ..self.kept.clone() };
        let Ok(value) = written(&kept) else { return Ok(true) };
        if bucket.replace(&key, value, Some(self.revision), Some(self.shared.settings.kept_for())).await?.is_some() {
            return Ok(true);
        }
        // It has ended, was begun anew, or was renewed meanwhile.
        let Some(there) = bucket.get(&key).await? else { return Ok(true) };
        let Ok(kept) = serde_json::from_slice::<Kept>(&there.value) else { return Ok(true) };
        if kept.since.unwrap_or(there.revision) != since || kept.answering.is_none() {
            return Ok(true);
        }
        (self.kept, self.revision) = (kept, there.revision);
        Ok(false)
    }
}
