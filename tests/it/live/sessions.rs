//! Clients that come back: to another replica, after a while, as somebody else.

use super::counting::{Counts, Writers, now};
use super::owning::ThroughNats;
use super::{Kind, Stage, come_back, config, eq, subscribed, told};
use crate::support::session::{Session, handshake, token};
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::Config;
use resolvespec::event::bus::{MemoryBus, MemorySettings};
use resolvespec::event::hub;
use resolvespec::live::Handles;
use resolvespec::store::{Bucket, MemoryBucket};
use resolvespec::transport::ws;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn ids<'v>(list: impl IntoIterator<Item = &'v Value>) -> BTreeSet<&'v str> {
    list.into_iter().filter_map(|one| one["subscription_id"].as_str()).collect()
}

/// One who has it told again does not mind, but nothing may be missing.
fn take_at_least_once(counts: &mut Counts, message: &Value) {
    let (id, stock) = (message["data"]["id"].as_i64().expect("an id"), message["data"]["stock"].as_i64().expect("a number"));
    let known = counts.0.get_mut(&id).expect("a row that is known");
    assert!(stock <= *known + 1, "a number is missing: {message}");
    *known = stock.max(*known);
}

async fn coming_back(stage: Stage) {
    let second = stage.another(config()).await;
    let writers = Writers::start(&stage).await;
    let mut client = stage.session().await;
    let boxes = subscribed(&mut client, "boxes", json!({"columns": ["id"]})).await;
    let items = subscribed(&mut client, "items", json!({"snapshot": true, "filters": [eq("kind", "count")]})).await;
    assert_eq!(items["session"], boxes["session"]);
    let mut counts = Counts::of(&items["snapshot"]);
    for turn in 0..6 {
        for _ in 0..10 {
            take_at_least_once(&mut counts, &told(&mut client).await);
        }
        // Without a goodbye, and to the other replica each time.
        drop(client);
        let replica = if turn % 2 == 0 { &second } else { &stage.first };
        let (back, said) = come_back(replica, &items["session"]).await;
        assert_eq!((&said["session"], &said["failed"]), (&items["session"], &json!([])), "{said}");
        assert_eq!(ids(said["restored"].as_array().expect("a list")), ids([&items, &boxes]));
        client = back;
    }
    assert!(writers.stop().await > 0);
    let end = now(&stage).await;
    while counts != end {
        take_at_least_once(&mut counts, &told(&mut client).await);
    }
    stage.run("insert into boxes values (7, 7)").await;
    loop {
        let message = told(&mut client).await;
        if message["subscription_id"] == boxes["subscription_id"] {
            assert_eq!(message["data"], json!({"id": 7}), "it is what was asked for");
            break;
        }
    }
    drop(client);
    second.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_to_any_replica_gets_everything_back() {
    coming_back(Stage::open(Kind::Postgres).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_to_any_replica_gets_everything_back_through_nats() {
    let nats = ThroughNats::open().await;
    coming_back(Stage::on(Kind::Mariadb, nats.handles.clone(), config(), Vec::new()).await).await;
    nats.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_pings_is_not_told_again_what_it_has() {
    let bucket = MemoryBucket::default();
    let handles = Handles { sessions: Arc::new(bucket.clone()), ..Handles::memory() };
    let live = hub::Settings { session_lifetime: Duration::from_secs(3), ..hub::Settings::default() };
    let ws = ws::Settings { ping_interval: Duration::from_millis(100), ..ws::Settings::default() };
    let stage = Stage::on(Kind::Sqlite, handles, Config { live, ws, ..config() }, Vec::new()).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    for id in 1..=5 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        assert_eq!(told(&mut client).await["data"]["id"], id);
    }
    let key = format!("session.{}.0", begun["session"].as_str().expect("a text"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "what was heard is not kept");
        // Pings are answered while something is waited for.
        _ = tokio::time::timeout(Duration::from_millis(50), client.next()).await;
        let entry = bucket.get(&key).await.expect("the bucket answers").expect("the session is kept");
        let stored: Value = serde_json::from_slice(&entry.value).expect("JSON");
        // The latest is told for certain only when another has begun.
        if stored["subscriptions"][0]["position"]["offset"].as_u64() >= Some(4) {
            break;
        }
    }
    drop(client);
    stage.run("insert into boxes values (6, 0)").await;
    let (mut client, _) = come_back(&stage.first, &begun["session"]).await;
    let mut next = told(&mut client).await;
    if next["data"]["id"] == 5 {
        next = told(&mut client).await;
    }
    assert_eq!(next["data"]["id"], 6, "and not those before");
    drop(client);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_changes_are_gone_goes_on_with_a_word() {
    let bus = MemoryBus::new(MemorySettings { max_changes: 3, ..MemorySettings::default() });
    let stage = Stage::over(Kind::Sqlite, bus).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    drop(client);
    for id in 1..=9 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        stage.counts("resolvespec_live_events_total", id).await;
    }
    let (mut client, said) = come_back(&stage.first, &begun["session"]).await;
    assert_eq!(said["restored"][0]["subscription_id"], begun["subscription_id"], "{said}");
    let message = told(&mut client).await;
    assert_eq!((&message["operation"], &message["reason"]), (&json!("resync_required"), &json!("changes_lost")));
    stage.run("insert into boxes values (10, 0)").await;
    assert_eq!(told(&mut client).await["data"]["id"], 10);
    drop(client);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_own_and_not_for_ever() {
    const SECRET: &str = "a secret that only this test knows, and nobody else";
    let jwt = JwtSettings::new(KeySource::Secret(Secret::new(SECRET)));
    let live = hub::Settings { session_lifetime: Duration::from_secs(1), ..hub::Settings::default() };
    let authentication = Authentication::Jwt(jwt);
    let stage = Stage::with(Kind::Sqlite, |config| Config { authentication, live, ..config }, Vec::new()).await;
    let enter = async |who: &str, session: &str| {
        let query = format!("?token={}{session}", token(SECRET, who, 60));
        Session::enter(handshake(stage.first.address, &query, &[])).await.expect("it is let in")
    };
    let mut ada = enter("ada", "").await;
    let begun = subscribed(&mut ada, "boxes", json!({})).await;
    let session = format!("&session={}", begun["session"].as_str().expect("a text"));
    let mut bob = enter("bob", &session).await;
    let refused = bob.hear().await;
    assert_eq!((&refused["type"], &refused["error"]["code"]), (&json!("session"), &json!("session_not_found")), "{refused}");
    assert_eq!(subscribed(&mut bob, "items", json!({})).await["entity"], "items", "and goes on as anybody");
    let mut again = enter("ada", &session).await;
    assert_eq!(again.hear().await["restored"][0]["subscription_id"], begun["subscription_id"]);
    drop(again);
    let nonsense = enter("ada", "&session=nonsense").await.hear().await;
    assert_eq!(nonsense["error"]["code"], "session_not_found");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the session never ends");
        let said = enter("ada", &session).await.hear().await;
        if said["error"]["code"] == "session_not_found" {
            break;
        }
        // Coming back has it kept for another while.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    stage.close().await;
}
