//! The live part of a replica: the hub and a relay for each captured source, from start to end.
//!
//! `serve` and `dev` differ in the handles that they put in. A source that a new catalog adds gets its relay when the
//! catalog is served; a relay whose source is gone rests.

use crate::catalog::Capture;
use crate::engine::Engine;
use crate::event::bus::{Bus, MemoryBus, MemorySettings};
use crate::event::capture::{Relay, Settings};
use crate::event::hub::Hub;
use crate::store::{Bucket, MemoryBucket};
use crate::telemetry::Metrics;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What outlives a replica or is shared by all of them.
#[derive(Clone)]
pub struct Handles {
    /// Carries changes from the relays to every replica.
    pub bus: Arc<dyn Bus>,
    /// Keeps the sessions of clients beyond their connections.
    pub sessions: Arc<dyn Bucket>,
    /// Keeps what the clients of MQTT brokers have subscribed to.
    pub subscriptions: Arc<dyn Bucket>,
    /// Keeps who the clients of MQTT brokers are.
    pub clients: Arc<dyn Bucket>,
}

impl Handles {
    /// All of it in this process's memory: for one replica alone.
    #[must_use]
    pub fn memory() -> Self {
        Self {
            bus: Arc::new(MemoryBus::new(MemorySettings::default())),
            sessions: Arc::new(MemoryBucket::default()),
            clients: Arc::new(MemoryBucket::default()),
            subscriptions: Arc::new(MemoryBucket::default()),
        }
    }
}

/// For sessions to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The live part, running.
pub(crate) struct Running {
    hub: Hub,
    end: CancellationToken,
    tasks: TaskTracker,
    /// Cancelled when the hub ends by itself, which it does only if it fails.
    failed: CancellationToken,
}

impl Running {
    /// Starts the hub and the relays.
    pub(crate) fn start(hub: Hub, engine: Engine, bus: Arc<dyn Bus>, metrics: Metrics) -> Self {
        let (end, failed) = (CancellationToken::new(), CancellationToken::new());
        let running = Self { hub: hub.clone(), end, tasks: TaskTracker::new(), failed };
        let (end, failed) = (running.end.clone(), running.failed.clone().drop_guard());
        running.tasks.spawn(async move {
            let _failed = failed;
            hub.run(&end).await;
        });
        let (end, tasks) = (running.end.clone(), running.tasks.clone());
        running.tasks.spawn(async move {
            end.clone().run_until_cancelled(relays(&engine, &bus, &metrics, &tasks, &end)).await;
        });
        running
    }

    /// Waits until changes can't be told any more though they should be.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Ends all of it; afterwards nothing of it uses a database.
    pub(crate) async fn end(self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if tokio::time::timeout(LAST_WORDS, self.hub.finished()).await.is_err() {
            tracing::warn!("not every session could be kept");
        }
    }
}

/// Starts a relay for every source whose changes are captured, now and whenever another catalog is served.
async fn relays(engine: &Engine, bus: &Arc<dyn Bus>, metrics: &Metrics, tasks: &TaskTracker, end: &CancellationToken) {
    let mut switches = engine.switches();
    let mut started = HashSet::new();
    loop {
        let served = engine.served();
        for source in served.databases.keys().filter(|source| served.catalog.capture(source) != Capture::Off) {
            if !started.insert(source.clone()) {
                continue;
            }
            let relay = Relay {
                source: source.clone(),
                engine: engine.clone(),
                bus: Arc::clone(bus),
                metrics: metrics.capture(source),
                settings: Settings::default(),
            };
            let end = end.clone();
            tasks.spawn(async move { relay.run(&end).await });
        }
        // The sender lives in the engine, which is held here.
        if switches.changed().await.is_err() {
            return;
        }
    }
}
