//! The statements of one operation on one entity: counted by how they ended, and timed.
//!
//! The counters are looked up when the handle is made, and the handle is kept; a statement costs a few atomic additions.

use super::metrics::Families;
use prometheus::{Histogram, IntCounter};
use std::time::Duration;

/// The statements of one operation on one entity.
pub struct QueryMetrics {
    ok: IntCounter,
    error: IntCounter,
    cancelled: IntCounter,
    duration: Histogram,
}

impl QueryMetrics {
    pub(super) fn new(families: &Families, operation: &str, source: &str, entity: &str) -> Self {
        let ended = |status| families.queries.with_label_values(&[operation, source, entity, status]);
        let duration = families.query_duration.with_label_values(&[operation, source, entity]);
        Self { ok: ended("ok"), error: ended("error"), cancelled: ended("cancelled"), duration }
    }

    /// The database has answered.
    pub fn succeeded(&self, took: Duration) {
        self.ended(&self.ok, took);
    }

    /// The database has refused, was too slow, or can't be reached.
    pub fn failed(&self, took: Duration) {
        self.ended(&self.error, took);
    }

    /// Nobody waits for it any more.
    pub fn cancelled(&self, took: Duration) {
        self.ended(&self.cancelled, took);
    }

    fn ended(&self, counter: &IntCounter, took: Duration) {
        counter.inc();
        self.duration.observe(took.as_secs_f64());
    }
}
