//! A broker says that it keeps nothing for a client any more: what the client had subscribed to ends, on whichever replica.

use super::deployment::Replica;
use super::subscriber::{answer, asked, client, hears_all, insert, known, replica, shop, subscribed};
use crate::support::client::{Answer, Call};
use crate::support::mqtt::OwnMosquitto;
use serde_json::{Value, json};

async fn said(replica: &Replica, path: &str, body: &Value) -> Answer {
    replica.admin.send(&Call::post(path, body)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_had_ends_with_its_session() {
    let broker = OwnMosquitto::start("durable-given-up");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let (mut ada, mut bob) = (client(&broker, "ada").await, client(&broker, "bob").await);
    ada.wait_for_service().await;
    let id = subscribed(&mut ada).await;
    assert_eq!(answer(&mut ada, &asked("t", &json!({"columns": ["id"]}))).await["success"], true);
    subscribed(&mut bob).await;
    known(&[&one, &two], 3).await;

    // It has come back since, and what it began then is not meant.
    let long_ago = said(&one, "/mqtt/gone", &json!({"clientid": "ada", "disconnected_at": 1_000})).await;
    assert_eq!((long_ago.status.as_u16(), &long_ago.body), (200, &json!({"result": "ok", "ended": 0})));
    for (path, body, status) in [
        ("/mqtt/gone", json!({}), 400),
        ("/mqtt/gone", json!({"client_id": "a/b"}), 400),
        ("/mqtt/gone", json!([]), 400),
        ("/mqtt/gone/elsewhere:1883", json!({"client_id": "ada"}), 404),
    ] {
        assert_eq!(said(&one, path, &body).await.status.as_u16(), status, "{path} {body}");
    }
    known(&[&one, &two], 3).await;

    let gone = json!({"client_id": "ada", "mountpoint": ""});
    let ended = said(&two, "/mqtt/gone", &gone).await;
    assert_eq!((ended.status.as_u16(), &ended.body), (200, &json!({"result": "ok", "ended": 2})));
    known(&[&one, &two], 1).await;
    assert_eq!(said(&one, "/mqtt/gone", &gone).await.body["ended"], 0, "they have ended once");
    insert(&shop, 10..30).await;
    hears_all(&mut bob, 10..30).await;
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    ada.say(&end).await;
    let refused = loop {
        let heard = ada.hear().await;
        assert!(!heard.topic.contains("/notify/"), "nothing is told to it any more: {}", heard.body);
        if heard.body["id"] == "u" {
            break heard.body;
        }
    };
    assert_eq!(refused["error"]["code"], "subscription_not_found", "{refused}");

    let url = url::Url::parse(&broker.url()).expect("it is one");
    let by_address = format!("/mqtt/gone/{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    assert_eq!(said(&one, &by_address, &json!({"client_id": "bob"})).await.body["ended"], 1);
    known(&[&one, &two], 0).await;
    drop((one, two));
    shop.remove().await;
}
