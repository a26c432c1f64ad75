//! The live part of a replica: the hub and a relay for each captured source, from start to end.
//!
//! `serve` and `dev` differ in the handles that they put in. A source that a new catalog adds gets its relay when the
//! catalog is served; a relay whose source is gone rests. One that panics begins anew: where there is one
//! replica, nobody else would carry its changes.

use crate::catalog::Capture;
use crate::engine::Engine;
use crate::event::bus::{Bus, MemoryBus, MemorySettings};
use crate::event::capture::{Relay, Settings};
use crate::event::hub::Hub;
use crate::store::{Bucket, MemoryBucket};
use crate::telemetry::Metrics;
use futures_util::FutureExt;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
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
    /// Keeps who tells of these subscriptions, apart from them: however many there are, a lease can be renewed.
    pub leases: Arc<dyn Bucket>,
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
            leases: Arc::new(MemoryBucket::default()),
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
            let (end, metrics) = (end.clone(), metrics.clone());
            tasks.spawn(async move {
                let work = || relay.run(&end);
                _ = end.run_until_cancelled(again_and_again(&relay.source, &metrics, work)).await;
            });
        }
        // The sender lives in the engine, which is held here.
        if switches.changed().await.is_err() {
            return;
        }
    }
}

/// How long a relay that has panicked rests at first, and at most where it does so again and again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Does a source's work until it is done, anew when it has panicked. Nothing is carried over: what the database has and what the bus
/// has say where to go on.
async fn again_and_again<F: Future<Output = ()>>(source: &str, metrics: &Metrics, work: impl Fn() -> F) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let began_at = Instant::now();
        if AssertUnwindSafe(work()).catch_unwind().await.is_ok() {
            return;
        }
        if began_at.elapsed() >= longest {
            pause = first;
        }
        metrics.panicked("relay");
        tracing::error!(source, retry_in = ?pause, "the relay panicked, and begins anew");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::again_and_again;
    use crate::telemetry::Metrics;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_panics_is_counted_and_begins_anew_until_it_is_done() {
        let metrics = Metrics::new().unwrap();
        let begun = AtomicUsize::new(0);
        let work = async || assert_eq!(begun.fetch_add(1, Ordering::Relaxed), 2, "as a relay that has a fault");
        again_and_again("shop", &metrics, work).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        assert!(metrics.render().contains("panics_total{method=\"relay\"} 2"), "{}", metrics.render());
    }
}
