//! What a replica tells of itself: the generation that it serves, and the one that it refuses with its reason, under its name,
//! for as long as it lives.
//!
//! It also keeps the latest good generation in the bucket of the catalog, so that a replica that starts while the wanted one
//! can't be served has something to serve.

use super::GOOD;
use super::document::Generation;
use super::follow::Refusal;
use crate::store::{self, Bucket};
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

/// How long what a replica told is there after it has gone without a word.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// How often it is told again.
const INTERVAL: Duration = Duration::from_secs(10);
/// How soon it is told again where that has failed: a NATS that is back may have lost what it had.
const AGAIN: Duration = Duration::from_secs(1);
const AT_THE_END: Duration = Duration::from_secs(1);
/// How often it is looked whether a file has come.
const LOOK: Duration = Duration::from_millis(500);

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
    /// What is refused.
    pub refused: watch::Receiver<Option<Refusal>>,
    /// Where an operator hands over the URLs of databases, if it does.
    pub databases: Option<PathBuf>,
    /// What the topics of MQTT begin with, if it serves MQTT.
    pub mqtt_prefix: Option<String>,
}

/// As much of a reason as others are told; the log has all of it.
const REASON_BYTES: usize = 4096;

impl Announcer {
    /// Tells each generation that is served or refused, and again before it is forgotten. A replica that serves nothing yet
    /// tells that, and why. It has no end.
    pub async fn run(&mut self) -> Infallible {
        let mut kept_as_good: Option<Arc<Generation>> = None;
        loop {
            let served = self.served.borrow_and_update().clone();
            let databases = self.databases();
            let told = self.tell(served.as_deref(), databases.as_ref()).await;
            if let Err(error) = &told {
                // NATS itself is told of elsewhere, and this is tried again soon.
                debug!(%error, "what is served can't be told");
            }
            if let Some(served) = served
                && kept_as_good.as_ref().is_none_or(|kept| !kept.is(&served))
            {
                match self.keep(&served).await {
                    Ok(()) => kept_as_good = Some(served),
                    Err(error) => warn!(%error, generation = served.number, "the good generation can't be kept yet"),
                }
            }
            let folder = self.databases.clone();
            let changed = async {
                tokio::select! {
                    served = self.served.changed() => served,
                    refused = self.refused.changed() => refused,
                    () = other_files(folder.as_deref(), databases.as_ref()) => Ok(()),
                }
            };
            let changed = tokio::time::timeout(if told.is_ok() { INTERVAL } else { AGAIN }, changed).await;
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

    fn databases(&self) -> Option<BTreeSet<String>> {
        self.databases.as_deref().map(files)
    }

    async fn tell(&mut self, served: Option<&Generation>, databases: Option<&BTreeSet<String>>) -> Result<(), store::Error> {
        let mut told = json!({
            "replica": self.replica,
            "version": env!("CARGO_PKG_VERSION"),
            "generation": served.map(|served| served.number),
            "digest": served.map(|served| &served.digest),
            // Null where there is none: what is not there is not known of a replica that is older.
            "mqtt_prefix": self.mqtt_prefix,
        });
        if let Some(databases) = databases {
            told["databases"] = json!(databases);
        }
        if let Some(Refusal { generation, reason }) = &*self.refused.borrow_and_update() {
            let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
            told["refused"] = json!({ "generation": generation, "reason": reason });
        }
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

/// Waits until there are other files than these.
async fn other_files(folder: Option<&Path>, known: Option<&BTreeSet<String>>) {
    let Some((folder, known)) = folder.zip(known) else { return std::future::pending().await };
    while files(folder) == *known {
        tokio::time::sleep(LOOK).await;
    }
}

/// The names of the files of a mounted Secret; it has none before it is mounted.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}
