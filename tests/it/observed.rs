//! What a scraper sees after requests: the requests, their statements by how they ended, connections, and bytes.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::Method;
use resolvespec::database::{Database, Settings, Statement};
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
    text.lines().find(|line| line.starts_with(start)).map_or(0, value)
}

/// The sum of all samples of a metric, whatever their labels are.
fn samples(text: &str, name: &str) -> u64 {
    let of_metric = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
    text.lines().filter(of_metric).map(value).sum()
}

fn value(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a whole number")
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

const TREE: &str = "create table teams (id integer primary key, name varchar(20) not null);
create table notes (id integer primary key, team_id integer not null references teams (id), body varchar(20) not null);
create table marks (id integer primary key, note_id integer not null references notes (id), label varchar(20) not null);
insert into teams values (1, 'red'), (2, 'blue'), (3, 'none');
insert into notes values (1, 1, 'd'), (2, 1, 'c'), (3, 2, 'b'), (4, 2, 'a');
insert into marks values (1, 1, 'old'), (2, 1, 'new'), (3, 3, 'old');";

fn tree() -> String {
    let relations = [
        ("teams", "{name: notes, kind: hasMany, target: notes}"),
        ("notes", "{name: team, kind: belongsTo, target: teams}, {name: marks, kind: hasMany, target: marks}"),
        ("marks", "{name: note, kind: belongsTo, target: notes}"),
    ];
    let entity = |(name, relations): (&str, &str)| {
        format!(
            "---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}}}\n\
             spec: {{source: conformance, apiSchema: public, relations: [{relations}]}}\n"
        )
    };
    relations.map(entity).concat()
}

/// How often PostgreSQL itself says that statements on these tables were run, and how often it has forgotten some; the other
/// databases do not tell.
async fn run_by_postgres(database: Option<&Database>) -> (u64, u64) {
    let Some(database) = database else { return (0, 0) };
    let calls = "select json_build_array(coalesce(sum(calls), 0), (select dealloc from pg_stat_statements_info))::text \
                 from pg_stat_statements where query ~ '(teams|notes|marks)' and query !~ 'pg_stat_statements' \
                 and dbid = (select oid from pg_database where datname = current_database())";
    let told = database.fetch_texts(Statement::new(calls)).await.expect("it counts statements");
    serde_json::from_str(&told[0]).expect("two numbers")
}

async fn reads_are_one_statement(kind: Kind) {
    let extension = if kind == Kind::Postgres { "create extension pg_stat_statements; " } else { "" };
    let server = Server::start(kind, &format!("{extension}{TREE}"), &tree()).await;
    let mut settings = Settings::new("beside", server.url());
    settings.max_connections = 1;
    let beside = Database::connect(&settings).await.expect("the database answers");
    let postgres = (kind == Kind::Postgres).then_some(&beside);

    let two_levels = json!([{"relation": "notes", "preload": [{"relation": "marks", "sort": [{"column": "label"}]}]}]);
    let limited = json!([{"relation": "notes", "limit": 1, "sort": [{"column": "body"}], "preload": [{"relation": "marks"}]}]);
    let filters = json!([{"column": "id", "operator": "lt", "value": 3}]);
    let sort = json!([{"column": "body"}]);
    let reads = [
        ("teams", json!({"options": {"preload": two_levels, "filters": filters}}), 1),
        ("teams", json!({"options": {"preload": limited, "limit": 2}}), 1),
        ("notes", json!({"options": {"sort": sort, "cursor_forward": "3", "limit": 2}}), 1),
        ("notes", json!({"options": {"sort": sort, "cursor_backward": "2", "limit": 2}}), 1),
        ("notes", json!({"options": {"sort": sort, "fetch_row_number": "2"}}), 1),
        ("notes", json!({"id": [1, 3]}), 1),
        ("notes/3", json!({}), 1),
        ("teams/1", json!({"options": {"preload": two_levels}}), 1),
        // Only a page without rows can't tell how many there are.
        ("notes", json!({"options": {"offset": 10}}), 2),
    ];
    for (path, mut read, statements_expected) in reads {
        read["operation"] = "read".into();
        let call = Call::post(format!("/api/public/{path}"), &read);
        // What is asked for the first time may have more to say, such as to open a connection.
        for _ in 0..3 {
            assert_eq!(server.client.send(&call).await.expect("an answer").status, 200);
        }
        let (before, run_before) = (scrape(&server).await, run_by_postgres(postgres).await);
        let answer = server.client.send(&call).await.expect("an answer");
        let (after, run_after) = (scrape(&server).await, run_by_postgres(postgres).await);
        assert_eq!(answer.status, 200, "{}: {path} {read}: {}", kind.name(), answer.body);
        let found = answer.body["data"] != json!([]);
        assert_eq!(found, statements_expected == 1, "{}: {path} {read}: {}", kind.name(), answer.body);

        let counted = samples(&after, "db_queries_total") - samples(&before, "db_queries_total");
        assert_eq!(counted, statements_expected, "{}: {path} {read}", kind.name());
        let entity = path.split('/').next().expect("a name");
        let labels = format!(r#"entity="public.{entity}",operation="SELECT",source="conformance""#);
        let ended = format!(r#"db_queries_total{{{labels},status="ok"}}"#);
        assert_eq!(sample(&after, &ended) - sample(&before, &ended), statements_expected, "{}: {path} {read}", kind.name());
        let timed = format!("db_query_duration_seconds_count{{{labels}}}");
        assert_eq!(sample(&after, &timed) - sample(&before, &timed), statements_expected, "{}: {path} {read}", kind.name());
        let ((run_before, forgotten_before), (run_after, forgotten_after)) = (run_before, run_after);
        if postgres.is_some() && forgotten_before == forgotten_after {
            assert_eq!(run_after - run_before, statements_expected, "the database agrees: {path} {read}");
        }
    }
    beside.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_statement_whatever_is_asked_of_it_on_postgres() {
    reads_are_one_statement(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_statement_whatever_is_asked_of_it_on_mariadb() {
    reads_are_one_statement(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_statement_whatever_is_asked_of_it_on_sqlite() {
    reads_are_one_statement(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_timed_by_method_route_and_status() {
    let server = Server::start(Kind::Sqlite, &script(10), &entities(Kind::Sqlite)).await;
    let read = json!({"operation": "read", "options": {"limit": 2}});
    let get = |path: &str| Call::new(Method::GET, path);
    let cases = [
        (3, Call::post("/api/public/notes", &read), "/api/{schema}/{entity}", 200),
        (2, Call::post("/api/public/notes", &json!({"operation": "dance"})), "/api/{schema}/{entity}", 400),
        // Neither names nor keys become labels.
        (2, Call::post("/api/public/nothing", &read), "/api/{schema}/{entity}", 404),
        (4, Call::post("/api/public/notes/7", &json!({"operation": "read"})), "/api/{schema}/{entity}/{id}", 200),
        (1, Call::post("/api/public/notes/1000", &json!({"operation": "read"})), "/api/{schema}/{entity}/{id}", 404),
        (2, get("/rest/public/notes?x-limit=1"), "/rest/{schema}/{entity}", 200),
        (1, get("/rest/public/notes/7"), "/rest/{schema}/{entity}/{id}", 200),
        (1, Call::new(Method::PUT, "/rest/public/notes/7").body(&json!({"body": "z"})), "/rest/{schema}/{entity}/{id}", 200),
        (1, Call::new(Method::DELETE, "/rest/public/notes/7"), "/rest/{schema}/{entity}/{id}", 200),
        (2, get("/health"), "/health", 200),
        (1, get("/no/such/path"), "unmatched", 404),
    ];
    for (times, call, _, status) in &cases {
        for _ in 0..*times {
            let answer = server.client.send(call).await.expect("an answer");
            assert_eq!(answer.status.as_u16(), *status, "{call:?}: {}", answer.body);
        }
    }
    let answer = server.client.send(&get("/metrics")).await.expect("an answer");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    let text = answer.body.as_str().expect("a text");
    for kind in ["http_requests_total counter", "http_request_duration_seconds histogram"] {
        assert!(text.contains(&format!("# TYPE {kind}\n")), "{kind}: {text}");
    }
    for (times, call, path, status) in &cases {
        let labels = format!(r#"method="{}",path="{path}",status="{status}""#, call.method);
        assert_eq!(sample(text, &format!("http_requests_total{{{labels}}}")), *times, "{call:?}: {text}");
        assert_eq!(sample(text, &format!("http_request_duration_seconds_count{{{labels}}}")), *times, "{call:?}: {text}");
        let bucket = format!(r#"http_request_duration_seconds_bucket{{{labels},le=""#);
        let buckets: Vec<u64> = text.lines().filter(|line| line.starts_with(&bucket)).map(value).collect();
        assert!(buckets.len() > 3 && buckets.is_sorted(), "each has those below it: {buckets:?} of {call:?}");
        assert_eq!(buckets.last(), Some(times), "the last has all: {buckets:?} of {call:?}");
        assert!(text.contains(&format!(r#"{bucket}+Inf"}} {times}"#)), "{call:?}: {text}");
        let sum = text.lines().find_map(|line| line.strip_prefix(&format!("http_request_duration_seconds_sum{{{labels}}} ")));
        let seconds: f64 = sum.expect("a sum").parse().expect("a number");
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds} of {call:?}");
    }
    let all: u64 = cases.iter().map(|(times, ..)| *times).sum();
    for name in ["http_requests_total", "http_request_duration_seconds_count"] {
        assert_eq!(samples(text, name), all, "{name} has nothing that was not asked: {text}");
    }
    assert_eq!(sample(text, "http_requests_in_flight "), 1, "the one that asks for this");
    server.stop().await;
}
