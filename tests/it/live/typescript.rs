//! What the TypeScript client reads of subscriptions: it knows a subscription from its answer on, drops notifications of those
//! that it doesn't know, and reads one object a text frame.

use super::{Stage, config, on_all};
use crate::support::database::Kind;
use crate::support::session::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_tungstenite::tungstenite::Message;

const BURST: usize = 300;

/// The client's call; what its promise resolves to.
async fn call(session: &mut Session, mut message: Value) -> Value {
    message["id"] = json!("3fa85f64-5717-4562-b3fc-2c963f66afa6");
    let answer = session.ask(&message).await;
    assert_eq!((&answer["type"], &answer["success"]), (&json!("response"), &json!(true)), "{answer}");
    answer["data"].clone()
}

async fn subscribe(session: &mut Session, options: Value) -> String {
    let message = json!({"type": "subscription", "operation": "subscribe", "entity": "items", "options": options});
    let data = call(session, message).await;
    let id = data["subscription_id"].as_str().expect("a text");
    assert!(!id.is_empty());
    id.to_owned()
}

/// What the callback of a subscription is given.
async fn notified(session: &mut Session, subscription: &str) -> (String, Value) {
    let Message::Text(text) = session.next().await else { panic!("a text frame was expected") };
    let told: Value = serde_json::from_str(&text).expect("one object a frame");
    assert_eq!((&told["type"], &told["subscription_id"]), (&json!("notification"), &json!(subscription)), "{told}");
    assert_eq!((&told["entity"], told["timestamp"].is_string()), (&json!("items"), true), "{told}");
    (told["operation"].as_str().expect("a word").to_owned(), told["data"].clone())
}

on_all! {
    the_clients_subscriptions_are_told_of_a_rows_life_on_two_replicas
    a_burst_arrives_in_as_many_frames
}

async fn the_clients_subscriptions_are_told_of_a_rows_life_on_two_replicas(kind: Kind) {
    let stage = Stage::open(kind).await;
    let second = stage.another(config()).await;
    let mut clients = Vec::new();
    for address in [stage.first.address, second.address] {
        let mut session = Session::connect(address).await;
        let all = subscribe(&mut session, json!({})).await;
        clients.push((session, all));
    }
    let mut writer = stage.session().await;
    let row = |name: &str| json!({"id": 1, "name": name, "kind": "a", "stock": 1});
    call(&mut writer, json!({"type": "request", "operation": "create", "entity": "items", "data": row("pen")})).await;
    let renamed = json!({"type": "request", "operation": "update", "entity": "items", "record_id": "1", "data": {"name": "ink"}});
    call(&mut writer, renamed).await;
    let removed = call(&mut writer, json!({"type": "request", "operation": "delete", "entity": "items", "record_id": "1"})).await;
    assert_eq!(removed, json!({"deleted": true}));
    for (session, all) in &mut clients {
        assert_eq!(notified(session, all).await, ("create".to_owned(), row("pen")));
        assert_eq!(notified(session, all).await, ("update".to_owned(), row("ink")));
        let (operation, gone) = notified(session, all).await;
        assert_eq!((operation.as_str(), &gone["id"]), ("delete", &json!(1)));
    }

    // One that has ended is told nothing; the filter of another is regarded.
    let (session, all) = &mut clients[0];
    let ended = json!({"type": "subscription", "operation": "unsubscribe", "subscription_id": all});
    let answer = call(session, ended).await;
    assert_eq!((&answer["unsubscribed"], &answer["subscription_id"]), (&json!(true), &json!(all)));
    let filtered = subscribe(session, json!({"filters": [{"column": "kind", "operator": "eq", "value": "b"}]})).await;
    stage.run("insert into items values (2, 'cap', 'a', 1); insert into items values (3, 'cup', 'b', 1)").await;
    let (operation, told) = notified(session, &filtered).await;
    assert_eq!((operation.as_str(), &told["id"]), ("create", &json!(3)));
    second.stop().await;
    stage.close().await;
}

async fn a_burst_arrives_in_as_many_frames(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let all = subscribe(&mut session, json!({})).await;
    let rows: Vec<String> = (0..BURST).map(|id| format!("({id}, 'x', 'a', 1)")).collect();
    stage.run(&format!("insert into items values {}", rows.join(", "))).await;
    let mut told = BTreeMap::new();
    for _ in 0..BURST {
        let (operation, row) = notified(&mut session, &all).await;
        assert_eq!(operation, "create");
        *told.entry(row["id"].as_u64().expect("a number")).or_insert(0) += 1;
    }
    assert_eq!(told.len(), BURST, "each row once");
    stage.close().await;
}
