//! The wiring between the engine's statements and the metrics: neither knows the other.
//!
//! A tally finds its counters at its first statement, so that what is never asked for takes neither memory nor lines.

use crate::catalog::Entity;
use crate::engine::{End, Observe, Tally, Verb};
use crate::telemetry::{Metrics, QueryMetrics};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Counts statements in these metrics.
pub struct Observed(pub Metrics);

impl Observe for Observed {
    fn panicked(&self, method: &str) {
        self.0.panicked(method);
    }

    fn tally(&self, verb: Verb, entity: &Entity) -> Arc<dyn Tally> {
        let (source, entity) = (entity.source.clone(), entity.full_name());
        Arc::new(Counted { metrics: self.0.clone(), verb, source, entity, counters: OnceLock::new() })
    }
}

struct Counted {
    metrics: Metrics,
    verb: Verb,
    source: String,
    entity: String,
    counters: OnceLock<QueryMetrics>,
}

impl Tally for Counted {
    fn ended(&self, end: End, took: Duration) {
        let make = || self.metrics.queries(self.verb.as_str(), &self.source, &self.entity);
        let counters = self.counters.get_or_init(make);
        match end {
            End::Ok => counters.succeeded(took),
            End::Error => counters.failed(took),
            End::Cancelled => counters.cancelled(took),
        }
    }
}
