//! NATS is killed under a watcher: it learns of everything that changed, and of what somebody deleted meanwhile.

use super::*;
use crate::support::nats::OwnNats;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_outlives_the_server() {
    let own = OwnNats::start("store-outage");
    let settings = bucket_settings();
    let bucket = open(&own.url(), settings.clone()).await;
    let mut watch = bucket.watch().await.expect("watched");
    let mut mirror = Mirror::default();
    put(&bucket, "a").await;
    put(&bucket, "b").await;
    mirror.comes_to(&mut watch, &[("a", "a"), ("b", "b")]).await;
    own.kill();
    own.restart();
    // Before the watcher is polled again.
    put(&bucket, "c").await;
    bucket.delete("a").await.expect("deleted");
    mirror.comes_to(&mut watch, &[("b", "b"), ("c", "c")]).await;
    let raw = crate::support::nats::raw(&own.url()).await;
    raw.delete_key_value(&settings.name).await.expect("deleted");
    mirror.comes_to(&mut watch, &[]).await;
    put(&bucket, "d").await;
    mirror.comes_to(&mut watch, &[("d", "d")]).await;
    assert!(mirror.beginnings >= 2, "a lost connection and a deleted bucket were noticed");
}

async fn put(bucket: &NatsBucket, key: &str) {
    let since = Instant::now();
    while let Err(error) = bucket.put(key, Bytes::from(key.to_owned()), None).await {
        assert!(since.elapsed() < DEADLINE, "{error}");
        // The pause of the retry, so that it does not spin.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
