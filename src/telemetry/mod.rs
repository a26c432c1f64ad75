//! What is seen of the process: metrics and traces.

pub mod metrics;
pub mod tracing;

pub use metrics::Metrics;
