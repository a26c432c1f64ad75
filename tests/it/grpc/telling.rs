//! Subscribe: a stream that begins with an answer, tells changes, and can be gone on with from any position.

use crate::live::{Stage, eq, on_all};
use crate::support::database::Kind;
use crate::support::grpc::{Client, connect, heard, message, next, reason, value, with};
use resolvespec::config::Config;
use resolvespec::event::hub;
use resolvespec::transport::grpc::proto::Message;
use serde_json::{Value, json};
use std::time::Duration;
use tonic::{Code, Streaming};

fn asking(options: &Value) -> Message {
    message(&json!({"operation": "subscribe", "entity": "items", "options": options}))
}

/// The stream and the `data` of the answer that it begins with.
async fn subscribed(client: &mut Client, options: Value) -> (Streaming<Message>, Value) {
    let mut stream = client.subscribe(asking(&options)).await.expect("a stream").into_inner();
    let answer = heard(&mut stream).await;
    assert_eq!((&answer["type"], &answer["success"]), (&json!("response"), &json!(true)), "{answer}");
    (stream, answer["data"].clone())
}

async fn a_stream_tells_rows_then_changes_and_goes_on_after_a_cut(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut client = connect(stage.first.address).await;
    stage.run("insert into items values (1, 'pen', 'a', 1), (2, 'ink', 'b', 1)").await;
    let options = json!({"snapshot": true, "filters": [eq("kind", "a")], "columns": ["id", "stock"]});
    let (mut stream, begun) = subscribed(&mut client, options).await;
    assert_eq!(begun["snapshot"], json!([{"id": 1, "stock": 1}]));
    stage.run("update items set stock = 2").await;
    let told = heard(&mut stream).await;
    assert_eq!(
        (&told["type"], &told["operation"], &told["data"]),
        (&json!("notification"), &json!("update"), &json!({"id": 1, "stock": 2}))
    );
    assert_eq!(told["subscription_id"], begun["subscription_id"]);
    // The client is cut off, and comes back with the position that it was told last.
    drop(stream);
    stage.counts("resolvespec_live_subscriptions", 0).await;
    stage.run("insert into items values (3, 'cap', 'a', 5); delete from items where id = 1").await;
    let mut client = connect(stage.first.address).await;
    let options = json!({"resume": told["position"], "filters": [eq("kind", "a")], "columns": ["id", "stock"]});
    let (mut stream, _) = subscribed(&mut client, options).await;
    let (created, deleted) = (heard(&mut stream).await, heard(&mut stream).await);
    assert_eq!((&created["operation"], &created["data"]["id"]), (&json!("create"), &json!(3)));
    assert_eq!((&deleted["operation"], &deleted["data"]["id"]), (&json!("delete"), &json!(1)));
    drop(stream);
    stage.close().await;
}

on_all!(a_stream_tells_rows_then_changes_and_goes_on_after_a_cut);

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_can_not_begin_ends_its_stream_with_why() {
    let limits = hub::Settings { max_subscription_bytes: 200, ..hub::Settings::default() };
    let stage = Stage::with(Kind::Sqlite, |config| Config { live: limits, ..config }, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let lost = json!({"resume": {"epoch": "another", "offset": 1}});
    for (options, code, ours) in [
        (json!({"preload": [{"relation": "boxes"}]}), Code::InvalidArgument, "invalid_option"),
        (json!({"filters": [eq("nothing", 1)]}), Code::InvalidArgument, "invalid_column"),
        (json!({"filters": [eq("name", "x".repeat(300))]}), Code::InvalidArgument, "limit_exceeded"),
        (lost, Code::OutOfRange, "resync_required"),
    ] {
        // What is refused before the stream begins and what after it are the same to a client.
        let refused = match client.subscribe(asking(&options)).await {
            Err(refused) => refused,
            Ok(stream) => next(&mut stream.into_inner()).await.expect_err("nothing is told"),
        };
        assert_eq!((refused.code(), &reason(&refused)["code"]), (code, &json!(ours)), "{refused:?}");
    }
    let end = message(&json!({"operation": "unsubscribe", "subscription_id": "s"}));
    let refused = client.subscribe(end).await.expect_err("there is nothing to tell");
    assert_eq!(reason(&refused)["code"], "invalid_subscription_operation");
    stage.counts("resolvespec_grpc_streams", 0).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_deadline() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = connect(stage.first.address).await;
    let mut stream =
        client.subscribe(with(asking(&json!({})), &[("grpc-timeout", "700m")])).await.expect("a stream").into_inner();
    assert_eq!(heard(&mut stream).await["success"], true);
    let late = next(&mut stream).await.expect_err("the time is over");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    stage.counts("resolvespec_live_subscriptions", 0).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up_and_told_so_if_it_listens_again() {
    let change = |config: Config| {
        let ws = resolvespec::transport::ws::Settings { write_time: Duration::from_millis(300), ..config.ws };
        Config { ws, ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let (mut stream, _) = subscribed(&mut client, json!({})).await;
    // More than the windows of HTTP/2 take.
    let text = "x".repeat(90);
    for round in 0..40 {
        let rows: Vec<String> = (0..1000).map(|row| format!("({}, '{text}', 'a', 1)", round * 1000 + row)).collect();
        stage.run(&format!("insert into items values {}", rows.join(","))).await;
    }
    stage.counts(r#"resolvespec_grpc_streams_closed_total{code="4004"}"#, 1).await;
    stage.counts("resolvespec_grpc_streams", 0).await;
    let end = loop {
        match next(&mut stream).await {
            Ok(told) => _ = value(told.expect("it does not end as if all were well")),
            Err(end) => break end,
        }
    };
    assert_eq!((end.code(), &reason(&end)["code"]), (Code::ResourceExhausted, &json!("slow_consumer")), "{end:?}");
    // Other calls on the connection go on.
    client.call(message(&json!({"operation": "read", "entity": "boxes"}))).await.expect("an answer");
    stage.close().await;
}
