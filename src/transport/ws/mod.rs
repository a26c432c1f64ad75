//! WebSocket: the `/ws` path, one JSON object a frame (§1 of the protocol).
//!
//! In reading order: `upgrade` lets a client in, `socket` is its frames, over which it has a conversation like any other.
//!
//! A connection at rest holds one small read buffer and no write buffer; what is written goes out with as few writes as
//! possible, and nothing more is taken from anywhere while something still waits to be written.

mod admin;
#[cfg(test)]
mod connection_tests;
mod outgoing;
mod socket;
mod upgrade;

pub use super::conversation::{Close, Live, Notification, Reconnect, Settings};
pub use admin::router as admin_router;

use super::conversation::Conversations;
use super::origin::Origins;
use crate::telemetry::SessionMetrics;
use axum::Router;
use axum::routing::any;

/// What WebSocket connections need. Cheap to clone.
#[derive(Clone)]
pub struct Ws {
    /// What is said over them.
    pub conversations: Conversations,
    /// What is counted.
    pub metrics: SessionMetrics,
    /// Which browsers may come.
    pub origins: Origins,
}

/// The route.
pub fn router(ws: Ws) -> Router {
    Router::new().route("/ws", any(upgrade::upgrade)).with_state(ws)
}
