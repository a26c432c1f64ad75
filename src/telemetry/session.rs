//! Clients that stay: their connections, their messages and their requests.
//!
//! What every message counts was looked up when the handle was made.

use super::metrics::Families;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};
use std::sync::Arc;
use std::time::Instant;

/// The clients of one kind that stay: WebSocket connections, or streams of gRPC. Cheap to clone.
#[derive(Clone)]
pub struct SessionMetrics(Arc<Sessions>);

struct Sessions {
    kind: &'static str,
    in_flight: IntGauge,
    open: IntGauge,
    opened: IntCounter,
    closed: IntCounterVec,
    refused: IntCounterVec,
    received: Direction,
    sent: Direction,
    request_duration: HistogramVec,
}

struct Direction {
    messages: IntCounter,
    bytes: IntCounter,
}

/// A request that is being worked on. Dropped without `finish`, it counts as one whose client went away.
#[must_use]
pub struct SessionTimer {
    sessions: Arc<Sessions>,
    operation: &'static str,
    status: &'static str,
    started: Instant,
}

impl SessionMetrics {
    /// Those of WebSocket.
    pub(super) fn ws(families: &Families) -> Self {
        let direction = |label| Direction {
            messages: families.messages.with_label_values(&[label]),
            bytes: families.message_bytes.with_label_values(&[label]),
        };
        Self(Arc::new(Sessions {
            kind: "websocket",
            in_flight: families.session_in_flight.clone(),
            open: families.sessions.clone(),
            opened: families.sessions_opened.clone(),
            closed: families.sessions_closed.clone(),
            refused: families.sessions_refused.clone(),
            received: direction("received"),
            sent: direction("sent"),
            request_duration: families.session_request_duration.clone(),
        }))
    }

    /// Those of gRPC.
    pub(super) fn grpc(families: &Families) -> Self {
        let direction = |label| Direction {
            messages: families.grpc_messages.with_label_values(&[label]),
            bytes: families.grpc_message_bytes.with_label_values(&[label]),
        };
        Self(Arc::new(Sessions {
            kind: "grpc",
            in_flight: families.grpc_in_flight.clone(),
            open: families.grpc_streams.clone(),
            opened: families.grpc_streams_opened.clone(),
            closed: families.grpc_streams_closed.clone(),
            refused: families.grpc_streams_refused.clone(),
            received: direction("received"),
            sent: direction("sent"),
            request_duration: families.grpc_message_duration.clone(),
        }))
    }

    /// How these clients come.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// A client was let in.
    pub fn opened(&self) {
        self.0.open.inc();
        self.0.opened.inc();
    }

    /// A client's time ended, with one of the codes that the metric's help names.
    pub fn closed(&self, code: &'static str) {
        self.0.open.dec();
        self.0.closed.with_label_values(&[code]).inc();
    }

    /// A client was not let in.
    pub fn refused(&self, code: &'static str) {
        self.0.refused.with_label_values(&[code]).inc();
    }

    /// A message of so many bytes came.
    pub fn received(&self, bytes: usize) {
        self.0.received.count(1, bytes);
    }

    /// Messages of so many bytes together were handed to the client's line.
    pub fn sent(&self, messages: usize, bytes: usize) {
        self.0.sent.count(messages, bytes);
    }

    /// Work on a request begins.
    pub fn start(&self, operation: &'static str) -> SessionTimer {
        self.0.in_flight.inc();
        SessionTimer { sessions: Arc::clone(&self.0), operation, status: "cancelled", started: Instant::now() }
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
        self.sessions.in_flight.dec();
        let duration = self.sessions.request_duration.with_label_values(&[self.operation, self.status]);
        duration.observe(self.started.elapsed().as_secs_f64());
    }
}
