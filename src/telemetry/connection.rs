//! HTTP connections: how many are open, how many were turned away or given up.

use super::metrics::Families;
use std::sync::Arc;

/// HTTP connections. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionMetrics {
    families: Arc<Families>,
}

/// A connection that is open until this is dropped.
#[must_use]
pub struct OpenConnection(Arc<Families>);

impl ConnectionMetrics {
    pub(super) fn new(families: Arc<Families>) -> Self {
        Self { families }
    }

    /// A connection is served.
    pub fn opened(&self) -> OpenConnection {
        self.families.connections_open.inc();
        OpenConnection(Arc::clone(&self.families))
    }

    /// A connection was turned away, since there are as many as there may be.
    pub fn refused(&self) {
        self.families.connections_refused.inc();
    }

    /// A connection was closed since its client was too slow, in one of the phases that the metric's help names.
    pub fn timed_out(&self, phase: &'static str) {
        self.families.connections_timed_out.with_label_values(&[phase]).inc();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.dec();
    }
}
