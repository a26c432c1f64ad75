//! Which of the two styles a path is of, for errors that are told before a route knows it.

use super::{body, header};
use crate::protocol::Error;
use axum::body::Body;
use axum::http::Response;

/// Encodes an error as what is at a path does; whoever asks for anything else reads the body style's.
#[must_use]
pub fn encode_error(path: &str, error: &Error) -> Response<Body> {
    let is_header_style = path.strip_prefix("/rest").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_header_style { header::encode_error(error) } else { body::encode_error(error) }
}
