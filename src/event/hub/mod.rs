//! The hub of a replica: takes every change from the bus once, and tells everyone whom it concerns.
//!
//! In reading order: `session` is what a connection sees, `joined` what it and its requests share, `begin` makes a subscription, `shape` is what makes two of them
//! the same, `generation` holds all of them under one catalog. `feed` follows the bus, `route` finds whom a change
//! concerns, `text` is what they are told, and a `mailbox` is where it waits for its connection, which a `courier` wakes. `catch_up` replays what
//! the bus kept for who is behind, and `take_over` moves everyone to another catalog. `captured` knows whether changes are captured at all, at which `vigil` looks again now and
//! then. What hooks are told is `hooked`. Sessions are `kept` beyond their connections, each of which has a `keeping` of its own.
//! A `part` is what one replica tells of durable subscriptions.
//!
//! A change is matched once for all, and encoded once for all who get the same bytes. Nothing here waits for a client.

mod begin;
mod captured;
mod catch_up;
mod courier;
mod feed;
mod generation;
mod hooked;
mod joined;
mod keeping;
mod kept;
mod mailbox;
mod part;
mod place;
mod route;
mod session;
mod shape;
mod snapshot;
mod take_over;
mod text;
mod vigil;

#[cfg(test)]
mod test_hub;

pub use begin::Begun;
pub use mailbox::{Notification, Overflow};
pub use part::{GoesOn, Part, PartSession};
pub use session::{Restored, Session};
pub use text::{Ending, Resync};

use super::bus::Bus;
use crate::auth::Principal;
use crate::engine::Engine;
use crate::store::Bucket;
use crate::telemetry::LiveMetrics;
use arc_swap::{ArcSwap, ArcSwapOption};
use courier::Couriers;
use generation::{Generation, Subscription};
use kept::Kept;
use place::Mark;
use shape::Shape;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

/// What a hub is made of.
pub struct Parts {
    /// Who decides what a subscription may see.
    pub engine: Engine,
    /// Where changes come from.
    pub bus: Arc<dyn Bus>,
    /// Where sessions are kept.
    pub sessions: Arc<dyn Bucket>,
    /// What is counted.
    pub metrics: LiveMetrics,
    /// Limits and times.
    pub settings: Settings,
}

/// Limits and times of subscriptions.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Subscriptions that a connection may have.
    pub max_subscriptions: usize,
    /// Bytes in which a subscription may be said.
    pub max_subscription_bytes: usize,
    /// Bytes in which all subscriptions of a connection may be said; its session is kept with all of them.
    pub max_session_bytes: usize,
    /// Notifications that may wait for a connection.
    pub max_waiting: usize,
    /// Bytes that may wait for a connection.
    pub max_waiting_bytes: usize,
    /// How long a session is kept after its connection has ended.
    pub session_lifetime: Duration,
    /// How often it is looked at whether the changes of what is subscribed to are still captured.
    pub survey_interval: Duration,
    /// How long a snapshot may take, with waiting for a database connection.
    pub snapshot_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_subscriptions: 1000,
            max_subscription_bytes: 64 * 1024,
            max_session_bytes: 1024 * 1024,
            max_waiting: 10_000,
            max_waiting_bytes: 8 * 1024 * 1024,
            session_lifetime: Duration::from_mins(10),
            survey_interval: Duration::from_secs(15),
            snapshot_time: Duration::from_secs(20),
        }
    }
}

struct Shared {
    parts: Parts,
    /// The newest first. There are others only while subscriptions move.
    generations: ArcSwap<Vec<Arc<Generation>>>,
    /// How far the feed is; none before it has begun.
    mark: ArcSwapOption<Mark>,
    behind: mpsc::UnboundedSender<Arc<Subscription>>,
    /// Another catalog has taken over, whose capture nobody has looked at.
    moved: Notify,
    kept: Kept,
    couriers: Couriers,
    /// What connections leave to be written.
    tasks: TaskTracker,
    work: Mutex<Option<Work>>,
}

/// What `run` works on.
struct Work {
    behind: mpsc::UnboundedReceiver<Arc<Subscription>>,
    switches: watch::Receiver<()>,
}

impl Hub {
    /// A hub that nobody follows yet. It tells nothing before it runs.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (behind, waiting) = mpsc::unbounded_channel();
        // Before the catalog is taken, so that no switch is missed.
        let work = Work { behind: waiting, switches: parts.engine.switches() };
        let first = Arc::new(Generation::new(parts.engine.current()));
        let kept = Kept { bucket: Arc::clone(&parts.sessions), lifetime: parts.settings.session_lifetime };
        Self(Arc::new(Shared {
            kept,
            couriers: Couriers::default(),
            tasks: TaskTracker::new(),
            parts,
            generations: ArcSwap::from_pointee(vec![first]),
            mark: ArcSwapOption::empty(),
            behind,
            moved: Notify::new(),
            work: Mutex::new(Some(work)),
        }))
    }

    /// Tells changes until the end. It runs once; a second call comes back at once.
    pub async fn run(&self, end: &CancellationToken) {
        let Some(work) = self.0.work.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let all = async {
            tokio::join!(
                feed::run(&self.0),
                catch_up::run(&self.0, work.behind),
                take_over::run(&self.0, work.switches),
                vigil::run(&self.0),
            );
        };
        end.run_until_cancelled(all).await;
    }

    /// Waits until what connections have left is written.
    pub async fn finished(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// A connection's side of the hub, to be made on the thread that serves it. What it has subscribed to is counted where `count` says, and ends with it.
    #[must_use]
    pub fn join(&self, principal: Arc<Principal>, count: Arc<AtomicUsize>) -> Session {
        Session::new(self.clone(), principal, count)
    }
}

impl Shared {
    /// The generation that new subscriptions go to.
    fn newest(&self) -> Arc<Generation> {
        Arc::clone(&self.generations.load()[0])
    }

    /// Ends a subscription, and says whether it had not ended before.
    fn end(&self, subscription: &Subscription) -> bool {
        let ended = subscription.end();
        if ended {
            self.count_out(subscription);
        }
        ended
    }

    /// Tells the hooks that a subscription has ended.
    async fn tell_ended(&self, generation: &Generation, shape: &Shape, principal: &Principal, id: &str) {
        let entity = generation.catalog().entity(shape.entity());
        self.parts.engine.unsubscribed(&generation.current, principal, entity, id).await;
    }

    /// A subscription of a connection has begun. A durable one is counted elsewhere, since it is in every part.
    fn count(&self, subscription: &Subscription) {
        if !subscription.mailbox.is_of_part() {
            self.parts.metrics.subscribed();
        }
    }

    fn count_out(&self, subscription: &Subscription) {
        if !subscription.mailbox.is_of_part() {
            self.parts.metrics.unsubscribed();
        }
    }
}
