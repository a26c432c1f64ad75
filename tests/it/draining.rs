//! The end of a replica, in its order: not ready but answering, then no new requests, and what has begun is finished.

use crate::support::client::{Answer, Call, Client};
use crate::support::replica::Running;
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::load;
use resolvespec::protocol::Operation;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
";

/// Holds every create until it is let go, and tells that it came.
struct Hold {
    came: Semaphore,
    go: Semaphore,
}

#[async_trait]
impl Hook for Hold {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            self.came.add_permits(1);
            self.go.acquire().await.expect("the semaphore stays open").forget();
        }
        Ok(())
    }
}

fn status(answer: &Result<Answer, String>) -> Option<StatusCode> {
    answer.as_ref().ok().map(|answer| answer.status)
}

/// Asks again until the answer is as wanted.
async fn until(what: &str, client: &Client, call: &Call, wanted: impl Fn(&Result<Answer, String>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.send(call).await;
        if wanted(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} does not come about: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_leaves_then_turns_requests_away_and_finishes_what_has_begun() {
    let folder = crate::support::folder("draining");
    std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
    let seed = "create table items (id integer primary key, name text); insert into items values (1, 'pen');";
    std::fs::write(folder.join("seed.sql"), seed).expect("a seed can be written");
    let served = load::load(std::slice::from_ref(&folder), &HashMap::new(), true).await.expect("the manifests are good");
    let dev = Config::dev(&DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() });
    let config = Config { leave_time: Duration::from_secs(2), drain_time: Duration::from_secs(30), ..dev };
    let hold = Arc::new(Hold { came: Semaphore::new(0), go: Semaphore::new(0) });
    let mut replica = Running::start(&config, served, vec![hold.clone()]).await;
    let client = Client::new(replica.address);

    let ready = Call::new(Method::GET, "/ready");
    let read = Call::post("/api/main/items", &json!({"operation": "read"}));
    let create = Call::post("/api/main/items", &json!({"operation": "create", "data": {"name": "ink"}}));
    assert_eq!(status(&client.send(&ready).await), Some(StatusCode::OK));
    let begun = TaskTracker::new().spawn({
        let (client, create) = (Client::new(client.address()), create.clone());
        async move { client.send(&create).await }
    });
    hold.came.acquire().await.expect("the request arrives").forget();

    replica.end();
    until("not being ready", &client, &ready, |answer| status(answer) == Some(StatusCode::SERVICE_UNAVAILABLE)).await;
    assert_eq!(status(&client.send(&read).await), Some(StatusCode::OK), "it still answers while load balancers notice");
    until("turning away", &Client::new(client.address()), &read, |answer| match status(answer) {
        Some(StatusCode::SERVICE_UNAVAILABLE) | None => true,
        Some(other) => {
            assert_eq!(other, StatusCode::OK, "an answer, 503, or no connection");
            false
        }
    })
    .await;

    assert!(!replica.has_ended(), "it waits for what has begun");
    hold.go.add_permits(1);
    let answer = begun.await.expect("no panic");
    assert_eq!(status(&answer), Some(StatusCode::OK), "what has begun is finished: {answer:?}");
    replica.ended().await;
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}
