//! The MQTT listener of NATS: 3.1.1 only and without shared subscriptions, so that one replica serves, without a group.

use super::{Shop, create, named, read, until};
use crate::support::client::Client;
use crate::support::mqtt::{Spoken, Station};
use crate::support::nats::OwnNats;
use crate::support::ports::free_port;
use resolvespec::transport::mqtt::Sharing;
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
