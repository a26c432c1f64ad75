//! Calls of gRPC: counted and timed by their method and the code of their answer.

use super::metrics::Families;
use std::sync::Arc;
use std::time::Instant;

/// Calls of gRPC. Cheap to clone.
#[derive(Clone)]
pub struct CallMetrics {
    families: Arc<Families>,
}

/// A call that is being worked on. Dropped without `finish`, it counts as one that its client cancelled.
#[must_use]
pub struct CallTimer {
    families: Arc<Families>,
    method: &'static str,
    code: &'static str,
    started: Instant,
}

impl CallMetrics {
    pub(super) fn new(families: Arc<Families>) -> Self {
        Self { families }
    }

    /// A call of a method has arrived.
    pub fn start(&self, method: &'static str) -> CallTimer {
        self.families.grpc_in_flight.inc();
        CallTimer { families: Arc::clone(&self.families), method, code: "CANCELLED", started: Instant::now() }
    }
}

impl CallTimer {
    /// The call is answered with this code, or its stream begins.
    pub fn finish(mut self, code: &'static str) {
        self.code = code;
    }
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        self.families.grpc_in_flight.dec();
        let labels = [self.method, self.code];
        self.families.grpc_requests.with_label_values(&labels).inc();
        self.families.grpc_request_duration.with_label_values(&labels).observe(self.started.elapsed().as_secs_f64());
    }
}
