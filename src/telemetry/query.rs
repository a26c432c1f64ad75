//! The statements of one operation on one entity: counted by how they ended, and timed.
//!
//! The counters are looked up when the handle is made, and the handle is kept; a statement costs a few atomic additions.

use super::metrics::Families;
use prometheus::{Histogram, IntCounter};
use std::sync::Arc;
use std::time::Instant;

/// The statements of one operation on one entity. Cheap to clone.
#[derive(Clone)]
pub struct QueryMetrics {
    counters: Arc<Counters>,
}

/// A statement that is running. Dropped without a word about its end, it counts as cancelled.
#[must_use]
pub struct QueryTimer {
    counters: Arc<Counters>,
    end: End,
    started: Instant,
}

struct Counters {
    ok: IntCounter,
    error: IntCounter,
    cancelled: IntCounter,
    duration: Histogram,
}

#[derive(Clone, Copy)]
enum End {
    Ok,
    Error,
    Cancelled,
}

impl QueryMetrics {
    pub(super) fn new(families: &Families, operation: &str, source: &str, entity: &str) -> Self {
        let ended = |status| families.queries.with_label_values(&[operation, source, entity, status]);
        let duration = families.query_duration.with_label_values(&[operation, source, entity]);
        let counters = Counters { ok: ended("ok"), error: ended("error"), cancelled: ended("cancelled"), duration };
        Self { counters: Arc::new(counters) }
    }

    /// A statement begins, or begins to wait for its connection.
    pub fn start(&self) -> QueryTimer {
        QueryTimer { counters: Arc::clone(&self.counters), end: End::Cancelled, started: Instant::now() }
    }
}

impl QueryTimer {
    /// The database has answered.
    pub fn succeed(mut self) {
        self.end = End::Ok;
    }

    /// The database has refused, or can't be reached.
    pub fn fail(mut self) {
        self.end = End::Error;
    }
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        match self.end {
            End::Ok => &self.counters.ok,
            End::Error => &self.counters.error,
            End::Cancelled => &self.counters.cancelled,
        }
        .inc();
        self.counters.duration.observe(self.started.elapsed().as_secs_f64());
    }
}
