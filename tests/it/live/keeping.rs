//! What it costs to keep a session, and to get it back: as much as there is of it, and not as much as there ever was.

use super::{Kind, Stage, come_back, config, eq, subscribed};
use async_trait::async_trait;
use bytes::Bytes;
use resolvespec::event::bus::{Bus, Deliveries, Error as BusError, Extent, Latest, MemoryBus, MemorySettings};
use resolvespec::live::Handles;
use resolvespec::protocol::{Change, Position};
use resolvespec::store::{Bucket, Entry, Error, MemoryBucket, Watch};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A bucket that counts the bytes that are put into it.
#[derive(Default)]
struct Weighed {
    inner: MemoryBucket,
    bytes: AtomicUsize,
}

#[async_trait]
impl Bucket for Weighed {
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        self.bytes.fetch_add(value.len(), Ordering::SeqCst);
        self.inner.put(key, value, lifetime).await
    }

    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        self.bytes.fetch_add(value.len(), Ordering::SeqCst);
        self.inner.replace(key, value, revision, lifetime).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        self.inner.remove(key, revision).await
    }

    async fn watch(&self) -> Result<Watch, Error> {
        self.inner.watch().await
    }
}

/// A bus that counts how often it is asked what it has.
struct Asked {
    inner: MemoryBus,
    extents: AtomicUsize,
}

#[async_trait]
impl Bus for Asked {
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), BusError> {
        self.inner.publish(changes).await
    }

    async fn extent(&self) -> Result<Extent, BusError> {
        self.extents.fetch_add(1, Ordering::SeqCst);
        self.inner.extent().await
    }

    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, BusError> {
        self.inner.latest_of(source).await
    }

    async fn follow(&self, after: &Position) -> Result<Deliveries, BusError> {
        self.inner.follow(after).await
    }

    async fn renew(&self) -> Result<(), BusError> {
        self.inner.renew().await
    }

    async fn renew_after(&self, epoch: &str) -> Result<(), BusError> {
        self.inner.renew_after(epoch).await
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }
}

const MANY: i64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_of_many_costs_the_same_and_all_of_them_come_back_with_one_question() {
    let bucket = Arc::new(Weighed::default());
    let bus = Arc::new(Asked { inner: MemoryBus::new(MemorySettings::default()), extents: AtomicUsize::new(0) });
    let handles = Handles { sessions: bucket.clone(), bus: bus.clone(), ..Handles::memory() };
    let stage = Stage::on(Kind::Sqlite, handles, config(), Vec::new()).await;
    let mut client = stage.session().await;
    let mut begun: Vec<Value> = Vec::new();
    let mut weights = Vec::new();
    for half in [0..MANY / 2, MANY / 2..MANY] {
        let before = bucket.bytes.load(Ordering::SeqCst);
        for id in half {
            let one = subscribed(&mut client, "boxes", json!({"filters": [eq("id", id)]})).await;
            assert!(one["session"].is_string(), "it is kept: {one}");
            begun.push(one);
        }
        weights.push(bucket.bytes.load(Ordering::SeqCst) - before);
    }
    assert!(weights[1] < weights[0] * 3 / 2, "bytes that were written for each half: {weights:?}");

    // One that ends makes room for another, wherever it was.
    let before = bucket.bytes.load(Ordering::SeqCst);
    for one in begun.drain(..10) {
        let id = &one["subscription_id"];
        let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
        assert_eq!(client.ask(&end).await["success"], true);
    }
    let ended = bucket.bytes.load(Ordering::SeqCst) - before;
    assert!(ended < weights[0] / 10, "{ended} bytes for ten that end, and {} for 200 that begin", weights[0]);
    for id in 0..10 {
        begun.push(subscribed(&mut client, "boxes", json!({"filters": [eq("id", id)]})).await);
    }

    let session = begun[0]["session"].clone();
    drop(client);
    for turn in 0..2 {
        let before = bus.extents.load(Ordering::SeqCst);
        let (client, said) = come_back(&stage.first, &session).await;
        assert_eq!(said["failed"], json!([]), "{said}");
        let ids = |list: &[Value]| {
            let mut ids: Vec<String> = list.iter().map(|one| one["subscription_id"].to_string()).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(said["restored"].as_array().expect("a list")), ids(&begun), "turn {turn}");
        let asked = bus.extents.load(Ordering::SeqCst) - before;
        assert!(asked <= 2, "the bus was asked {asked} times what it has");
        drop(client);
    }
    stage.close().await;
}
