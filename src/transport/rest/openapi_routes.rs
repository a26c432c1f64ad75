//! Where the OpenAPI document is served: at `/openapi`, and instead of any answer below `/api` and `/rest` whose query has
//! `openapi` with a value.

use super::answer;
use super::body;
use super::openapi::{Base, document, may_see};
use super::router::{Names, Rest, authenticate, target};
use crate::protocol::{Code, Error};
use axum::body::Body;
use axum::extract::{MatchedPath, Request as HttpRequest, State};
use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, Response};
use axum::middleware::Next;
use bytes::Bytes;

/// The whole document, for who asks.
pub(super) async fn whole(State(rest): State<Rest>, headers: HeaderMap) -> Response<Body> {
    respond(&rest, &headers, None).await.unwrap_or_else(|error| body::encode_error(&error))
}

/// Answers the document of the path's entity, where the query asks for it.
pub(super) async fn instead(State(rest): State<Rest>, names: Names, request: HttpRequest, next: Next) -> Response<Body> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let entity_path = path.starts_with("/api/") || path.starts_with("/rest/");
    if !entity_path || request.method() == Method::OPTIONS || !is_asked(request.uri().query()) {
        return next.run(request).await;
    }
    respond(&rest, request.headers(), Some(names)).await.unwrap_or_else(|error| body::encode_error(&error))
}

fn is_asked(query: Option<&str>) -> bool {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().any(|(name, value)| name.eq_ignore_ascii_case("openapi") && !value.is_empty())
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
    let base = Base {
        takes_tokens: rest.authenticator.takes_tokens(),
        admits_anonymous: rest.authenticator.admits_anonymous(),
        only,
    };
    let text = document(&served.catalog, &principal, &base).to_string();
    let mut response = answer::tagged(headers, Bytes::from(text), None, Vec::new());
    // What it shows depends on who asks.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().append(VARY, HeaderValue::from_static("authorization"));
    Ok(response)
}
