//! Live changes over replicas: whoever writes and wherever a subscriber is, it is told, whatever is killed.

use super::deployment::{Deployment, Replica, SOURCE, entity};
use super::until;
use crate::support::client::Call;
use crate::support::nats::{OwnNats, oldest};
use crate::support::session::{Session, handshake};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

pub(super) fn captured() -> String {
    let source = SOURCE.replace("pool:", "capture: {mode: trigger}, pool:");
    format!("{source}{}", entity("items"))
}

fn live(shop: &Deployment) {
    shop.write(&captured());
    shop.capture();
    shop.published(&[]);
}

/// A client that is told of every change of items.
pub(super) async fn subscriber(replica: &Replica) -> Session {
    let mut session = Session::connect(replica.client.address()).await;
    let answer = session
        .ask(&json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items", "options": {}}))
        .await;
    assert_eq!(answer["success"], true, "{answer}");
    session
}

/// Hears until a row was told; at least once, and in the order of the commits.
pub(super) async fn hears(session: &mut Session, id: u64) {
    loop {
        let told = session.hear().await;
        assert_eq!(told["type"], "notification", "{told}");
        let heard = told["data"]["id"].as_u64().expect("a key");
        assert!(heard <= id, "{id} was left out: {told}");
        if heard == id {
            return;
        }
    }
}

async fn create(replica: &Replica, id: u64) {
    let body = json!({"operation": "create", "data": {"id": id, "name": "x"}});
    let answer = replica.client.send(&Call::post("/api/public/items", &body)).await.expect("an answer");
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
}

async fn told_on_every_replica(shop: Deployment) {
    live(&shop);
    let (one, two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    let (mut on_one, mut on_two) = (subscriber(&one).await, subscriber(&two).await);
    create(&one, 10).await;
    create(&two, 11).await;
    shop.run_script("insert into items values (12, 'by another program')").await;
    for session in [&mut on_one, &mut on_two] {
        for id in [10, 11, 12] {
            hears(session, id).await;
        }
    }

    // One of both has the relay.
    one.signal("-KILL");
    shop.run_script("insert into items values (13, 'x')").await;
    hears(&mut on_two, 13).await;
    let one = shop.start_again_after_death(one).await;
    until("being ready again", async || one.is_ready().await).await;
    let mut on_one = subscriber(&one).await;
    two.signal("-KILL");
    shop.run_script("insert into items values (14, 'x')").await;
    hears(&mut on_one, 14).await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_any_replica_is_told_on_every_replica_and_the_relay_is_taken_over() {
    told_on_every_replica(Deployment::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_any_replica_is_told_on_every_replica_by_the_oldest_nats() {
    told_on_every_replica(Deployment::over(oldest()).await).await;
}

async fn told_when_nats_is_back(nats: OwnNats) {
    let shop = Deployment::over(nats.url()).await;
    live(&shop);
    let one = shop.start("one");
    one.serves(1).await;
    let mut session = subscriber(&one).await;
    create(&one, 10).await;
    hears(&mut session, 10).await;
    nats.kill();
    until("noticing", async || one.ready().await.1["nats"] == "lost").await;
    for id in 11..20 {
        create(&one, id).await;
    }
    let (_, body) = one.ready().await;
    assert_eq!(body["degraded"], Value::from(vec!["nats"]), "{body}");
    nats.restart();
    for id in 11..20 {
        hears(&mut session, id).await;
    }
    drop(one);
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_nats_is_away_is_told_when_it_is_back() {
    told_when_nats_is_back(OwnNats::start("cluster-live")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_while_the_oldest_nats_is_away_is_told_when_it_is_back() {
    told_when_nats_is_back(OwnNats::start_oldest("cluster-oldest")).await;
}

/// Rows that are written one after the other, and how far a subscriber has to hear.
#[derive(Default)]
struct Counting {
    written: AtomicU64,
    stop: AtomicBool,
    last: AtomicU64,
}

impl Counting {
    async fn write(&self, url: &str) {
        let database = Database::connect(&Settings::new("writer", url)).await.expect("the database answers");
        while !self.stop.load(Ordering::Relaxed) {
            let id = self.written.load(Ordering::Relaxed) + 1;
            database.run_script(&format!("insert into items values ({}, 'x')", 100 + id)).await.expect("written");
            self.written.store(id, Ordering::Relaxed);
        }
        database.close().await;
    }

    async fn goes_on(&self) {
        let enough = self.written.load(Ordering::Relaxed) + 50;
        until("writing", async || self.written.load(Ordering::Relaxed) >= enough).await;
    }

    /// Hears every row, and follows the word to connect again; how often it was told.
    async fn hear(&self, mut client: Session, session: &str, other: &Mutex<SocketAddr>) -> usize {
        let (mut heard, mut moves) = (100, 0);
        loop {
            match client.next().await {
                Message::Text(text) => {
                    let told: Value = serde_json::from_str(&text).expect("JSON");
                    if told["type"] == "session" {
                        assert_eq!(told["failed"], json!([]), "{told}");
                        continue;
                    }
                    let id = told["data"]["id"].as_u64().unwrap_or_else(|| panic!("a row was expected: {told}"));
                    assert!(id <= heard + 1, "{} is missing: {told}", heard + 1);
                    heard = heard.max(id);
                    if heard == self.last.load(Ordering::Relaxed) {
                        return moves;
                    }
                }
                Message::Close(frame) => {
                    assert_eq!(u16::from(frame.expect("a code").code), 1012);
                    moves += 1;
                    let address = *other.lock().expect("no panic");
                    let request = handshake(address, &format!("?session={session}"), &[]);
                    client = Session::enter(request).await.expect("the other one lets it in");
                }
                message => panic!("{message:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_misses_nothing_while_replicas_are_replaced() {
    let shop = Deployment::new().await;
    live(&shop);
    let (mut one, mut two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    let mut client = Session::connect(one.client.address()).await;
    let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items", "options": {}});
    let answer = client.ask(&asked).await;
    let session = answer["data"]["session"].as_str().unwrap_or_else(|| panic!("a session: {answer}")).to_owned();
    let (counting, other) = (Arc::new(Counting::default()), Arc::new(Mutex::new(two.client.address())));
    let tasks = TaskTracker::new();
    let writer = tasks.spawn({
        let (counting, url) = (Arc::clone(&counting), shop.database_url().to_owned());
        async move { counting.write(&url).await }
    });
    let listener = tasks.spawn({
        let (counting, other) = (Arc::clone(&counting), Arc::clone(&other));
        async move { counting.hear(client, &session, &other).await }
    });
    counting.goes_on().await;
    one.signal("-TERM");
    one.ended().await;
    one = shop.start_again(&one);
    until("being ready again", async || one.is_ready().await).await;
    *other.lock().expect("no panic") = one.client.address();
    counting.goes_on().await;
    two.signal("-TERM");
    two.ended().await;
    counting.goes_on().await;

    counting.stop.store(true, Ordering::Relaxed);
    writer.await.expect("no panic");
    let last = 100 + counting.written.load(Ordering::Relaxed) + 1;
    counting.last.store(last, Ordering::Relaxed);
    shop.run_script(&format!("insert into items values ({last}, 'the last')")).await;
    assert_eq!(listener.await.expect("no panic"), 2, "it was told to connect again by each");
    drop((one, two));
    shop.remove().await;
}
