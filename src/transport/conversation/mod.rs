//! What clients that stay have in common, whichever way they came: WebSocket or a stream of gRPC.
//!
//! In reading order: `connection` is the one task that each has, `line` is what it needs of the way to its client,
//! `requests` answers it, `live` is where changes come in. `connections` knows all of them, `close` has every reason that
//! they end for. What is asked for is decided in the engine, as everywhere; nothing here knows a frame.

mod clock;
mod close;
mod connection;
mod connections;
mod line;
mod live;
mod requests;
mod settings;

pub use close::{Close, Reconnect};
pub use live::{Live, Notification};
pub use settings::Settings;

pub(super) use connection::{Connection, NOTIFICATION};
pub(super) use connections::{Entry, Seat, Traffic};
pub(super) use line::{Ended, Line, Received};
pub(super) use requests::HEADROOM;

use crate::auth::{Authenticator, Principal};
use crate::engine::Engine;
use crate::event::hub::Hub;
use crate::protocol::{Code, Error};
use crate::telemetry::SessionMetrics;
use crate::transport::message::Subscription;
use connections::{Connections, Full};
use live::Hearing;
use requests::{alone, restore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Every conversation of the process, and what they need. Cheap to clone.
#[derive(Clone)]
pub struct Conversations(Arc<Inner>);

/// What the conversations need.
pub struct Parts {
    /// What answers.
    pub engine: Engine,
    /// What tells of changes.
    pub hub: Hub,
    /// Who may enter.
    pub authenticator: Authenticator,
    /// Limits and times.
    pub settings: Settings,
}

struct Inner {
    parts: Parts,
    connections: Connections,
    tasks: TaskTracker,
}

/// What a conversation begins with.
pub(super) enum Begin {
    /// What the client says first.
    Nothing,
    /// The session that the client had before.
    Restore(String),
    /// A subscription with the id of its message. The conversation ends if it can't begin.
    Subscribe(String, Subscription),
}

impl From<Parts> for Conversations {
    fn from(parts: Parts) -> Self {
        let connections = Connections::new(parts.settings.max_connections);
        Self(Arc::new(Inner { parts, connections, tasks: TaskTracker::new() }))
    }
}

impl Conversations {
    /// Asks every one to end after what it is working on, one after the other within this time, so that their clients do
    /// not come back to other replicas all at once. No more are let in.
    pub async fn leave(&self, within: Duration) {
        self.0.connections.leave(within).await;
    }

    /// Waits until the last one has ended.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Gives a client a place among the others, counted there.
    pub(super) fn admit(
        &self,
        principal: Principal,
        remote: Option<SocketAddr>,
        metrics: &SessionMetrics,
    ) -> Result<Seat, Error> {
        self.0.connections.admit(principal, remote, metrics.clone()).map_err(|full| match full {
            Full::Limit => Error::new(Code::Unavailable, "this replica has as many connections as it may have; try again"),
            Full::Leaving => Error::new(Code::Unavailable, "this replica is shutting down; connect again"),
        })
    }

    /// Works on something on this thread that the process waits for at its end.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// How many there are, and so many of them.
    pub(super) fn some(&self, most: usize) -> (usize, Vec<Arc<Entry>>) {
        self.0.connections.some(most)
    }

    /// The life of a conversation: hooks, service, hooks. The line is made late, since this future would have room for it.
    pub(super) async fn hold<N: Line>(self, seat: Seat, line: impl FnOnce() -> N + Send, begin: Begin) {
        let entry = Arc::clone(seat.entry());
        let session = self.hub.join(Arc::clone(&entry.principal), Arc::clone(&entry.subscriptions));
        let mut live = Hearing { session, max_bytes: self.settings.max_answer_bytes };
        let admitted = Box::pin(self.engine.connect(entry.session())).await;
        let first = match (&admitted, begin) {
            (Err(_), _) | (Ok(()), Begin::Nothing) => None,
            (Ok(()), Begin::Restore(wanted)) => Some(restore(live.session.restore(wanted))),
            (Ok(()), Begin::Subscribe(id, asked)) => Some(alone(&mut live, id, asked)),
        };
        let mut connection = Connection::new(line(), live, self.clone(), Arc::clone(&entry));
        let ended = match admitted {
            Ok(()) => {
                if let Some(first) = first {
                    connection.begin(first);
                }
                let ended = connection.run().await;
                Box::pin(self.engine.disconnect(entry.session())).await;
                ended
            }
            Err(refused) => connection.refuse(refused).await,
        };
        seat.leave(match &ended {
            Ended::Client => "client",
            Ended::Gone => "gone",
            Ended::Here(close) => close.label(),
        });
    }
}

impl std::ops::Deref for Conversations {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
