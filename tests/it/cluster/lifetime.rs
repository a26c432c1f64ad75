//! How subscriptions over MQTT end by themselves: when nothing was heard of their client for a lifetime, which it is told.

use super::subscriber::{answer, client, insert, replica, shop, subscribed, told};
use super::until;
use crate::support::mqtt::{OwnMosquitto, Station};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(3);

/// Waits until a silent client is told that its subscription is over, while another one says that it is there.
async fn falls_silent(silent: &mut Station, alive: &mut Station) -> Value {
    let begun = Instant::now();
    loop {
        let pong = answer(alive, &json!({"id": "p", "type": "ping"})).await;
        assert_eq!(pong["type"], "pong", "{pong}");
        if let Some(heard) = silent.hears(Duration::from_millis(100)).await {
            assert!(begun.elapsed() + Duration::from_secs(1) >= LIFETIME, "it was kept for {:?} only", begun.elapsed());
            return heard.body;
        }
        assert!(begun.elapsed() < LIFETIME + Duration::from_secs(20), "it is told nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pings_keeps_its_subscriptions_and_a_silent_one_is_told_of_the_end() {
    let broker = OwnMosquitto::start("durable-lifetime");
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_SUBSCRIPTION_SECONDS", LIFETIME.as_secs().to_string());
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let kept = json!(subscribed(&mut ada).await);
    // Twice, so that what is kept has outlived its lifetime by far.
    for name in ["bob", "carol"] {
        let mut silent = client(&broker, name).await;
        silent.wait_for_service().await;
        let id = json!(subscribed(&mut silent).await);
        let ended = falls_silent(&mut silent, &mut ada).await;
        assert_eq!((&ended["operation"], &ended["reason"]), (&json!("ended"), &json!("client_unheard")), "{ended}");
        assert_eq!((&ended["subscription_id"], &ended["entity"]), (&id, &json!("items")), "{ended}");
        assert!(ended["position"]["offset"].is_u64(), "{ended}");
    }
    until("one subscription that is left", async || {
        let lines = one.metric("resolvespec_mqtt_subscriptions{").await;
        lines.iter().any(|line| line.ends_with(" 1"))
    })
    .await;
    insert(&shop, 70..71).await;
    let told = told(&mut ada).await;
    assert_eq!((&told["subscription_id"], &told["data"]["id"]), (&kept, &json!(70)), "{told}");
    drop((one, two));
    shop.remove().await;
}
