//! Clients that say how far they have heard, and are told nothing of it twice.

use super::owning::ThroughNats;
use super::{Kind, Stage, come_back, config, subscribed, told};
use crate::support::session::Session;
use resolvespec::config::Config;
use resolvespec::event::bus::{MemoryBus, MemorySettings};
use resolvespec::event::hub;
use resolvespec::live::Handles;
use resolvespec::store::Bucket;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

async fn acknowledge(client: &mut Session, id: &Value, position: &Value) -> Value {
    let heard =
        json!({"id": "a", "type": "subscription", "operation": "acknowledge", "subscription_id": id, "position": position});
    client.ask(&heard).await
}

/// How far the only subscription of a session was heard, as the bucket has it.
async fn kept(bucket: &dyn Bucket, session: &Value) -> Value {
    let key = format!("session.{}.0", session.as_str().expect("a session is a text"));
    let entry = bucket.get(&key).await.expect("the bucket answers").expect("the session is kept");
    let stored: Value = serde_json::from_slice(&entry.value).expect("JSON");
    stored["subscriptions"][0]["position"].clone()
}

async fn is_told_once(stage: Stage) {
    let bucket = stage.handles.sessions.clone();
    let second = stage.another(config()).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    let (id, session) = (&begun["subscription_id"], &begun["session"]);
    let mut positions = Vec::new();
    for number in 1..=5 {
        stage.run(&format!("insert into boxes values ({number}, 0)")).await;
        positions.push(told(&mut client).await["position"].clone());
    }
    let answer = acknowledge(&mut client, id, &positions[3]).await;
    let data = json!({"acknowledged": true, "subscription_id": id, "position": positions[3]});
    assert_eq!((&answer["id"], &answer["success"], &answer["data"]), (&json!("a"), &json!(true), &data));
    let earlier = acknowledge(&mut client, id, &positions[0]).await;
    assert_eq!(earlier["success"], true, "what was heard stays heard: {earlier}");
    assert_eq!(kept(&*bucket, session).await, begun["position"], "nothing is written for it by itself");

    // The replica ends: what was heard is written before the client is sent away.
    let (mut first, writer, fresh) = (stage.first, stage.writer, stage.fresh);
    first.end();
    let Message::Close(Some(frame)) = client.next().await else { panic!("a close was expected") };
    assert_eq!(u16::from(frame.code), 1012);
    let reason = format!("unavailable: this replica ends; reconnect session={}", session.as_str().expect("a text"));
    assert_eq!(frame.reason.as_str(), reason, "the client is told with what to come again");
    assert_eq!(kept(&*bucket, session).await, positions[3]);
    let (mut client, said) = come_back(&second, session).await;
    assert_eq!(said["restored"][0]["position"], positions[3], "{said}");
    assert_eq!(told(&mut client).await["data"]["id"], 5, "and nothing before it");
    first.ended().await;

    // And without a goodbye.
    assert_eq!(acknowledge(&mut client, id, &positions[4]).await["success"], true);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept(&*bucket, session).await != positions[4] {
        assert!(Instant::now() < deadline, "what was heard is not written at the end of a connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writer.run_script("insert into boxes values (6, 0)").await.expect("written");
    let (mut client, _) = come_back(&second, session).await;
    assert_eq!(told(&mut client).await["data"]["id"], 6, "and nothing before it");
    drop(client);
    second.stop().await;
    writer.close().await;
    fresh.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_not_told_again_after_a_drain_or_a_break() {
    is_told_once(Stage::open(Kind::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_not_told_again_after_a_drain_or_a_break_through_nats() {
    let nats = ThroughNats::open().await;
    is_told_once(Stage::on(Kind::Postgres, nats.handles.clone(), config(), Vec::new()).await).await;
    nats.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_makes_no_sense_is_refused() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    let id = &begun["subscription_id"];
    stage.run("insert into boxes values (1, 0)").await;
    let position = told(&mut client).await["position"].clone();
    let beyond = json!({"epoch": position["epoch"], "offset": position["offset"].as_u64().expect("a number") + 1});
    for (id, position, code) in [
        (id, &beyond, "invalid_message"),
        (id, &json!({"epoch": "another", "offset": 0}), "resync_required"),
        (id, &json!({"offset": 0}), "invalid_message"),
        (id, &Value::Null, "invalid_message"),
        (&json!("nobody"), &position, "subscription_not_found"),
        (&Value::Null, &position, "missing_subscription_id"),
    ] {
        let answer = acknowledge(&mut client, id, position).await;
        assert_eq!((&answer["success"], &answer["error"]["code"]), (&json!(false), &json!(code)), "{answer}");
    }
    let answer = acknowledge(&mut client, id, &position).await;
    assert_eq!(answer["success"], true, "{answer}");
    drop(client);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_written_now_and_then() {
    let live = hub::Settings { session_lifetime: Duration::from_secs(3), ..hub::Settings::default() };
    let stage = Stage::on(Kind::Sqlite, Handles::memory(), Config { live, ..config() }, Vec::new()).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    stage.run("insert into boxes values (1, 0)").await;
    let position = told(&mut client).await["position"].clone();
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept(&*stage.handles.sessions, &begun["session"]).await != position {
        assert!(Instant::now() < deadline, "what was heard is not written");
        assert_eq!(acknowledge(&mut client, &begun["subscription_id"], &position).await["success"], true);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(client);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_to_read_again_until_it_has_heard_that() {
    let bus = MemoryBus::new(MemorySettings { max_changes: 3, ..MemorySettings::default() });
    let stage = Stage::over(Kind::Sqlite, bus).await;
    let mut client = stage.session().await;
    let begun = subscribed(&mut client, "boxes", json!({})).await;
    let (id, session) = (&begun["subscription_id"], &begun["session"]);
    drop(client);
    for number in 1..=9 {
        stage.run(&format!("insert into boxes values ({number}, 0)")).await;
        stage.counts("resolvespec_live_events_total", number).await;
    }
    let read_again = async || {
        let (mut client, said) = come_back(&stage.first, session).await;
        assert_eq!(&said["restored"][0]["subscription_id"], id, "{said}");
        let message = told(&mut client).await;
        let what = (&message["operation"], &message["reason"]);
        assert_eq!(what, (&json!("resync_required"), &json!("changes_lost")), "{message}");
        (client, message["position"].clone())
    };
    // Gone before it has said that it heard anything.
    for _ in 0..2 {
        read_again().await;
    }
    let (mut client, position) = read_again().await;
    assert_eq!(kept(&*stage.handles.sessions, session).await, Value::Null);
    assert_eq!(acknowledge(&mut client, id, &position).await["success"], true);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept(&*stage.handles.sessions, session).await != position {
        assert!(Instant::now() < deadline, "what was heard is not written at the end of a connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.run("insert into boxes values (10, 0)").await;
    let (mut client, _) = come_back(&stage.first, session).await;
    assert_eq!(told(&mut client).await["data"]["id"], 10, "and it is not told so again");
    drop(client);
    stage.close().await;
}
