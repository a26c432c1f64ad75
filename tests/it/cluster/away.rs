//! Clients over MQTT that go away: those who come back, in either version of the protocol, those who leave a will, and those
//! who are away for longer than their broker has room for.

use super::deployment::{Deployment, Replica};
use super::subscriber::{answer, asked, client, hears_all, insert, known, replica, share, shop, subscribed, told};
use super::until;
use crate::support::mqtt::{Entry, OwnMosquitto, Spoken, Station};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long it is waited for something that must not come, or for the end of what comes.
const SILENCE: Duration = Duration::from_millis(500);

/// A client whose session the broker keeps. Where that is there already, it hears its topics without asking.
async fn enters(broker: &OwnMosquitto, id: &str, spoken: Spoken, will: Option<&Value>) -> Station {
    let entry = Entry { url: &broker.url(), id, prefix: "spec", spoken, stays: true };
    Station::enter_with(entry, will).await.expect("the broker lets it in")
}

async fn listens(station: &Station) {
    for topic in ["response", "notify/+"] {
        station.subscribe(&format!("spec/{}/{topic}", station.id)).await.expect("its own topics");
    }
}

/// How many notifications the broker has acknowledged.
async fn notified(replicas: &[&Replica]) -> u64 {
    let mut count = 0;
    for replica in replicas {
        let lines = replica.metric("resolvespec_mqtt_notifications_total{").await;
        count += lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    count
}

/// Rows of which the broker is told while nobody hears it, after so many others.
async fn changes_unheard(shop: &Deployment, replicas: &[&Replica], ids: std::ops::Range<u64>, others: u64) {
    until("telling of the others", async || notified(replicas).await >= others).await;
    let enough = notified(replicas).await + (ids.end - ids.start);
    insert(shop, ids).await;
    until("telling the broker", async || notified(replicas).await >= enough).await;
}

/// What comes until nothing more does: the rows, and the last of it.
async fn hears_rest(station: &mut Station) -> (BTreeSet<u64>, Option<Value>) {
    let (mut ids, mut last) = (BTreeSet::new(), None);
    while let Some(heard) = station.hears(SILENCE).await {
        if heard.topic.contains("/notify/") {
            assert_eq!(heard.body["operation"], "create", "{}", heard.body);
            ids.insert(heard.body["data"]["id"].as_u64().expect("a key"));
            last = Some(heard.body);
        }
    }
    (ids, last)
}

async fn a_will_ends_subscriptions(spoken: Spoken) {
    let broker = OwnMosquitto::start(&format!("durable-will-{spoken:?}"));
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let both = [&one, &two];
    let will = json!({"id": "will", "type": "subscription", "operation": "unsubscribe_all"});
    let mut ada = enters(&broker, "ada", spoken, Some(&will)).await;
    listens(&ada).await;
    ada.wait_for_service().await;
    let first = json!(subscribed(&mut ada).await);
    let filters = json!([{"column": "id", "operator": "gt", "value": 15}]);
    let second = answer(&mut ada, &asked("t", &json!({"filters": filters}))).await["data"]["subscription_id"].clone();
    assert_ne!(first, second);
    insert(&shop, 10..20).await;
    hears_all(&mut ada, 10..20).await;
    ada.vanish().await;
    known(&both, 0).await;

    let mut bob = client(&broker, "bob").await;
    subscribed(&mut bob).await;
    insert(&shop, 20..40).await;
    hears_all(&mut bob, 20..40).await;
    let mut ada = enters(&broker, "ada", spoken, None).await;
    let mut is_answered = false;
    while let Some(heard) = ada.hears(SILENCE).await {
        if heard.body["id"] == "will" {
            assert_eq!(heard.body["data"]["unsubscribed"], 2, "{}", heard.body);
            is_answered = true;
        }
        // What was told before the end may be told again.
        assert!(heard.body["data"]["id"].as_u64().is_none_or(|id| id < 20), "it is told after the end: {}", heard.body);
    }
    assert!(is_answered, "the broker has kept the answer to the will");
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_will_of_a_client_that_is_lost_ends_its_subscriptions() {
    a_will_ends_subscriptions(Spoken::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_will_of_the_older_version() {
    a_will_ends_subscriptions(Spoken::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_older_version_is_told_what_it_missed_when_it_comes_back() {
    let broker = OwnMosquitto::start("durable-older");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = enters(&broker, "ada", Spoken::V4, None).await;
    listens(&ada).await;
    ada.wait_for_service().await;
    let id = json!(subscribed(&mut ada).await);
    // So that nobody tells again what another one has told.
    share(&one, &two).await;
    insert(&shop, 10..20).await;
    hears_all(&mut ada, 10..20).await;
    ada.vanish().await;
    changes_unheard(&shop, &[&one, &two], 20..50, 10).await;
    let mut ada = enters(&broker, "ada", Spoken::V4, None).await;
    hears_all(&mut ada, 20..50).await;
    // And it goes on, by the subscription that it has.
    insert(&shop, 50..51).await;
    let mut last = told(&mut ada).await;
    while last["data"]["id"] != 50 {
        last = told(&mut ada).await;
    }
    assert_eq!(last["subscription_id"], id, "{last}");
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    assert_eq!(answer(&mut ada, &end).await["data"]["unsubscribed"], true);
    known(&[&one, &two], 0).await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_past_the_limits_of_its_broker_resumes_and_misses_nothing() {
    // So many wait for a client that is away, and may be on the way to one that is there.
    let broker = OwnMosquitto::with("durable-limits", "max_queued_messages 5\nmax_inflight_messages 200\n");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let (mut ada, mut bob) = (client(&broker, "ada").await, client(&broker, "bob").await);
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    insert(&shop, 10..20).await;
    hears_all(&mut ada, 10..20).await;
    ada.vanish().await;
    // The broker has noticed by the time at which it has done something later.
    assert_eq!(answer(&mut bob, &json!({"id": "p", "type": "ping"})).await["type"], "pong");
    changes_unheard(&shop, &[&one, &two], 100..160, 10).await;

    let mut ada = enters(&broker, "ada", Spoken::V5, None).await;
    let (mut heard, last) = hears_rest(&mut ada).await;
    heard.retain(|id| *id >= 100);
    assert!(!heard.is_empty() && heard.len() < 60, "the broker had room for some: {heard:?}");
    let last = last.expect("something was heard");
    let resumed = answer(&mut ada, &asked("r", &json!({"resume": last["position"]}))).await;
    assert_eq!(resumed["success"], true, "{resumed}");
    hears_all(&mut ada, (100..160).filter(|id| !heard.contains(id))).await;
    drop((one, two));
    shop.remove().await;
}
