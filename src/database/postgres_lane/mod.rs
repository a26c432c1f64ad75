//! Lanes: connections to PostgreSQL that many short statements share.
//!
//! A statement that finds one row by its key takes the database a few microseconds, less than it takes to wake a sleeping
//! session for it. In a lane, those that arrive together leave together, those that differ in their keys alone as one statement.
//! Nothing else may go into a lane: no transaction, no statement that can take long. One that does all the same (a lock, a
//! slow disk) closes its lane, and whoever waited there is asked again on a connection of its own.

mod batch;
mod lane;

use super::error::Error;
use super::home::{cores, here};
use super::postgres::{Manager, classify};
use super::rows::Fetched;
use super::statement::Statement;
use arc_swap::ArcSwapOption;
use lane::{Lane, MOST_WAITING, PATIENCE};
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// A key has one best plan; without this, a statement for many keys would be planned anew each time.
const LANE_SESSION: &str = "set plan_cache_mode = force_generic_plan";

/// How long opening a lane may take, of which nobody's answer depends.
const OPENING: Duration = Duration::from_secs(1);

/// How long a place stays empty after its lane stood still.
const REST: Duration = Duration::from_secs(5);

/// The lanes of one database, a place for each core.
pub(super) struct Lanes {
    places: Box<[Place]>,
    tasks: TaskTracker,
}

struct Place {
    lane: ArcSwapOption<Lane>,
    // Held while a lane is opened; the time is when that may next be tried.
    opening: tokio::sync::Mutex<Instant>,
}

impl Lanes {
    /// As many as there are cores, and at most a third of the connections that a database may have.
    pub(super) fn most(max_connections: usize) -> usize {
        cores().min(max_connections / 3)
    }

    /// Places for so many lanes; each is opened by the first statement that comes to it.
    pub(super) fn new(count: usize) -> Self {
        let place = || Place { lane: ArcSwapOption::empty(), opening: tokio::sync::Mutex::new(Instant::now()) };
        Self { places: iter::repeat_with(place).take(count).collect(), tasks: TaskTracker::new() }
    }

    /// Open lanes, and those with statements in them.
    pub(super) fn usage(&self) -> (usize, usize) {
        let lanes = || self.places.iter().filter_map(|place| place.lane.load_full());
        (lanes().count(), lanes().filter(|lane| lane.is_busy()).count())
    }

    /// Runs a short statement; `None` if it has to be asked on a connection of its own.
    pub(super) async fn fetch(
        &self,
        manager: &Manager,
        statement: &Statement,
        deadline: Instant,
    ) -> Option<Result<Fetched, Error>> {
        let place = self.places.get(here() % self.places.len().max(1))?;
        let lane = match place.lane.load_full() {
            Some(lane) if !lane.is_closed() => lane,
            // Those who waited in it may all have left.
            Some(lane) if lane.stands_still() => {
                Box::pin(self.close_lane(place, &lane, manager)).await;
                return None;
            }
            _ => Box::pin(timeout_at(deadline.min(Instant::now() + OPENING), self.open(place, manager))).await.ok().flatten()?,
        };
        // Each of those before it may take almost as long as one may.
        let outcome = if deadline > Instant::now() + PATIENCE * (MOST_WAITING + 1) {
            lane.fetch(statement).await
        } else {
            timeout_at(deadline, lane.fetch(statement)).await.unwrap_or(Some(Err(Error::Deadline)))
        };
        if outcome.is_none() && lane.stands_still() {
            Box::pin(self.close_lane(place, &lane, manager)).await;
        }
        outcome
    }

    /// Opens the lane of a place, unless someone else does or it has to rest.
    async fn open(&self, place: &Place, manager: &Manager) -> Option<Arc<Lane>> {
        let mut next = place.opening.try_lock().ok()?;
        if *next > Instant::now() || self.tasks.is_closed() {
            return None;
        }
        // Whatever it is that fails here, the statement's own connection will meet it and tell.
        *next = Instant::now() + REST;
        let (client, mut driver) = manager.open().await.ok()?;
        let begin = async {
            manager.begin_session(&client).await?;
            client.batch_execute(LANE_SESSION).await.map_err(|error| classify(&error))
        };
        tokio::select! {
            begun = begin => begun.ok()?,
            _ = &mut driver => return None,
        }
        let lane = Lane::start(client, driver, &self.tasks);
        *next = Instant::now();
        let lane = Arc::new(lane);
        place.lane.store(Some(Arc::clone(&lane)));
        // Whoever closes the lanes may have been here already, and would wait for the end of this one.
        if self.tasks.is_closed() {
            place.lane.store(None);
            lane.ending.cancel();
            return None;
        }
        Some(lane)
    }

    /// Takes a lane that stands still out of its place; whoever waits in it learns that it is closed.
    async fn close_lane(&self, place: &Place, lane: &Arc<Lane>, manager: &Manager) {
        let mut next = place.opening.lock().await;
        if lane.ending.is_cancelled() {
            return;
        }
        tracing::info!("a short statement took long; its lane is closed for a while");
        *next = Instant::now() + REST;
        place.lane.store(None);
        lane.ending.cancel();
        let cancelled = manager.cancel(lane.cancel.clone());
        // A database that hangs must not keep the process from ending.
        self.tasks.spawn(async move { _ = timeout(REST, cancelled).await });
    }

    /// Closes every lane.
    pub(super) async fn close(&self) {
        self.tasks.close();
        for place in &self.places {
            if let Some(lane) = place.lane.swap(None) {
                lane.ending.cancel();
            }
        }
        self.tasks.wait().await;
    }
}
