//! The three layouts, their headers, and the shapes of writes and errors.

use super::{Format, Shown, encode, encode_error};
use crate::catalog::Catalog;
use crate::catalog::test_shop::{catalog, entity};
use crate::protocol::response::{Counts, Deleted, MoreRows, Record, Removed, Written, entity_tag, is_tag_of};
use crate::protocol::{Code, Error, Page, Response, RowText};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::{Value, json};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

fn answer(response: axum::http::Response<axum::body::Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().now_or_never().expect("nothing to wait for").expect("a whole body").to_bytes();
    let body = serde_json::from_slice(&bytes).expect("JSON");
    Answer { status: parts.status, headers: parts.headers, body }
}

fn shop() -> Catalog {
    let columns = "  columns: [{name: secret, hidden: true}, {name: password, writeOnly: true}]\n";
    catalog(&[entity("customers", columns)])
}

/// Encodes for a format; `single` and `cursor` are as in the request.
fn shown(format: Format, single: bool, cursor: bool, response: Response) -> Answer {
    let (catalog, request) = (shop(), HeaderMap::new());
    let entity = &catalog.entities()[0];
    answer(encode(&Shown { request: &request, format, single_record_as_object: single, cursor, entity }, response))
}

fn rows(text: &'static str, count: u64) -> RowText {
    RowText { joined: Bytes::from_static(text.as_bytes()), count }
}

fn page(rows: RowText, more: Option<MoreRows>, filtered: Option<i64>) -> Response {
    Response::Page(Page { rows, more, counts: Counts { total: filtered, filtered }, limit: 10, offset: 20 })
}

fn two() -> RowText {
    rows("{\"id\":1},{\"id\":2}", 2)
}

#[test]
fn a_page_has_three_layouts() {
    let simple = shown(Format::Simple, true, false, page(two(), None, Some(137)));
    assert_eq!(simple.body, json!([{"id": 1}, {"id": 2}]));
    let syncfusion = shown(Format::Syncfusion, true, false, page(two(), None, Some(137)));
    assert_eq!(syncfusion.body, json!({"result": [{"id": 1}, {"id": 2}], "count": 137}));
    let detail = shown(Format::Detail, true, false, page(two(), None, Some(137))).body;
    assert_eq!((&detail["count"], &detail["total"]), (&json!("2"), &json!("137")));
    assert_eq!((&detail["items"][1]["id"], &detail["tableprefix"]), (&json!(2), &json!("customers")));
    let fields = detail["fields"].as_array().expect("fields");
    let id = json!({"name": "id", "datatype": "integer", "sqlname": "id", "sqldatatype": "integer", "sqlkey": "primary_key",
        "nullable": false});
    assert_eq!(fields[0], id);
    assert!(fields.iter().all(|field| field["name"] != "secret" && field["name"] != "password"), "what nobody can read");
}

#[test]
fn a_page_tells_its_range() {
    let found = shown(Format::Simple, true, false, page(two(), None, Some(137)));
    for (name, value) in [
        ("content-range", "items 20-22/137"),
        ("x-api-range-total", "137"),
        ("x-api-range-etotal", "137"),
        ("x-api-range-size", "2"),
        ("x-api-range-from", "20"),
        ("x-limit", "10"),
        ("x-offset", "20"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(found.header(name), Some(value), "{name}");
    }
    assert!(found.header("x-api-modelname").is_some_and(|name| name.ends_with("customers")));
    assert_eq!(found.header("x-no-data-found"), None);
    let uncounted = shown(Format::Syncfusion, true, false, page(rows("", 0), None, None));
    assert_eq!(uncounted.header("content-range"), Some("items 20-20/-1"));
    assert_eq!(uncounted.header("x-no-data-found"), Some("true"));
    assert_eq!(uncounted.body, json!({"result": [], "count": -1}));
}

#[test]
fn a_streamed_page_is_one_text_and_tells_its_size_if_it_can() {
    let more = || Some(stream::iter([Ok(rows("{\"id\":3}", 1)), Ok(rows("", 0)), Ok(rows("{\"id\":4}", 1))]).boxed());
    let counted = shown(Format::Detail, true, false, page(two(), more(), Some(24)));
    assert_eq!(counted.header("content-range"), Some("items 20-24/24"));
    assert_eq!((&counted.body["count"], &counted.body["total"]), (&json!("4"), &json!("24")));
    assert_eq!(counted.body["items"].as_array().map(Vec::len), Some(4));
    for (cursor, filtered) in [(false, None), (true, Some(24))] {
        let open = shown(Format::Simple, true, cursor, page(two(), more(), filtered));
        assert_eq!((open.header("content-range"), open.header("x-api-range-size")), (None, None));
        assert_eq!(open.body.as_array().map(Vec::len), Some(4));
    }
}

#[test]
fn one_record_is_an_object_unless_a_list_is_asked_for() {
    let record = || Response::Record(Record { row: Bytes::from_static(b"{\"id\":7}"), row_number: Some(3) });
    for (format, single, body) in [
        (Format::Simple, true, json!({"id": 7})),
        (Format::Simple, false, json!([{"id": 7}])),
        (Format::Syncfusion, true, json!({"result": {"id": 7}, "count": 1})),
        (Format::Syncfusion, false, json!({"result": [{"id": 7}], "count": 1})),
    ] {
        assert_eq!(shown(format, single, false, record()).body, body, "{format:?} {single}");
    }
    let detail = shown(Format::Detail, true, false, record());
    assert_eq!((&detail.body["items"], &detail.body["count"]), (&json!({"id": 7}), &json!("1")));
    assert_eq!(detail.header("x-row-number"), Some("3"));
}

#[test]
fn each_layout_of_a_record_has_a_tag_of_its_own_in_which_the_rows_is() {
    let row = Bytes::from_static(b"{\"id\":7}");
    let record = |row_number| Response::Record(Record { row: row.clone(), row_number });
    let tag = |format, single, number| shown(format, single, false, record(number)).header("etag").expect("a tag").to_owned();
    let bare = tag(Format::Simple, true, None);
    assert_eq!(bare, entity_tag(&row));
    let mut tags = vec![bare];
    for format in [Format::Simple, Format::Syncfusion, Format::Detail] {
        for (single, number) in [(true, None), (true, Some(3)), (true, Some(4)), (false, None), (false, Some(3))] {
            if (format, single, number) != (Format::Simple, true, None) {
                tags.push(tag(format, single, number));
            }
        }
    }
    assert!(tags.iter().all(|tag| is_tag_of(tag, &row) && !is_tag_of(tag, b"{\"id\":8}")), "{tags:?}");
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "{tags:?}");
}

#[test]
fn writes_answer_rows_in_the_shape_that_was_sent() {
    let written = |rows, many| Response::Written(Written { rows, many, replayed: false });
    let deleted = |removed| Response::Deleted(Deleted { removed, replayed: false });
    let one = || rows("{\"id\":1}", 1);
    for (single, response, body) in [
        (true, written(one(), false), json!({"id": 1})),
        (true, written(one(), true), json!({"id": 1})),
        (false, written(one(), true), json!([{"id": 1}])),
        (true, written(two(), true), json!([{"id": 1}, {"id": 2}])),
        (true, written(rows("", 0), true), json!([])),
        (true, written(rows("", 0), false), json!({})),
        (true, deleted(Removed::Count(2)), json!({"deleted": 2})),
        (true, deleted(Removed::Record(Bytes::from_static(b"{\"id\":1}"))), json!({"id": 1})),
    ] {
        assert_eq!(shown(Format::Detail, single, false, response).body, body);
    }
}

#[test]
fn errors_serve_both_kinds_of_client() {
    let failed = answer(encode_error(&Error::new(Code::NotFound, "no such row").with_detail("id")));
    assert_eq!(failed.status, StatusCode::NOT_FOUND);
    let error = json!({"code": "not_found", "message": "no such row", "detail": "id"});
    assert_eq!(failed.body, json!({"_error": "no such row", "_retval": 1, "error": error}));
}
