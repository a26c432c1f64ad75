//! The operator: its turns, what it writes, and whether it leads.

use super::metrics::Families;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};
use std::time::Duration;

/// What is counted of an operator. Cheap to clone.
#[derive(Clone)]
pub struct OperatorMetrics {
    turns: IntCounterVec,
    duration: HistogramVec,
    writes: IntCounterVec,
    leader: IntGaugeVec,
    admissions: IntCounterVec,
}

impl OperatorMetrics {
    pub(super) fn new(families: &Families) -> Self {
        // Told before the first turn, so that the first that fails is an increase.
        for result in ["ok", "error"] {
            families.operator_turns.with_label_values(&[result]);
        }
        Self {
            turns: families.operator_turns.clone(),
            duration: families.operator_turn_duration.clone(),
            writes: families.operator_writes.clone(),
            leader: families.operator_leader.clone(),
            admissions: families.operator_admissions.clone(),
        }
    }

    /// A turn has ended.
    pub fn turn(&self, took: Duration, succeeded: bool) {
        let result = if succeeded { "ok" } else { "error" };
        self.turns.with_label_values(&[result]).inc();
        self.duration.with_label_values(&[result]).observe(took.as_secs_f64());
    }

    /// A status was written.
    pub fn written(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// The API server has asked whether a resource may be applied.
    pub fn admission(&self, kind: &str, outcome: &str) {
        self.admissions.with_label_values(&[kind, outcome]).inc();
    }

    /// This one leads, or another one does.
    pub fn leads(&self, leads: bool) {
        self.leader.with_label_values::<&str>(&[]).set(i64::from(leads));
    }
}
