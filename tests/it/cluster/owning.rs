//! Whose a subscription over MQTT is, where clients have tokens: nobody else's, whatever topic they speak by; it outlives the
//! token that it was begun with, and is told under what its client may do now.

use super::deployment::{Deployment, Replica};
use super::live::captured;
use super::subscriber::{answer, asked, client, hears_all, insert, known, replica, told};
use super::until;
use crate::support::client::Call;
use crate::support::mqtt::{Beside, OwnMosquitto, Station};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret that only this test knows, and nobody else";

/// For how long a token is still taken after its end, since clocks differ.
const LEEWAY: u64 = 30;

/// Long enough to subscribe on a busy machine.
const SHORT: u64 = 8;
const LONG: u64 = 3600;

/// A shop that wants to know who asks, and shows its items to readers alone.
async fn guarded(broker: &OwnMosquitto) -> Deployment {
    let shop = Deployment::new().await.with("RESOLVESPEC_MQTT_BROKERS", broker.url()).with("RESOLVESPEC_JWT_SECRET", SECRET);
    let shop = shop.with("RESOLVESPEC_MQTT_CLIENT_CLAIM", "none");
    let (open, closed) = ("{source: shop}", "{source: shop, operations: {read: {roles: [reader]}}}");
    assert!(captured().contains(open));
    shop.write(&captured().replace(open, closed));
    shop.capture();
    shop.published(&[]);
    shop
}

/// A token that is taken for so many seconds from now on.
fn token(subject: &str, roles: &[&str], seconds: u64) -> String {
    token_of(json!({"sub": subject, "roles": roles}), seconds)
}

fn token_of(mut claims: Value, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    claims["exp"] = (now + seconds - LEEWAY).into();
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

fn by(mut message: Value, token: &str) -> Value {
    message["token"] = token.into();
    message
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

fn read(id: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "read", "entity": "items", "options": {"limit": 1}})
}

async fn subscribed(station: &mut Station, token: &str) -> String {
    let told = answer(station, &by(asked("s", &json!({})), token)).await;
    assert_eq!(told["success"], true, "{told}");
    told["data"]["subscription_id"].as_str().expect("an id").to_owned()
}

/// The answer to what somebody else says by a client's topic, which the client hears.
async fn answer_to_other(other: &Station, station: &mut Station, message: &Value) -> Value {
    let topic = format!("spec/{}/request", station.id);
    other.publish(&topic, message.to_string().into_bytes(), Beside::default()).await.expect("this broker lets everybody");
    loop {
        let heard = station.hear().await;
        if heard.topic.ends_with("/response") && heard.body["id"] == message["id"] {
            return heard.body;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_outlives_its_token_and_nobody_else_can_end_it_by_any_topic() {
    let broker = OwnMosquitto::start("durable-owning");
    let shop = guarded(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    assert_eq!(code(&answer(&mut ada, &asked("n", &json!({}))).await), "unauthorized");
    let strange = by(asked("f", &json!({})), &token("ada", &["writer"], LONG));
    assert_eq!(code(&answer(&mut ada, &strange).await), "forbidden");
    let short = token("ada", &["reader"], SHORT);
    let id = subscribed(&mut ada, &short).await;
    insert(&shop, 10..11).await;
    let first = told(&mut ada).await;
    assert_eq!((&first["subscription_id"], &first["data"]["id"]), (&json!(id), &json!(10)), "{first}");
    known(&[&one, &two], 1).await;

    let mut bob = client(&broker, "bob").await;
    let bobs = token("bob", &["reader"], LONG);
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    let refused = answer(&mut bob, &by(end.clone(), &bobs)).await;
    assert_eq!(code(&refused), "subscription_not_found", "{refused}");
    let refused = answer_to_other(&bob, &mut ada, &by(end.clone(), &bobs)).await;
    assert_eq!(code(&refused), "subscription_not_found", "{refused}");
    let all = json!({"id": "w", "type": "subscription", "operation": "unsubscribe_all"});
    let none = answer_to_other(&bob, &mut ada, &by(all, &bobs)).await;
    assert_eq!(none["data"]["unsubscribed"], 0, "{none}");
    // Nor has he taken anything from her by having no right to what she is told.
    let few = token("bob", &[], LONG);
    let refused = answer_to_other(&bob, &mut ada, &by(read("few"), &few)).await;
    assert_eq!(code(&refused), "forbidden", "{refused}");

    until("the end of the token", async || code(&answer(&mut ada, &by(read("r"), &short)).await) == "unauthorized").await;
    let refused = answer(&mut ada, &by(end.clone(), &short)).await;
    assert_eq!(code(&refused), "unauthorized", "{refused}");
    insert(&shop, 20..40).await;
    hears_all(&mut ada, 20..40).await;
    known(&[&one, &two], 1).await;
    let ended = answer(&mut ada, &by(end, &token("ada", &["reader"], LONG))).await;
    assert_eq!(ended["data"]["unsubscribed"], true, "she is the one who began it, by another token: {ended}");
    known(&[&one, &two], 0).await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_fewer_roles_ends_what_they_do_not_allow() {
    let broker = OwnMosquitto::start("durable-narrowed");
    let shop = guarded(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let (mut ada, mut bob) = (client(&broker, "ada").await, client(&broker, "bob").await);
    ada.wait_for_service().await;
    let id = subscribed(&mut ada, &token("ada", &["reader"], LONG)).await;
    subscribed(&mut bob, &token("bob", &["reader"], LONG)).await;
    insert(&shop, 10..30).await;
    hears_all(&mut ada, 10..30).await;
    hears_all(&mut bob, 10..30).await;
    known(&[&one, &two], 2).await;

    ada.say(&by(read("narrow"), &token("ada", &[], LONG))).await;
    let (mut refused, mut ended) = (Value::Null, Value::Null);
    while refused.is_null() || ended.is_null() {
        let heard = ada.hear().await;
        if heard.topic.ends_with("/response") {
            refused = heard.body;
        } else if heard.body["operation"] == "ended" {
            ended = heard.body;
        }
    }
    assert_eq!((&refused["id"], code(&refused)), (&json!("narrow"), "forbidden"), "{refused}");
    assert_eq!((&ended["operation"], &ended["subscription_id"]), (&json!("ended"), &json!(id)), "{ended}");
    assert_eq!(code(&ended), "forbidden", "{ended}");
    known(&[&one, &two], 1).await;
    insert(&shop, 30..50).await;
    hears_all(&mut bob, 30..50).await;
    while let Some(heard) = ada.hears(Duration::from_millis(300)).await {
        // At the most she is told again what she was told before.
        assert!(heard.body["data"]["id"].as_u64().is_none_or(|id| id < 30), "she may not be told that: {}", heard.body);
    }
    drop((one, two));
    shop.remove().await;
}

/// What a broker is told that asks whether a client may come in with a token: the status and the reason.
async fn admitted(replica: &Replica, client: &str, token: &str) -> (u16, String) {
    let question = json!({"clientid": client, "username": "", "password": token});
    let answer = replica.admin.send(&Call::post("/mqtt/auth", &question)).await.expect("an answer");
    (answer.status.as_u16(), answer.body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_is_nobody_elses_while_subscriptions_are_kept_under_it() {
    let broker = OwnMosquitto::start("durable-inherited");
    let shop = guarded(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let short = token("ada", &["reader"], SHORT);
    assert_eq!(admitted(&one, "ada", &short).await.0, 200);
    subscribed(&mut ada, &short).await;
    known(&[&one, &two], 1).await;
    until("the end of the token", async || code(&answer(&mut ada, &by(read("r"), &short)).await) == "unauthorized").await;

    // Whoever came in with her id now would be told what she is told.
    let bobs = token("bob", &["reader"], LONG);
    for replica in [&one, &two] {
        let mut reason = String::new();
        until("forgetting the token", async || {
            let (status, told) = admitted(replica, "ada", &bobs).await;
            assert_eq!(status, 403, "{told}");
            reason = told;
            reason.contains("subscriptions")
        })
        .await;
        assert!(reason.contains("unsubscribe_all"), "it says what to do: {reason}");
        until("saying so in the log", async || replica.said().contains("unsubscribe_all")).await;
    }
    assert_eq!(admitted(&two, "bob", &bobs).await.0, 200, "his own id is his");
    let long = token("ada", &["reader"], LONG);
    let all = by(json!({"id": "w", "type": "subscription", "operation": "unsubscribe_all"}), &long);
    assert_eq!(answer(&mut ada, &all).await["data"]["unsubscribed"], 1);
    known(&[&one, &two], 0).await;
    assert_eq!(admitted(&two, "ada", &bobs).await.0, 200);
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_tokens_without_subject_each_owns_what_it_began() {
    let broker = OwnMosquitto::start("durable-nameless");
    let shop = guarded(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let (mut ada, bob) = (client(&broker, "ada").await, client(&broker, "bob").await);
    ada.wait_for_service().await;
    let device = |number: u64, seconds: u64| token_of(json!({"device": number, "roles": ["reader"]}), seconds);
    let id = subscribed(&mut ada, &device(1, LONG)).await;
    known(&[&one, &two], 1).await;
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    let refused = answer_to_other(&bob, &mut ada, &by(end.clone(), &device(2, LONG))).await;
    assert_eq!(code(&refused), "subscription_not_found", "{refused}");
    let all = json!({"id": "w", "type": "subscription", "operation": "unsubscribe_all"});
    let none = answer_to_other(&bob, &mut ada, &by(all, &device(2, LONG))).await;
    assert_eq!(none["data"]["unsubscribed"], 0, "{none}");
    insert(&shop, 10..11).await;
    assert_eq!(told(&mut ada).await["subscription_id"], json!(id));
    let ended = answer(&mut ada, &by(end, &device(1, LONG + 60))).await;
    assert_eq!(ended["data"]["unsubscribed"], true, "it is the same device by a renewed token: {ended}");
    drop((one, two));
    shop.remove().await;
}
