//! The first and last thing that happens to a request: an id, a timer, the drain, the name it came by, and the count of what is
//! answered.
//!
//! A service around the router and not a layer within it, which would be boxed and cloned for every request.

use super::gate::request_id;
use super::router::Rest;
use super::style;
use crate::protocol::{Code, Error};
use crate::telemetry::{Metrics, follow};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_RANGE, HOST};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;
use tracing::Instrument;

/// Wraps the router.
#[derive(Clone)]
pub struct Enter<S> {
    /// What the routes need.
    pub rest: Rest,
    /// The router.
    pub inner: S,
}

impl<S> Service<Request> for Enter<S>
where
    S: Service<Request, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        name_host(&mut request);
        let path = template(request.uri().path());
        let timer = self.rest.metrics.request(request.method(), path);
        let id = request_id(request.headers());
        if let Some(error) = turned_away(&self.rest, path, request.headers()) {
            let mut response = style::encode_error(request.uri().path(), &error);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response.headers_mut().insert("x-request-id", id);
            timer.finish(response.status());
            return Box::pin(std::future::ready(Ok(response)));
        }
        let span = tracing::info_span!("request", method = %request.method(), path, id = id.to_str().unwrap_or_default());
        if !span.is_disabled() {
            follow(&span, request.headers());
        }
        request.headers_mut().insert("x-request-id", id.clone());
        let packable = request.headers().contains_key(ACCEPT_ENCODING);
        let answer = self.inner.call(request).instrument(span);
        let rest = self.rest.clone();
        Box::pin(async move {
            let mut response = answer.await?.map(|body| counted(&rest.metrics, body));
            timer.finish(response.status());
            response.headers_mut().insert("x-request-id", id);
            if !rest.drain.is_ready() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // Whoever keeps this connection goes elsewhere now, and not in the middle of a request later.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if packable && let Some(range) = response.headers_mut().remove(CONTENT_RANGE) {
                response.extensions_mut().insert(ItemRange(range));
            }
            Ok(response)
        })
    }
}

/// Puts the host of a request where HTTP/1.1 has it; HTTP/2 has it in the URL.
fn name_host(request: &mut Request) {
    let named = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = named {
        request.headers_mut().insert(HOST, host);
    }
}

/// Why a request is not even looked at.
fn turned_away(rest: &Rest, path: &str, headers: &HeaderMap) -> Option<Error> {
    if rest.drain.is_draining() && !matches!(path, "/health" | "/ready") {
        return Some(Error::new(Code::Unavailable, "this replica is shutting down; send the request again"));
    }
    if !rest.hosts.admits(headers.get(HOST)) {
        let message =
            "this service is called by the names of its own machine, such as localhost, and not by that of the Host header";
        return Some(Error::new(Code::Forbidden, message));
    }
    None
}

/// A range of rows on its way past compression, which takes it for one of bytes and leaves the answer as it is.
#[derive(Clone)]
struct ItemRange(HeaderValue);

/// Gives an answer that is compressed by now its range back.
pub fn with_range<B>(mut response: Response<B>) -> Response<B> {
    if let Some(ItemRange(range)) = response.extensions_mut().remove() {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    response
}

/// Counts the bytes of a body, those of a stream as they go.
fn counted(metrics: &Metrics, body: Body) -> Body {
    if let Some(bytes) = body.size_hint().exact() {
        metrics.add_response_bytes(bytes);
        return body;
    }
    let metrics = metrics.clone();
    Body::new(body.map_frame(move |frame| {
        metrics.add_response_bytes(frame.data_ref().map_or(0, |data| data.len() as u64));
        frame
    }))
}

/// The route of a path, as metrics label it.
fn template(path: &str) -> &'static str {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.count()) {
        (Some("api"), 1) => "/api/{entity}",
        (Some("api"), 2) => "/api/{schema}/{entity}",
        (Some("api"), 3) => "/api/{schema}/{entity}/{id}",
        (Some("rest"), 1) => "/rest/{entity}",
        (Some("rest"), 2) => "/rest/{schema}/{entity}",
        (Some("rest"), 3) => "/rest/{schema}/{entity}/{id}",
        (Some("openapi"), 0) => "/openapi",
        (Some("asyncapi"), 0) => "/asyncapi",
        (Some("docs"), _) => "/docs",
        (Some("health"), 0) => "/health",
        (Some("ready"), 0) => "/ready",
        (Some("metrics"), 0) => "/metrics",
        (Some("ws"), 0) => "/ws",
        _ => "unmatched",
    }
}
