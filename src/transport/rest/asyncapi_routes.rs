//! Where the AsyncAPI document is served. It says by which host the service is reached, which is how the caller reached it.

use super::body;
use super::openapi_routes::for_caller;
use super::router::{Rest, authenticate};
use crate::protocol::{Code, Error};
use crate::transport::asyncapi::{self, Base};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Response, Uri};

/// The document, for who asks.
pub(super) async fn document(State(rest): State<Rest>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    respond(&rest, &uri, &headers).await.unwrap_or_else(|error| body::encode_error(&error))
}

async fn respond(rest: &Rest, uri: &Uri, headers: &HeaderMap) -> Result<Response<Body>, Error> {
    let principal = authenticate(rest, headers).await?;
    let host = host(uri, headers)?;
    let base = Base {
        host: host.as_str(),
        // What ends TLS before the service says so.
        secure: headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https"),
        takes_tokens: rest.authenticator.takes_tokens(),
        admits_anonymous: rest.authenticator.admits_anonymous(),
        mqtt: rest.mqtt.as_ref(),
    };
    let served = rest.engine.served();
    Ok(for_caller(headers, asyncapi::document(&served.catalog, &principal, &base).to_string()))
}

/// The authority of the request, which HTTP/2 has in the URL and HTTP/1.1 in a header.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Error> {
    let named = || headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let unnamed = || Error::new(Code::InvalidRequest, "the document says by which host it was asked for; send a Host header");
    uri.authority().cloned().or_else(named).ok_or_else(unnamed)
}
