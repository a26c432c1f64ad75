//! The relay of one source: what it has told, and what waits.

use super::metrics::Families;
use crate::protocol::ChangeOperation;
use prometheus::{IntCounter, IntGauge};

/// What is counted of one source's relay. Cheap to clone.
#[derive(Clone)]
pub struct CaptureMetrics {
    /// Of changes that have created, updated and deleted.
    published: [IntCounter; 3],
    failures: IntCounter,
    unreadable: IntCounter,
    waiting: IntGauge,
    lag: IntGauge,
    retained: IntGauge,
    unconfirmed: IntGauge,
    slots_lost: IntCounter,
    outboxes_given_up: IntCounter,
}

impl CaptureMetrics {
    pub(super) fn new(families: &Families, source: &str) -> Self {
        Self {
            published: ChangeOperation::ALL.map(|kind| families.capture_published.with_label_values(&[source, kind.as_str()])),
            failures: families.capture_failures.with_label_values(&[source]),
            unreadable: families.capture_unreadable.with_label_values(&[source]),
            waiting: families.capture_waiting.with_label_values(&[source]),
            lag: families.capture_lag.with_label_values(&[source]),
            retained: families.capture_retained.with_label_values(&[source]),
            unconfirmed: families.capture_unconfirmed.with_label_values(&[source]),
            slots_lost: families.capture_slots_lost.with_label_values(&[source]),
            outboxes_given_up: families.capture_outboxes_given_up.with_label_values(&[source]),
        }
    }

    /// Changes of these kinds are on the bus.
    pub fn published(&self, kinds: impl Iterator<Item = ChangeOperation>) {
        let mut counts = [0; ChangeOperation::ALL.len()];
        for kind in kinds {
            counts[kind as usize] += 1;
        }
        for (counter, count) in self.published.iter().zip(counts) {
            counter.inc_by(count);
        }
    }

    /// The database or the bus has failed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A row of the outbox can't be read, and was told without its images.
    pub fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// So many rows wait in the outbox, the first of them for so long.
    pub fn backlog(&self, rows: u64, oldest_seconds: u64) {
        self.waiting.set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.lag.set(i64::try_from(oldest_seconds).unwrap_or(i64::MAX));
    }

    /// The slot makes the server keep so many bytes of its log, and so many were written since the last that is confirmed;
    /// the first change that waits has waited for so long.
    pub fn log(&self, retained: u64, unconfirmed: u64, oldest_seconds: u64) {
        self.retained.set(i64::try_from(retained).unwrap_or(i64::MAX));
        self.unconfirmed.set(i64::try_from(unconfirmed).unwrap_or(i64::MAX));
        self.lag.set(i64::try_from(oldest_seconds).unwrap_or(i64::MAX));
    }

    /// Another replica leads, or nobody has to: what waits is measured there.
    pub fn forget_backlog(&self) {
        for gauge in [&self.waiting, &self.lag, &self.retained, &self.unconfirmed] {
            gauge.set(0);
        }
    }

    /// A slot was lost, and changes with it.
    pub fn slot_lost(&self) {
        self.slots_lost.inc();
    }

    /// What waited in the outbox was too much, and is told to nobody.
    pub fn outbox_given_up(&self) {
        self.outboxes_given_up.inc();
    }
}
