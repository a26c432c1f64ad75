//! Replicas that share a broker, and clients of it that subscribe and hear what they are told.

use super::deployment::{Deployment, Replica};
use super::live::captured;
use super::until;
use crate::support::mqtt::{Entry, Heard, OwnMosquitto, Spoken, Station};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) async fn shop(broker: &OwnMosquitto) -> Deployment {
    let shop = Deployment::new().await.with("RESOLVESPEC_MQTT_BROKERS", broker.url());
    shop.write(&captured());
    shop.capture();
    shop.published(&[]);
    shop
}

pub(super) async fn replica(shop: &Deployment, name: &str) -> Replica {
    let replica = shop.start(name);
    replica.serves(1).await;
    until("a connection to the broker", async || {
        replica.metric("resolvespec_mqtt_connected{").await.iter().any(|line| line.ends_with(" 1"))
    })
    .await;
    replica
}

/// How many parts a replica tells of.
pub(super) async fn parts(replica: &Replica) -> u64 {
    let lines = replica.metric("resolvespec_mqtt_parts{").await;
    lines.first().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

pub(super) async fn share(one: &Replica, two: &Replica) {
    until("an even share of the parts", async || parts(one).await == 4 && parts(two).await == 4).await;
}

/// Waits until each replica knows of so many subscriptions.
pub(super) async fn known(replicas: &[&Replica], count: u64) {
    for replica in replicas {
        until(&format!("{count} subscriptions known to {}", replica.name), async || {
            let lines = replica.metric("resolvespec_mqtt_subscriptions{").await;
            lines.iter().any(|line| line.ends_with(&format!(" {count}")))
        })
        .await;
    }
}

/// A client whose session the broker keeps.
pub(super) async fn client(broker: &OwnMosquitto, id: &str) -> Station {
    let entry = Entry { url: &broker.url(), id, prefix: "spec", spoken: Spoken::V5, stays: true };
    let station = Station::enter(entry).await.expect("the broker lets it in");
    for topic in ["response", "notify/+"] {
        station.subscribe(&format!("spec/{id}/{topic}")).await.expect("its own topics");
    }
    station
}

pub(super) fn asked(id: &str, options: &Value) -> Value {
    json!({"id": id, "type": "subscription", "operation": "subscribe", "entity": "items", "options": options})
}

/// The answer to a request, whatever is told meanwhile.
pub(super) async fn answer(station: &mut Station, message: &Value) -> Value {
    station.say(message).await;
    loop {
        let heard = station.hear().await;
        if heard.topic.ends_with("/response") && heard.body["id"] == message["id"] {
            return heard.body;
        }
    }
}

pub(super) async fn subscribed(station: &mut Station) -> String {
    let told = answer(station, &asked("s", &json!({}))).await;
    assert_eq!(told["success"], true, "{told}");
    let id = told["data"]["subscription_id"].as_str().expect("an id").to_owned();
    assert_eq!(told["data"]["notify_topic"], format!("spec/{}/notify/{id}", station.id));
    id
}

/// The next notification.
pub(super) async fn told(station: &mut Station) -> Value {
    loop {
        if let Some(told) = notification(station.hear().await) {
            return told;
        }
    }
}

pub(super) fn notification(heard: Heard) -> Option<Value> {
    if !heard.topic.contains("/notify/") {
        return None;
    }
    assert_eq!(heard.body["type"], "notification", "{}", heard.body);
    assert_ne!(heard.body["operation"], "resync_required", "{}", heard.body);
    Some(heard.body)
}

/// Hears until every row of these was told.
pub(super) async fn hears_all(station: &mut Station, ids: impl Iterator<Item = u64>) {
    let mut missing: BTreeSet<u64> = ids.collect();
    while !missing.is_empty() {
        let told = told(station).await;
        missing.remove(&told["data"]["id"].as_u64().expect("a key"));
    }
}

pub(super) async fn insert(shop: &Deployment, ids: std::ops::Range<u64>) {
    let rows: Vec<String> = ids.map(|id| format!("({id}, 'x')")).collect();
    shop.run_script(&format!("insert into items values {}", rows.join(", "))).await;
}
