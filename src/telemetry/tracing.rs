//! Logs to standard error, and traces to an OpenTelemetry collector if one is configured.
//!
//! Without a collector nothing of OpenTelemetry is installed, so that spans cost what their log lines cost. With one, the
//! spans and events of the service itself are sent from level INFO up, and those of what the engine does; the libraries' spans are not, since
//! among them are those of the sending. Nothing else in the service installs a subscriber.

use super::tracing_export::{self, LoudExporter};
use ::tracing::Dispatch;
use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal as _;
use std::str::FromStr as _;
use std::time::Duration;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// What is logged, and where traces go.
#[derive(Debug, Clone)]
pub struct TracingSettings {
    /// How log lines look.
    pub format: LogFormat,
    /// Which of them are written, such as `info` or `info,resolvespec::engine=debug`.
    pub filter: String,
    /// The gRPC address of a collector, such as `http://collector:4317`. Without it, no traces are made.
    pub otlp_endpoint: Option<String>,
    /// The name of this process in traces.
    pub service_name: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Why logs or traces can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter can't be read.
    #[error("the log filter '{filter}' can't be read: {problem}; write it as 'info' or 'info,resolvespec=debug'")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The collector's address can't be used.
    #[error("traces can't be sent to '{endpoint}': {problem}; use the gRPC address of a collector, 'http://host:4317'")]
    Endpoint {
        /// The address as configured.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Logging was set up before.
    #[error("logging is already set up in this process")]
    AlreadyInstalled,
}

/// Keeps traces flowing. Give it up last, so that the spans of the end are sent.
#[must_use]
pub struct TracingGuard {
    provider: Option<SdkTracerProvider>,
}

/// Where the spans of requests within the engine and of their statements come from. Logs would gain little from them, and each costs a
/// read of one row a fiftieth of its time, so that their level is lower.
const ENGINE: [&str; 2] =
    [concat!(env!("CARGO_PKG_NAME"), "::engine::pipeline"), concat!(env!("CARGO_PKG_NAME"), "::engine::observe")];

/// How long the last spans may take to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Sets up logs and traces for the whole process. With a collector, it must be called within the runtime.
pub fn init(settings: &TracingSettings) -> Result<TracingGuard, Error> {
    let (dispatch, guard) = dispatch(settings, std::io::stderr)?;
    ::tracing::dispatcher::set_global_default(dispatch).map_err(|_| Error::AlreadyInstalled)?;
    Ok(guard)
}

/// The trace that a request's W3C headers continue; without them, or with bad ones, an empty context.
#[must_use]
pub fn parent_context(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

/// Makes a request's span part of the trace that its headers continue, if they do.
pub fn follow(span: &::tracing::Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        // It fails where no traces are made, and there it does not matter.
        let _ = span.set_parent(parent_context(headers));
    }
}

impl TracingSettings {
    /// The settings of a process that has the package's name in traces.
    #[must_use]
    pub fn new(format: LogFormat, filter: &str, otlp_endpoint: Option<&str>) -> Self {
        Self {
            format,
            filter: filter.to_owned(),
            otlp_endpoint: otlp_endpoint.map(ToOwned::to_owned),
            service_name: env!("CARGO_PKG_NAME").to_owned(),
        }
    }
}

impl TracingGuard {
    /// Sends the last spans, without holding up the runtime that sends them.
    pub async fn shutdown(mut self) {
        if let Some(provider) = self.provider.take() {
            let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        }
    }
}

impl Drop for TracingGuard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// What `init` installs, for any writer.
pub(super) fn dispatch<W>(settings: &TracingSettings, writer: W) -> Result<(Dispatch, TracingGuard), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // By targets alone: a filter that knows spans asks a lock that all threads share, at each step of each.
    let filter = targets(&settings.filter).map_err(|problem| Error::Filter { filter: settings.filter.clone(), problem })?;
    let Some(endpoint) = &settings.otlp_endpoint else {
        let subscriber = Registry::default().with(filter).with(log_layer(settings.format, writer));
        return Ok((Dispatch::new(subscriber), TracingGuard { provider: None }));
    };
    let exporter = LoudExporter::new(endpoint)
        .map_err(|problem| Error::Endpoint { endpoint: endpoint.clone(), problem: problem.to_string() })?;
    let provider = tracing_export::provider(exporter, &settings.service_name);
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(
            Targets::new()
                .with_target(env!("CARGO_PKG_NAME"), LevelFilter::INFO)
                .with_targets(ENGINE.map(|target| (target, LevelFilter::DEBUG))),
        );
    let subscriber = Registry::default().with(traces).with(log_layer(settings.format, writer).with_filter(filter));
    Ok((Dispatch::new(subscriber), TracingGuard { provider: Some(provider) }))
}

/// Reads `level` and `target=level` between commas.
fn targets(filter: &str) -> Result<Targets, String> {
    let parts: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if let Some(part) = parts.iter().find(|part| part.contains('[')) {
        return Err(format!("'{part}' is about spans; filters are levels, and targets with levels"));
    }
    Targets::from_str(&parts.join(",")).map_err(|error| error.to_string())
}

fn log_layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: ::tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
