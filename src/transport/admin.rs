//! Health, readiness and metrics: on the admin port, the first two on the main port as well.

use super::rest::Rest;
use super::rest::answer::plain;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::join_all;

/// The admin port's routes.
pub fn router(rest: Rest) -> Router {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(rest)
}

/// The metrics alone, for a process that has one port.
pub fn metrics_router(rest: Rest) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(rest)
}

/// Whether the process works: it answers.
pub async fn health(State(rest): State<Rest>) -> Response<Body> {
    if rest.drain.is_draining() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"status\":\"shutting_down\"}"));
    }
    plain(StatusCode::OK, Bytes::from_static(b"{\"status\":\"healthy\"}"))
}

/// Whether requests should come here: a catalog is loaded and its databases answer.
pub async fn ready(State(rest): State<Rest>) -> Response<Body> {
    if !rest.drain.is_ready() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"ready\":false,\"reason\":\"shutting_down\"}"));
    }
    let served = rest.engine.served();
    let pings = join_all(served.databases.iter().map(|(name, database)| async move { (name, database.ping().await) })).await;
    let down: Vec<&String> = pings.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| *name).collect();
    if down.is_empty() {
        let body = format!("{{\"ready\":true,\"in_flight_requests\":{}}}", rest.metrics.in_flight());
        return plain(StatusCode::OK, Bytes::from(body));
    }
    let body = serde_json::json!({ "ready": false, "reason": "database_unavailable", "sources": down });
    plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from(body.to_string()))
}

async fn metrics(State(rest): State<Rest>) -> Response<Body> {
    for (name, database) in &rest.engine.served().databases {
        let (open, busy) = database.usage();
        rest.metrics.connections(name, open, busy);
    }
    let mut response = plain(StatusCode::OK, Bytes::from(rest.metrics.render()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
