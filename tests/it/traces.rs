//! The spans of a live request, as a collector gets them from the binary over OTLP.

use crate::support::shop::{SECRET, Shop, in_seconds, token};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const CALLER: u64 = 0xb7ad_6b71_6920_3331;

/// A gRPC message is a byte that says that it is not compressed, four bytes of length, and the message.
const FRAME_BYTES: usize = 5;

/// A collector that accepts every export and hands on its spans.
async fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let (spans, received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has an address"));
    let accept = move |body: Bytes| async move {
        let export = ExportTraceServiceRequest::decode(&body[FRAME_BYTES..]).expect("an export");
        for span in export.resource_spans.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans) {
            // The test may have seen enough and ended.
            _ = spans.send(span);
        }
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        let empty = Full::new(Bytes::from_static(&[0; FRAME_BYTES])).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
        Response::builder().header("content-type", "application/grpc").body(Body::new(empty)).expect("an answer")
    };
    let router = Router::new().route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(accept));
    TaskTracker::new().spawn(async { axum::serve(listener, router).await.expect("it serves") });
    (endpoint, received)
}

fn text<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_traced_down_to_its_statement() {
    let (endpoint, mut received) = collector().await;
    let shop = Shop::new("traces").seeded();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--leave-seconds", "0"];
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("RESOLVESPEC_JWT_SECRET", SECRET),
    ];
    let mut serve = shop.start(&arguments, &environment);
    let token = token(&json!({"sub": "ada", "exp": in_seconds(60), "roles": ["editor"]}), SECRET);
    let headers = format!("traceparent: 00-{TRACE:032x}-{CALLER:016x}-01\r\nAuthorization: Bearer {token}\r\n");
    let (status, _) = serve.post_with("/api/main/items/1", &json!({"operation": "read"}), &headers);
    assert_eq!(status, 200);
    let mut spans: Vec<Span> = Vec::new();
    let of = |spans: &[Span], name: &str| spans.iter().find(|span| span.name == name).cloned();
    while of(&spans, "request").is_none() || of(&spans, "SELECT items").is_none() {
        let span = tokio::time::timeout(Duration::from_secs(20), received.recv()).await;
        let span = span.unwrap_or_else(|_| panic!("only these came: {spans:#?}")).expect("the collector runs");
        if span.trace_id == TRACE.to_be_bytes() {
            spans.push(span);
        }
    }
    let [request, handle, statement] = ["request", "handle", "SELECT items"].map(|name| of(&spans, name).expect("it came"));
    assert_eq!(request.parent_span_id, CALLER.to_be_bytes());
    assert_eq!(handle.parent_span_id, request.span_id);
    assert_eq!(statement.parent_span_id, handle.span_id);
    let told = ["db.system.name", "db.operation.name", "db.collection.name", "error.type"].map(|key| text(&statement, key));
    assert_eq!(told, [Some("sqlite"), Some("SELECT"), Some("items"), None]);
    assert_eq!(statement.kind(), opentelemetry_proto::tonic::trace::v1::span::SpanKind::Client);

    let taken = json!({"operation": "create", "data": {"id": 1, "name": "violet"}});
    assert_eq!(serve.post_with("/api/main/items", &taken, &headers).0, 409);
    let insert = loop {
        let span = tokio::time::timeout(Duration::from_secs(20), received.recv()).await.expect("in time").expect("it runs");
        if span.name == "INSERT items" {
            break span;
        }
    };
    assert_eq!(text(&insert, "error.type"), Some("violation"));
    assert!(!format!("{insert:?}").contains("violet"), "values are not told");
    serve.end();
}
