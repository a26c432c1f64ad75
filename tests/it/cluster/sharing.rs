//! Replicas at a broker share its requests: each is given to one of them, and all of them are given some.

use super::deployment::Replica;
use super::subscriber::{client, replica, shop};
use crate::support::mqtt::OwnMosquitto;
use serde_json::json;
use std::collections::BTreeSet;

const REQUESTS: u64 = 40;

/// How many messages a replica has been given by brokers.
async fn received(replica: &Replica) -> u64 {
    let lines = replica.metric("resolvespec_mqtt_messages_total{").await;
    let counts = lines.iter().filter(|line| line.contains("direction=\"received\""));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_the_requests_of_one_client() {
    let broker = OwnMosquitto::start("sharing");
    // All of them may wait at once.
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_MAX_QUEUED", REQUESTS.to_string());
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let before = (received(&one).await, received(&two).await);
    for number in 0..REQUESTS {
        ada.say(&json!({"id": number.to_string(), "type": "request", "operation": "read", "entity": "items"})).await;
    }
    let mut answered = BTreeSet::new();
    for _ in 0..REQUESTS {
        let answer = ada.hear().await.body;
        assert_eq!(answer["success"], true, "{answer}");
        assert!(answered.insert(answer["id"].as_str().expect("an id").to_owned()), "it is answered twice: {answer}");
    }
    let shares = (received(&one).await - before.0, received(&two).await - before.1);
    assert!(shares.0 > 0 && shares.1 > 0, "each is given some: {shares:?}");
    assert_eq!(shares.0 + shares.1, REQUESTS, "each is given to one: {shares:?}");
    drop((one, two));
    shop.remove().await;
}
