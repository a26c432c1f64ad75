//! What every request passes before its handler: the request id, the drain, the caller.

use crate::protocol::{Code, Error};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The id of a request: the caller's, if it is short and printable, or a new one.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get("x-request-id").filter(|value| value.len() <= 128 && value.to_str().is_ok_and(|text| !text.is_empty()));
    own.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// The bearer token of a request.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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
