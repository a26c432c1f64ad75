//! What HTTP itself promises to clients: entity tags, pages of other origins, compression, request ids.

use crate::support::client::{Answer, Call};
use crate::support::database::Kind;
use crate::support::process::Finish;
use crate::support::server::Server;
use axum::http::Method;
use futures_util::future::join_all;
use resolvespec::config::Config;
use serde_json::json;
use std::process::Command;

const SCHEMA: &str = "create table notes (id integer primary key, body varchar(200) not null);
insert into notes values (1, 'one'), (2, 'two');";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, apiSchema: public}
";
const HEADER_STYLE: &str = "/rest/public/notes";

fn get(path: &str) -> Call {
    Call::new(Method::GET, path)
}

fn update(id: u32, body: &str) -> Call {
    Call::new(Method::PUT, format!("{HEADER_STYLE}/{id}")).body(&json!({"body": body}))
}

async fn send(server: &Server, call: Call) -> Answer {
    server.client.send(&call).await.expect("an answer")
}

/// Whether caches are told that the answer depends on a header.
fn varies(answer: &Answer, header: &str) -> bool {
    answer.headers.get_all("vary").iter().any(|names| names.to_str().is_ok_and(|names| names.to_lowercase().contains(header)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_already_is_not_sent_again() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    for path in [HEADER_STYLE.to_owned(), format!("{HEADER_STYLE}/1")] {
        let tag = send(&server, get(&path)).await.header("etag").to_owned();
        assert!(tag.len() > 16, "{path} has the tag {tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"another\", {tag}")] {
            let answer = send(&server, get(&path).header("If-None-Match", known.as_str())).await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (304, Some("")), "{path} with {known}");
            assert_eq!(answer.header("etag"), tag);
        }
        assert_eq!(send(&server, update(1, &format!("changed at {path}"))).await.status, 200);
        let changed = send(&server, get(&path).header("If-None-Match", tag.as_str())).await;
        assert_eq!(changed.status, 200, "{path} has changed");
        assert_ne!(changed.header("etag"), tag);
    }
    let read = Call::post("/api/public/notes/2", &json!({"operation": "read"}));
    let tag = send(&server, get(&format!("{HEADER_STYLE}/2"))).await.header("etag").to_owned();
    assert_eq!(send(&server, read).await.header("etag"), tag, "a row has one tag, whichever style it is read in");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_any_form_is_known_by_a_tag_that_it_can_be_changed_by() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let one = format!("{HEADER_STYLE}/1");
    let forms = [
        get(&one),
        get(&one).header("X-DetailApi", "true"),
        get(&one).header("X-Syncfusion", "true"),
        get(&one).header("X-Single-Record-As-Object", "false"),
        get(HEADER_STYLE).header("X-Fetch-RowNumber", "1"),
        Call::post("/api/public/notes", &json!({"operation": "read", "options": {"fetch_row_number": "1"}})),
    ];
    for form in &forms {
        let tag = send(&server, form.clone()).await.header("etag").to_owned();
        for other in &forms {
            let answer = send(&server, other.clone().header("If-None-Match", tag.as_str())).await;
            assert_eq!(answer.status == 304, form == other, "{other:?} with the tag of {form:?}");
        }
        assert_eq!(send(&server, update(1, &format!("by {tag}")).header("If-Match", tag.as_str())).await.status, 200, "{form:?}");
        assert_eq!(send(&server, update(1, "again").header("If-Match", tag.as_str())).await.status, 412, "{form:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_another_place_is_sent_again() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let placed = [
        get(HEADER_STYLE).header("X-Fetch-RowNumber", "2"),
        Call::post("/api/public/notes", &json!({"operation": "read", "options": {"fetch_row_number": "2"}})),
    ];
    for (id, call) in placed.into_iter().enumerate() {
        let tag = send(&server, call.clone()).await.header("etag").to_owned();
        let again = || call.clone().header("If-None-Match", tag.as_str());
        assert_eq!(send(&server, again()).await.status, 304);
        let before = json!({"id": -1 - i64::try_from(id).expect("few"), "body": "before the others"});
        assert_eq!(send(&server, Call::new(Method::POST, HEADER_STYLE).body(&before)).await.status, 200);
        let moved = send(&server, again()).await;
        assert_eq!(moved.status, 200, "{moved:?}");
        assert_ne!(moved.header("etag"), tag);
    }
    server.stop().await;
}

async fn one_of_many_wins(kind: Kind) {
    let server = Server::start(kind, SCHEMA, ENTITIES).await;
    for round in 0..5 {
        let tag = send(&server, get(&format!("{HEADER_STYLE}/1"))).await.header("etag").to_owned();
        let calls = (0..8).map(|who| send(&server, update(1, &format!("{round} {who}")).header("If-Match", tag.as_str())));
        let mut answers = join_all(calls).await;
        answers.sort_by_key(|answer| answer.status);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(
            statuses,
            [200, 412, 412, 412, 412, 412, 412, 412],
            "of those who saw one row, one may change it: {answers:?}"
        );
        assert_eq!(answers[1].body["error"]["code"], "precondition_failed");
        let now = send(&server, get(&format!("{HEADER_STYLE}/1"))).await;
        assert_eq!(now.body["body"], answers[0].body["body"], "and its change is what is there");
    }
    let absent = send(&server, update(99, "x").header("If-Match", "*")).await;
    assert_eq!(absent.status, 404, "{}", absent.body);
    let any = send(&server, update(1, "x").header("If-Match", "*")).await;
    assert_eq!(any.status, 200, "{}", any.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_of_one_seen_row_one_wins_on_postgres() {
    one_of_many_wins(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_of_one_seen_row_one_wins_on_mariadb() {
    one_of_many_wins(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_of_one_seen_row_one_wins_on_sqlite() {
    one_of_many_wins(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let listed = |config| Config { cors_origins: vec!["https://app.example".to_owned()], ..config };
    let server = Server::configured(Kind::Sqlite, SCHEMA, ENTITIES, listed).await;
    let preflight = |origin: &str| {
        Call::new(Method::OPTIONS, HEADER_STYLE)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "PATCH")
            .header("Access-Control-Request-Headers", "x-fieldfilter-body,if-match")
    };
    let allowed = send(&server, preflight("https://app.example")).await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-headers"), "x-fieldfilter-body,if-match");
    let read = send(&server, get(HEADER_STYLE).header("Origin", "https://app.example")).await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, "https://app.example"));
    assert!(varies(&read, "origin"), "{read:?}");
    let metadata = send(&server, Call::new(Method::OPTIONS, HEADER_STYLE).header("Origin", "https://app.example")).await;
    assert_eq!((metadata.status.as_u16(), &metadata.body["table"]), (200, &json!("notes")), "this is no preflight");
    assert_eq!(metadata.header("access-control-allow-origin"), "https://app.example");
    assert!(!metadata.header("x-request-id").is_empty(), "{metadata:?}");
    for header in ["content-range", "etag", "x-api-range-total", "x-request-id", "retry-after"] {
        assert!(read.header("access-control-expose-headers").contains(header), "{header}: {read:?}");
    }
    let failed = send(&server, get("/rest/public/nothing").header("Origin", "https://app.example")).await;
    assert_eq!(failed.header("access-control-allow-origin"), "https://app.example", "pages can read errors too");
    for stranger in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        for call in [preflight(stranger), get(HEADER_STYLE).header("Origin", stranger)] {
            assert_eq!(send(&server, call).await.header("access-control-allow-origin"), "", "{stranger}");
        }
    }
    server.stop().await;

    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let unlisted = send(&server, get(HEADER_STYLE).header("Origin", "https://app.example")).await;
    assert!(!unlisted.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{unlisted:?}");
    let metadata = send(&server, Call::new(Method::OPTIONS, HEADER_STYLE)).await;
    assert_eq!((metadata.status.as_u16(), &metadata.body["table"]), (200, &json!("notes")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_for_who_takes_it() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let rows: Vec<_> = (10..200).map(|id| json!({"id": id, "body": format!("row {id} of many that are alike")})).collect();
    assert_eq!(send(&server, Call::new(Method::POST, HEADER_STYLE).body(&json!(rows))).await.status, 200);
    let read = || Call::post("/api/public/notes", &json!({"operation": "read"}));
    let plain = send(&server, read()).await;
    assert_eq!((plain.header("content-encoding"), &plain.body["metadata"]["count"]), ("", &json!(192)));
    let packed = send(&server, read().header("Accept-Encoding", "gzip")).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(varies(&packed, "accept-encoding"), "{:?}", packed.headers);
    let ranged = send(&server, get(HEADER_STYLE).header("Accept-Encoding", "gzip")).await;
    assert_eq!((ranged.header("content-encoding"), ranged.header("content-range")), ("gzip", "items 0-192/192"));
    let url = format!("http://{}/api/public/notes", server.client.address());
    let curl = ["-s", "--compressed", &url, "-d", "{\"operation\":\"read\"}"];
    let output = Command::new("curl").args(curl).finished();
    let unpacked: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(unpacked, plain.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_or_contradicts_itself_is_refused_and_removes_nothing() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    for style in [HEADER_STYLE, "/api/public/notes"] {
        let packed = Call::new(Method::POST, style).header("Content-Encoding", "gzip").body(&json!({"operation": "read"}));
        let answer = send(&server, packed).await;
        assert_eq!(answer.status, 415, "{answer:?}");
        assert!(answer.body.to_string().contains("unsupported_media_type"), "{answer:?}");
    }
    for data in [json!([2]), json!({"id": 2}), json!([1, 2])] {
        let delete = Call::new(Method::DELETE, format!("{HEADER_STYLE}/1")).body(&data);
        let answer = send(&server, delete).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (400, &json!("invalid_data")), "{answer:?}");
    }
    let any = send(&server, get(HEADER_STYLE).header("If-None-Match", "*")).await;
    assert_eq!(any.status, 304);
    let whole = send(&server, get(HEADER_STYLE)).await;
    assert_eq!(whole.header("x-api-range-total"), "2", "{whole:?}");
    let same = Call::new(Method::DELETE, format!("{HEADER_STYLE}/1")).body(&json!({"id": 1}));
    assert_eq!(send(&server, same).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_where_nothing_is_says_so_in_its_style() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    for (path, is_header_style) in
        [("/rest", true), ("/rest/a/b/c/d", true), ("/api", false), ("/api/a/b/c/d", false), ("/restless/a/b", false)]
    {
        let answer = send(&server, get(path)).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (404, &json!("not_found")), "{path}: {answer:?}");
        let of_the_style = if is_header_style { &answer.body["_error"] } else { &answer.body["success"] };
        let expected = if is_header_style { answer.body["error"]["message"].clone() } else { json!(false) };
        assert_eq!(*of_the_style, expected, "{path}: {answer:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_id_of_its_request() {
    let server = Server::start(Kind::Sqlite, SCHEMA, ENTITIES).await;
    for path in [HEADER_STYLE, "/rest/public/nothing", "/nowhere", "/health"] {
        let own = send(&server, get(path).header("X-Request-Id", "mine-17")).await;
        assert_eq!(own.header("x-request-id"), "mine-17", "{path}");
        let (first, second) = (send(&server, get(path)).await, send(&server, get(path)).await);
        assert!(!first.header("x-request-id").is_empty(), "{path}");
        assert_ne!(first.header("x-request-id"), second.header("x-request-id"), "{path}");
    }
    for odd in ["x".repeat(129), "naïve".to_owned()] {
        let answer = send(&server, get(HEADER_STYLE).header("X-Request-Id", odd.as_str())).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.header("x-request-id").is_empty() && answer.header("x-request-id") != odd, "{answer:?}");
    }
    server.stop().await;
}
