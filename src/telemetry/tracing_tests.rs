//! Whether spans reach a collector, whether traces are continued, and what log lines look like.

use super::tracing::{Error, LogFormat, TracingSettings, dispatch, follow, parent_context};
use super::tracing_export::LoudExporter;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use opentelemetry::trace::TraceContextExt as _;
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn settings(endpoint: Option<&str>) -> TracingSettings {
    let service_name = "resolvespec-test".to_owned();
    TracingSettings { service_name, ..TracingSettings::new(LogFormat::Json, "info", endpoint) }
}

fn traceparent(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(axum::http::HeaderName::from_static("traceparent"), HeaderValue::from_static(value))])
}

/// A gRPC server that accepts every export and hands on its message.
async fn collector() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (exports, received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let accept = move |body: Bytes| async move {
        exports.send(body).unwrap();
        let trailers =
            HeaderMap::from_iter([(axum::http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        let empty_message = Full::new(Bytes::from_static(&[0; 5]));
        let body = empty_message.with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
    };
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let router = axum::Router::new().route(path, axum::routing::post(accept));
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(async { axum::serve(listener, router).await.unwrap() });
    (endpoint, received)
}

fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_within_the_trace_of_the_request() {
    let (endpoint, mut received) = collector().await;
    let (dispatch, guard) = dispatch(&settings(Some(&endpoint)), std::io::sink).unwrap();
    let headers = traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    ::tracing::dispatcher::with_default(&dispatch, || {
        let request = ::tracing::info_span!("answer a request");
        follow(&request, &headers);
        request.in_scope(|| ::tracing::info!("an event within"));
        ::tracing::info_span!(target: "h2::client", "a span of a library").in_scope(|| ());
    });
    guard.shutdown().await;
    let message = tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
    let trace: Vec<u8> = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes().to_vec();
    for part in [b"answer a request".as_slice(), b"an event within", b"resolvespec-test", &trace] {
        assert!(contains(&message, part), "{}", String::from_utf8_lossy(part));
    }
    assert!(!contains(&message, b"a span of a library"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_named_in_the_log() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let exporter = LoudExporter::new(&endpoint).unwrap();
    let log = Log::default();
    let (dispatch, _guard) = dispatch(&settings(None), log.writer()).unwrap();
    let _default = ::tracing::dispatcher::set_default(&dispatch);
    let _ = opentelemetry_sdk::trace::SpanExporter::export(&exporter, Vec::new()).await;
    assert!(log.text().contains(&endpoint), "{}", log.text());
}

#[test]
fn the_headers_of_a_request_name_its_trace() {
    let context = parent_context(&traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    let span = context.span().span_context().clone();
    assert_eq!(span.trace_id().to_string(), TRACE);
    assert_eq!(span.span_id().to_string(), "b7ad6b7169203331");
    assert!(span.is_remote() && span.is_sampled());
    for headers in [HeaderMap::new(), traceparent("00-short-b7ad6b7169203331-01"), traceparent("nonsense")] {
        assert!(!parent_context(&headers).span().span_context().is_valid());
    }
}

#[test]
fn without_a_collector_nothing_is_traced() {
    let log = Log::default();
    let (dispatch, _guard) = dispatch(&settings(None), log.writer()).unwrap();
    ::tracing::dispatcher::with_default(&dispatch, || {
        let span = ::tracing::info_span!("request", id = 7);
        follow(&span, &traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(!span.context().span().span_context().is_valid());
        span.in_scope(|| ::tracing::info!(rows = 3, "answered"));
        ::tracing::debug!("too much detail");
    });
    let text = log.text();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((&line["message"], &line["rows"], &line["span"]["id"]), (&"answered".into(), &3.into(), &7.into()));
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused() {
    let filter = TracingSettings { filter: "info,=[".to_owned(), ..settings(None) };
    assert!(matches!(dispatch(&filter, std::io::sink).err(), Some(Error::Filter { .. })));
    for endpoint in ["not an address", "https://collector:4317"] {
        let error = dispatch(&settings(Some(endpoint)), std::io::sink).err().unwrap();
        assert!(error.to_string().contains(endpoint), "{error}");
    }
}

/// Log lines in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn writer(&self) -> impl Fn() -> Self + Send + Sync + 'static {
        let log = self.clone();
        move || log.clone()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
