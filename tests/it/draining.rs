//! The end of a replica, in its order: not ready but answering, then no new requests, and what has begun is finished.

use crate::slow_clients::to_the_end;
use crate::support::client::{Answer, Call, Client};
use crate::support::replica::Running;
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::load;
use resolvespec::protocol::Operation;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
";

/// Holds every create until it is let go, and tells that it came.
struct Hold {
    came: Semaphore,
    go: Semaphore,
}

#[async_trait]
impl Hook for Hold {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            self.came.add_permits(1);
            self.go.acquire().await.expect("the semaphore stays open").forget();
        }
        Ok(())
    }
}

fn status(answer: &Result<Answer, String>) -> Option<StatusCode> {
    answer.as_ref().ok().map(|answer| answer.status)
}

/// Asks again until the answer is as wanted.
async fn until(what: &str, client: &Client, call: &Call, wanted: impl Fn(&Result<Answer, String>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.send(call).await;
        if wanted(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} does not come about: {answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A replica that is about to end, and that has to wait for a create until that is let go.
struct Stage {
    folder: PathBuf,
    replica: Running,
    hold: Arc<Hold>,
    begun: JoinHandle<Result<Answer, String>>,
}

impl Stage {
    async fn set(name: &str) -> Self {
        let folder = crate::support::folder(name);
        std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
        let seed = "create table items (id integer primary key, name text); insert into items values (1, 'pen');";
        std::fs::write(folder.join("seed.sql"), seed).expect("a seed can be written");
        let served = load::load(std::slice::from_ref(&folder), &HashMap::new(), true).await.expect("the manifests are good");
        let dev = Config::dev(&DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() });
        let config = Config { leave_time: Duration::from_secs(2), drain_time: Duration::from_secs(30), ..dev };
        let hold = Arc::new(Hold { came: Semaphore::new(0), go: Semaphore::new(0) });
        let replica = Running::start(&config, served, vec![hold.clone()]).await;
        let client = Client::new(replica.address);
        let create = Call::post("/api/main/items", &json!({"operation": "create", "data": {"name": "ink"}}));
        let begun = TaskTracker::new().spawn(async move { client.send(&create).await });
        let came = tokio::time::timeout(Duration::from_secs(20), hold.came.acquire()).await;
        came.expect("the request arrives in time").expect("the semaphore stays open").forget();
        Self { folder, replica, hold, begun }
    }

    /// Lets the create go; it is answered, and then the replica ends.
    async fn clear(mut self) {
        assert!(!self.replica.has_ended(), "it waits for what has begun");
        self.hold.go.add_permits(1);
        let answer = self.begun.await.expect("no panic");
        assert_eq!(status(&answer), Some(StatusCode::OK), "what has begun is finished: {answer:?}");
        self.replica.ended().await;
        std::fs::remove_dir_all(&self.folder).expect("the folder can be removed");
    }
}

fn ready() -> Call {
    Call::new(Method::GET, "/ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_leaves_then_turns_requests_away_and_finishes_what_has_begun() {
    let mut stage = Stage::set("draining").await;
    let client = Client::new(stage.replica.address);
    let read = Call::post("/api/main/items", &json!({"operation": "read"}));
    assert_eq!(status(&client.send(&ready()).await), Some(StatusCode::OK));

    stage.replica.end();
    until("not being ready", &client, &ready(), |answer| status(answer) == Some(StatusCode::SERVICE_UNAVAILABLE)).await;
    assert_eq!(status(&client.send(&read).await), Some(StatusCode::OK), "it still answers while load balancers notice");
    until("turning away", &Client::new(client.address()), &read, |answer| match status(answer) {
        Some(StatusCode::SERVICE_UNAVAILABLE) | None => true,
        Some(other) => {
            assert_eq!(other, StatusCode::OK, "an answer, 503, or no connection");
            false
        }
    })
    .await;
    stage.clear().await;
}

const GET: &str = "GET /rest/main/items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection by hand, since a client would open another one when this is closed.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    stream
}

/// Asks for a row on a connection that stays.
fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(GET.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first part of a request for what is at a path, without the end of its head.
fn part(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n")
}

/// The two parts of a request, of which the second comes late.
fn in_two_parts() -> (String, String) {
    let body = json!({"operation": "read"}).to_string();
    let first = "POST /api/main/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".to_owned();
    (first, format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Waits until the replica takes no connections, which is when it begins to turn requests away.
fn until_closed(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Who is late is told so in the body style.
fn assert_told_to_come_again(answer: &str) {
    let body = told_to_come_again(answer);
    assert_eq!((&body["success"], &body["data"]), (&json!(false), &Value::Null), "{answer}");
}

/// What who is late is told, by either style.
fn told_to_come_again(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 503 "), "'{answer}'");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let head = head.to_lowercase();
    assert!(head.contains("\r\nretry-after: 1") && head.contains("\r\nconnection: close"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(body["error"]["code"], "unavailable", "{answer}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("send the request again")), "{answer}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_late_on_an_open_connection_is_told_to_come_again() {
    let mut stage = Stage::set("draining-late").await;
    let address = stage.replica.address;
    let (mut late, mut told, mut idle) = (connect(address), connect(address), connect(address));
    let (mut in_headers, mut health) = (connect(address), connect(address));
    let (first, second) = in_two_parts();
    // Its time to come whole is longer than the replica's to leave.
    for (stream, first) in [(&mut late, first), (&mut in_headers, part("/rest/main/items")), (&mut health, part("/health"))] {
        stream.write_all(first.as_bytes()).expect("sent");
    }
    for stream in [&mut told, &mut idle] {
        let answer = ask(stream).to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
    }

    stage.replica.end();
    let client = Client::new(address);
    until("not being ready", &client, &ready(), |answer| status(answer) == Some(StatusCode::SERVICE_UNAVAILABLE)).await;
    let answer = ask(&mut told).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ") && answer.contains("\r\nconnection: close"), "it goes elsewhere next: {answer}");
    assert_eq!(to_the_end(&mut told), "");

    until_closed(address);
    late.write_all(second.as_bytes()).expect("sent");
    assert_told_to_come_again(&to_the_end(&mut late));
    in_headers.write_all(b"\r\n").expect("sent");
    let body = told_to_come_again(&to_the_end(&mut in_headers));
    assert_eq!((&body["_error"], &body["_retval"]), (&body["error"]["message"], &json!(1)), "the header style's form: {body}");
    health.write_all(b"\r\n").expect("sent");
    let answer = to_the_end(&mut health);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("{\"status\":\"shutting_down\"}"), "{answer}");
    assert_eq!(to_the_end(&mut idle), "", "who has not asked anything learns it before they do");
    stage.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_late_on_a_connection_that_was_used_before_is_told_to_come_again() {
    let mut stage = Stage::set("draining-kept").await;
    let address = stage.replica.address;
    let mut late = connect(address);
    assert!(ask(&mut late).starts_with("HTTP/1.1 200 "));
    let (first, second) = in_two_parts();
    late.write_all(first.as_bytes()).expect("sent");
    stage.replica.end();
    until_closed(address);
    // If the connection is closed already, there is no answer either.
    _ = late.write_all(second.as_bytes());
    assert_told_to_come_again(&to_the_end(&mut late));
    stage.clear().await;
}
