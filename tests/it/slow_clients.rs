//! Clients that hold connections without doing anything, and more of them than there is room for.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::process::Finish;
use crate::support::server::Server;
use crate::support::session::Session;
use axum::http::Method;
use resolvespec::config::Config;
use resolvespec::transport::http::Settings;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const SCHEMA: &str = "create table notes (id integer primary key, body text not null);
insert into notes values (1, 'one'), (2, 'two');";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, apiSchema: public}
";
const GET: &str = "GET /rest/public/notes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Longer than any test may take.
const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(700);

/// A server whose times do not end unless the test says so.
async fn server(change: impl FnOnce(&mut Settings)) -> Server {
    let mut http = Settings { header_time: NEVER, body_time: NEVER, idle_time: NEVER, ..Settings::default() };
    change(&mut http);
    Server::configured(Kind::Sqlite, SCHEMA, ENTITIES, |config| Config { http, ..config }).await
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.client.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    stream
}

fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}

/// What comes until the other side closes.
pub(crate) fn to_the_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}, after {}", String::from_utf8_lossy(&all)),
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// One answer to a request for a row, of a connection that stays.
fn one_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn metric(server: &Server, start: &str) -> u64 {
    let answer = server.client.send(&Call::new(Method::GET, "/metrics")).await.expect("the metrics");
    value(answer.body.as_str().expect("a text"), start)
}

/// The same on a connection that stays, where each counts.
fn metric_on(stream: &mut TcpStream, start: &str) -> u64 {
    say(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let length = length.split_whitespace().next().and_then(|length| length.parse().ok()).expect("a number");
    let mut page = vec![0; length];
    stream.read_exact(&mut page).expect("the page");
    value(&String::from_utf8_lossy(&page), start)
}

fn value(text: &str, start: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(start));
    line.map_or(0, |line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a whole number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_given_up_and_others_are_not() {
    let server = server(|http| http.header_time = SOON).await;
    let (mut first, mut later, mut silent) = (connect(&server), connect(&server), connect(&server));
    say(&mut later, GET);
    assert!(one_answer(&mut later).contains(" 200 "));
    let began_at = Instant::now();
    say(&mut first, "GET /rest/public/notes/1 HTTP/1.1\r\nHost: localhost\r\nX-Sl");
    say(&mut later, "G");
    assert_eq!((to_the_end(&mut first), to_the_end(&mut later)), (String::new(), String::new()));
    assert!(began_at.elapsed() >= SOON, "not before its time: {:?}", began_at.elapsed());
    // It is counted after it is closed.
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(&server, "http_connections_timed_out_total{phase=\"head\"}").await < 2 {
        assert!(Instant::now() < deadline, "what was given up is not counted");
    }
    say(&mut silent, GET);
    assert!(one_answer(&mut silent).contains(" 200 "), "who has said nothing has more time");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_given_up() {
    let server = server(|http| http.idle_time = SOON).await;
    let (mut silent, mut served) = (connect(&server), connect(&server));
    let began_at = Instant::now();
    // Each request begins the time anew.
    while began_at.elapsed() < SOON * 2 {
        say(&mut served, GET);
        assert!(one_answer(&mut served).contains(" 200 "));
        std::thread::sleep(SOON / 20);
    }
    assert_eq!(to_the_end(&mut served), "");
    assert_eq!(to_the_end(&mut silent), "");
    assert_eq!(metric(&server, "http_connections_timed_out_total{phase=\"idle\"}").await, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_answered_and_a_slow_one_is_taken() {
    let server = server(|http| http.body_time = SOON).await;
    let body = json!({"operation": "read", "options": {"limit": 1}}).to_string();
    let head = |length| format!("POST /api/public/notes HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    let mut short = connect(&server);
    say(&mut short, &head(body.len() + 1));
    say(&mut short, &body);
    let answer = to_the_end(&mut short);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"request_timeout\""), "{answer}");
    let mut slow = connect(&server);
    say(&mut slow, &head(body.len()));
    let began_at = Instant::now();
    for byte in body.as_bytes() {
        // The slowness is what is tried here.
        std::thread::sleep(SOON / 20);
        slow.write_all(&[*byte]).expect("sent");
    }
    assert!(began_at.elapsed() > SOON, "longer than the time, but never without a byte for it");
    let mut status = [0; 12];
    slow.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answers_is_given_up() {
    let server = server(|http| http.body_time = SOON).await;
    let long = json!({"operation": "update", "data": {"body": "x".repeat(50_000)}});
    let answer = server.client.send(&Call::post("/api/public/notes/1", &long)).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let mut stopped = connect(&server);
    stopped.set_write_timeout(Some(Duration::from_millis(100))).expect("a time");
    // More answers than the buffers of both sides hold.
    for _ in 0..1000 {
        if stopped.write_all(GET.as_bytes()).is_err() {
            break;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric(&server, "http_connections_timed_out_total{phase=\"answer\"}").await == 0 {
        assert!(Instant::now() < deadline, "it is not given up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken = to_the_end(&mut stopped).matches("HTTP/1.1 200").count();
    assert!(taken < 1000, "{taken}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_connections_are_told_to_come_again() {
    let server = server(|http| http.max_connections = 3).await;
    // The metrics have one of their own: a pool of connections opens another where one is not back yet.
    let mut own = connect(&server);
    assert_eq!(metric_on(&mut own, "http_connections "), 1);
    let (mut first, mut second) = (connect(&server), connect(&server));
    for stream in [&mut first, &mut second] {
        say(stream, GET);
        assert!(one_answer(stream).contains(" 200 "));
    }
    let mut third = connect(&server);
    say(&mut third, GET);
    let answer = to_the_end(&mut third);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("\"code\":\"unavailable\""), "{answer}");
    assert_eq!((metric_on(&mut own, "http_connections_refused_total"), metric_on(&mut own, "http_connections ")), (1, 3));
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(20);
    while metric_on(&mut own, "http_connections ") > 2 {
        assert!(Instant::now() < deadline, "the seat is not given back");
    }
    // What became WebSocket has a limit of its own, so its seat is free again.
    let mut session = Session::connect(server.client.address()).await;
    assert_eq!(session.ask(&json!({"id": "p", "type": "ping"})).await["type"], "pong");
    let mut next = connect(&server);
    say(&mut next, GET);
    assert!(one_answer(&mut next).contains(" 200 "));
    drop((second, next, session, own));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_times_of_http() {
    let server = server(|http| (http.header_time, http.body_time, http.idle_time) = (SOON, SOON, SOON)).await;
    let mut session = Session::connect(server.client.address()).await;
    let mut idle = connect(&server);
    assert_eq!(to_the_end(&mut idle), "", "an idle connection came later and has ended before it");
    assert_eq!(session.ask(&json!({"id": "p", "type": "ping"})).await["type"], "pong");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_without_an_upgrade() {
    let server = server(|_| ()).await;
    let url = format!("http://{}/rest/public/notes/1", server.client.address());
    let curl = ["-s", "--http2-prior-knowledge", "-w", " %{http_version}", &url];
    let output = Command::new("curl").args(curl).finished();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.ends_with(" 2") && said.contains("\"one\""), "{said}");
    server.stop().await;
}
