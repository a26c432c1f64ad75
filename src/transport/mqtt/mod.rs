//! MQTT: requests come from brokers that we are clients of, answers go back there (§2 of the protocol).
//!
//! In reading order: `group` is what replicas have in common, `line` keeps the connection to a broker in the version that `versions` finds, `lanes` has the requests of each client done one after the
//! other, `requests` answers one, `identity` finds out who asks, `met` has whom hooks have let in, `admission` is what brokers ask us about their clients,
//! `notify` is where subscriptions come in, and `durable` what they are. `broker` is what messages go out through, `wire` the two versions of the
//! protocol. What is asked for is decided in the engine, as everywhere.
//!
//! A request is acknowledged after the broker has its answer, so that it comes again if this process dies before. What it
//! did is then found by an idempotency key and not done twice.

mod admission;
mod broker;
mod durable;
mod group;
mod identity;
mod lanes;
mod line;
mod met;
mod notify;
mod remembered;
mod requests;
mod settings;
mod tls;
mod topic;
mod versions;
mod wire;

pub use self::notify::{Answer, Fate, Speaker, Subscriptions, Then};
pub use admission::router as admission_router;
pub use broker::{Broker, Error as PublishError, Published};
pub use durable::{Durable, Parts as DurableParts, Settings as DurableSettings, admin_router as durable_admin_router};
pub use settings::{Address, Server, Settings, Sharing, User};
pub use tls::{Files as TlsFiles, Problem as TlsProblem, configure as configure_tls};
pub use wire::Version;

use crate::auth::Authenticator;
use crate::engine::Engine;
use crate::readiness::Readiness;
use crate::store::Bucket;
use crate::telemetry::Metrics;
use group::Filter;
use identity::Identity;
use lanes::Lanes;
use line::Line;
use met::Met;
use remembered::Remembered;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The brokers and what their requests need. Cheap to clone.
#[derive(Clone)]
pub struct Mqtt(Arc<Inner>);

/// What it is made of.
pub struct Parts {
    /// What answers.
    pub engine: Engine,
    /// Who may enter.
    pub authenticator: Authenticator,
    /// Who the clients are that brokers have asked us about, for all replicas.
    pub clients: Arc<dyn Bucket>,
    /// What replicas agree on.
    pub agreements: Arc<dyn Bucket>,
    /// What messages about subscriptions are handed to.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// Where it is told that a broker is lost.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the brokers are, and limits.
    pub settings: Settings,
}

struct Inner {
    parts: Parts,
    identity: Identity,
    met: Met,
    brokers: Vec<Broker>,
    /// No more requests are taken.
    leaving: CancellationToken,
    tasks: TaskTracker,
}

impl From<Parts> for Mqtt {
    fn from(parts: Parts) -> Self {
        let settings = &parts.settings;
        let broker = |server: &Server| {
            let metrics = parts.metrics.mqtt(&server.name);
            Broker::new(server.name.clone(), usize::from(settings.max_in_flight), settings.max_message_bytes, metrics)
        };
        let several = settings.servers.len() > 1;
        let identity = Identity {
            authenticator: parts.authenticator.clone(),
            remembered: Remembered::new(Arc::clone(&parts.clients), several),
            claim: settings.client_claim.clone(),
            several,
        };
        let brokers = settings.servers.iter().map(broker).collect();
        let (leaving, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self(Arc::new(Inner { brokers, identity, met: Met::default(), parts, leaving, tasks }))
    }
}

impl Mqtt {
    /// The brokers, in the order of the settings.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.0.brokers
    }

    /// Connects to every broker and takes requests, until it is told to leave.
    pub fn start(&self) {
        let remembered = self.0.identity.remembered.clone();
        let leaving = self.0.leaving.clone();
        self.0.tasks.spawn(async move {
            leaving.run_until_cancelled(remembered.follow()).await;
        });
        let mqtt = self.clone();
        self.0.tasks.spawn(async move {
            let filter = group::filter(&mqtt.settings, &mqtt.agreements);
            match mqtt.0.leaving.run_until_cancelled(filter).await {
                Some(filter) => mqtt.connect(&filter),
                None => mqtt.0.brokers.iter().for_each(Broker::end),
            }
        });
    }

    fn connect(&self, filter: &Filter) {
        for (server, broker) in self.0.parts.settings.servers.iter().zip(&self.0.brokers) {
            let lanes = Lanes::new(self.clone(), broker.clone(), self.0.tasks.clone());
            let line = Line::new(self, server.clone(), broker.clone(), lanes, filter.clone());
            self.0.tasks.spawn(line.run());
        }
    }

    /// Takes no more requests, finishes those that came, and says goodbye.
    pub fn leave(&self) {
        self.0.leaving.cancel();
    }

    /// Waits until all of that is done.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl std::ops::Deref for Mqtt {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
