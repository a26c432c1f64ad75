//! Replicas are replaced one after the other under load: no request is lost, whatever connection it came on.

use super::deployment::{Deployment, Replica};
use super::until;
use crate::support::client::{Call, Client};
use crate::support::session::Session;
use axum::http::Method;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// What balances in a cluster: new connections go to who was ready when it was last asked; those that stand stay.
struct Balance {
    replicas: Vec<(SocketAddr, Client, AtomicBool)>,
    next: AtomicU64,
    done: AtomicBool,
}

impl Balance {
    async fn probe(&self) {
        while !self.done.load(Ordering::Relaxed) {
            for (_, admin, is_ready) in &self.replicas {
                let answer = admin.send(&Call::new(Method::GET, "/ready")).await;
                is_ready.store(answer.is_ok_and(|answer| answer.status.as_u16() == 200), Ordering::Relaxed);
            }
            // As often as a quick balancer asks.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn connect(&self) -> Client {
        let ready: Vec<_> = self.replicas.iter().filter(|(_, _, is_ready)| is_ready.load(Ordering::Relaxed)).collect();
        let turn = usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).expect("it fits");
        Client::new(ready[turn % ready.len()].0)
    }
}

/// Writes row after row on one connection for as long as the replica leaves it open; how many, and what went wrong.
async fn writer(balance: Arc<Balance>, ids: Arc<AtomicU64>) -> (usize, Vec<String>) {
    let (mut written, mut odd) = (0, Vec::new());
    let mut client = balance.connect();
    while !balance.done.load(Ordering::Relaxed) {
        let data = json!({"id": ids.fetch_add(1, Ordering::Relaxed), "name": "x"});
        match client.send(&Call::post("/api/public/items", &json!({"operation": "create", "data": data}))).await {
            Ok(answer) if answer.status.as_u16() == 200 => {
                written += 1;
                if answer.header("connection") == "close" {
                    client = balance.connect();
                }
            }
            Ok(answer) => odd.push(format!("{}: {}", answer.status, answer.body)),
            Err(error) => odd.push(error),
        }
    }
    (written, odd)
}

async fn replace(shop: &Deployment, mut replica: Replica) -> Replica {
    let session = Session::connect(replica.client.address()).await;
    replica.signal("-TERM");
    let (code, reason) = session.closed().await;
    assert_eq!(code, 1012, "a client that stays is told to come again: {reason}");
    replica.ended().await;
    let again = shop.start_again(&replica);
    until("being ready again", async || again.is_ready().await).await;
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_one_replica_after_the_other_loses_no_request() {
    let shop = Deployment::new().await;
    shop.published(&[]);
    let (one, two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    let replicas = [&one, &two].map(|replica| (replica.client.address(), replica.admin.clone(), AtomicBool::new(true)));
    let balance = Arc::new(Balance { replicas: replicas.into(), next: AtomicU64::new(0), done: AtomicBool::new(false) });
    let tracker = TaskTracker::new();
    let prober = tracker.spawn({
        let balance = Arc::clone(&balance);
        async move { balance.probe().await }
    });
    let ids = Arc::new(AtomicU64::new(100));
    let writers: Vec<_> = (0..6).map(|_| tracker.spawn(writer(Arc::clone(&balance), Arc::clone(&ids)))).collect();
    let progress = async || {
        let enough = ids.load(Ordering::Relaxed) + 100;
        until("writing", async || ids.load(Ordering::Relaxed) >= enough).await;
    };
    progress().await;
    let one = replace(&shop, one).await;
    progress().await;
    let two = replace(&shop, two).await;
    progress().await;
    balance.done.store(true, Ordering::Relaxed);
    prober.await.expect("no panic");
    let mut written = 1;
    for writer in writers {
        let (count, odd) = writer.await.expect("no panic");
        assert_eq!(odd, Vec::<String>::new());
        written += count;
    }
    let count = json!({"operation": "read", "options": {"limit": 1}});
    let answer = one.client.send(&Call::post("/api/public/items", &count)).await.expect("an answer");
    assert_eq!(answer.body["metadata"]["total"], written, "every row that was acknowledged, and no other");
    drop((one, two));
    shop.remove().await;
}
