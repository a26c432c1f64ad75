//! Answers of the header style: three layouts, range headers, and errors that both kinds of client read.

use super::decode::Format;
use crate::catalog::Entity;
use crate::protocol::response::{Record, Removed, Written, entity_tag, entity_tag_within};
use crate::protocol::{Error, Page, Response, RowText};
use crate::transport::rest::answer::{self, Around, Headers};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

/// How an answer is shown.
pub struct Shown<'a> {
    /// The request's headers.
    pub request: &'a HeaderMap,
    /// The layout.
    pub format: Format,
    /// Whether a list of one row becomes the row.
    pub single_record_as_object: bool,
    /// Whether the page lies beside a cursor; its place among the counted rows is not known then.
    pub cursor: bool,
    /// The entity's table and fields; answers about an entity have it.
    pub entity: &'a Entity,
}

/// Encodes an answer.
#[must_use]
pub fn encode(shown: &Shown<'_>, response: Response) -> axum::http::Response<Body> {
    match response {
        Response::Page(page) => encode_page(shown, page),
        Response::Record(record) => encode_record(shown, &record),
        Response::Written(written) => encode_written(shown, written),
        Response::Deleted(deleted) => {
            let body = match deleted.removed {
                Removed::Record(row) => row,
                Removed::Count(count) => Bytes::from(format!("{{\"deleted\":{count}}}")),
            };
            answer::marked(answer::plain(StatusCode::OK, body), deleted.replayed)
        }
        Response::Meta(description) => encode_meta(&description),
    }
}

/// Encodes the entity's description.
#[must_use]
pub fn encode_meta(description: &Value) -> axum::http::Response<Body> {
    answer::plain(StatusCode::OK, Bytes::from(description.to_string()))
}

fn encode_page(shown: &Shown<'_>, page: Page) -> axum::http::Response<Body> {
    let total = page.counts.filtered.unwrap_or(-1);
    // A page that is sent while it is read: how many rows it will have follows from the counts, if there are any.
    let size = match (&page.more, page.counts.filtered) {
        (None, _) => Some(page.rows.count),
        (Some(_), Some(filtered)) if !shown.cursor => {
            Some(page.limit.min(u64::try_from(filtered).unwrap_or(0).saturating_sub(page.offset)))
        }
        (Some(_), _) => None,
    };
    let headers = range_headers(shown, page.offset, page.limit, size, total);
    let (before, after): (Bytes, Box<dyn FnOnce(u64) -> Bytes + Send>) = match shown.format {
        Format::Simple => (Bytes::from_static(b"["), Box::new(|_| Bytes::from_static(b"]"))),
        Format::Syncfusion => {
            (Bytes::from_static(b"{\"result\":["), Box::new(move |_| Bytes::from(format!("],\"count\":{total}}}"))))
        }
        Format::Detail => {
            let rest = detail_rest(shown, total);
            (Bytes::from_static(b"{\"items\":["), Box::new(move |count| Bytes::from(format!("],\"count\":\"{count}\",{rest}}}"))))
        }
    };
    answer::rows(shown.request, Around { before, rows: page.rows, more: page.more, after }, headers)
}

fn encode_record(shown: &Shown<'_>, record: &Record) -> axum::http::Response<Body> {
    let mut headers = range_headers(shown, 0, 0, Some(1), 1);
    let mut number = String::new();
    if let Some(place) = record.row_number {
        headers.push((HeaderName::from_static("x-row-number"), HeaderValue::from(place)));
        number = place.to_string();
    }
    let row = if shown.single_record_as_object { record.row.clone() } else { wrapped(b"[", &record.row, b"]") };
    let body = match shown.format {
        Format::Simple => row,
        Format::Syncfusion => wrapped(b"{\"result\":", &row, b",\"count\":1}"),
        Format::Detail => wrapped(b"{\"items\":", &row, format!(",\"count\":\"1\",{}}}", detail_rest(shown, 1)).as_bytes()),
    };
    let tag = if number.is_empty() && body == record.row {
        entity_tag(&record.row)
    } else {
        entity_tag_within(&record.row, &[&body[..], number.as_bytes()].concat())
    };
    answer::tagged(shown.request, body, &tag, headers)
}

fn encode_written(shown: &Shown<'_>, written: Written) -> axum::http::Response<Body> {
    let RowText { joined, count } = written.rows;
    let as_list = if count == 1 { !shown.single_record_as_object } else { written.many };
    let body = match (as_list, count) {
        (true, _) => wrapped(b"[", &joined, b"]"),
        (false, 0) => Bytes::from_static(b"{}"),
        (false, _) => joined,
    };
    answer::marked(answer::plain(StatusCode::OK, body), written.replayed)
}

fn wrapped(before: &[u8], text: &[u8], after: &[u8]) -> Bytes {
    Bytes::from([before, text, after].concat())
}

fn range_headers(shown: &Shown<'_>, offset: u64, limit: u64, size: Option<u64>, total: i64) -> Headers {
    let mut headers = Headers::new();
    let mut put = |name: &'static str, value: HeaderValue| headers.push((HeaderName::from_static(name), value));
    if let Some(size) = size {
        if let Ok(range) = HeaderValue::from_str(&format!("items {offset}-{}/{total}", offset.saturating_add(size))) {
            put("content-range", range);
        }
        put("x-api-range-size", HeaderValue::from(size));
        if size == 0 {
            put("x-no-data-found", HeaderValue::from_static("true"));
        }
    }
    put("x-api-range-total", HeaderValue::from(total));
    put("x-api-range-etotal", HeaderValue::from(total));
    put("x-api-range-from", HeaderValue::from(offset));
    put("x-limit", HeaderValue::from(limit));
    put("x-offset", HeaderValue::from(offset));
    if let Ok(name) = HeaderValue::from_str(&shown.entity.table.to_string()) {
        put("x-api-modelname", name);
    }
    headers
}

/// What the detail layout has beside rows and their number.
fn detail_rest(shown: &Shown<'_>, total: i64) -> String {
    let entity = shown.entity;
    let field = |(id, column): (_, &crate::catalog::Column)| {
        let key = match (entity.primary_key.contains(&id), column.unique) {
            (true, _) => "primary_key",
            (false, true) => "unique",
            (false, false) => "",
        };
        json!({
            "name": column.name,
            "datatype": column.kind.as_str(),
            "sqlname": column.ident.as_str(),
            "sqldatatype": column.declared_type,
            "sqlkey": key,
            "nullable": column.nullable,
        })
    };
    let fields: Vec<Value> = entity.columns().filter(|(_, column)| column.readable()).map(field).collect();
    let (table, prefix) = (Value::from(entity.table.to_string()), Value::from(entity.name.as_str()));
    format!("\"total\":\"{total}\",\"fields\":{},\"tablename\":{table},\"tableprefix\":{prefix}", Value::from(fields))
}

/// Encodes an error: the keys of the reference, and an `error` object for clients that look for one.
#[must_use]
pub fn encode_error(error: &Error) -> axum::http::Response<Body> {
    answer::failure(error, &json!({ "_error": error.message, "_retval": 1, "error": error }))
}
