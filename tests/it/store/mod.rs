//! The buckets: one suite over memory and NATS, and a NATS that is killed under a watcher.

mod conformance;
mod nats_outage;

use crate::support::nats::{current, oldest};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use resolvespec::nats::{Connection, Settings};
use resolvespec::store::{Bucket, BucketSettings, Error, MemoryBucket, NatsBucket, Told, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything a bucket may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A bucket of a test's own.
#[async_trait]
trait Subject: Send + Sync {
    fn bucket(&self) -> Arc<dyn Bucket>;
    async fn remove(&self);
}

struct Memory(MemoryBucket);

#[async_trait]
impl Subject for Memory {
    fn bucket(&self) -> Arc<dyn Bucket> {
        Arc::new(self.0.clone())
    }

    async fn remove(&self) {}
}

struct Nats {
    bucket: NatsBucket,
    name: String,
    raw: async_nats::jetstream::Context,
}

#[async_trait]
impl Subject for Nats {
    fn bucket(&self) -> Arc<dyn Bucket> {
        Arc::new(self.bucket.clone())
    }

    async fn remove(&self) {
        self.raw.delete_key_value(&self.name).await.expect("the test's bucket can be deleted");
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

fn bucket_settings() -> BucketSettings {
    BucketSettings::new(format!("it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
}

async fn open(url: &str, settings: BucketSettings) -> NatsBucket {
    let connection = Connection::open(&Settings::new(vec![url.to_owned()])).await.expect("the test's NATS answers");
    NatsBucket::open(&connection, settings).await.expect("a bucket can be made")
}

fn memory() -> Memory {
    Memory(MemoryBucket::default())
}

async fn nats(url: &str) -> Nats {
    let settings = bucket_settings();
    let name = settings.name.clone();
    let raw = crate::support::nats::raw(url).await;
    Nats { bucket: open(url, settings).await, name, raw }
}

async fn next(watch: &mut Watch) -> Told {
    timeout(DEADLINE, watch.next()).await.expect("something is told in time").expect("a watch has no end")
}

/// What a watcher knows.
#[derive(Default)]
struct Mirror {
    values: BTreeMap<String, Bytes>,
    revisions: BTreeMap<String, u64>,
    before: BTreeMap<String, Bytes>,
    beginnings: u32,
}

impl Mirror {
    fn take(&mut self, told: Told) {
        match told {
            Told::Beginning => {
                self.beginnings += 1;
                self.before = std::mem::take(&mut self.values);
                self.revisions.clear();
            }
            Told::Put(entry) => {
                let earlier = self.revisions.insert(entry.key.clone(), entry.revision);
                assert!(earlier.is_none_or(|earlier| earlier < entry.revision), "{} goes back to {}", entry.key, entry.revision);
                self.values.insert(entry.key, entry.value);
            }
            Told::Removed { key } => {
                self.values.remove(&key);
            }
            Told::Current => self.before.clear(),
        }
    }

    /// Follows a watch until it knows these values.
    async fn comes_to(&mut self, watch: &mut Watch, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, Bytes> =
            expected.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned()))).collect();
        while self.values != expected {
            let told = timeout(DEADLINE, watch.next()).await;
            let told = told.unwrap_or_else(|_| panic!("it stays at {:?} instead of {expected:?}", self.values));
            self.take(told.expect("a watch has no end"));
        }
    }
}
