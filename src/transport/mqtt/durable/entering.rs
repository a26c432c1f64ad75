//! A subscription between its beginning and the moment at which its client has been answered.
//!
//! It is in the bucket before the answer is sent, so that it is not lost with this process, and names this process there. Nobody tells
//! anything of it before the broker has the answer, after which what is told comes later than the answer. If this process
//! dies in between it is told all the same: the answer may have arrived.

use super::ending::remove_unless_anew;
use super::kept::{self, Kept};
use super::{Shared, no_room, unreachable, written};
use crate::protocol::Error;
use crate::store::{self, Bucket};
use crate::transport::mqtt::Fate;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Before the bucket is asked again.
const RETRY: Duration = Duration::from_millis(200);
/// A broker that tells a request again after a connection was lost has done so by then.
pub(super) const TOLD_AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Entering {
    pub bucket: Arc<dyn Bucket>,
    pub leaving: CancellationToken,
    /// For how long the bucket keeps it.
    pub kept_for: Duration,
    pub id: String,
    pub kept: Kept,
    /// Under which it is in the bucket.
    pub revision: u64,
    /// How long it is waited for a request that is told again.
    pub told_again: Duration,
}

impl Entering {
    /// Notes what became of the answer, however long the bucket is away.
    pub(super) async fn ends(mut self, fate: Fate) {
        // Whoever is told the request again answers it, and notes that. If nobody is, the answer may have arrived all the same, and
        // what waits for it must not wait for as long as this process lives.
        if fate == Fate::Lost && self.leaving.run_until_cancelled(sleep(self.told_again)).await.is_none() {
            return;
        }
        let since = self.revision;
        loop {
            match self.step(fate, since).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, subscription = self.id, "that a subscription is answered can't be noted for now");
                    // Whoever sees that this process is gone does not wait for it.
                    if self.leaving.is_cancelled() {
                        return;
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether it is noted, or need not be.
    async fn step(&mut self, fate: Fate, since: u64) -> Result<bool, store::Error> {
        let key = kept::key(&self.id);
        if fate == Fate::Refused {
            tracing::warn!(
                client = self.kept.client,
                "the broker does not take the answer to a subscription, which ends with that"
            );
            remove_unless_anew(&*self.bucket, &key, since).await?;
            return Ok(true);
        }
        // It counts from here on: what was there before is left out by watchers that come late, and then later ones come first.
        let kept = Kept { answering: None, attempt: None, since: None, begun: Some(since), ..self.kept.clone() };
        let Ok(value) = written(&kept) else { return Ok(true) };
        if self.bucket.replace(&key, value, Some(self.revision), Some(self.kept_for)).await?.is_some() {
            return Ok(true);
        }
        // It has ended, was begun anew, or was renewed meanwhile.
        let Some(there) = self.bucket.get(&key).await? else { return Ok(true) };
        let Ok(kept) = serde_json::from_slice::<Kept>(&there.value) else { return Ok(true) };
        if kept.since.unwrap_or(there.revision) != since || kept.answering.is_none() {
            return Ok(true);
        }
        (self.kept, self.revision) = (kept, there.revision);
        Ok(false)
    }
}

/// A subscription of which the bucket has not said whether it has it, and whose client is told that it failed.
pub(super) struct Doubtful {
    pub bucket: Arc<dyn Bucket>,
    pub leaving: CancellationToken,
    pub kept_for: Duration,
    pub id: String,
    pub kept: Kept,
    /// Whether its client had begun it before, of which it may have been told: then it goes on.
    pub was_there: bool,
}

impl Doubtful {
    /// Leaves nothing half-begun, however long the bucket is away.
    pub(super) async fn ends(self) {
        let Ok(value) = written(&self.kept) else { return };
        while let Err(error) = self.step(&value).await {
            tracing::debug!(%error, subscription = self.id, "what is left of a subscription can't be taken back for now");
            if self.leaving.run_until_cancelled(sleep(RETRY)).await.is_none() {
                return;
            }
        }
    }

    async fn step(&self, value: &Bytes) -> Result<(), store::Error> {
        let key = kept::key(&self.id);
        let Some(there) = self.bucket.get(&key).await?.filter(|there| there.value == *value) else { return Ok(()) };
        // If somebody else is quicker it is theirs.
        if self.was_there {
            let kept = Kept { answering: None, attempt: None, begun: Some(there.revision), ..self.kept.clone() };
            let Ok(value) = written(&kept) else { return Ok(()) };
            self.bucket.replace(&key, value, Some(there.revision), Some(self.kept_for)).await?;
        } else {
            self.bucket.remove(&key, there.revision).await?;
        }
        Ok(())
    }
}

impl Shared {
    /// What a client is told whose subscription could not be kept, or nobody knows whether it is.
    pub(super) fn not_kept(self: &Arc<Self>, id: String, kept: Kept, was_there: bool, error: &store::Error) -> Error {
        let (shared, bucket, leaving) = (Arc::clone(self), Arc::clone(&self.bucket), self.leaving.clone());
        let (name, gone) = (Arc::from(id.as_str()), Arc::new(kept.clone()));
        let doubtful = Doubtful { bucket, leaving, kept_for: self.settings.kept_for(), id, kept, was_there };
        self.tasks.spawn(async move {
            doubtful.ends().await;
            if !was_there {
                shared.tell_hooks_of_end(name, gone);
            }
        });
        match error {
            store::Error::Unusable(reason) => {
                tracing::error!(reason, "a subscription can't be kept");
                no_room()
            }
            store::Error::Unavailable(_) => unreachable(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBucket;
    use serde_json::json;

    const HOUR: Duration = Duration::from_hours(1);

    fn kept(answering: Option<&str>) -> Kept {
        let kept = json!({"broker": "b", "client": "c", "subject": null, "roles": [], "claims": {}, "schema": "main",
            "entity": "items", "said": {"entity": "items"}, "began": {"epoch": "e", "offset": 1}, "answering": answering,
            "created": 1, "heard": 1});
        serde_json::from_value(kept).unwrap()
    }

    async fn entering(bucket: &Arc<dyn Bucket>) -> Entering {
        let kept = kept(Some("here"));
        let revision = bucket.put(&kept::key("s"), written(&kept).unwrap(), Some(HOUR)).await.unwrap();
        let (bucket, leaving) = (Arc::clone(bucket), CancellationToken::new());
        let told_again = Duration::from_millis(1);
        Entering { bucket, leaving, kept_for: HOUR, id: "s".to_owned(), kept, revision, told_again }
    }

    async fn there(bucket: &Arc<dyn Bucket>) -> Option<Kept> {
        let entry = bucket.get(&kept::key("s")).await.unwrap()?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_an_answer_that_was_lost() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let entering = entering(&bucket).await;
        entering.ends(Fate::Lost).await;
        assert_eq!(there(&bucket).await.unwrap().answering, None);
    }

    #[tokio::test]
    async fn whoever_is_told_a_request_again_answers_it() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let entering = entering(&bucket).await;
        let again = kept(Some("elsewhere"));
        let revision = bucket.put(&kept::key("s"), written(&again).unwrap(), Some(HOUR)).await.unwrap();
        entering.ends(Fate::Lost).await;
        assert_eq!(there(&bucket).await.unwrap().answering.as_deref(), Some("elsewhere"));
        assert_eq!(bucket.get(&kept::key("s")).await.unwrap().unwrap().revision, revision);
    }

    #[tokio::test]
    async fn of_what_may_have_been_kept_nothing_is_left_half_begun() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let doubtful = |was_there| Doubtful {
            bucket: Arc::clone(&bucket),
            leaving: CancellationToken::new(),
            kept_for: HOUR,
            id: "s".to_owned(),
            kept: kept(Some("here")),
            was_there,
        };
        doubtful(false).ends().await;
        assert!(there(&bucket).await.is_none(), "it was not kept");
        entering(&bucket).await;
        doubtful(true).ends().await;
        assert_eq!(there(&bucket).await.unwrap().answering, None, "it had been begun before, and goes on");
        doubtful(false).ends().await;
        assert!(there(&bucket).await.is_some(), "that one is answered");
        entering(&bucket).await;
        doubtful(false).ends().await;
        assert!(there(&bucket).await.is_none());

        // The same words are said again, and that is another attempt.
        let again = Kept { attempt: Some(2), ..kept(Some("here")) };
        bucket.put(&kept::key("s"), written(&again).unwrap(), Some(HOUR)).await.unwrap();
        doubtful(false).ends().await;
        assert!(there(&bucket).await.is_some(), "it is not that one's to take back");
    }
}
