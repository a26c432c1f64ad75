//! Answers in the body style's envelope: `{success, data, metadata?}` or `{success, data: null, error}`.

use crate::protocol::response::Deleted;
use crate::protocol::{Error, Page, Response, RowText};
use crate::transport::envelope::{page_metadata, record_metadata};
use crate::transport::rest::answer::{self, Around, Headers};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

/// Encodes an answer.
#[must_use]
pub fn encode(request: &HeaderMap, response: Response) -> axum::http::Response<Body> {
    match response {
        Response::Page(page) => encode_page(request, page),
        Response::Record(record) => {
            let after = format!(",\"metadata\":{}}}", record_metadata(&record));
            let body = [b"{\"success\":true,\"data\":", record.row.as_ref(), after.as_bytes()].concat();
            answer::tagged(request, Bytes::from(body), Some(&record.row), Headers::new())
        }
        Response::Written(written) => {
            let replayed =
                written.replayed.then(|| (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true")));
            let data = if written.many { list(&written.rows) } else { written.rows.joined };
            whole(&data, replayed)
        }
        Response::Deleted(Deleted::Record(row)) => whole(&row, None),
        Response::Deleted(Deleted::Count(count)) => whole(format!("{{\"deleted\":{count}}}").as_bytes(), None),
        Response::Meta(description) => whole(description.to_string().as_bytes(), None),
    }
}

fn list(rows: &RowText) -> Bytes {
    Bytes::from([b"[".as_slice(), &rows.joined, b"]"].concat())
}

fn whole(data: &[u8], header: Option<(HeaderName, HeaderValue)>) -> axum::http::Response<Body> {
    let body = [b"{\"success\":true,\"data\":".as_slice(), data, b"}"].concat();
    let mut response = answer::plain(axum::http::StatusCode::OK, Bytes::from(body));
    response.headers_mut().extend(header);
    response
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
