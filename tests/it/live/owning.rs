//! A session has one connection: of two that come with it at once, and of an old one and a new one.

use super::{Kind, Replica, Stage, come_back, config, subscribed, told};
use crate::support::nats::raw;
use async_trait::async_trait;
use bytes::Bytes;
use resolvespec::event::bus::{NatsBus, StreamSettings};
use resolvespec::live::Handles;
use resolvespec::nats::{Connection, Settings};
use resolvespec::store::{Bucket, BucketSettings, Entry, Error, NatsBucket, Watch};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

/// A stream and a bucket of a test's own.
pub(super) struct ThroughNats {
    pub(super) handles: Handles,
    name: String,
    url: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl ThroughNats {
    pub(super) async fn open() -> Self {
        let url = crate::support::nats::current();
        let name = format!("it_live_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let connection = Connection::open(&Settings::new(vec![url.clone()])).await.expect("the test's NATS answers");
        let stream = StreamSettings { prefix: name.clone(), name: name.clone(), ..StreamSettings::default() };
        let bus = NatsBus::open(&connection, stream).await.expect("a stream can be made");
        let bucket = NatsBucket::open(&connection, BucketSettings::new(name.clone())).await.expect("a bucket can be made");
        Self { handles: Handles { bus: Arc::new(bus), sessions: Arc::new(bucket), ..Handles::memory() }, name, url }
    }

    pub(super) async fn remove(self) {
        let raw = raw(&self.url).await;
        raw.delete_stream(&self.name).await.expect("the test's stream can be deleted");
        raw.delete_key_value(&self.name).await.expect("the test's bucket can be deleted");
    }
}

/// A bucket in which as many reads as were asked for are answered together, so that none is before the other's write.
struct Together {
    inner: Arc<dyn Bucket>,
    /// Reads that are still held.
    held: AtomicUsize,
    both: Barrier,
}

impl Together {
    fn over(inner: Arc<dyn Bucket>) -> Arc<Self> {
        Arc::new(Self { inner, held: AtomicUsize::new(0), both: Barrier::new(2) })
    }

    /// The next two reads are answered together.
    fn hold(&self) {
        self.held.store(2, Ordering::SeqCst);
    }

    fn holds(&self) -> bool {
        self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| held.checked_sub(1)).is_ok()
    }

    /// How many connections have had a session, and how many subscriptions its first part has.
    async fn stored(&self, session: &Value) -> (u64, usize) {
        let session = session.as_str().expect("a session is a text");
        let read = async |key: String| -> Value {
            let entry = self.inner.get(&key).await.expect("the bucket answers").expect("the session is kept");
            serde_json::from_slice(&entry.value).expect("JSON")
        };
        let (head, part) = (read(format!("session.{session}")).await, read(format!("session.{session}.0")).await);
        assert_eq!(head["term"], part["term"]);
        (head["term"].as_u64().expect("a number"), part["subscriptions"].as_array().expect("a list").len())
    }
}

#[async_trait]
impl Bucket for Together {
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        self.inner.put(key, value, lifetime).await
    }

    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        self.inner.replace(key, value, revision, lifetime).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let found = self.inner.get(key).await;
        if self.holds() {
            self.both.wait().await;
        }
        found
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

async fn owned_by_one(handles: Handles) {
    let bucket = Together::over(Arc::clone(&handles.sessions));
    let stage = Stage::on(Kind::Sqlite, Handles { sessions: bucket.clone(), ..handles }, config(), Vec::new()).await;
    let second = stage.another(config()).await;
    let mut first = stage.session().await;
    let begun = subscribed(&mut first, "boxes", json!({})).await;
    let session = &begun["session"];
    assert_eq!(bucket.stored(session).await, (1, 1));

    // Both read that it is the first connection's, and the session is given to one of them.
    bucket.hold();
    let (one, other) = tokio::join!(come_back(&stage.first, session), come_back(&second, session));
    let had = |said: &Value| said["restored"][0]["subscription_id"] == begun["subscription_id"];
    let ((mut owner, _), (loser, refused), replica): (_, _, &Replica) =
        if had(&one.1) { (one, other, &second) } else { (other, one, &stage.first) };
    assert_eq!(refused["error"]["code"], "unavailable", "it may come again: {refused}");
    assert_eq!(bucket.stored(session).await, (2, 1));

    // The first connection has not noticed; what it says of the session is heard by nobody.
    let late = subscribed(&mut first, "items", json!({})).await;
    assert_eq!(late["session"], Value::Null, "it is told that it is not kept: {late}");
    drop((first, loser));
    let items = subscribed(&mut owner, "items", json!({})).await;
    assert_eq!(&items["session"], session);
    assert_eq!(bucket.stored(session).await, (2, 2));

    // Whoever comes again has it in its turn.
    let (mut again, said) = come_back(replica, session).await;
    assert_eq!(said["restored"].as_array().map(Vec::len), Some(2), "{said}");
    let ended =
        json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": items["subscription_id"]});
    assert_eq!(again.ask(&ended).await["success"], true);
    let ended =
        json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun["subscription_id"]});
    assert_eq!(again.ask(&ended).await["success"], true);
    // Nothing is left of it, and the one that had it before does not bring it back.
    assert_eq!(subscribed(&mut owner, "boxes", json!({})).await["session"], Value::Null);
    stage.run("insert into boxes values (1, 1)").await;
    assert_eq!(told(&mut owner).await["data"]["id"], 1, "though it is told of changes as before");
    let (_, said) = come_back(&second, session).await;
    assert_eq!(said["error"]["code"], "session_not_found", "{said}");
    drop((owner, again));
    second.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_that_come_with_a_session_at_once_one_has_it() {
    owned_by_one(Handles::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_that_come_with_a_session_at_once_one_has_it_through_nats() {
    let nats = ThroughNats::open().await;
    owned_by_one(nats.handles.clone()).await;
    nats.remove().await;
}
