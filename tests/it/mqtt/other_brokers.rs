//! The MQTT listener of NATS: 3.1.1 only and without shared subscriptions, so that one replica serves, without a group.

use super::brokers::{answer, shop, subscribed, told, write};
use super::{Shop, create, named, read, until};
use crate::support::client::Client;
use crate::support::mqtt::{Beside, Entry, Spoken, Station};
use crate::support::nats::OwnNats;
use crate::support::ports::free_port;
use resolvespec::transport::mqtt::Sharing;
use serde_json::json;
use std::time::Duration;

fn nats_with_mqtt(name: &str) -> (OwnNats, String) {
    let port = free_port();
    let entry = format!(
        "authorization {{ user: resolvespec, password: \"word\" }}\nmqtt {{ listen: \"127.0.0.1:{port}\", max_ack_pending: 100 }}\n"
    );
    (OwnNats::start_with(name, Some(&entry)), format!("mqtt://resolvespec:word@127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_serves_the_mqtt_listener_of_nats_in_the_version_that_it_knows() {
    let (_nats, url) = nats_with_mqtt("nats-mqtt");
    let shop = Shop::open(&url, |mut settings| {
        settings.sharing = Sharing::Nobody;
        settings
    })
    .await;
    until("the replica has found the version", async || !shop.is_degraded().await).await;
    let mut station = Station::connect(&url, "c", &shop.prefix, Spoken::V4).await;
    assert_eq!(station.ask(&read("1")).await["success"], true);
    assert_eq!(station.ask(&create("2", "by nats")).await["success"], true);
    assert_eq!(station.ask(&create("2", "by nats")).await["idempotency_replayed"], true);
    assert_eq!(named(&Client::new(shop.address), "by nats").await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_group_nats_takes_the_subscription_and_delivers_nothing() {
    let (_nats, url) = nats_with_mqtt("nats-mqtt-group");
    let shop = Shop::open(&url, |settings| settings).await;
    until("the replica is subscribed", async || !shop.is_degraded().await).await;
    let mut station = Station::connect(&url, "c", &shop.prefix, Spoken::V4).await;
    station.say(&read("1")).await;
    assert!(station.hears(Duration::from_secs(1)).await.is_none());
    shop.close().await;
}

/// A NATS that holds users to their topics, which are its subjects: what the service needs, and what a client does.
fn nats_with_permissions(name: &str) -> (OwnNats, u16) {
    let port = free_port();
    let client = |name: &str| {
        let (says, hears) = (format!("spec.{name}.request"), format!("\"spec.{name}.response\", \"spec.{name}.notify.*\""));
        format!("{{ user: {name}, password: {name}, permissions: {{ publish: \"{says}\", subscribe: [{hears}] }} }}\n")
    };
    let service = "{ user: service, password: service,
        permissions: { publish: [\"spec.*.response\", \"spec.*.notify.*\"], subscribe: \"spec.*.request\" } }\n";
    let entry = format!(
        "authorization {{ users: [\n{service}{}{}] }}\nmqtt {{ listen: \"127.0.0.1:{port}\" }}\n",
        client("ann"),
        client("bob"),
    );
    (OwnNats::start_with(name, Some(&entry)), port)
}

/// A client whose session the broker keeps, with the topics that are its own.
async fn entered(port: u16, name: &str) -> Station {
    let url = format!("mqtt://{name}:{name}@127.0.0.1:{port}");
    let entry = Entry { url: &url, id: name, prefix: "spec", spoken: Spoken::V4, stays: true };
    let station = Station::enter(entry).await.expect("the broker lets it in");
    for topic in ["response", "notify/+"] {
        station.subscribe(&format!("spec/{name}/{topic}")).await.expect("its own topics");
    }
    station
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_clients_apart_by_permissions_and_what_they_are_told_while_they_are_away() {
    let (_nats, port) = nats_with_permissions("nats-mqtt-permissions");
    let shop = shop("nats-permissions");
    let url = format!("mqtt://service:service@127.0.0.1:{port}");
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &url, "--mqtt-group", "none"], &[]);
    process.enters_its_broker();
    let (mut ann, mut bob) = (entered(port, "ann").await, entered(port, "bob").await);
    let id = subscribed(&mut ann).await;
    write(&process, "for ann");
    let first = told(&mut ann).await;
    assert_eq!((&first["subscription_id"], &first["data"]["name"]), (&json!(id), &json!("for ann")), "{first}");

    for topic in ["spec/ann/response", "spec/ann/notify/+", "spec/+/response", "spec/#", "#"] {
        assert!(bob.subscribe(topic).await.is_err(), "{topic} is somebody else's");
    }
    // 3.1.1 has no word for what is not taken.
    let stolen = create("s", "stolen").to_string().into_bytes();
    bob.publish("spec/ann/request", stolen, Beside::default()).await.expect("an acknowledgement");
    assert_eq!(answer(&mut bob, &read("1")).await["data"].as_array().map(Vec::len), Some(2), "its own requests are answered");
    assert!(!process.get("/rest/main/items").contains("stolen"));

    ann.vanish().await;
    write(&process, "while she is away");
    let mut ann = entered(port, "ann").await;
    assert!(ann.is_kept);
    assert_eq!(told(&mut ann).await["data"]["name"], "while she is away");
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    assert_eq!(answer(&mut ann, &end).await["data"]["unsubscribed"], true);
    process.end();
}
