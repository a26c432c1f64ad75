//! Reads of rows by their keys, which share connections on PostgreSQL, while it is killed, comes back, and stands still.

use super::frozen::{PATIENCE, start};
use super::until;
use crate::support::client::{Call, Client};
use crate::support::database::Kind;
use crate::support::own::Own;
use crate::support::shop::{Process, Shop};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// More than there are connections, and fewer than share one.
const READERS: u64 = 12;

const ROWS: u64 = 20;

/// How long none is opened that many share, after one stood still; and room for a slow machine.
const REST: Duration = Duration::from_secs(7);

/// Reads a row; the status, or how the answer is none that an outage may have.
async fn read(client: &Client, id: u64) -> Result<u16, String> {
    let call = Call::post(format!("/api/public/items/{id}"), &json!({"operation": "read"}));
    let Ok(answer) = timeout(PATIENCE, client.send(&call)).await else {
        return Err(format!("the read of {id} did not end within {PATIENCE:?}"));
    };
    let answer = answer?;
    let (status, code) = (answer.status.as_u16(), answer.body["error"]["code"].as_str().unwrap_or_default());
    let is_right = match (status, code) {
        (200, _) => answer.body["data"]["id"] == id,
        (503, "unavailable") | (504, "deadline_exceeded") => !answer.header("retry-after").is_empty(),
        _ => false,
    };
    if is_right { Ok(status) } else { Err(format!("the read of {id} was answered {answer:?}")) }
}

#[derive(Default)]
struct Seen {
    found: AtomicU64,
    unavailable: AtomicU64,
    ended: AtomicU64,
    odd: Mutex<Vec<String>>,
    done: AtomicBool,
}

/// Reads one row after the other until told to stop.
async fn reader(client: Client, seen: Arc<Seen>, first: u64) {
    let mut id = first;
    while !seen.done.load(Ordering::Relaxed) {
        id = id % ROWS + 1;
        match read(&client, id).await {
            Ok(200) => _ = seen.found.fetch_add(1, Ordering::Relaxed),
            Ok(503) => _ = seen.unavailable.fetch_add(1, Ordering::Relaxed),
            Ok(_) => {}
            Err(odd) => seen.odd.lock().expect("no panic").push(odd),
        }
        seen.ended.fetch_add(1, Ordering::Relaxed);
        // The pause is what a client does with Retry-After, and leaves the processor to the rest.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A service over a database of its own, and those who read from it.
struct Load {
    client: Client,
    seen: Arc<Seen>,
    readers: TaskTracker,
    dev: Process,
    _shop: Shop,
}

impl Load {
    async fn start(own: &Own, name: &str) -> Self {
        let (shop, dev) = start(own, name).await;
        let client = Client::new(dev.address.parse().expect("an address"));
        let rows: Vec<_> = (1..=ROWS).map(|id| json!({"id": id, "name": "pen"})).collect();
        let create = Call::post("/api/public/items", &json!({"operation": "create", "data": rows}));
        assert_eq!(client.send(&create).await.expect("an answer").status, 200);
        let load = Self { client, seen: Arc::default(), readers: TaskTracker::new(), dev, _shop: shop };
        for first in 0..READERS {
            load.readers.spawn(reader(load.client.clone(), Arc::clone(&load.seen), first));
        }
        until("reading", || load.found() > 300).await;
        load
    }

    fn found(&self) -> u64 {
        self.seen.found.load(Ordering::Relaxed)
    }

    fn unavailable(&self) -> u64 {
        self.seen.unavailable.load(Ordering::Relaxed)
    }

    fn ended(&self) -> u64 {
        self.seen.ended.load(Ordering::Relaxed)
    }

    /// Stops the readers, each of which has its answer in time.
    async fn stop_reading(&self) {
        self.seen.done.store(true, Ordering::Relaxed);
        self.readers.close();
        timeout(2 * PATIENCE, self.readers.wait()).await.expect("every read is given up in time");
    }

    /// All is as before: each row is read again, and no answer was one that it may not be.
    async fn all_is_well(mut self) {
        let deadline = Instant::now() + PATIENCE;
        while read(&self.client, 1).await != Ok(200) {
            assert!(Instant::now() < deadline, "reads do not go on: {:?}", read(&self.client, 1).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for id in 1..=ROWS {
            assert_eq!(read(&self.client, id).await, Ok(200));
        }
        assert_eq!(*self.seen.odd.lock().expect("no panic"), Vec::<String>::new());
        self.dev.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_by_key_end_in_time_while_postgres_is_killed_and_comes_back() {
    let own = Own::start(Kind::Postgres, "killed-by-key");
    let load = Load::start(&own, "killed-by-key").await;
    for _ in 0..2 {
        let before = load.unavailable();
        own.kill();
        until("the outage", || load.unavailable() > before + 50).await;
        own.restart();
        let before = load.found();
        until("reading after the outage", || load.found() > before + 300).await;
    }
    load.stop_reading().await;
    load.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_by_key_end_in_time_while_postgres_stands_still() {
    let own = Own::start(Kind::Postgres, "frozen-by-key");
    let load = Load::start(&own, "frozen-by-key").await;
    own.freeze();
    let frozen_at = Instant::now();
    until("the outage", || load.unavailable() > 0).await;
    // By then a connection that many share may be opened again, of which nobody may wait for longer than for anything else.
    until("its time", || frozen_at.elapsed() > REST).await;
    let before = load.ended();
    until("the end of reads that began later", || load.ended() > before + 3 * READERS).await;
    load.stop_reading().await;
    own.thaw();
    load.all_is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_by_key_of_a_frozen_postgres_do_not_keep_the_process_from_ending() {
    let own = Own::start(Kind::Postgres, "stuck-by-key");
    let mut load = Load::start(&own, "stuck-by-key").await;
    own.freeze();
    until("the outage", || load.unavailable() > 0).await;
    load.stop_reading().await;
    assert_eq!(*load.seen.odd.lock().expect("no panic"), Vec::<String>::new());
    load.dev.signal("-TERM");
    let deadline = Instant::now() + PATIENCE;
    while load.dev.child.try_wait().expect("a state").is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
