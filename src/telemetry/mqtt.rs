//! Brokers: their connections, their messages and the requests that came by them.

use super::metrics::Families;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::Instant;

/// A broker. Cheap to clone.
#[derive(Clone)]
pub struct MqttMetrics {
    families: Arc<Families>,
    broker: Arc<str>,
    received: IntCounter,
    received_bytes: IntCounter,
    sent: IntCounter,
    sent_bytes: IntCounter,
}

/// A request that is being worked on. Dropped without `finish`, it counts as given up.
#[must_use]
pub struct MqttTimer {
    families: Arc<Families>,
    operation: &'static str,
    status: &'static str,
    started: Instant,
}

impl MqttMetrics {
    pub(super) fn new(families: Arc<Families>, broker: &str) -> Self {
        let messages = |direction| families.mqtt_messages.with_label_values(&[broker, direction]);
        let bytes = |direction| families.mqtt_message_bytes.with_label_values(&[broker, direction]);
        families.mqtt_connected.with_label_values(&[broker]).set(0);
        Self {
            received: messages("received"),
            received_bytes: bytes("received"),
            sent: messages("sent"),
            sent_bytes: bytes("sent"),
            broker: broker.into(),
            families,
        }
    }

    /// Whether the connection stands.
    pub fn connected(&self, connected: bool) {
        self.families.mqtt_connected.with_label_values(&[&self.broker]).set(i64::from(connected));
    }

    /// A message of so many bytes came, for the first time or again.
    pub fn received(&self, bytes: usize, again: bool) {
        self.received.inc();
        self.received_bytes.inc_by(bytes as u64);
        if again {
            self.families.mqtt_redelivered.with_label_values(&[&self.broker]).inc();
        }
    }

    /// A message of so many bytes was handed to the broker.
    pub fn sent(&self, bytes: usize) {
        self.sent.inc();
        self.sent_bytes.inc_by(bytes as u64);
    }

    /// A message was not worked on, by the code of its answer.
    pub fn refused(&self, code: &'static str) {
        self.families.mqtt_refused.with_label_values(&[&self.broker, code]).inc();
    }

    /// So many requests are worked on.
    pub fn in_flight(&self, count: usize) {
        self.families.mqtt_in_flight.with_label_values(&[&self.broker]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Work on a request begins.
    pub fn start(&self, operation: &'static str) -> MqttTimer {
        MqttTimer { families: Arc::clone(&self.families), operation, status: "cancelled", started: Instant::now() }
    }
}

impl MqttTimer {
    /// The request is answered: with success, or with the code of an error.
    pub fn finish(mut self, success: bool) {
        self.status = if success { "ok" } else { "error" };
    }
}

impl Drop for MqttTimer {
    fn drop(&mut self) {
        let duration = self.families.mqtt_request_duration.with_label_values(&[self.operation, self.status]);
        duration.observe(self.started.elapsed().as_secs_f64());
    }
}
