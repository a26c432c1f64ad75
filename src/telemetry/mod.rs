//! What is seen of the service: numbers, logs and traces.
//!
//! Everything here is told what happened and decides nothing. Labels are texts that the code or the catalog knows, never
//! ids, values or error texts; logs and spans never hold credentials.
//!
//! In reading order: the metrics, the handles through which requests and statements are counted, logs and traces.

mod call;
mod capture;
mod connection;
mod durable;
mod family;
mod live;
pub mod metrics;
mod mqtt;
mod operator;
mod query;
mod request;
mod session;
pub mod tracing;
mod tracing_export;
#[cfg(test)]
mod tracing_tests;

pub use call::{CallMetrics, CallTimer};
pub use capture::CaptureMetrics;
pub use connection::{ConnectionMetrics, OpenConnection};
pub use durable::DurableMetrics;
pub use live::LiveMetrics;
pub use metrics::Metrics;
pub use mqtt::{MqttMetrics, MqttTimer};
pub use operator::OperatorMetrics;
pub use query::QueryMetrics;
pub use request::{RequestMetrics, RequestTimer};
pub use session::{SessionMetrics, SessionTimer};
pub use tracing::{LogFormat, TracingGuard, TracingSettings, follow, init, parent_context};
