//! What is said on a connection: messages and their answers, in order, within limits.

use super::{Shop, until};
use async_trait::async_trait;
use resolvespec::config::Config;
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::protocol::Operation;
use resolvespec::transport::ws::Settings;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

fn read(id: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "read", "entity": "items", "options": {}})
}

fn create(id: &str, name: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "create", "entity": "items", "data": {"name": name}})
}

async fn with(settings: Settings) -> Shop {
    Shop::open(|config| Config { ws: settings, ..config }, Vec::new()).await
}

/// Holds every create until it is let go.
struct Hold(Semaphore);

#[async_trait]
impl Hook for Hold {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            self.0.acquire().await.expect("the semaphore stays open").forget();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_with_its_id_if_it_has_one() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    let pong = session.ask(&json!({"id": "p1", "type": "ping"})).await;
    assert_eq!((&pong["id"], &pong["type"], &pong["success"]), (&json!("p1"), &json!("pong"), &Value::Null));
    let pong = session.ask(&json!({"type": "ping"})).await;
    assert_eq!((&pong["id"], &pong["type"]), (&Value::Null, &json!("pong")));
    session.send(Message::Ping("here".into())).await;
    assert_eq!(session.next().await, Message::Pong("here".into()), "the protocol's own ping");
    session.close().await;
    shop.counts(r#"resolvespec_ws_connections_closed_total{code="client"} 1"#).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_and_the_connection_stays() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    for (text, id, code) in [
        ("", "", "invalid_message"),
        ("{", "", "invalid_message"),
        ("[]", "", "invalid_message"),
        ("{} {}", "", "invalid_message"),
        (r#"{"id":"1","type":"response"}"#, "1", "invalid_message_type"),
        (r#"{"id":"1","type":"request","entity":"items"}"#, "1", "invalid_message"),
        (r#"{"id":"1","type":"request","operation":"purge","entity":"items"}"#, "1", "invalid_operation"),
        (r#"{"id":"1","type":"request","operation":"read","entity":"ghosts"}"#, "1", "model_not_found"),
        (r#"{"id":"1","type":"request","operation":"read","entity":"items","options":{"page":1}}"#, "1", "invalid_option"),
        (r#"{"id":"1","type":"subscription","operation":"listen"}"#, "1", "invalid_subscription_operation"),
        (r#"{"id":"1","type":"subscription","operation":"unsubscribe"}"#, "1", "missing_subscription_id"),
        (r#"{"id":"1","type":"subscription","operation":"subscribe","entity":"items"}"#, "1", "not_captured"),
    ] {
        session.send(Message::text(text)).await;
        let answer = session.hear().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(code)), "{text}");
        assert_eq!((&answer["type"], &answer["success"]), (&json!("response"), &json!(false)), "{text}");
    }
    assert_eq!(session.ask(&read("r")).await["success"], true);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_frames_and_fragments_are_read_as_texts_are() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    let text = read("r1").to_string();
    session.send(Message::binary(text.clone())).await;
    assert_eq!(session.hear().await["id"], "r1");
    for (place, byte) in text.bytes().enumerate() {
        let kind = if place == 0 { Data::Text } else { Data::Continue };
        let last = place + 1 == text.len();
        session.send(Message::Frame(Frame::message(vec![byte], OpCode::Data(kind), last))).await;
        if place == 3 {
            session.send(Message::Ping("between".into())).await;
        }
    }
    assert_eq!(session.next().await, Message::Pong("between".into()));
    assert_eq!(session.hear().await["data"][0], json!({"id": 1, "name": "pen"}));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_the_order_of_the_requests() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    for number in 0..200 {
        let id = number.to_string();
        let message = match number % 4 {
            0 => create(&id, &id),
            1 => read(&id),
            2 => json!({"id": id, "type": "ping"}),
            _ => json!({"id": id, "type": "nonsense"}),
        };
        session.feed(&message).await;
    }
    session.say(&read("last")).await;
    for number in 0..200 {
        assert_eq!(session.hear().await["id"], number.to_string());
    }
    let last = session.hear().await;
    assert_eq!(last["metadata"]["count"], 52, "each read sees what was written before it");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_say_only_so_much_ahead() {
    let hold = Arc::new(Hold(Semaphore::new(0)));
    let shop = Shop::open(|config| config, vec![hold.clone()]).await;
    let mut session = shop.session().await;
    session.say(&create("held", "x")).await;
    for number in 0..500 {
        session.say(&json!({"id": number.to_string(), "type": "ping"})).await;
    }
    let received = async || shop.page("/admin/connections").await["connections"][0]["received"]["messages"].clone();
    until("reading up to the limit", async || received().await == 33).await;
    // Another request to the replica gives it time to read on, if it did.
    assert_eq!(received().await, 33, "the one that is held, and those that wait");
    hold.0.add_permits(1);
    assert_eq!(session.hear().await["id"], "held");
    for number in 0..500 {
        assert_eq!(session.hear().await["id"], number.to_string());
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_and_answers_pass_up_to_their_limits() {
    let settings = Settings { max_message_bytes: 1024 * 1024 + 200, max_answer_bytes: 2 * 1024 * 1024, ..Settings::default() };
    let shop = with(settings).await;
    let mut session = shop.session().await;
    let large = "é".repeat(512 * 1024);
    let created = session.ask(&create("c", &large)).await;
    assert_eq!(created["data"]["name"].as_str().map(str::len), Some(1024 * 1024));
    let one = session.ask(&read("one")).await;
    assert_eq!(one["data"].as_array().map(Vec::len), Some(3), "one large row fits");
    assert_eq!(session.ask(&create("c", &large)).await["success"], true);
    let two = session.ask(&read("two")).await;
    assert_eq!((&two["error"]["code"], &two["id"]), (&json!("limit_exceeded"), &json!("two")));
    session.send(Message::text(create("c", &"x".repeat(1024 * 1024 + 200)).to_string())).await;
    assert_eq!(session.closed().await.0, 1009);
    let mut other = shop.session().await;
    let half = "x".repeat(600 * 1024);
    other.send(Message::Frame(Frame::message(half.clone(), OpCode::Data(Data::Text), false))).await;
    other.send(Message::Frame(Frame::message(half, OpCode::Data(Data::Continue), false))).await;
    assert_eq!(other.closed().await.0, 1009, "fragments count together");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_close_the_connection_with_the_reason() {
    let shop = Shop::usual().await;
    for (name, bytes, code) in [
        ("a text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
        ("a frame without mask", &[0x81, 0x02, b'{', b'}'][..], 1002),
        ("a reserved bit", &[0xc1, 0x82, 0, 0, 0, 0, b'{', b'}'][..], 1002),
        ("an unknown kind", &[0x83, 0x80, 0, 0, 0, 0][..], 1002),
        ("a continuation of nothing", &[0x80, 0x80, 0, 0, 0, 0][..], 1002),
        ("a ping in parts", &[0x09, 0x80, 0, 0, 0, 0][..], 1002),
    ] {
        let mut session = shop.session().await;
        session.stream().write_all(bytes).await.expect("the replica takes bytes");
        assert_eq!(session.closed().await.0, code, "{name}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_create_is_done_once_and_a_row_is_changed_only_as_it_was_read() {
    let shop = Shop::usual().await;
    let mut session = shop.session().await;
    let keyed = |id: &str| {
        let mut message = create(id, "once");
        message["idempotency_key"] = json!("k1");
        message
    };
    let first = session.ask(&keyed("a")).await;
    let again = session.ask(&keyed("b")).await;
    assert_eq!((&first["data"], &first["idempotency_replayed"]), (&again["data"], &Value::Null));
    assert_eq!(again["idempotency_replayed"], true);
    let one = json!({"id": "r", "type": "request", "operation": "read", "entity": "items", "record_id": "1"});
    let tag = session.ask(&one).await["metadata"]["etag"].clone();
    let update = |name: &str| {
        json!({"id": "u", "type": "request", "operation": "update", "entity": "items", "record_id": "1", "data": {"name": name},
            "if_match": tag})
    };
    assert_eq!(session.ask(&update("red pen")).await["data"], json!({"id": 1, "name": "red pen"}));
    assert_eq!(session.ask(&update("blue pen")).await["error"]["code"], "precondition_failed");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_a_connection_is_counted_and_timed() {
    let shop = Shop::usual().await;
    let (mut session, idle) = (shop.session().await, shop.session().await);
    let said = [
        create("c", "é").to_string(),
        read("r").to_string(),
        read("r").to_string(),
        json!({"id": "g", "type": "request", "operation": "update", "entity": "items", "record_id": "99", "data": {"name": "x"}})
            .to_string(),
        json!({"id": "p", "type": "ping"}).to_string(),
        "no message".to_owned(),
    ];
    let mut heard = Vec::new();
    for text in &said {
        session.send(Message::text(text.as_str())).await;
        let Message::Text(answer) = session.next().await else { panic!("{text} is answered by a text") };
        heard.push(answer.len());
    }
    shop.counts("resolvespec_ws_connections_opened_total 2").await;
    shop.counts("resolvespec_ws_connections 2").await;
    for direction in ["received", "sent"] {
        shop.counts(&format!(r#"resolvespec_ws_messages_total{{direction="{direction}"}} {}"#, said.len())).await;
    }
    let received: usize = said.iter().map(String::len).sum();
    shop.counts(&format!(r#"resolvespec_ws_message_bytes_total{{direction="received"}} {received}"#)).await;
    // An answer is counted as it is written: with its frame's header, two bytes, or four for a text that is longer than 125.
    let sent: usize = heard.iter().map(|length| length + if *length < 126 { 2 } else { 4 }).sum();
    shop.counts(&format!(r#"resolvespec_ws_message_bytes_total{{direction="sent"}} {sent}"#)).await;
    // What is no request takes no time.
    for (operation, status, count) in [("create", "ok", 1), ("read", "ok", 2), ("update", "error", 1)] {
        let labels = format!(r#"operation="{operation}",status="{status}""#);
        shop.counts(&format!("resolvespec_ws_request_duration_seconds_count{{{labels}}} {count}")).await;
    }
    let page = shop.page("/metrics").await;
    let timed = page.as_str().into_iter().flat_map(str::lines).filter(|line| line.starts_with("resolvespec_ws_request_duration"));
    assert_eq!(timed.filter(|line| line.contains("_count{")).count(), 3, "{page}");
    shop.counts("resolvespec_ws_requests_in_flight 0").await;
    session.close().await;
    idle.close().await;
    shop.counts("resolvespec_ws_connections 0").await;
    shop.counts("resolvespec_ws_connections_opened_total 2").await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_in_flight_until_it_is_answered_or_its_client_goes() {
    let hold = Arc::new(Hold(Semaphore::new(0)));
    let shop = Shop::open(|config| config, vec![hold.clone()]).await;
    let (mut stays, mut goes) = (shop.session().await, shop.session().await);
    for session in [&mut stays, &mut goes] {
        session.say(&create("held", "x")).await;
    }
    shop.counts("resolvespec_ws_requests_in_flight 2").await;
    drop(goes);
    shop.counts("resolvespec_ws_requests_in_flight 1").await;
    shop.counts(r#"resolvespec_ws_request_duration_seconds_count{operation="create",status="cancelled"} 1"#).await;
    hold.0.add_permits(1);
    assert_eq!(stays.hear().await["success"], true);
    shop.counts("resolvespec_ws_requests_in_flight 0").await;
    shop.counts(r#"resolvespec_ws_request_duration_seconds_count{operation="create",status="ok"} 1"#).await;
    stays.close().await;
    shop.close().await;
}
