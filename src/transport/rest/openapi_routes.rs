//! Where the OpenAPI document is served: at `/openapi`, and instead of any answer below `/api` and `/rest` whose query has
//! `openapi` with a value.

use super::answer;
use super::body;
use super::openapi::{Base, document, may_see};
use super::router::{Names, Rest, authenticate, target};
use crate::protocol::{Code, Error};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;

/// The whole document, for who asks.
pub(super) async fn whole(State(rest): State<Rest>, headers: HeaderMap) -> Response<Body> {
    respond(&rest, &headers, None).await.unwrap_or_else(|error| body::encode_error(&error))
}

/// The document of the path's entity.
pub(super) async fn of_entity(rest: &Rest, headers: &HeaderMap, names: Names) -> Response<Body> {
    respond(rest, headers, Some(names)).await.unwrap_or_else(|error| body::encode_error(&error))
}

/// Whether a query asks for the document.
pub(super) fn is_asked(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.any(|(name, value)| name.eq_ignore_ascii_case("openapi") && !value.is_empty())
}

async fn respond(rest: &Rest, headers: &HeaderMap, names: Option<Names>) -> Result<Response<Body>, Error> {
    let principal = authenticate(rest, headers).await?;
    let served = rest.engine.served();
    let only = match names {
        None => None,
        Some(names) => {
            let (target, _) = target(names)?;
            let unknown = || Error::new(Code::ModelNotFound, "there is no entity at this path");
            let id = served.catalog.find(&target).ok_or_else(unknown)?.id;
            may_see(&served.catalog, &principal, id)?;
            Some(id)
        }
    };
    let base =
        Base { takes_tokens: rest.authenticator.takes_tokens(), admits_anonymous: rest.authenticator.admits_anonymous(), only };
    let text = document(&served.catalog, &principal, &base).to_string();
    Ok(for_caller(headers, text))
}

/// Answers a document, which depends on who asks.
pub(super) fn for_caller(headers: &HeaderMap, text: String) -> Response<Body> {
    let mut response = answer::whole(headers, Bytes::from(text), Vec::new());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().append(VARY, HeaderValue::from_static("authorization"));
    response
}
