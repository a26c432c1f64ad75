//! The end of a replica as streams and health see it, and how much a connection may have open.

use crate::live::Stage;
use crate::support::database::Kind;
use crate::support::grpc::{Talk, channel, connect, message, reason, reconnect};
use resolvespec::config::Config;
use resolvespec::transport::http;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_says_so_to_health_and_to_every_stream() {
    let change = |config| Config { leave_time: Duration::from_secs(10), drain_time: Duration::from_secs(20), ..config };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let address = stage.first.address;
    let mut client = connect(address).await;
    let mut health = HealthClient::new(channel(address).await);
    for service in ["", "resolvespec.v1.ResolveSpec"] {
        let now = health.check(asked(service)).await.expect("an answer").into_inner();
        assert_eq!(now.status(), ServingStatus::Serving);
    }
    assert_eq!(health.check(asked("nothing")).await.expect_err("there is no such service").code(), Code::NotFound);
    let mut watched = health.watch(asked("")).await.expect("a stream").into_inner();
    let first = timeout(Duration::from_secs(20), watched.message()).await.expect("in time").expect("it goes on");
    assert_eq!(first.expect("a word").status(), ServingStatus::Serving);

    let mut talk = Talk::begin(&mut client).await;
    let subscribe = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "boxes"});
    let begun = talk.ask(&subscribe).await;
    assert!(begun["data"]["session"].is_string(), "{begun}");
    let stop = TaskTracker::new().spawn(stage.close());
    let left = timeout(Duration::from_secs(20), watched.message()).await.expect("in time").expect("it goes on");
    assert_eq!(left.expect("a word").status(), ServingStatus::NotServing, "before anything is turned away");
    let read = || message(&json!({"operation": "read", "entity": "boxes"}));
    client.call(read()).await.expect("it still answers while load balancers notice");
    let end = talk.ended().await.expect_err("the replica ends");
    assert_eq!((end.code(), &reason(&end)["code"]), (Code::Unavailable, &json!("unavailable")), "{end:?}");
    assert_eq!(reconnect(&end), "yes");
    assert!(end.message().contains("resolvespec-session"), "{end:?}");
    let mut late = client.call(read()).await.expect_err("nothing new is begun");
    if late.code() == Code::Cancelled {
        // It met the end of its connection, and the next one finds none.
        late = client.call(read()).await.expect_err("nothing new is begun");
    }
    assert_eq!(late.code(), Code::Unavailable, "{late:?}");
    // The connections close by themselves, so that nothing has to be cut off.
    timeout(Duration::from_secs(15), stop).await.expect("it ends before its time is over").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_have_so_many_calls_open() {
    let change = |config| Config { http: http::Settings { max_streams: 2, ..http::Settings::default() }, ..config };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let mut first = Talk::begin(&mut client).await;
    // By the answer to it, the client knows the limit.
    assert_eq!(first.ask(&json!({"type": "ping"})).await["type"], "pong");
    let second = Talk::begin(&mut client).await;
    let mut waiting = client.clone();
    let third =
        TaskTracker::new().spawn(async move { waiting.call(message(&json!({"operation": "read", "entity": "boxes"}))).await });
    assert_eq!(first.ask(&json!({"type": "ping"})).await["type"], "pong");
    assert!(!third.is_finished(), "it waits for one of the two");
    drop(second);
    timeout(Duration::from_secs(20), third).await.expect("in time").expect("no panic").expect("an answer");
    drop(first);
    stage.close().await;
}
