//! A database is killed under load and comes back, or freezes: nothing hangs, nothing acknowledged is lost.
//!
//! The server is one of the test's own, so that no other test loses its database.

mod by_key;
mod frozen;
mod one_of_two;

use crate::support::client::{Call, Client};
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use crate::support::server::Server;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

const SCHEMA: &str = "create table marks (id bigint primary key, body text not null)";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: marks}
spec: {source: conformance, apiSchema: public}
";

#[derive(Default)]
struct Seen {
    next: AtomicU64,
    acknowledged: std::sync::Mutex<HashSet<u64>>,
    unavailable: AtomicU64,
    read: AtomicU64,
    odd: std::sync::Mutex<Vec<String>>,
    done: AtomicBool,
}

/// Writes rows one after the other until told to stop.
async fn writer(client: Client, seen: Arc<Seen>) {
    while !seen.done.load(Ordering::Relaxed) {
        let id = seen.next.fetch_add(1, Ordering::Relaxed);
        let body = json!({"operation": "create", "data": {"id": id, "body": "x"}});
        let call = Call::post("/api/public/marks", &body).header("Idempotency-Key", format!("mark-{id}"));
        loop {
            let sent_at = Instant::now();
            let answer = client.send(&call).await.expect("the service itself answers");
            let odd = |what: &str| seen.odd.lock().expect("no panic").push(format!("{what}: {} {}", answer.status, answer.body));
            if sent_at.elapsed() > Duration::from_secs(12) {
                odd("took longer than any deadline");
            }
            match answer.status.as_u16() {
                200 => {
                    seen.acknowledged.lock().expect("no panic").insert(id);
                    break;
                }
                503 if answer.header("retry-after").is_empty() => odd("has no Retry-After"),
                503 | 504 => _ = seen.unavailable.fetch_add(1, Ordering::Relaxed),
                _ => {
                    odd("is no answer to an outage");
                    break;
                }
            }
            // The retry is what a client does with Retry-After; the pause keeps it from spinning.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reads pages and single rows until told to stop.
async fn reader(client: Client, seen: Arc<Seen>) {
    while !seen.done.load(Ordering::Relaxed) {
        let options = json!({"limit": 20, "sort": [{"column": "id", "direction": "desc"}]});
        let call = Call::post("/api/public/marks", &json!({"operation": "read", "options": options}));
        let sent_at = Instant::now();
        let answer = client.send(&call).await.expect("the service itself answers");
        let odd = |what: &str| seen.odd.lock().expect("no panic").push(format!("{what}: {} {}", answer.status, answer.body));
        if sent_at.elapsed() > Duration::from_secs(12) {
            odd("a read took longer than any deadline");
        }
        match answer.status.as_u16() {
            200 => _ = seen.read.fetch_add(1, Ordering::Relaxed),
            503 if answer.header("retry-after").is_empty() => odd("a read has no Retry-After"),
            503 | 504 => {}
            _ => odd("is no answer to a read in an outage"),
        }
        // The pause leaves the processor to the writers.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come about in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_costs_503s_and_no_acknowledged_write() {
    killed(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_mariadb_costs_503s_and_no_acknowledged_write() {
    killed(Kind::Mariadb).await;
}

async fn killed(kind: Kind) {
    let own = Own::start(kind, "killed");
    let server = Server::over(kind, Fresh::at(own.database().await), SCHEMA, ENTITIES, Vec::new()).await;
    let seen = Arc::new(Seen::default());
    let tasks = TaskTracker::new();
    for _ in 0..16 {
        tasks.spawn(writer(server.client.clone(), Arc::clone(&seen)));
    }
    for _ in 0..4 {
        tasks.spawn(reader(server.client.clone(), Arc::clone(&seen)));
    }
    let count = || seen.acknowledged.lock().expect("no panic").len();
    until("writing", || count() > 300).await;
    own.kill();
    until("the outage", || seen.unavailable.load(Ordering::Relaxed) > 50).await;
    own.restart();
    let (before, read) = (count(), seen.read.load(Ordering::Relaxed));
    until("writing after the outage", || count() > before + 300).await;
    until("reading after the outage", || seen.read.load(Ordering::Relaxed) > read + 20).await;
    seen.done.store(true, Ordering::Relaxed);
    tasks.close();
    tokio::time::timeout(Duration::from_secs(30), tasks.wait()).await.expect("no request hangs");
    assert_eq!(*seen.odd.lock().expect("no panic"), Vec::<String>::new());

    let body = json!({"operation": "read", "options": {"columns": ["id"], "limit": 100_000}});
    let answer = server.client.send(&Call::post("/api/public/marks", &body)).await.expect("an answer");
    let stored: HashSet<u64> =
        answer.body["data"].as_array().expect("a list").iter().filter_map(|row| row["id"].as_u64()).collect();
    let lost: Vec<u64> = seen.acknowledged.lock().expect("no panic").difference(&stored).copied().collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    server.stop().await;
}
