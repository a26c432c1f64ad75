//! Answers in the body style's envelope: `{success, data, metadata?}` or `{success, data: null, error}`.

use crate::protocol::response::{Removed, entity_tag, entity_tag_within};
use crate::protocol::{Error, Page, Response, RowText};
use crate::transport::envelope::{page_metadata, record_metadata};
use crate::transport::rest::answer::{self, Around, Headers};
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;

/// Encodes an answer.
#[must_use]
pub fn encode(request: &HeaderMap, response: Response) -> axum::http::Response<Body> {
    match response {
        Response::Page(page) => encode_page(request, page),
        Response::Record(record) => {
            let after = format!(",\"metadata\":{}}}", record_metadata(&record));
            let body = [b"{\"success\":true,\"data\":", record.row.as_ref(), after.as_bytes()].concat();
            let tag = match record.row_number {
                None => entity_tag(&record.row),
                // It changes with other rows.
                Some(_) => entity_tag_within(&record.row, &body),
            };
            answer::tagged(request, Bytes::from(body), &tag, Headers::new())
        }
        Response::Written(written) => {
            let data = if written.many { list(&written.rows) } else { written.rows.joined };
            answer::marked(whole(&data), written.replayed)
        }
        Response::Deleted(deleted) => {
            let data = match deleted.removed {
                Removed::Record(row) => row,
                Removed::Count(count) => Bytes::from(format!("{{\"deleted\":{count}}}")),
            };
            answer::marked(whole(&data), deleted.replayed)
        }
        Response::Meta(description) => whole(description.to_string().as_bytes()),
    }
}

fn list(rows: &RowText) -> Bytes {
    Bytes::from([b"[".as_slice(), &rows.joined, b"]"].concat())
}

fn whole(data: &[u8]) -> axum::http::Response<Body> {
    let body = [b"{\"success\":true,\"data\":".as_slice(), data, b"}"].concat();
    answer::plain(axum::http::StatusCode::OK, Bytes::from(body))
}

fn encode_page(request: &HeaderMap, page: Page) -> axum::http::Response<Body> {
    let (counts, limit, offset) = (page.counts, page.limit, page.offset);
    let around = Around {
        before: Bytes::from_static(b"{\"success\":true,\"data\":["),
        rows: page.rows,
        more: page.more,
        after: Box::new(move |count| Bytes::from(format!("],\"metadata\":{}}}", page_metadata(counts, count, limit, offset)))),
    };
    answer::rows(request, around, Headers::new())
}

/// Encodes an error.
#[must_use]
pub fn encode_error(error: &Error) -> axum::http::Response<Body> {
    answer::failure(error, &serde_json::json!({ "success": false, "data": null, "error": error }))
}
