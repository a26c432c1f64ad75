//! What every request passes before its handler: the request id, the drain, the caller.

use super::router::Rest;
use crate::protocol::{Code, Error};
use axum::body::Body;
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::cell::Cell;
use tokio::time::timeout;

/// The id of a request: the caller's, if it is short and printable, or a new one.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get("x-request-id").filter(|value| value.len() <= 128 && value.to_str().is_ok_and(|text| !text.is_empty()));
    own.cloned().unwrap_or_else(new_request_id)
}

/// A random number of this thread and a count: unique without asking the system for each, or another thread.
fn new_request_id() -> HeaderValue {
    thread_local! {
        static NEXT: Cell<(u64, u64)> = Cell::new((uuid::Uuid::new_v4().as_u64_pair().0, 0));
    }
    let (thread, count) = NEXT.get();
    NEXT.set((thread, count + 1));
    let id = format!("{thread:016x}-{count:x}");
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Reads a body up to its limit, from a client that does not pause for too long.
pub(super) async fn read_body(rest: &Rest, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::new(Code::UnsupportedMediaType, "a body is taken as it is; send it without Content-Encoding"));
    }
    let limit = rest.max_body_bytes;
    let mut body = Limited::new(body, limit);
    let (mut whole, mut parts) = (Bytes::new(), BytesMut::new());
    loop {
        // Where the bytes are there already, no timer is started.
        let Ok(frame) = timeout(rest.body_time, body.frame()).await else {
            let time = rest.body_time.as_secs();
            return Err(Error::new(Code::RequestTimeout, format!("nothing of the body came for {time} seconds")));
        };
        match frame {
            None if parts.is_empty() => return Ok(whole),
            None => return Ok(parts.freeze()),
            Some(Ok(frame)) => {
                // Anything else is a trailer, which no request here has a use for.
                let Ok(data) = frame.into_data() else { continue };
                if whole.is_empty() {
                    whole = data;
                    continue;
                }
                if parts.is_empty() {
                    parts.extend_from_slice(&whole);
                }
                parts.extend_from_slice(&data);
            }
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Error::new(Code::PayloadTooLarge, format!("the body is larger than {limit} bytes")));
            }
            Some(Err(error)) => return Err(Error::new(Code::InvalidRequest, format!("the body could not be read: {error}"))),
        }
    }
}
