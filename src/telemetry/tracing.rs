//! Logs and traces: set up once, before anything else.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logs or traces can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter can't be read.
    #[error("the log filter '{filter}' can't be read: {reason}; write for example 'info,resolvespec=debug'")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The exporter can't be built.
    #[error("traces can't be exported to '{endpoint}': {reason}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Sends what is left of the traces when it is dropped.
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.provider.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::debug!(%error, "the last traces could not be sent");
        }
    }
}

/// Sets up logs to standard error, and traces to an OTLP collector if one is given.
pub fn init(format: LogFormat, filter: &str, otlp_endpoint: Option<&str>) -> Result<Guard, Error> {
    let parsed =
        EnvFilter::try_new(filter).map_err(|error| Error::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let writer = fmt::layer().with_writer(std::io::stderr);
    let logs = match format {
        LogFormat::Text => writer.with_target(false).boxed(),
        LogFormat::Json => writer.json().boxed(),
    };
    let provider = otlp_endpoint.map(exporter).transpose()?;
    let traces = provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("resolvespec")));
    tracing_subscriber::registry().with(parsed).with(logs).with(traces).try_init().map_err(|_| Error::Twice)?;
    Ok(Guard { provider })
}

fn exporter(endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let built = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
    let exporter = built.map_err(|error| Error::Exporter { endpoint: endpoint.to_owned(), reason: error.to_string() })?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("resolvespec").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
