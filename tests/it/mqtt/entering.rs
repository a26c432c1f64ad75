//! Who may speak for whom: tokens in messages, tokens bound to clients, and Mosquitto with the configuration that is shipped.

use super::{SECRET, Shop, code, create, named, read};
use crate::support::client::Client;
use crate::support::mqtt::{self, Beside, Entry, OwnMosquitto, Spoken, Station, shared};
use crate::support::session::token;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use resolvespec::transport::mqtt::Sharing;
use serde_json::{Value, json};
use std::time::Duration;

fn bearer(token: &str) -> Beside {
    Beside { properties: vec![("authorization".to_owned(), format!("Bearer {token}"))], ..Beside::default() }
}

fn with_token(mut message: Value, token: &str) -> Value {
    message["token"] = token.into();
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_needs_a_good_token_beside_it_or_in_it() {
    let shop = Shop::guarded(&shared(), |settings| settings).await;
    let good = token(SECRET, "ann", 600);
    let mut newer = Station::connect(&shared(), &format!("{}-5", shop.prefix), &shop.prefix, Spoken::V5).await;
    newer.wait_for_service().await;
    assert_eq!(code(&newer.ask(&read("1")).await), "unauthorized");
    assert_eq!(newer.ask_with(&read("2"), bearer(&good)).await["success"], true);
    let mut older = Station::connect(&shared(), &format!("{}-3", shop.prefix), &shop.prefix, Spoken::V4).await;
    assert_eq!(code(&older.ask(&read("1")).await), "unauthorized");
    assert_eq!(older.ask(&with_token(read("2"), &good)).await["success"], true);
    for bad in [token("another secret that is as long as it must be", "ann", 600), "x".to_owned()] {
        assert_eq!(code(&older.ask(&with_token(create("3", "bad"), &bad)).await), "unauthorized");
        assert_eq!(code(&newer.ask_with(&create("3", "bad"), bearer(&bad)).await), "unauthorized");
    }
    let scheme = Beside { properties: vec![("authorization".to_owned(), format!("Basic {good}"))], ..Beside::default() };
    assert_eq!(code(&newer.ask_with(&read("4"), scheme).await), "unauthorized");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_client_is_no_other_clients() {
    let shop = Shop::guarded(&shared(), |mut settings| {
        settings.client_claim = Some("device".to_owned());
        settings
    })
    .await;
    let ids = ["a", "b"].map(|name| format!("{}-{name}", shop.prefix));
    let bound = |device: Value| {
        let claims = json!({"sub": "ann", "device": device, "exp": 4_000_000_000_u64});
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
    };
    let mut first = Station::connect(&shared(), &ids[0], &shop.prefix, Spoken::V5).await;
    let mut second = Station::connect(&shared(), &ids[1], &shop.prefix, Spoken::V4).await;
    first.wait_for_service().await;
    let of_first = bound(json!(ids[0]));
    assert_eq!(first.ask_with(&read("1"), bearer(&of_first)).await["success"], true);
    let refused = second.ask(&with_token(create("1", "stolen"), &of_first)).await;
    assert_eq!(code(&refused), "forbidden", "{refused}");
    assert!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("device")), "{refused}");
    assert_eq!(second.ask(&with_token(read("2"), &bound(json!(ids)))).await["success"], true);
    assert_eq!(code(&second.ask(&with_token(read("3"), &token(SECRET, "ann", 600))).await), "forbidden");
    shop.close().await;
}

/// The shipped configuration with other ports and files.
fn shipped(name: &str, users: &[&str]) -> (OwnMosquitto, String, String) {
    let broker = OwnMosquitto::shipped(name, users);
    let (clients, service) = (broker.clients(), broker.url());
    (broker, clients, service)
}

fn at<'a>(url: &'a str, id: &'a str, spoken: Spoken) -> Entry<'a> {
    Entry { url, id, prefix: "spec", spoken, stays: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_mosquitto_holds_every_client_to_its_own_topics() {
    let (broker, clients, service) = shipped("shipped", &["ann", "bob"]);
    let shop = Shop::open(&service, |mut settings| {
        settings.prefix = "spec".to_owned();
        settings.sharing = Sharing::Group("known-to-replicas-only".to_owned());
        settings
    })
    .await;
    let of = |user: &str| clients.replace("//", &format!("//{user}:{user}@"));
    // Whatever client id ann claims, she is ann.
    for spoken in [Spoken::V5, Spoken::V4] {
        let (ann, bob) = (of("ann"), of("bob"));
        let mut ann = Station::enter(at(&ann, "bob", spoken)).await.expect("ann may enter");
        "ann".clone_into(&mut ann.id);
        let mut bob = Station::enter(at(&bob, "bob", spoken)).await.expect("bob may enter");
        ann.subscribe("spec/ann/response").await.expect("her answers");
        ann.subscribe("spec/ann/notify/+").await.expect("her notifications");
        bob.subscribe("spec/bob/response").await.expect("his answers");
        ann.wait_for_service().await;
        assert_eq!(ann.ask(&read("1")).await["success"], true);
        // She can't speak as bob, nor as the service. In 3.1.1 a broker can't say so.
        for (topic, name) in [("spec/bob/request", "as bob"), ("spec/bob/response", "as the service")] {
            let said = ann.publish(topic, create("2", name).to_string().into_bytes(), Beside::default()).await;
            assert_eq!(said.is_err(), spoken == Spoken::V5, "{topic}: {said:?}");
        }
        assert!(bob.hears(Duration::from_millis(300)).await.is_none());
        assert_eq!(named(&Client::new(shop.address), "as bob").await, 0);
        // Nor hear what is his, or everybody's: the broker takes wildcards, and delivers nothing that is not hers.
        for filter in ["spec/bob/response", "spec/+/response", "spec/#", "#", "$share/resolvespec/spec/+/request"] {
            _ = ann.subscribe(filter).await;
        }
        assert_eq!(bob.ask(&read("3")).await["success"], true);
        while let Some(heard) = ann.hears(Duration::from_millis(300)).await {
            assert!(heard.topic.starts_with("spec/ann/"), "ann heard {}", heard.topic);
        }
        // Nor take requests away from the service, whose group she does not know.
        for number in 0..10 {
            assert_eq!(bob.ask(&read(&format!("again{number}"))).await["success"], true);
        }
    }
    // The door of the service is not theirs, and theirs not the service's or nobody's.
    let by_service_door =
        service.replace(service.split_once("//").expect("a scheme").1.split_once('@').expect("a user").0, "ann:ann");
    assert!(Station::enter(at(&by_service_door, "x", Spoken::V5)).await.is_err());
    assert!(Station::enter(at(&clients, "x", Spoken::V5)).await.is_err());
    assert!(Station::enter(at(&of("ann").replace(":ann@", ":bob@"), "x", Spoken::V4)).await.is_err());
    shop.close().await;
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_shipped_mosquitto_a_token_is_good_on_its_own_clients_topic_only() {
    let (broker, clients, service) = shipped("shipped-claim", &["ann"]);
    let shop = Shop::guarded(&service, |mut settings| {
        settings.prefix = "spec".to_owned();
        settings.sharing = Sharing::Group("known-to-replicas-only".to_owned());
        settings.client_claim = Some("sub".to_owned());
        settings
    })
    .await;
    for spoken in [Spoken::V5, Spoken::V4] {
        let mut ann = Station::enter(at(&clients.replace("//", "//ann:ann@"), "ann", spoken)).await.expect("ann may enter");
        ann.subscribe("spec/ann/response").await.expect("her answers");
        ann.wait_for_service().await;
        let refused = ann.ask(&with_token(create("1", "by bob"), &token(SECRET, "bob", 600))).await;
        assert_eq!(code(&refused), "forbidden", "{refused}");
        assert_eq!(code(&ann.ask(&create("2", "by nobody")).await), "unauthorized");
        let done = ann.ask(&with_token(read("3"), &token(SECRET, "ann", 600))).await;
        assert_eq!(done["success"], true, "{done}");
    }
    shop.close().await;
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_us_leaves_the_replica_ready() {
    let url = mqtt::shared();
    let wrong =
        url.replace(url.rsplit_once(':').expect("a port").0.rsplit_once('@').expect("a user").0, "mqtt://resolvespec:wrong");
    let shop = Shop::open(&wrong, |settings| settings).await;
    super::until("it is told", async || shop.is_degraded().await).await;
    assert_eq!(named(&Client::new(shop.address), "pen").await, 1);
    shop.close().await;
}
