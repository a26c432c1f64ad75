//! Live changes: who follows, what is told, and how far behind.

use super::metrics::Families;
use prometheus::{Histogram, IntCounter, IntGauge};

/// What is counted of subscriptions. Cheap to clone.
#[derive(Clone)]
pub struct LiveMetrics {
    subscriptions: IntGauge,
    events: IntCounter,
    matched: IntCounter,
    notifications: IntCounter,
    slow_consumers: IntCounter,
    resyncs: IntCounter,
    replays: IntCounter,
    lag: Histogram,
}

impl LiveMetrics {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            subscriptions: families.live_subscriptions.clone(),
            events: families.live_events.clone(),
            matched: families.live_matched.clone(),
            notifications: families.live_notifications.clone(),
            slow_consumers: families.live_slow_consumers.clone(),
            resyncs: families.live_resyncs.clone(),
            replays: families.live_replays.clone(),
            lag: families.live_lag.with_label_values::<&str>(&[]),
        }
    }

    /// A subscription has begun.
    pub fn subscribed(&self) {
        self.subscriptions.inc();
    }

    /// A subscription has ended.
    pub fn unsubscribed(&self) {
        self.subscriptions.dec();
    }

    /// So many changes came from the bus, and led to so many notifications through so many filters.
    pub fn told(&self, events: usize, matched: usize, notifications: usize) {
        self.events.inc_by(events as u64);
        self.matched.inc_by(matched as u64);
        self.notifications.inc_by(notifications as u64);
    }

    /// The latest of them happened so many seconds ago, by the clocks of its database and of this machine.
    pub fn lag(&self, seconds: f64) {
        self.lag.observe(seconds.max(0.0));
    }

    /// So many connections did not take what was told to them.
    pub fn overflowed(&self, connections: usize) {
        self.slow_consumers.inc_by(connections as u64);
    }

    /// Every subscriber was told to read again.
    pub fn resynced(&self) {
        self.resyncs.inc();
    }

    /// What the bus kept is replayed for some who are behind.
    pub fn replayed(&self) {
        self.replays.inc();
    }
}
