//! Calls: one request, one answer, with what REST has in headers as metadata.

use crate::live::Stage;
use crate::support::client::{Call, Client as Http};
use crate::support::database::Kind;
use crate::support::grpc::{connect, message, reason, value, with};
use crate::support::server::Server;
use crate::support::session::token;
use async_trait::async_trait;
use axum::http::{HeaderValue, Method};
use http_body_util::Full;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use prost_types::value::Kind as Field;
use prost_types::{Struct, Value as Part};
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::Config;
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::protocol::Operation;
use resolvespec::transport::grpc::proto::Message;
use resolvespec::transport::grpc::proto::message::Form;
use resolvespec::transport::{http, ws};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request};

fn read() -> Message {
    message(&json!({"operation": "read", "entity": "items"}))
}

fn create(id: i64) -> Value {
    json!({"id": "c", "operation": "create", "entity": "items", "data": {"id": id, "name": "pen", "stock": 1}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_repeated_safely_and_guarded_by_metadata() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = connect(stage.first.address).await;
    let keyed = || with(message(&create(1)), &[("idempotency-key", "k1")]);
    let first = value(client.call(keyed()).await.expect("it is created").into_inner());
    assert_eq!((&first["id"], &first["success"], &first["data"]["name"]), (&json!("c"), &json!(true), &json!("pen")), "{first}");
    let again = value(client.call(keyed()).await.expect("it is found again").into_inner());
    assert_eq!((&again["idempotency_replayed"], &again["data"]), (&json!(true), &first["data"]));
    let other = client.call(with(message(&create(2)), &[("idempotency-key", "k1")])).await.expect_err("another request");
    assert_eq!((other.code(), &reason(&other)["code"]), (Code::FailedPrecondition, &json!("idempotency_key_reused")));

    let one = json!({"operation": "read", "entity": "items", "record_id": 1});
    let tag = value(client.call(message(&one)).await.expect("it is there").into_inner())["metadata"]["etag"].clone();
    let change = json!({"operation": "update", "entity": "items", "record_id": 1, "data": {"stock": 2}});
    let guarded = || with(message(&change), &[("if-match", tag.as_str().expect("a text"))]);
    client.call(guarded()).await.expect("the row is as it was");
    let late = client.call(guarded()).await.expect_err("the row has changed");
    assert_eq!((late.code(), &reason(&late)["code"]), (Code::Aborted, &json!("precondition_failed")));
    stage.counts(r#"resolvespec_grpc_requests_total{code="OK",method="Call"}"#, 4).await;
    stage.counts(r#"resolvespec_grpc_requests_total{code="ABORTED",method="Call"}"#, 1).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_with_our_code() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = connect(stage.first.address).await;
    let empty = Message { form: None };
    let text = |text: &'static str| Message { form: Some(Form::Json(text.into())) };
    for (message, code, ours) in [
        (message(&json!({"operation": "read", "entity": "nothing"})), Code::NotFound, "model_not_found"),
        (message(&json!({"operation": "read", "entity": "items", "record_id": 9})), Code::NotFound, "not_found"),
        (message(&json!({"operation": "grow", "entity": "items"})), Code::InvalidArgument, "invalid_operation"),
        (message(&json!({"type": "ping"})), Code::InvalidArgument, "invalid_message_type"),
        (
            message(&json!({"type": "subscription", "operation": "subscribe", "entity": "items"})),
            Code::InvalidArgument,
            "invalid_message_type",
        ),
        (text("[]"), Code::InvalidArgument, "invalid_message"),
        (text("\u{fffd}"), Code::InvalidArgument, "invalid_message"),
        (empty, Code::InvalidArgument, "invalid_message"),
    ] {
        let refused = client.call(Request::new(message.clone())).await.expect_err("it is refused");
        assert_eq!((refused.code(), &reason(&refused)["code"]), (code, &json!(ours)), "{message:?}");
    }
    for metadata in [("resolvespec-form", "yaml"), ("grpc-timeout", "soon")] {
        let refused = client.call(with(read(), &[metadata])).await.expect_err("it is refused");
        assert_eq!((refused.code(), &reason(&refused)["detail"]), (Code::InvalidArgument, &json!(metadata.0)));
    }
    stage.close().await;
}

fn part(value: &Value) -> Part {
    let kind = match value {
        Value::Null => Field::NullValue(0),
        Value::Bool(value) => Field::BoolValue(*value),
        Value::Number(number) => Field::NumberValue(number.as_f64().expect("a double")),
        Value::String(text) => Field::StringValue(text.clone()),
        Value::Array(list) => Field::ListValue(prost_types::ListValue { values: list.iter().map(part).collect() }),
        Value::Object(_) => Field::StructValue(structure(value)),
    };
    Part { kind: Some(kind) }
}

fn structure(value: &Value) -> Struct {
    let fields = value.as_object().expect("an object");
    Struct { fields: fields.iter().map(|(name, value)| (name.clone(), part(value))).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_says_and_tells_the_same_and_rounds_nothing() {
    const SCHEMA: &str = "create table sums (id bigint primary key, amount numeric(30, 10), note text);";
    const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: sums}
spec: {source: conformance, apiSchema: public}
";
    let server = Server::start(Kind::Postgres, SCHEMA, ENTITIES).await;
    let mut client = connect(server.client.address()).await;
    let said = |value: &Value| Message { form: Some(Form::Struct(structure(value))) };
    let create = json!({"operation": "create", "entity": "sums",
        "data": {"id": "9007199254740993", "amount": "1234567890123456789.5", "note": null}});
    let told = client.call(with(said(&create), &[("resolvespec-form", "struct")])).await.expect("it is created").into_inner();
    let Some(Form::Struct(told)) = told.form else { panic!("a struct was expected, and {told:?} came") };
    let expected = json!({"id": "9007199254740993", "amount": "1234567890123456789.5000000000", "note": null});
    assert_eq!((&told.fields["success"], &told.fields["data"]), (&part(&json!(true)), &part(&expected)));

    // Without asking for another form, the answer is JSON, with every digit.
    let read = json!({"operation": "read", "entity": "sums"});
    let rows = client.call(said(&read)).await.expect("an answer").into_inner();
    let Some(Form::Json(text)) = rows.form else { panic!("JSON was expected") };
    let text = std::str::from_utf8(&text).expect("text");
    assert!(text.contains(r#""id":9007199254740993,"amount":1234567890123456789.5000000000"#), "{text}");

    let rounded = json!({"id": "r", "operation": "read", "entity": "sums", "record_id": 9_007_199_254_740_993_i64});
    let refused = client.call(said(&rounded)).await.expect_err("it may have been rounded");
    assert_eq!((refused.code(), &reason(&refused)["code"]), (Code::InvalidArgument, &json!("invalid_message")));
    assert!(refused.message().contains("as a string"), "{}", refused.message());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_is_known_by_the_token_and_a_large_message_is_refused() {
    const SECRET: &str = "a secret that is long enough for tests";
    let change = |config| {
        let jwt = JwtSettings::new(KeySource::Secret(Secret::new(SECRET.to_owned())));
        let ws = ws::Settings { max_message_bytes: 1000, ..ws::Settings::default() };
        Config { authentication: Authentication::Jwt(jwt), ws, ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut client = connect(stage.first.address).await;
    let bearer = format!("Bearer {}", token(SECRET, "ada", 60));
    client.call(with(read(), &[("authorization", &bearer)])).await.expect("she may");
    for metadata in [&[][..], &[("authorization", "Bearer nonsense")], &[("authorization", "Basic x")]] {
        let refused = client.call(with(read(), metadata)).await.expect_err("nobody knows who it is");
        assert_eq!((refused.code(), &reason(&refused)["code"]), (Code::Unauthenticated, &json!("unauthorized")));
        let refused = client.subscribe(with(read(), metadata)).await.expect_err("nor here");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let large = json!({"operation": "read", "entity": "items", "padding": "x".repeat(2000)});
    let refused = client.call(with(message(&large), &[("authorization", &bearer)])).await.expect_err("it is too large");
    assert_eq!((refused.code(), &reason(&refused)["code"]), (Code::ResourceExhausted, &json!("payload_too_large")));
    stage.counts(r#"resolvespec_grpc_streams_refused_total{code="unauthorized"}"#, 3).await;
    stage.close().await;
}

/// Holds every create, tells that it came, and tells when it is given up.
struct Hold {
    came: Semaphore,
    left: Semaphore,
}

struct Left<'a>(&'a Semaphore);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

#[async_trait]
impl Hook for Hold {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            let _left = Left(&self.left);
            self.came.add_permits(1);
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

async fn wait(signal: &Semaphore) {
    let wait = tokio::time::timeout(Duration::from_secs(20), signal.acquire());
    wait.await.expect("in time").expect("the semaphore stays open").forget();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_client_gives_up_is_given_up() {
    let hold = Arc::new(Hold { came: Semaphore::new(0), left: Semaphore::new(0) });
    let stage = Stage::with(Kind::Sqlite, |config| config, vec![hold.clone()]).await;
    let mut client = connect(stage.first.address).await;
    let mut other = client.clone();
    let call = TaskTracker::new().spawn(async move { other.call(message(&create(1))).await });
    wait(&hold.came).await;
    call.abort();
    wait(&hold.left).await;
    client.call(read()).await.expect("the connection serves on");
    stage.counts(r#"resolvespec_grpc_requests_total{code="CANCELLED",method="Call"}"#, 1).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_answered_as_before_and_what_is_one_is_not_touched() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = connect(stage.first.address).await;
    for id in 0..200 {
        client.call(message(&create(id))).await.expect("it is created");
    }
    // One connection over HTTP/2 that has both.
    let pool = Pool::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<bytes::Bytes>>();
    let send = |kind: &'static str, path: &'static str, body: &'static [u8]| {
        let request = axum::http::Request::builder().method(Method::POST).uri(format!("http://{}{path}", stage.first.address));
        let request = request.header("content-type", kind).header("accept-encoding", "gzip").header("te", "trailers");
        pool.request(request.body(Full::from(body)).expect("a request"))
    };
    // The message of 43 bytes: field 1 with 41 of JSON.
    let call = b"\0\0\0\0\x2b\x0a\x29{\"operation\":\"read\",\"entity\":\"items\"}    ";
    let answer = send("application/grpc", "/resolvespec.v1.ResolveSpec/Call", call).await.expect("an answer");
    assert_eq!(answer.headers().get("content-type").map(HeaderValue::as_bytes), Some(&b"application/grpc"[..]));
    assert!(!answer.headers().contains_key("content-encoding") && answer.headers().contains_key("x-request-id"));
    let answer = send("application/json", "/api/main/items", br#"{"operation":"read"}"#).await.expect("an answer");
    assert_eq!(answer.headers().get("content-encoding").map(HeaderValue::as_bytes), Some(&b"gzip"[..]));
    let answer = send("application/grpc", "/resolvespec.v1.ResolveSpec/Guess", call).await.expect("an answer");
    assert_eq!(answer.headers().get("grpc-status").map(HeaderValue::as_bytes), Some(&b"12"[..]));
    // HTTP/1.1 has no way to tell how a call ended.
    let over_one = Call::post("/resolvespec.v1.ResolveSpec/Call", &json!({})).header("content-type", "application/grpc");
    let answer = Http::new(stage.first.address).send(&over_one).await.expect("an answer");
    assert_eq!(answer.status.as_u16(), 404);
    drop(pool);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_begins_a_call_and_sends_nothing_is_told_so() {
    let change = |config| {
        let http = http::Settings { body_time: Duration::from_millis(300), ..http::Settings::default() };
        Config { http, ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let pool = Pool::builder(TokioExecutor::new()).http2_only(true).build_http();
    let never = axum::body::Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let request = axum::http::Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}/resolvespec.v1.ResolveSpec/Call", stage.first.address))
        .header("content-type", "application/grpc")
        .body(never)
        .expect("a request");
    let answer = tokio::time::timeout(Duration::from_secs(20), pool.request(request)).await;
    let answer = answer.expect("it is not waited for").expect("an answer");
    assert_eq!(answer.headers().get("grpc-status").map(HeaderValue::as_bytes), Some(&b"4"[..]));
    drop(pool);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_answer_pings_is_gone() {
    let change = |config| {
        let http = http::Settings {
            ping_interval: Duration::from_millis(200),
            ping_time: Duration::from_millis(200),
            ..http::Settings::default()
        };
        Config { http, ..config }
    };
    let stage = Stage::with(Kind::Sqlite, change, Vec::new()).await;
    let mut deaf = tokio::net::TcpStream::connect(stage.first.address).await.expect("a connection");
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    let mut heard = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), deaf.read_to_end(&mut heard)).await;
    // Reset or closed, as long as it ends.
    _ = end.expect("the connection ends");
    // A frame of type ping, eight bytes long.
    assert!(heard.windows(5).any(|frame| frame == [0, 0, 8, 6, 0]), "it was pinged: {heard:?}");
    stage.close().await;
}
