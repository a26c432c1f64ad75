//! Every metric, in one place; the names follow the reference where it has them.
//!
//! Label values are bounded: route templates and never paths, source names and never URLs.

use axum::http::{Method, StatusCode};
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::sync::Arc;
use std::time::Instant;

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
}

struct Shared {
    request_duration: HistogramVec,
    requests: IntCounterVec,
    in_flight: IntGauge,
    connections: IntGaugeVec,
    entities: IntGauge,
    reloads: IntCounterVec,
}

/// Buckets from a key look-up to a request that reached its deadline.
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let labels = ["method", "path", "status"];
        let duration =
            HistogramOpts::new("http_request_duration_seconds", "Time from a request's head to the head of its answer")
                .buckets(SECONDS.to_vec());
        let shared = Shared {
            request_duration: HistogramVec::new(duration, &labels)?,
            requests: IntCounterVec::new(Opts::new("http_requests_total", "Requests that were answered"), &labels)?,
            in_flight: IntGauge::new("http_requests_in_flight", "Requests that wait for their answer's head")?,
            connections: IntGaugeVec::new(
                Opts::new("resolvespec_database_connections", "Connections of a source's pool, open and busy"),
                &["source", "state"],
            )?,
            entities: IntGauge::new("resolvespec_catalog_entities", "Entities that are served")?,
            reloads: IntCounterVec::new(
                Opts::new("resolvespec_catalog_reloads_total", "Catalogs that were compiled"),
                &["result"],
            )?,
        };
        registry.register(Box::new(shared.request_duration.clone()))?;
        registry.register(Box::new(shared.requests.clone()))?;
        registry.register(Box::new(shared.in_flight.clone()))?;
        registry.register(Box::new(shared.connections.clone()))?;
        registry.register(Box::new(shared.entities.clone()))?;
        registry.register(Box::new(shared.reloads.clone()))?;
        Ok(Self { registry, shared: Arc::new(shared) })
    }

    /// Begins to time a request; `path` is a route template.
    #[must_use]
    pub fn request(&self, method: &Method, path: &str) -> RequestTimer {
        self.shared.in_flight.inc();
        let method = if is_known(method) { method.clone() } else { Method::OPTIONS };
        RequestTimer { metrics: self.clone(), method, path: path.to_owned(), started_at: Instant::now() }
    }

    /// Requests that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.shared.in_flight.get()
    }

    /// Tells a pool's connections.
    pub fn connections(&self, source: &str, open: usize, busy: usize) {
        for (state, count) in [("open", open), ("busy", busy)] {
            self.shared.connections.with_label_values(&[source, state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Tells that a catalog was compiled, and how many entities it has; `None` if it was refused.
    pub fn catalog(&self, entities: Option<usize>) {
        let result = if entities.is_some() { "served" } else { "refused" };
        self.shared.reloads.with_label_values(&[result]).inc();
        if let Some(count) = entities {
            self.shared.entities.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Everything, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be rendered");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn is_known(method: &Method) -> bool {
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS].contains(method)
}

/// A request that is being answered; one that is dropped unfinished was given up by its client.
pub struct RequestTimer {
    metrics: Metrics,
    method: Method,
    path: String,
    started_at: Instant,
}

impl RequestTimer {
    /// Records the answer.
    pub fn finish(self, status: StatusCode) {
        let labels = [self.method.as_str(), &self.path, status.as_str()];
        self.metrics.shared.requests.with_label_values(&labels).inc();
        self.metrics.shared.request_duration.with_label_values(&labels).observe(self.started_at.elapsed().as_secs_f64());
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        self.metrics.shared.in_flight.dec();
    }
}
