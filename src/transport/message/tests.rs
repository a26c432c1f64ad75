//! What messages are read as, and what answers look like.

use super::*;
use crate::protocol::response::{Counts, Deleted, Record, Removed, Written};
use crate::protocol::{Code, Error, KeyInput, Operation, Page, Response, RowText, Selector};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refused(text: &str) -> (String, Code) {
    let unreadable = decode(text.as_bytes()).unwrap_err();
    (unreadable.id, unreadable.error.code)
}

async fn told(outcome: Result<Response, Error>, max_bytes: usize) -> Value {
    let mut out = Vec::new();
    let success = answer(&mut out, "a\"1", outcome, max_bytes).await;
    let text: Value = serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    assert_eq!(text["id"], "a\"1");
    assert_eq!(text["type"], "response");
    assert_eq!(text["success"], success);
    let timestamp = text["timestamp"].as_str().unwrap();
    assert!(timestamp.parse::<jiff::Timestamp>().is_ok(), "{timestamp}");
    text
}

fn page(more: Vec<Result<RowText, Error>>) -> Response {
    let rows = RowText { joined: Bytes::from_static(b"{\"id\":1}"), count: 1 };
    let more = (!more.is_empty()).then(|| stream::iter(more).boxed());
    Response::Page(Page { rows, more, counts: Counts { total: Some(9), filtered: Some(3) }, limit: 10, offset: 0 })
}

fn rows(text: &'static str, count: u64) -> RowText {
    RowText { joined: Bytes::from_static(text.as_bytes()), count }
}

#[test]
fn a_request_has_everything_that_the_body_style_has() {
    let text = r#"{"id":"1","type":"request","operation":"update","schema":"s","entity":"e","record_id":7,"data":{"a":1},
        "options":{"columns":["a"],"limit":0},"idempotency_key":"k","if_match":"*","timestamp":"never","more":1}"#;
    let Said::Request(request) = decode(text.as_bytes()).unwrap().said else { panic!("a request") };
    assert_eq!(request.operation, Operation::Update);
    assert_eq!((request.target.schema.as_deref(), request.target.entity.as_str()), (Some("s"), "e"));
    assert_eq!(request.selector, Selector::One(KeyInput::Text("7".to_owned())));
    assert_eq!(request.data, Some(json!({"a": 1})));
    assert_eq!(request.options.columns, ["a"]);
    assert_eq!(request.options.limit, None);
    assert_eq!((request.idempotency_key.as_deref(), request.if_match.as_deref()), (Some("k"), Some("*")));
}

#[test]
fn a_fault_has_its_code_and_the_id_where_it_can_be_read() {
    for (text, id, code) in [
        ("", "", Code::InvalidMessage),
        ("{", "", Code::InvalidMessage),
        ("[]", "", Code::InvalidMessage),
        ("null", "", Code::InvalidMessage),
        ("\"x\"", "", Code::InvalidMessage),
        (r#"{"id":"1","type":"request","operation":"read","entity":"e"} {}"#, "", Code::InvalidMessage),
        (r#"{"id":5,"type":"ping"}"#, "", Code::InvalidMessage),
        (r#"{"id":"1","id":"2","type":"ping"}"#, "", Code::InvalidMessage),
        (r#"{"id":"1"}"#, "1", Code::InvalidMessage),
        (r#"{"id":"1","type":"error"}"#, "1", Code::InvalidMessageType),
        (r#"{"type":"request","operation":"read","entity":"e"}"#, "", Code::InvalidMessage),
        (r#"{"id":"1","type":"request","entity":"e"}"#, "1", Code::InvalidMessage),
        (r#"{"id":"1","type":"request","operation":"read"}"#, "1", Code::InvalidMessage),
        (r#"{"id":"1","type":"request","operation":"READ","entity":"e"}"#, "1", Code::InvalidOperation),
        (r#"{"id":"1","type":"request","operation":"read","entity":"e","record_id":true}"#, "1", Code::InvalidMessage),
        (r#"{"id":"1","type":"request","operation":"read","entity":"e","options":{"x":1}}"#, "1", Code::InvalidOption),
        (r#"{"id":"1","type":"request","operation":"read","entity":"e","options":[]}"#, "1", Code::InvalidOption),
        (
            r#"{"id":"1","type":"request","operation":"read","entity":"e","options":{"filters":[{"column":"a","operator":"x"}]}}"#,
            "1",
            Code::InvalidOperator,
        ),
        (r#"{"id":"1","type":"subscription","operation":"read"}"#, "1", Code::InvalidSubscriptionOperation),
        (r#"{"id":"1","type":"subscription","operation":"unsubscribe"}"#, "1", Code::MissingSubscriptionId),
    ] {
        assert_eq!(refused(text), (id.to_owned(), code), "{text}");
    }
}

#[test]
fn data_nested_too_deep_is_refused_with_the_id() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let text = format!(r#"{{"id":"1","type":"request","operation":"create","entity":"e","data":{deep}}}"#);
    assert_eq!(refused(&text), ("1".to_owned(), Code::InvalidMessage));
}

#[tokio::test]
async fn a_list_is_a_bare_array_with_its_metadata() {
    let text = told(Ok(page(vec![Ok(rows("", 0)), Ok(rows("{\"id\":2},{\"id\":3}", 2))])), 1000).await;
    assert_eq!(text["data"], json!([{"id": 1}, {"id": 2}, {"id": 3}]));
    assert_eq!(text["metadata"], json!({"total": 9, "count": 3, "filtered": 3, "limit": 10, "offset": 0}));
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_an_error_and_stops_gathering() {
    let after_the_bound = stream::once(async { panic!("nothing is asked for beyond the bound") });
    let large = RowText { joined: Bytes::from(vec![b' '; 2000]), count: 1 };
    let more = stream::iter([Ok(large)]).chain(after_the_bound).boxed();
    let Response::Page(first) = page(Vec::new()) else { panic!("a page") };
    let text = told(Ok(Response::Page(Page { more: Some(more), ..first })), 1000).await;
    assert_eq!(text["error"]["code"], "limit_exceeded");
    assert_eq!(text["data"], Value::Null);
}

#[tokio::test]
async fn a_page_that_breaks_off_is_an_error() {
    let text = told(Ok(page(vec![Err(Error::internal())])), 1000).await;
    assert_eq!(text["error"]["code"], "internal_error");
    assert_eq!(text["data"], Value::Null);
}

#[tokio::test]
async fn every_other_answer_has_the_form_of_the_protocol() {
    let row = Bytes::from_static(b"{\"id\":1}");
    let record = told(Ok(Response::Record(Record { row: row.clone(), row_number: Some(4) })), 1000).await;
    assert_eq!(record["data"], json!({"id": 1}));
    assert_eq!((&record["metadata"]["total"], &record["metadata"]["row_number"]), (&json!(1), &json!(4)));
    assert!(record["metadata"]["etag"].as_str().unwrap().starts_with('"'), "{record}");
    let rows = RowText { joined: row.clone(), count: 1 };
    let many = told(Ok(Response::Written(Written { rows: rows.clone(), many: true, replayed: true })), 1000).await;
    assert_eq!((&many["data"], &many["idempotency_replayed"]), (&json!([{"id": 1}]), &json!(true)));
    let one = told(Ok(Response::Written(Written { rows, many: false, replayed: false })), 1000).await;
    assert_eq!((&one["data"], &one["idempotency_replayed"]), (&json!({"id": 1}), &Value::Null));
    let deleted = told(Ok(Response::Deleted(Deleted { removed: Removed::Record(row), replayed: true })), 1000).await;
    assert_eq!((&deleted["data"], &deleted["idempotency_replayed"]), (&json!({"deleted": true}), &json!(true)));
    let description = json!({"schema": "s", "table": "t", "columns": [{"name": "a"}, {"name": "b"}], "primary_key": ["a", "b"]});
    let meta = told(Ok(Response::Meta(description.clone())), 1000).await;
    let expected = json!({"schema": "s", "entity": "t", "table_name": "s.t", "columns": ["a", "b"], "primary_key": "a,b",
        "description": description});
    assert_eq!(meta["data"], expected);
}

#[test]
fn a_pong_has_an_id_only_if_the_ping_had() {
    for (id, expected) in [("", Value::Null), ("p1", json!("p1"))] {
        let mut out = Vec::new();
        pong(&mut out, id);
        let text: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&text["id"], &text["type"], &text["success"]), (&expected, &json!("pong"), &Value::Null));
        let mut out = Vec::new();
        pong_of_success(&mut out, id);
        let text: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&text["id"], &text["type"], &text["success"]), (&expected, &json!("pong"), &json!(true)));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // A message of chance has no id that could be answered to.
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn an_id_comes_back_as_it_was(id in "\\PC{1,40}") {
        let text = json!({"id": id, "type": "request", "operation": "none", "entity": "e"}).to_string();
        let unreadable = decode(text.as_bytes()).unwrap_err();
        prop_assert_eq!(&unreadable.id, &id);
        let mut out = Vec::new();
        failure(&mut out, &unreadable.id, &unreadable.error);
        let answer: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(answer["id"].as_str(), Some(id.as_str()));
    }
}
