//! Health, readiness and metrics: on the admin port, the first two on the main port as well.

use super::rest::Rest;
use super::rest::answer::plain;
use super::rest::style::encode_error;
use crate::protocol::{Code, Error};
use crate::readiness::{NatsState, Readiness};
use crate::telemetry::Metrics;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode, Uri};
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The admin port's routes.
pub fn router(rest: Rest) -> Router {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(rest)
}

/// The metrics alone, for a process that has one port.
pub fn metrics_router(rest: Rest) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(rest)
}

/// The routes of a process that takes no requests at all.
pub fn process_router(metrics: Metrics, is_ready: Arc<AtomicBool>) -> Router {
    let health = || async { plain(StatusCode::OK, HEALTHY) };
    let ready = move || async move {
        if is_ready.load(Ordering::Relaxed) {
            return plain(StatusCode::OK, Bytes::from_static(b"{\"ready\":true}"));
        }
        plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"ready\":false,\"reason\":\"starting\"}"))
    };
    let metrics = move || async move { rendered(&Readiness::default(), &metrics) };
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics))
}

/// What the routes of a process that can't answer requests yet know.
#[derive(Clone)]
pub struct Waiting {
    /// What is missing.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
}

/// The routes of a process that can't answer requests yet; everything else is told to come again.
pub fn waiting_router(waiting: Waiting) -> Router {
    let health = || async { plain(StatusCode::OK, HEALTHY) };
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(waiting_ready))
        .route("/metrics", get(waiting_metrics))
        .fallback(waiting_request)
        .with_state(waiting)
}

async fn waiting_request(uri: Uri) -> Response<Body> {
    encode_error(uri.path(), &Error::new(Code::Unavailable, "this replica is starting; send the request again"))
}

async fn waiting_ready(State(waiting): State<Waiting>) -> Response<Body> {
    answer(&waiting.readiness, &waiting.metrics, &Engine::Starting)
}

async fn waiting_metrics(State(waiting): State<Waiting>) -> Response<Body> {
    rendered(&waiting.readiness, &waiting.metrics)
}

const HEALTHY: Bytes = Bytes::from_static(b"{\"status\":\"healthy\"}");

/// Whether the process works: it answers.
pub async fn health(State(rest): State<Rest>) -> Response<Body> {
    if rest.drain.is_draining() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"status\":\"shutting_down\"}"));
    }
    plain(StatusCode::OK, HEALTHY)
}

/// Whether requests should come here: a catalog is loaded, a database of it answers, and NATS was reached.
pub async fn ready(State(rest): State<Rest>) -> Response<Body> {
    if !rest.drain.is_ready() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"ready\":false,\"reason\":\"shutting_down\"}"));
    }
    let served = rest.engine.served();
    let pings = join_all(served.databases.iter().map(|(name, database)| async move { (name, database.ping().await) })).await;
    let down: Vec<&String> = pings.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| *name).collect();
    let any_answers = down.len() < pings.len() || pings.is_empty();
    answer(&rest.readiness, &rest.metrics, &Engine::Answers { down, any_answers })
}

/// Whether there is an engine that answers requests.
enum Engine<'d> {
    /// There is none yet.
    Starting,
    /// There is, and these of its databases are down. While any other answers, requests are better sent here than nowhere: a
    /// database that is down is so for every replica.
    Answers { down: Vec<&'d String>, any_answers: bool },
}

/// Says what is missing, and what is not as it should be although requests are answered.
fn answer(readiness: &Readiness, metrics: &Metrics, engine: &Engine<'_>) -> Response<Body> {
    let (catalog, nats) = (readiness.catalog_state(), readiness.nats_state());
    let (mut missing, mut degraded) = (Vec::new(), Vec::new());
    match nats {
        Some(NatsState::Connecting) => missing.push("nats".to_owned()),
        Some(NatsState::Lost) => degraded.push("nats".to_owned()),
        Some(NatsState::Connected) | None => {}
    }
    if readiness.is_broker_lost() {
        degraded.push("mqtt".to_owned());
    }
    let state = catalog.clone().unwrap_or_default();
    let database = |name: &String| format!("database {name}");
    let reason = match engine {
        Engine::Starting => {
            missing.push("catalog".to_owned());
            missing.extend(state.databases.iter().map(database));
            "starting"
        }
        Engine::Answers { down, any_answers } => {
            let whose = if *any_answers { &mut degraded } else { &mut missing };
            whose.extend(down.iter().map(|name| database(name)));
            degraded.extend(state.refused.then(|| "catalog".to_owned()));
            "database_unavailable"
        }
    };
    let ready = missing.is_empty();
    let mut body = json!({"ready": ready, "in_flight_requests": metrics.in_flight()});
    if !ready {
        body = json!({"ready": ready, "reason": reason, "missing": missing});
    }
    if !degraded.is_empty() {
        body["degraded"] = json!(degraded);
    }
    if catalog.is_some() {
        body["catalog"] = json!({"wanted": state.wanted, "served": state.served, "refused": state.refused});
    }
    if let Some(nats) = nats {
        body["nats"] = json!(nats.as_str());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, Bytes::from(body.to_string()))
}

async fn metrics(State(rest): State<Rest>) -> Response<Body> {
    for (name, database) in &rest.engine.served().databases {
        let (open, busy) = database.usage();
        rest.metrics.connections(name, open, busy, database.waiting());
    }
    rendered(&rest.readiness, &rest.metrics)
}

fn rendered(readiness: &Readiness, metrics: &Metrics) -> Response<Body> {
    if let Some(nats) = readiness.nats_state() {
        metrics.nats_connected(nats == NatsState::Connected);
    }
    let mut response = plain(StatusCode::OK, Bytes::from(metrics.render()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
