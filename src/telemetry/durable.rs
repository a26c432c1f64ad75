//! Durable subscriptions: how many, who tells of them, and how far.

use super::metrics::Families;
use std::sync::Arc;

/// What is counted of durable subscriptions. Cheap to clone.
#[derive(Clone)]
pub struct DurableMetrics {
    families: Arc<Families>,
}

impl DurableMetrics {
    pub(super) fn new(families: Arc<Families>) -> Self {
        Self { families }
    }

    /// This replica tells of so many parts of a broker.
    pub fn parts(&self, broker: &str, count: usize) {
        self.families.mqtt_parts.with_label_values(&[broker]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The clients of a broker have so many subscriptions.
    pub fn subscriptions(&self, broker: &str, count: usize) {
        self.families.mqtt_subscriptions.with_label_values(&[broker]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A broker has acknowledged a notification.
    pub fn notified(&self, broker: &str) {
        self.families.mqtt_notifications.with_label_values(&[broker]).inc();
    }

    /// A broker has refused a notification.
    pub fn refused(&self, broker: &str) {
        self.families.mqtt_notifications_refused.with_label_values(&[broker]).inc();
    }

    /// So many changes lie between what is told and what is acknowledged in a part.
    pub fn part_lag(&self, broker: &str, part: u8, changes: u64) {
        let lag = self.families.mqtt_part_lag.with_label_values(&[broker, &part.to_string()]);
        lag.set(i64::try_from(changes).unwrap_or(i64::MAX));
    }
}
