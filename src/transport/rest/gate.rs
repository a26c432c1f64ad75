//! What every request passes before its handler: the request id, the drain, the caller.

use crate::protocol::{Code, Error};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The id of a request: the caller's, if it is short and printable, or a new one.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get("x-request-id").filter(|value| value.len() <= 128 && value.to_str().is_ok_and(|text| !text.is_empty()));
    own.cloned().unwrap_or_else(new_request_id)
}

/// A random number of this process and a count: unique without asking the system for each.
fn new_request_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::new_v4().as_u64_pair().0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Reads a body up to a limit.
pub async fn read_body(body: axum::body::Body, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::new(Code::PayloadTooLarge, format!("the body is larger than {limit} bytes")))
        }
        Err(error) => Err(Error::new(Code::InvalidRequest, format!("the body could not be read: {error}"))),
    }
}
