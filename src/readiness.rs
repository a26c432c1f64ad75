//! Whether requests should come to this replica, and what is missing if not.
//!
//! One handle that the wiring fills and the admin routes read; it decides nothing else. NATS and a catalog have to be there
//! once. When NATS is lost later, reads and writes go on, and every replica would be unready at the same moment; so that is
//! told as degraded and is no reason to send requests elsewhere.

use crate::nats::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a replica needs beside its databases. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    needs: Needs,
    nats: OnceLock<Connection>,
    catalog: Mutex<CatalogState>,
    /// MQTT brokers without a connection.
    brokers_lost: AtomicUsize,
}

/// Whether an MQTT broker is there; it is not until it is told.
pub struct BrokerState {
    readiness: Readiness,
    stands: bool,
}

/// What has to be there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// A connection to NATS.
    pub nats: bool,
    /// A catalog out of a bucket.
    pub catalog: bool,
}

/// The generations of the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogState {
    /// The one that is published.
    pub wanted: Option<u64>,
    /// The one that is served.
    pub served: Option<u64>,
    /// Whether the published one can't be served.
    pub refused: bool,
    /// The sources whose databases can't be used, if that is why.
    pub databases: Vec<String>,
}

/// How the connection to NATS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatsState {
    /// It was never there.
    Connecting,
    /// It is there.
    Connected,
    /// It was there.
    Lost,
}

impl Readiness {
    /// Nothing is there yet.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self(Arc::new(Inner { needs, ..Inner::default() }))
    }

    /// NATS is there, for the first time.
    pub fn connected(&self, connection: Connection) {
        // A second connection would say the same as the first.
        _ = self.0.nats.set(connection);
    }

    /// There is an MQTT broker that should be there.
    #[must_use]
    pub fn broker(&self) -> BrokerState {
        self.0.brokers_lost.fetch_add(1, Ordering::Relaxed);
        BrokerState { readiness: self.clone(), stands: false }
    }

    /// Whether an MQTT broker is not there.
    #[must_use]
    pub fn is_broker_lost(&self) -> bool {
        self.0.brokers_lost.load(Ordering::Relaxed) > 0
    }

    /// The generations are these.
    pub(crate) fn catalog(&self, state: CatalogState) {
        *self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The generations of the catalog, if it is out of a bucket.
    #[must_use]
    pub fn catalog_state(&self) -> Option<CatalogState> {
        self.0.needs.catalog.then(|| self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// How the connection to NATS is, if there should be one.
    #[must_use]
    pub fn nats_state(&self) -> Option<NatsState> {
        self.0.needs.nats.then(|| match self.0.nats.get() {
            None => NatsState::Connecting,
            Some(connection) if connection.is_connected() => NatsState::Connected,
            Some(_) => NatsState::Lost,
        })
    }
}

impl BrokerState {
    /// It is there.
    pub fn stands(&mut self) {
        if !std::mem::replace(&mut self.stands, true) {
            self.readiness.0.brokers_lost.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// It is not.
    pub fn lost(&mut self) {
        if std::mem::replace(&mut self.stands, false) {
            self.readiness.0.brokers_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl NatsState {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NatsState::Connecting => "connecting",
            NatsState::Connected => "connected",
            NatsState::Lost => "lost",
        }
    }
}
