//! Pages of other origins: which may call, and what they may read of an answer. None may unless it is listed.
//!
//! A preflight is answered here; any other OPTIONS asks for what an entity is, and goes on to its route.

use super::Rest;
use axum::extract::Request;
use axum::http::header::ACCESS_CONTROL_REQUEST_METHOD;
use axum::http::{HeaderName, Method};
use std::time::Duration;
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tower::util::MapRequestLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

/// What browsers show of an answer beside what they always do.
const EXPOSED: [&str; 14] = [
    "content-range",
    "etag",
    "idempotency-replayed",
    "retry-after",
    "x-api-modelname",
    "x-api-range-etotal",
    "x-api-range-from",
    "x-api-range-size",
    "x-api-range-total",
    "x-limit",
    "x-no-data-found",
    "x-offset",
    "x-request-id",
    "x-row-number",
];

type Change = fn(Request) -> Request;
type Map = MapRequestLayer<Change>;

/// Answers preflights, and adds to each answer what browsers need.
pub(crate) type Cors = Stack<Map, Stack<CorsLayer, Stack<Map, Identity>>>;

/// Origins of browsers that may call; none if none is listed, so that answers carry no headers about it.
#[must_use]
pub(crate) fn cors(rest: &Rest) -> Option<Cors> {
    if rest.cors_origins.is_empty() {
        return None;
    }
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(rest.cors_origins.iter().cloned()))
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::list(methods))
        .allow_credentials(true)
        .expose_headers(ExposeHeaders::list(EXPOSED.map(HeaderName::from_static)))
        .max_age(Duration::from_hours(24));
    let around = ServiceBuilder::new().map_request(disguise as Change).layer(layer).map_request(undisguise as Change);
    Some(around.into_inner())
}

/// The layer takes every OPTIONS for a preflight; one that is none goes past it under another name.
#[derive(Clone)]
struct IsOptions;

fn disguise(mut request: Request) -> Request {
    if request.method() == Method::OPTIONS && !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        request.extensions_mut().insert(IsOptions);
        *request.method_mut() = Method::GET;
    }
    request
}

fn undisguise(mut request: Request) -> Request {
    if request.extensions_mut().remove::<IsOptions>().is_some() {
        *request.method_mut() = Method::OPTIONS;
    }
    request
}
