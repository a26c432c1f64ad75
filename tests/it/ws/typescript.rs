//! The TypeScript client's calls over WebSocket, as it sends them, and what it reads of the answers.
//!
//! It resolves a call to `data` alone, takes `error.message` of a failure, and reads one object a text frame.

use super::Shop;
use crate::support::session::Session;
use serde_json::{Value, json};

const ID: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";

/// A call; what its promise resolves to, or the error's text.
async fn call(session: &mut Session, rest: Value) -> Result<Value, String> {
    let mut message = json!({"id": ID, "type": "request", "entity": "items"});
    for (key, value) in rest.as_object().expect("an object") {
        message[key.as_str()] = value.clone();
    }
    let answer = session.ask(&message).await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("response"), &json!(ID)), "{answer}");
    if answer["success"].as_bool().expect("a boolean") {
        return Ok(answer["data"].clone());
    }
    Err(answer["error"]["message"].as_str().expect("a message").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_reads_creates_updates_and_deletes() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    let all = call(&mut session, json!({"operation": "read", "options": {}})).await;
    assert_eq!(all, Ok(json!([{"id": 1, "name": "pen"}, {"id": 2, "name": "ink"}])), "a list is the array itself");
    let options = json!({"filters": [{"column": "name", "operator": "eq", "value": "ink"}], "columns": ["id"],
        "sort": [{"column": "id", "direction": "DESC"}], "limit": 10, "offset": 0});
    let some = call(&mut session, json!({"operation": "read", "schema": "main", "options": options})).await;
    assert_eq!(some, Ok(json!([{"id": 2}])));
    let one = call(&mut session, json!({"operation": "read", "record_id": "2", "options": {}})).await;
    assert_eq!(one, Ok(json!({"id": 2, "name": "ink"})));
    let created = call(&mut session, json!({"operation": "create", "data": {"name": "cap"}})).await;
    assert_eq!(created, Ok(json!({"id": 3, "name": "cap"})));
    let updated = call(&mut session, json!({"operation": "update", "record_id": "3", "data": {"name": null}})).await;
    assert_eq!(updated, Ok(json!({"id": 3, "name": null})));
    let deleted = call(&mut session, json!({"operation": "delete", "record_id": "3"})).await;
    assert_eq!(deleted, Ok(json!({"deleted": true})));
    let gone = call(&mut session, json!({"operation": "read", "record_id": "3", "options": {}})).await;
    assert!(gone.is_err_and(|message| !message.is_empty()));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_gets_metadata_and_positions() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    let meta = call(&mut session, json!({"operation": "meta"})).await.expect("metadata");
    assert_eq!((&meta["schema"], &meta["entity"]), (&json!("main"), &json!("items")));
    assert_eq!((&meta["columns"], &meta["primary_key"]), (&json!(["id", "name"]), &json!("id")));
    assert_eq!(meta["table_name"], "main.items");
    let wanted = json!({"id": "n", "type": "request", "operation": "read", "entity": "items",
        "options": {"fetch_row_number": "1", "sort": [{"column": "name", "direction": "asc"}]}});
    let numbered = session.ask(&wanted).await;
    assert_eq!((&numbered["data"]["name"], &numbered["metadata"]["row_number"]), (&json!("pen"), &json!(2)));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_heartbeat_is_answered_and_its_subscriptions_to_what_is_not_captured_fail_with_a_message() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    assert_eq!(session.ask(&json!({"id": ID, "type": "ping"})).await["type"], "pong");
    for (operation, word) in [("subscribe", "not captured"), ("unsubscribe", "no subscription")] {
        let message = json!({"id": ID, "type": "subscription", "operation": operation, "entity": "items", "options": {},
            "subscription_id": "s"});
        let answer = session.ask(&message).await;
        assert_eq!((&answer["success"], &answer["id"]), (&json!(false), &json!(ID)));
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains(word)), "{answer}");
    }
    shop.close().await;
}
