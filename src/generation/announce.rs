//! What a replica tells of itself: the generation that it serves, under its name, for as long as it lives.
//!
//! It also keeps the latest good generation in the bucket of the catalog, so that a replica that starts while the wanted one
//! can't be served has something to serve.

use super::GOOD;
use super::document::Generation;
use crate::store::{self, Bucket};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

/// How long what a replica told is there after it has gone without a word.
const LIFETIME: Duration = Duration::from_secs(30);
/// How often it is told again.
const INTERVAL: Duration = Duration::from_secs(10);
const AT_THE_END: Duration = Duration::from_secs(1);

/// Tells what one replica serves.
pub struct Announcer {
    /// The replica's name.
    pub replica: String,
    /// Where replicas tell.
    pub replicas: Arc<dyn Bucket>,
    /// Where generations are.
    pub catalog: Arc<dyn Bucket>,
    /// What is served.
    pub served: watch::Receiver<Option<Arc<Generation>>>,
}

impl Announcer {
    /// Tells each generation that is served, and again before it is forgotten. It has no end.
    pub async fn run(&mut self) {
        let mut kept_as_good: Option<Arc<Generation>> = None;
        loop {
            let served = self.served.borrow_and_update().clone();
            if let Some(served) = served {
                if let Err(error) = self.tell(&served).await {
                    // NATS itself is told of elsewhere, and this is tried again soon.
                    debug!(%error, "what is served can't be told");
                }
                if kept_as_good.as_ref().is_none_or(|kept| !kept.is(&served)) {
                    match self.keep(&served).await {
                        Ok(()) => kept_as_good = Some(served),
                        Err(error) => warn!(%error, generation = served.number, "the good generation can't be kept yet"),
                    }
                }
            }
            let changed = tokio::time::timeout(INTERVAL, self.served.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                // Nobody follows any more, and what is served stays.
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }

    /// Takes back what was told, at the end.
    pub async fn leave(&self) {
        // A process on its way out doesn't wait for a NATS that is away.
        match tokio::time::timeout(AT_THE_END, self.replicas.delete(&self.replica)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "what was told stays for a while"),
            Err(_) => debug!("NATS does not answer, and what was told stays for a while"),
        }
    }

    async fn tell(&self, served: &Generation) -> Result<(), store::Error> {
        let told = json!({
            "replica": self.replica,
            "version": env!("CARGO_PKG_VERSION"),
            "generation": served.number,
            "digest": served.digest,
        });
        self.replicas.put(&self.replica, Bytes::from(told.to_string()), Some(LIFETIME)).await.map(|_| ())
    }

    /// Keeps the generation as the good one, unless another replica has.
    async fn keep(&self, served: &Generation) -> Result<(), store::Error> {
        let there = self.catalog.get(GOOD).await?;
        let is_kept = there.as_ref().is_some_and(|there| Generation::read(&there.value).is_ok_and(|there| there.is(served)));
        if is_kept {
            return Ok(());
        }
        let value = served.write().map_err(|error| store::Error::Unusable(error.to_string()))?;
        // One that is overtaken has been so by a replica that serves at least as well.
        self.catalog.replace(GOOD, value, there.map(|there| there.revision), None).await.map(|_| ())
    }
}
