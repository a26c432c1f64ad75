//! Session: what is said and told on `/ws`, in the same order, over a stream.

use crate::live::{Stage, config, on_all};
use crate::support::database::Kind;
use crate::support::grpc::{Talk, connect, reason, reconnect};
use crate::support::session::token;
use async_trait::async_trait;
use prost_types::value::Kind as Field;
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::Config;
use resolvespec::engine::{Hook, Refusal, Session};
use resolvespec::event::hub;
use resolvespec::transport::grpc::proto::Message;
use resolvespec::transport::grpc::proto::message::Form;
use resolvespec::transport::ws;
use serde_json::{Value, json};
use std::sync::Arc;
use tonic::Code;

fn subscribe(entity: &str) -> Value {
    json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": entity})
}

fn create(id: i64) -> Value {
    json!({"id": format!("c{id}"), "type": "request", "operation": "create", "entity": "boxes", "data": {"id": id, "size": 0}})
}

async fn everything_is_answered_in_its_order(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut talk = Talk::begin(&mut connect(stage.first.address).await).await;
    let read = json!({"id": "r", "type": "request", "operation": "read", "entity": "boxes"});
    for said in [json!({"id": "p", "type": "ping"}), subscribe("boxes"), create(1), read, json!({"id": "x", "type": "nonsense"})]
    {
        talk.say(&said).await;
    }
    assert_eq!(talk.hear().await["type"], "pong");
    let begun = talk.hear().await;
    assert_eq!((&begun["id"], &begun["success"]), (&json!("s"), &json!(true)), "{begun}");
    let subscription = begun["data"]["subscription_id"].clone();
    // The client's own change comes as a notification, after the subscription's answer and wherever it then falls.
    let mut answers = Vec::new();
    let mut told = None;
    while answers.len() < 3 || told.is_none() {
        let next = talk.hear().await;
        if next["type"] == "notification" {
            assert!(told.replace(next).is_none(), "it is told once");
        } else {
            answers.push(next);
        }
    }
    let ids: Vec<&str> = answers.iter().filter_map(|answer| answer["id"].as_str()).collect();
    assert_eq!(ids, ["c1", "r", "x"]);
    assert_eq!((&answers[1]["metadata"]["total"], &answers[2]["error"]["code"]), (&json!(1), &json!("invalid_message_type")));
    let told = told.expect("it was waited for");
    assert_eq!((&told["subscription_id"], &told["operation"], &told["data"]["id"]), (&subscription, &json!("create"), &json!(1)));
    let heard = json!({"id": "a", "type": "subscription", "operation": "acknowledge", "subscription_id": subscription,
        "position": told["position"]});
    assert_eq!(talk.ask(&heard).await["data"]["acknowledged"], true);
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": subscription});
    assert_eq!(talk.ask(&end).await["data"]["unsubscribed"], true);
    assert_eq!(stage.page("/admin/connections").await["total"], 1);
    talk.hush();
    talk.ended().await.expect("it ends in order when all is said and nothing is left to be told");
    stage.counts(r#"resolvespec_grpc_streams_closed_total{code="client"}"#, 1).await;
    stage.close().await;
}

on_all!(everything_is_answered_in_its_order);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_listens_hears_on() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut talk = Talk::begin(&mut connect(stage.first.address).await).await;
    talk.say(&subscribe("boxes")).await;
    talk.hush();
    assert_eq!(talk.hear().await["success"], true);
    for id in 1..=3 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        assert_eq!(talk.hear().await["data"]["id"], id);
    }
    drop(talk);
    stage.counts("resolvespec_grpc_streams", 0).await;
    stage.counts("resolvespec_live_subscriptions", 0).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_at_another_replica_after_what_was_acknowledged() {
    let stage = Stage::open(Kind::Postgres).await;
    let second = stage.another(config()).await;
    let mut talk = Talk::begin(&mut connect(stage.first.address).await).await;
    let begun = talk.ask(&subscribe("boxes")).await["data"].clone();
    let session = begun["session"].as_str().expect("a session is a text").to_owned();
    for id in 1..=3 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        let told = talk.hear().await;
        assert_eq!(told["data"]["id"], id);
        if id == 2 {
            let heard = json!({"id": "a", "type": "subscription", "operation": "acknowledge",
                "subscription_id": begun["subscription_id"], "position": told["position"]});
            assert_eq!(talk.ask(&heard).await["success"], true);
        }
    }
    drop(talk);
    stage.counts("resolvespec_grpc_streams", 0).await;
    stage.run("insert into boxes values (4, 0)").await;
    let mut client = connect(second.address).await;
    let mut talk = Talk::enter(&mut client, &[("resolvespec-session", &session)]).await.expect("it is let in");
    let said = talk.hear().await;
    assert_eq!(
        (&said["type"], &said["restored"][0]["subscription_id"]),
        (&json!("session"), &begun["subscription_id"]),
        "{said}"
    );
    for id in 3..=4 {
        assert_eq!(talk.hear().await["data"]["id"], id, "what was not acknowledged is told again, and nothing else");
    }
    drop(talk);
    let mut nobody = Talk::enter(&mut client, &[("resolvespec-session", "nonsense")]).await.expect("it is let in");
    assert_eq!(nobody.hear().await["error"]["code"], "session_not_found");
    drop(nobody);
    second.stop().await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_the_limits_of_connections() {
    let change = |config: Config| {
        let ws = ws::Settings { max_connections: 2, max_message_bytes: 2000, ..config.ws };
        Config { ws, live: hub::Settings { max_subscriptions: 1, ..config.live }, ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let mut first = Talk::begin(&mut client).await;
    assert_eq!(first.ask(&subscribe("boxes")).await["success"], true);
    let refused = first.ask(&subscribe("items")).await;
    assert_eq!(refused["error"]["code"], "limit_exceeded", "{refused}");
    let socket = stage.session().await;
    let Err(full) = Talk::enter(&mut client, &[]).await else { panic!("there are two already") };
    assert_eq!((full.code(), &reason(&full)["code"]), (Code::Unavailable, &json!("unavailable")));
    socket.close().await;
    stage.counts("resolvespec_ws_connections", 0).await;
    let second = Talk::begin(&mut client).await;
    second.say(&json!({"id": "l", "type": "ping", "padding": "x".repeat(3000)})).await;
    let large = second.ended().await.expect_err("it is too large");
    assert_eq!((large.code(), &reason(&large)["code"]), (Code::ResourceExhausted, &json!("payload_too_large")));
    drop(first);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    const SECRET: &str = "a secret that is long enough for tests";
    let change = |config| {
        let mut jwt = JwtSettings::new(KeySource::Secret(Secret::new(SECRET.to_owned())));
        jwt.allow_anonymous = true;
        Config { authentication: Authentication::Jwt(jwt), ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let bearer = format!("Bearer {}", token(SECRET, "ada", 2));
    let mut talk = Talk::enter(&mut client, &[("authorization", &bearer)]).await.expect("she may");
    assert_eq!(talk.ask(&subscribe("boxes")).await["success"], true);
    let end = talk.ended().await.expect_err("her token ends");
    assert_eq!((end.code(), &reason(&end)["code"]), (Code::Unauthenticated, &json!("token_expired")));
    assert_eq!(reconnect(&end), "with_new_token");
    stage.close().await;
}

struct Nobody;

#[async_trait]
impl Hook for Nobody {
    async fn before_connect(&self, session: Session<'_>) -> Result<(), Refusal> {
        assert!(session.remote.is_some());
        Err(Refusal::new("not today"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_lets_nobody_in_is_heard() {
    let stage = Stage::with(Kind::Sqlite, |config| config, vec![Arc::new(Nobody)]).await;
    let talk = Talk::begin(&mut connect(stage.first.address).await).await;
    let end = talk.ended().await.expect_err("not today");
    assert!(end.message().contains("not today") && reason(&end)["code"] == "hook_error", "{end:?}");
    assert_eq!(end.code(), Code::FailedPrecondition, "{end:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_structs_tells_everything_as_structs() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = connect(stage.first.address).await;
    let mut talk = Talk::enter(&mut client, &[("resolvespec-form", "struct")]).await.expect("it is let in");
    talk.say(&subscribe("boxes")).await;
    stage.counts("resolvespec_live_subscriptions", 1).await;
    stage.run("insert into boxes values (1, 2)").await;
    for kind in ["response", "notification"] {
        let Some(Message { form: Some(Form::Struct(told)) }) = talk.next().await.expect("the stream goes on") else {
            panic!("a struct was expected")
        };
        assert_eq!(told.fields["type"].kind, Some(Field::StringValue(kind.to_owned())));
    }
    talk.send(Message { form: None }).await;
    let Some(Message { form: Some(Form::Struct(told)) }) = talk.next().await.expect("the stream goes on") else {
        panic!("a struct was expected")
    };
    assert_eq!(told.fields["success"].kind, Some(Field::BoolValue(false)), "an empty message is answered like any other fault");
    drop(talk);
    stage.close().await;
}
