//! Answers as messages: texts put together around rows that nobody parses, appended to a buffer.
//!
//! An answer is one message however many rows it has, so it is bounded: beyond that, what was gathered is given up and
//! the answer is an error.

use crate::protocol::response::{Deleted, Removed, Written, entity_tag};
use crate::protocol::{Code, Error, Page, Response};
use crate::transport::envelope::{page_metadata, record_metadata};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::io::Write;

/// Appends an answer that may have so many bytes. Says whether it tells of success.
pub async fn answer(out: &mut Vec<u8>, id: &str, outcome: Result<Response, Error>, max_bytes: usize) -> bool {
    let start = out.len();
    let told = match outcome {
        Ok(response) => success(out, id, response, max_bytes).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &told {
        out.truncate(start);
        failure(out, id, error);
    }
    told.is_ok()
}

/// Appends an answer of success with this JSON.
pub fn data(out: &mut Vec<u8>, id: &str, json: &[u8]) {
    begin(out, id, true);
    append(out, &[b",\"data\":", json]);
    end(out);
}

/// Appends an answer of failure.
pub fn failure(out: &mut Vec<u8>, id: &str, error: &Error) {
    begin(out, id, false);
    append(out, &[b",\"error\":", json!(error).to_string().as_bytes()]);
    end(out);
}

/// Appends the answer to a ping (§1.7).
pub fn pong(out: &mut Vec<u8>, id: &str) {
    begin_pong(out, id);
    end(out);
}

/// Appends the answer to a ping as it is over MQTT, which tells of success (§2.2).
pub fn pong_of_success(out: &mut Vec<u8>, id: &str) {
    begin_pong(out, id);
    append(out, &[b",\"success\":true"]);
    end(out);
}

/// Appends an answer of success that may have so many bytes; if it has more, what was appended is of no use.
pub async fn success(out: &mut Vec<u8>, id: &str, response: Response, max_bytes: usize) -> Result<(), Error> {
    let bound = out.len().saturating_add(max_bytes);
    begin(out, id, true);
    append(out, &[b",\"data\":"]);
    match response {
        Response::Page(page) => list(out, page, bound).await?,
        Response::Record(record) => {
            let metadata = record_metadata(&record);
            let tag = json!(entity_tag(&record.row)).to_string();
            let metadata = format!(",\"metadata\":{},\"etag\":{tag}}}", metadata.trim_end_matches('}'));
            append(out, &[&record.row, metadata.as_bytes()]);
        }
        Response::Written(written) => rows_written(out, &written),
        Response::Deleted(deleted) => rows_removed(out, &deleted),
        Response::Meta(description) => append(out, &[meta(&description).to_string().as_bytes()]),
    }
    check(out, bound)?;
    end(out);
    Ok(())
}

async fn list(out: &mut Vec<u8>, page: Page, bound: usize) -> Result<(), Error> {
    let Page { rows, mut more, counts, limit, offset } = page;
    append(out, &[b"[", &rows.joined]);
    let mut count = rows.count;
    while let Some(rows) = match &mut more {
        Some(more) => more.next().await,
        None => None,
    } {
        let rows = rows?;
        if rows.count > 0 {
            append(out, &[b",", &rows.joined]);
            count += rows.count;
        }
        check(out, bound)?;
    }
    append(out, &[b"],\"metadata\":", page_metadata(counts, count, limit, offset).as_bytes()]);
    Ok(())
}

fn rows_written(out: &mut Vec<u8>, written: &Written) {
    let Written { rows, many, replayed } = written;
    if *many {
        append(out, &[b"[", &rows.joined, b"]"]);
    } else {
        append(out, &[&rows.joined]);
    }
    mark(out, *replayed);
}

fn rows_removed(out: &mut Vec<u8>, deleted: &Deleted) {
    match deleted.removed {
        Removed::Record(_) => append(out, &[b"{\"deleted\":true}"]),
        Removed::Count(count) => append(out, &[format!("{{\"deleted\":{count}}}").as_bytes()]),
    }
    mark(out, deleted.replayed);
}

/// Says of an answer that an earlier request with the same idempotency key got it.
fn mark(out: &mut Vec<u8>, replayed: bool) {
    if replayed {
        append(out, &[b",\"idempotency_replayed\":true"]);
    }
}

fn check(out: &[u8], bound: usize) -> Result<(), Error> {
    if out.len() <= bound {
        return Ok(());
    }
    let message = "the answer is larger than a message may be; ask for fewer rows or columns, or for pages";
    Err(Error::new(Code::LimitExceeded, message))
}

/// The description in the form that sessions have it: the columns' names, and everything else beside them.
fn meta(description: &Value) -> Value {
    let names = |list: &Value, key: Option<&str>| -> Vec<String> {
        let name = |one: &Value| key.map_or(one, |key| &one[key]).as_str().map(ToOwned::to_owned);
        list.as_array().into_iter().flatten().filter_map(name).collect()
    };
    let (schema, entity) = (&description["schema"], &description["table"]);
    json!({
        "schema": schema,
        "entity": entity,
        "table_name": format!("{}.{}", schema.as_str().unwrap_or_default(), entity.as_str().unwrap_or_default()),
        "columns": names(&description["columns"], Some("name")),
        "primary_key": names(&description["primary_key"], None).join(","),
        "description": description,
    })
}

fn begin(out: &mut Vec<u8>, id: &str, success: bool) {
    let success: &[u8] = if success { b"true" } else { b"false" };
    append(out, &[b"{\"id\":", json!(id).to_string().as_bytes(), b",\"type\":\"response\",\"success\":", success]);
}

fn begin_pong(out: &mut Vec<u8>, id: &str) {
    out.push(b'{');
    if !id.is_empty() {
        append(out, &[b"\"id\":", json!(id).to_string().as_bytes(), b","]);
    }
    append(out, &[b"\"type\":\"pong\""]);
}

fn end(out: &mut Vec<u8>) {
    // A vector takes everything that is written into it.
    _ = write!(out, ",\"timestamp\":\"{}\"}}", jiff::Timestamp::now());
}

fn append(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}
