//! The TypeScript client's calls, as it sends them, and what it reads of the answers.
//!
//! It parses a JSON body at every status, takes `error.message` of a failure, and counts from `Content-Range`.

use crate::conformance::serve;
use crate::support::client::{Answer, Call, Client};
use crate::support::database::Kind;
use axum::http::Method;
use serde_json::{Value, json};
use std::future::Future;

/// Runs a behaviour on every database, each fresh.
async fn on_every_database<F: Future<Output = ()>>(behaviour: impl Fn(Client, &'static str) -> F) {
    for kind in Kind::ALL {
        let server = serve(kind).await;
        behaviour(server.client.clone(), kind.name()).await;
        server.stop().await;
    }
}

async fn send(client: &Client, call: Call) -> Answer {
    client.send(&call).await.expect("an HTTP answer")
}

/// A call of `ResolveSpecClient`; its body as the client returns it.
async fn body_call(client: &Client, path: &str, body: Value) -> Value {
    let answer = send(client, Call::post(format!("/api/public/{path}"), &body)).await;
    assert_eq!(answer.status.as_u16(), 200, "{path} {body}: {}", answer.body);
    assert_eq!(answer.body["success"], true, "{path} {body}");
    answer.body
}

/// A call of `HeaderSpecClient`.
async fn header_call(client: &Client, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
    let call = Call::new(method, format!("/rest/public/{path}")).header("content-type", "application/json");
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name.to_lowercase(), *value));
    let call = Call { body: body.map(|body| body.to_string()), ..call };
    send(client, call).await
}

/// What `HeaderSpecClient` makes of `Content-Range`: total, and the row number's NaN where the form is `items a-b/t`.
fn total(answer: &Answer) -> Option<i64> {
    answer.header("content-range").rsplit_once('/').and_then(|(_, total)| total.parse().ok())
}

fn ids(rows: &Value) -> Vec<i64> {
    rows.as_array().expect("a list of rows").iter().filter_map(|row| row["id"].as_i64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_client_reads_creates_updates_and_deletes() {
    on_every_database(|client, name| async move {
        let created = body_call(&client, "projects", json!({"operation": "create", "data": {"id": 0, "name": "Zero"}})).await;
        assert_eq!(created["data"], json!({"id": 0, "name": "Zero"}), "{name}");
        let batch = json!({"operation": "create", "data": [{"id": 7, "name": "A"}, {"id": 8, "name": "B"}]});
        assert_eq!(ids(&body_call(&client, "projects", batch).await["data"]), [7, 8], "{name}");
        let zero = body_call(&client, "projects/0", json!({"operation": "read"})).await;
        assert_eq!(zero["data"]["name"], "Zero", "an id of 0 goes into the path, {name}");
        let updated = body_call(&client, "projects/7", json!({"operation": "update", "data": {"name": "AA"}})).await;
        assert_eq!(updated["data"], json!({"id": 7, "name": "AA"}), "{name}");
        let deleted = body_call(&client, "projects/8", json!({"operation": "delete"})).await;
        assert_eq!(deleted["success"], true, "{name}");
        let gone = send(&client, Call::post("/api/public/projects/8", &json!({"operation": "read"}))).await;
        assert_eq!(gone.status.as_u16(), 404, "{name}");
        assert!(gone.body["error"]["message"].is_string(), "the client throws error.message, {name}: {}", gone.body);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_client_names_several_rows_by_a_list_of_texts() {
    on_every_database(|client, name| async move {
        let read = json!({"operation": "read", "id": ["1", "2"], "options": {"columns": ["id"]}});
        assert_eq!(ids(&body_call(&client, "projects", read).await["data"]), [1, 2], "{name}");
        let update = json!({"operation": "update", "id": ["1", "2"], "data": {"name": "Same"}});
        let updated = body_call(&client, "projects", update).await;
        let names: Vec<&Value> = updated["data"].as_array().expect("a list").iter().map(|row| &row["name"]).collect();
        assert_eq!(names, ["Same", "Same"], "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_client_gets_metadata_and_errors_as_json() {
    on_every_database(|client, name| async move {
        let metadata = send(&client, Call::new(Method::GET, "/api/public/tasks")).await;
        assert_eq!(metadata.status.as_u16(), 200, "{name}");
        assert_eq!(metadata.body["data"]["table"], "tasks", "{name}");
        assert_eq!(metadata.body["data"]["columns"][0]["name"], "project_id", "{name}");
        assert_eq!(metadata.body["data"]["columns"][0]["is_primary"], true, "{name}");
        for (path, body, status) in [
            ("nothing", json!({"operation": "read"}), 404),
            ("projects", json!({"operation": "update", "data": {"name": "x"}}), 400),
            ("projects", json!({"operation": "read", "options": {"sort": [{"column": "x", "direction": "asc"}]}}), 400),
        ] {
            let answer = send(&client, Call::post(format!("/api/public/{path}"), &body)).await;
            assert_eq!(answer.status.as_u16(), status, "{name} {body}");
            assert_eq!(answer.body["success"], false, "{name} {body}");
            assert!(answer.body["error"]["message"].is_string(), "{name} {body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_and_direction_that_the_body_client_has_is_taken() {
    let filters = [
        ("eq", json!(2), vec![2]),
        ("neq", json!(2), vec![1, 3]),
        ("gt", json!(2), vec![3]),
        ("gte", json!(2), vec![2, 3]),
        ("lt", json!(2), vec![1]),
        ("lte", json!(2), vec![1, 2]),
        ("in", json!([1, 3]), vec![1, 3]),
        ("between", json!([1, 3]), vec![2]),
        ("between_inclusive", json!([1, 3]), vec![1, 2, 3]),
        ("is_null", Value::Null, vec![]),
        ("is_not_null", Value::Null, vec![1, 2, 3]),
    ];
    let texts = [
        ("like", "%o", vec![1]),
        ("ilike", "%O%", vec![1]),
        ("contains", "EM", vec![2]),
        ("startswith", "z", vec![3]),
        ("endswith", "LO", vec![1]),
    ];
    on_every_database(|client, name| {
        let (filters, texts) = (filters.clone(), texts.clone());
        async move {
            let numbers = filters.into_iter().map(|(operator, value, rows)| ("id", operator, value, rows));
            let texts = texts.into_iter().map(|(operator, value, rows)| ("name", operator, json!(value), rows));
            for (column, operator, value, expected) in numbers.chain(texts) {
                let filter = json!({"column": column, "operator": operator, "value": value});
                let body = json!({"operation": "read", "options": {"filters": [filter]}});
                assert_eq!(ids(&body_call(&client, "projects", body).await["data"]), expected, "{operator} on {name}");
            }
            for (direction, expected) in [("asc", [1, 2, 3]), ("ASC", [1, 2, 3]), ("desc", [3, 2, 1]), ("DESC", [3, 2, 1])] {
                let sort = json!([{"column": "id", "direction": direction}]);
                let body = json!({"operation": "read", "options": {"sort": sort}});
                assert_eq!(ids(&body_call(&client, "projects", body).await["data"]), expected, "{direction} on {name}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_client_reads_a_page_and_its_range() {
    on_every_database(|client, name| async move {
        let headers = [
            ("X-Select-Fields", "id,name"),
            ("X-FieldFilter-active", "true"),
            ("X-SearchOp-greaterthan-id", "1"),
            ("X-Sort", "+department_id,-name"),
            ("X-Limit", "2"),
            ("X-Offset", "0"),
            ("X-Preload", "department:id,title|projects"),
        ];
        let answer = header_call(&client, Method::GET, "employees", &headers, None).await;
        assert_eq!(answer.status.as_u16(), 200, "{name}: {}", answer.body);
        assert_eq!(ids(&answer.body), [2, 4], "{name}");
        assert_eq!(answer.body[0]["department"], json!({"id": 1, "title": "R&D"}), "{name}");
        assert_eq!(ids(&answer.body[0]["projects"]), [1, 2], "{name}");
        assert_eq!(answer.header("content-range"), "items 0-2/4", "{name}");
        assert_eq!((total(&answer), answer.header("x-limit"), answer.header("x-offset")), (Some(4), "2", "0"), "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_client_sends_every_word_for_its_operators() {
    let words: [(&str, &str, &[i64]); 13] = [
        ("X-SearchOp-notequals-id", "2", &[1, 3]),
        ("X-SearchOp-greaterthanorequal-id", "2", &[2, 3]),
        ("X-SearchOp-lessthan-id", "2", &[1]),
        ("X-SearchOp-lessthanorequal-id", "2", &[1, 2]),
        ("X-SearchOp-contains-name", "EM", &[2]),
        ("X-SearchOp-beginswith-name", "z", &[3]),
        ("X-SearchOp-endswith-name", "LO", &[1]),
        ("X-SearchOp-in-id", "1,3", &[1, 3]),
        ("X-SearchOp-between-id", "1,3", &[2]),
        ("X-SearchOp-betweeninclusive-id", "1,3", &[1, 2, 3]),
        ("X-SearchOp-empty-name", "", &[]),
        ("X-SearchOp-notempty-name", "", &[1, 2, 3]),
        ("X-SearchOr-equals-id", "1", &[1]),
    ];
    on_every_database(|client, name| async move {
        for (header, value, expected) in words {
            let answer = header_call(&client, Method::GET, "projects", &[(header, value)], None).await;
            assert_eq!(answer.status.as_u16(), 200, "{header} on {name}: {}", answer.body);
            assert_eq!(ids(&answer.body), expected, "{header} on {name}");
        }
        let headers = [("X-SearchOr-equals-id", "1"), ("X-SearchOr-contains-name", "zeus"), ("X-FieldFilter-name", "Apollo")];
        let answer = header_call(&client, Method::GET, "projects", &headers, None).await;
        assert_eq!(ids(&answer.body), [1], "the ORs are one group beside the AND, {name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_client_creates_updates_and_deletes_and_gets_json_every_time() {
    on_every_database(|client, name| async move {
        let row = json!({"id": 9, "name": "Nine"});
        let created = header_call(&client, Method::POST, "projects", &[], Some(row.clone())).await;
        assert_eq!((created.status.as_u16(), &created.body), (200, &row), "{name}");
        let changed = header_call(&client, Method::PUT, "projects/9", &[], Some(json!({"name": "IX"}))).await;
        assert_eq!((changed.status.as_u16(), &changed.body["name"]), (200, &json!("IX")), "{name}");
        let patched = header_call(&client, Method::PATCH, "projects/9", &[], Some(json!({"name": "9"}))).await;
        assert_eq!((patched.status.as_u16(), &patched.body["name"]), (200, &json!("9")), "{name}");
        let posted = header_call(&client, Method::POST, "projects/9", &[], Some(json!({"name": "nine"}))).await;
        assert_eq!((posted.status.as_u16(), &posted.body["name"]), (200, &json!("nine")), "{name}");
        let deleted = header_call(&client, Method::DELETE, "projects/9", &[], None).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.is_object()), (200, true), "{name}: {}", deleted.body);
        let gone = header_call(&client, Method::GET, "projects/9", &[], None).await;
        assert_eq!(gone.status.as_u16(), 404, "{name}");
        assert!(gone.body["error"]["message"].is_string(), "the TypeScript client reads this, {name}");
        assert_eq!(gone.body["_retval"], 1, "clients of the Go server read this, {name}");
        assert!(gone.body["_error"].is_string(), "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_client_pages_with_cursors_and_asks_for_a_position() {
    on_every_database(|client, name| async move {
        let headers = [("X-Sort", "+name"), ("X-Limit", "1"), ("X-Cursor-Forward", "1")];
        let after = header_call(&client, Method::GET, "projects", &headers, None).await;
        assert_eq!(ids(&after.body), [2], "{name}");
        let headers = [("X-Sort", "+name"), ("X-Limit", "1"), ("X-Cursor-Backward", "3")];
        let before = header_call(&client, Method::GET, "projects", &headers, None).await;
        assert_eq!(ids(&before.body), [2], "{name}");
        let headers = [("X-Sort", "-name"), ("X-Fetch-RowNumber", "3")];
        let position = header_call(&client, Method::GET, "projects", &headers, None).await;
        assert_eq!(position.header("x-row-number"), "1", "{name}");
        let headers = [("X-CQL-SEL-shout", "shout"), ("X-Custom-SQL-W", "working"), ("X-Select-Fields", "id")];
        let declared = header_call(&client, Method::GET, "employees", &headers, None).await;
        assert_eq!(declared.body[0], json!({"id": 1, "shout": "ADA"}), "{name}: {}", declared.body);
        let headers = [("X-Custom-SQL-W", "salary > 1")];
        let refused = header_call(&client, Method::GET, "employees", &headers, None).await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (400, &json!("raw_sql_refused")), "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_is_an_empty_list_and_no_null() {
    on_every_database(|client, name| async move {
        let answer = header_call(&client, Method::GET, "projects", &[("X-FieldFilter-id", "99")], None).await;
        assert_eq!(answer.body, json!([]), "{name}");
        assert_eq!((total(&answer), answer.header("x-no-data-found")), (Some(0), "true"), "{name}");
        let headers = [("X-SkipCount", "true"), ("X-Limit", "1")];
        let answer = header_call(&client, Method::GET, "projects", &headers, None).await;
        assert_eq!(total(&answer), Some(-1), "{name}");
    })
    .await;
}
