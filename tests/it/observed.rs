//! What a scraper sees after requests: statements by how they ended, connections, and bytes.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::Method;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// Longer than any test waits, unless somebody stops it.
fn entities(kind: Kind) -> String {
    let endless = match kind {
        Kind::Postgres => "pg_sleep(30) is not null",
        Kind::Mariadb => "sleep(30) = 0",
        Kind::Sqlite => {
            "id < (with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000000000) select count(*) from n)"
        }
    };
    format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: notes}}
spec: {{source: conformance, apiSchema: public, operators: [{{name: endless, condition: \"{endless}\"}}]}}
"
    )
}

/// Rows enough for a page that is streamed.
fn script(body: usize) -> String {
    let mut script = "create table notes (id integer primary key, body text not null);\n".to_owned();
    for id in 1..=400 {
        _ = writeln!(script, "insert into notes values ({id}, '{}');", "x".repeat(body));
    }
    script
}

async fn scrape(server: &Server) -> String {
    match server.client.send(&Call::new(Method::GET, "/metrics")).await.expect("an answer").body {
        Value::String(text) => text,
        other => panic!("metrics are a text, and not {other}"),
    }
}

/// The value of a sample, 0 if it is not there.
fn sample(text: &str, start: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(start));
    line.map_or(0, |line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a whole number"))
}

fn statements(text: &str, verb: &str, status: &str) -> u64 {
    let labels = format!(r#"entity="public.notes",operation="{verb}",source="conformance",status="{status}""#);
    sample(text, &format!("db_queries_total{{{labels}}}"))
}

fn connections(text: &str, state: &str) -> u64 {
    sample(text, &format!(r#"resolvespec_database_connections{{source="conformance",state="{state}"}}"#))
}

async fn until(what: &str, server: &Server, condition: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = scrape(server).await;
        if condition(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{what} does not come about: {text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn status(server: &Server, body: Value) -> u16 {
    server.client.send(&Call::post("/api/public/notes", &body)).await.expect("an answer").status.as_u16()
}

async fn statements_are_counted(kind: Kind) {
    let server = Server::start(kind, &script(1_000), &entities(kind)).await;
    assert_eq!(statements(&scrape(&server).await, "SELECT", "ok"), 0);
    assert_eq!(status(&server, json!({"operation": "read", "options": {"limit": 3}})).await, 200);
    let before = sample(&scrape(&server).await, "resolvespec_response_bytes_total");
    assert_eq!(status(&server, json!({"operation": "read", "options": {"limit": 400}})).await, 200, "a streamed page");
    // Nothing but the database can tell that the key is taken.
    assert_eq!(status(&server, json!({"operation": "create", "data": {"id": 1, "body": "y"}})).await, 409);
    assert_eq!(status(&server, json!({"operation": "create", "data": {"id": 500, "body": "y"}})).await, 200);
    assert_eq!(status(&server, json!({"operation": "update", "id": 500, "data": {"body": "z"}})).await, 200);
    assert_eq!(status(&server, json!({"operation": "delete", "id": 500})).await, 200);
    // A connection is given back when its statement has ended, which the answer does not wait for.
    let at_rest = |text: &str| connections(text, "open") >= 1 && connections(text, "busy") == 0;
    let text = until("rest", &server, at_rest).await;
    assert!(statements(&text, "SELECT", "ok") >= 2, "{text}");
    assert_eq!((statements(&text, "INSERT", "ok"), statements(&text, "INSERT", "error")), (1, 1), "{text}");
    assert_eq!((statements(&text, "UPDATE", "ok"), statements(&text, "DELETE", "ok")), (1, 1), "{text}");
    assert_eq!((statements(&text, "COMMIT", "ok"), statements(&text, "SELECT", "cancelled")), (3, 0), "{text}");
    let labels = r#"{entity="public.notes",operation="INSERT",source="conformance"}"#;
    assert_eq!(sample(&text, &format!("db_query_duration_seconds_count{labels}")), 2, "{text}");
    assert!(sample(&text, "resolvespec_response_bytes_total") > before + 400_000, "{text}");

    let endless =
        Call::post("/api/public/notes", &json!({"operation": "read", "options": {"customOperators": [{"name": "endless"}]}}));
    let reader = TaskTracker::new().spawn({
        let client = server.client.clone();
        async move { client.send(&endless).await }
    });
    until("the endless read", &server, |text| connections(text, "busy") == 1).await;
    assert!(!reader.is_finished());
    reader.abort();
    until("the end of the read", &server, |text| statements(text, "SELECT", "cancelled") == 1 && connections(text, "busy") == 0)
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_counted_by_how_they_ended_on_postgres() {
    statements_are_counted(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_counted_by_how_they_ended_on_mariadb() {
    statements_are_counted(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_counted_by_how_they_ended_on_sqlite() {
    statements_are_counted(Kind::Sqlite).await;
}
