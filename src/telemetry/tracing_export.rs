//! Sends spans to a collector over OTLP, in batches, from a thread of its own.
//!
//! The library says nothing when a collector can't be reached; here a failure is logged, once in a while. Spans that
//! can't be sent are lost, and nothing else waits for them.

use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An exporter whose failures can be seen.
#[derive(Debug)]
pub(super) struct LoudExporter {
    exporter: OtlpExporter,
    endpoint: String,
    said_at: Mutex<Option<Instant>>,
}

const SILENCE: Duration = Duration::from_mins(1);

/// What makes spans, and sends them through this exporter.
pub(super) fn provider(exporter: LoudExporter, service_name: &str) -> SdkTracerProvider {
    let resource = Resource::builder().with_service_name(service_name.to_owned()).build();
    SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build()
}

impl LoudExporter {
    /// Checks the address; the connection is made when there is something to send.
    pub(super) fn new(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let exporter = OtlpExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        Ok(Self { exporter, endpoint: endpoint.to_owned(), said_at: Mutex::new(None) })
    }

    fn say(&self, error: &opentelemetry_sdk::error::OTelSdkError, spans: usize) {
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.is_none_or(|time| time.elapsed() >= SILENCE) {
            *said_at = Some(Instant::now());
            ::tracing::warn!(endpoint = self.endpoint, spans, %error, "spans can't be sent and are lost; is the collector up?");
        }
    }
}

impl SpanExporter for LoudExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            self.say(error, spans);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
