//! Clients that stay: their connections, their messages and their requests.
//!
//! What every message counts was looked up when the handle was made.

use super::metrics::Families;
use prometheus::IntCounter;
use std::sync::Arc;
use std::time::Instant;

/// WebSocket connections. Cheap to clone.
#[derive(Clone)]
pub struct SessionMetrics {
    families: Arc<Families>,
    received: Direction,
    sent: Direction,
}

#[derive(Clone)]
struct Direction {
    messages: IntCounter,
    bytes: IntCounter,
}

/// A request that is being worked on. Dropped without `finish`, it counts as one whose client went away.
#[must_use]
pub struct SessionTimer {
    families: Arc<Families>,
    operation: &'static str,
    status: &'static str,
    started: Instant,
}

impl SessionMetrics {
    pub(super) fn new(families: Arc<Families>) -> Self {
        let direction = |label| Direction {
            messages: families.messages.with_label_values(&[label]),
            bytes: families.message_bytes.with_label_values(&[label]),
        };
        Self { received: direction("received"), sent: direction("sent"), families }
    }

    /// A connection was let in.
    pub fn opened(&self) {
        self.families.sessions.inc();
        self.families.sessions_opened.inc();
    }

    /// A connection ended, with one of the codes that the metric's help names.
    pub fn closed(&self, code: &'static str) {
        self.families.sessions.dec();
        self.families.sessions_closed.with_label_values(&[code]).inc();
    }

    /// A connection was not let in.
    pub fn refused(&self, code: &'static str) {
        self.families.sessions_refused.with_label_values(&[code]).inc();
    }

    /// A message of so many bytes came.
    pub fn received(&self, bytes: usize) {
        self.received.count(1, bytes);
    }

    /// Messages of so many bytes together were handed to the socket.
    pub fn sent(&self, messages: usize, bytes: usize) {
        self.sent.count(messages, bytes);
    }

    /// Work on a request begins.
    pub fn start(&self, operation: &'static str) -> SessionTimer {
        SessionTimer { families: Arc::clone(&self.families), operation, status: "cancelled", started: Instant::now() }
    }
}

impl Direction {
    fn count(&self, messages: usize, bytes: usize) {
        self.messages.inc_by(messages as u64);
        self.bytes.inc_by(bytes as u64);
    }
}

impl SessionTimer {
    /// The request is answered: with success, or with the code of an error.
    pub fn finish(mut self, success: bool) {
        self.status = if success { "ok" } else { "error" };
    }
}

impl Drop for SessionTimer {
    fn drop(&mut self) {
        let duration = self.families.session_request_duration.with_label_values(&[self.operation, self.status]);
        duration.observe(self.started.elapsed().as_secs_f64());
    }
}
