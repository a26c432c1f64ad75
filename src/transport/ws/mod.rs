//! WebSocket: the `/ws` path, one JSON object a frame (§1 of the protocol).
//!
//! In reading order: `upgrade` lets a client in, `connection` is the one task that each has, `socket` is its frames,
//! `requests` answers it, `live` is where changes come in. `connections` knows all of them, `close` has every code that they
//! end with. What is asked for is decided in the engine, as everywhere.
//!
//! A connection at rest holds one small read buffer and no write buffer; what is written goes out with as few writes as
//! possible, and nothing more is taken from anywhere while something still waits to be written.

mod admin;
mod clock;
mod close;
mod connection;
#[cfg(test)]
mod connection_tests;
mod connections;
mod live;
mod origin;
mod outgoing;
mod requests;
mod settings;
mod socket;
mod upgrade;

pub use admin::router as admin_router;
pub use close::{Close, Reconnect};
pub use live::{Live, Notification};
pub use origin::Origins;
pub use settings::Settings;

use crate::auth::Authenticator;
use crate::engine::Engine;
use crate::event::hub::Hub;
use crate::telemetry::SessionMetrics;
use axum::Router;
use axum::routing::any;
use connections::Connections;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Every WebSocket connection of the process, and what they need. Cheap to clone.
#[derive(Clone)]
pub struct Ws(Arc<Inner>);

/// What the connections need.
pub struct Parts {
    /// What answers.
    pub engine: Engine,
    /// What tells of changes.
    pub hub: Hub,
    /// Who may enter.
    pub authenticator: Authenticator,
    /// What is counted.
    pub metrics: SessionMetrics,
    /// Which browsers may come.
    pub origins: Origins,
    /// Limits and times.
    pub settings: Settings,
}

struct Inner {
    parts: Parts,
    connections: Connections,
    tasks: TaskTracker,
}

impl From<Parts> for Ws {
    fn from(parts: Parts) -> Self {
        let connections = Connections::new(parts.settings.max_connections, parts.metrics.clone());
        Self(Arc::new(Inner { parts, connections, tasks: TaskTracker::new() }))
    }
}

impl Ws {
    /// Asks every connection to end after what it is working on, one after the other within this time, so that their
    /// clients do not come back to other replicas all at once. No more are let in.
    pub async fn leave(&self, within: Duration) {
        self.0.connections.leave(within).await;
    }

    /// Waits until the last connection has ended.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl std::ops::Deref for Ws {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// The route.
pub fn router(ws: Ws) -> Router {
    Router::new().route("/ws", any(upgrade::upgrade)).with_state(ws)
}
