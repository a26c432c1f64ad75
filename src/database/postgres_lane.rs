//! Lanes: connections to PostgreSQL that many short statements share.
//!
//! A statement that finds one row by its key takes the database a few microseconds, less than it takes to wake a sleeping
//! session for it. In a lane, statements that arrive together leave in one packet and meet a session that is awake.
//! Nothing else may go into a lane: no transaction, no statement that can take long. One that does all the same (a lock, a
//! slow disk) closes its lane, and whoever waited there is asked again on a connection of its own.

use super::error::Error;
use super::pool::here;
use super::postgres::{AsText, Manager, classify, read_all};
use super::rows::Fetched;
use super::statement::Statement;
use arc_swap::ArcSwapOption;
use hashlink::LruCache;
use std::future::{Future, poll_fn};
use std::iter;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long a statement may wait in a lane before it is no short one.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a place stays empty after its lane stood still.
const REST: Duration = Duration::from_secs(5);

/// Statements in one lane at a time; those beyond take a connection of their own.
const MOST_WAITING: usize = 32;

/// Statements that a lane keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

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

/// A connection that many statements share.
struct Lane {
    client: Client,
    // Held for a lookup only.
    prepared: Mutex<LruCache<Box<str>, tokio_postgres::Statement>>,
    waiting: AtomicUsize,
    _driven: DropGuard,
    ending: CancellationToken,
}

impl Lanes {
    /// As many as there are cores, and at most a quarter of the connections that a database may have.
    pub(super) fn most(max_connections: usize) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).min(max_connections / 4)
    }

    /// Places for so many lanes; each is opened by the first statement that comes to it.
    pub(super) fn new(count: usize) -> Self {
        let place = || Place { lane: ArcSwapOption::empty(), opening: tokio::sync::Mutex::new(Instant::now()) };
        Self { places: iter::repeat_with(place).take(count).collect(), tasks: TaskTracker::new() }
    }

    /// Open lanes, and those with statements in them.
    pub(super) fn usage(&self) -> (usize, usize) {
        let lanes = || self.places.iter().filter_map(|place| place.lane.load_full());
        (lanes().count(), lanes().filter(|lane| lane.waiting.load(Ordering::Relaxed) > 0).count())
    }

    /// Runs a short statement; `None` if it has to be asked on a connection of its own.
    pub(super) async fn fetch(
        &self,
        manager: &Manager,
        statement: &Statement,
        deadline: Instant,
    ) -> Option<Result<Fetched, Error>> {
        let place = self.places.get(here() % self.places.len().max(1))?;
        let lane = match place.lane.load_full().filter(|lane| !lane.client.is_closed()) {
            Some(lane) => lane,
            None => self.open(place, manager).await?,
        };
        let _waiting = Waiting::enter(&lane)?;
        let patience = Instant::now() + PATIENCE;
        match timeout_at(patience.min(deadline), lane.fetch(statement)).await {
            Ok(Err(Error::Unavailable(_))) => None,
            Ok(outcome) => Some(outcome),
            Err(_) if patience < deadline => {
                self.close_lane(place, &lane, manager).await;
                None
            }
            Err(_) => Some(Err(Error::Deadline)),
        }
    }

    /// Opens the lane of a place, unless someone else does or it has to rest.
    async fn open(&self, place: &Place, manager: &Manager) -> Option<Arc<Lane>> {
        let mut next = place.opening.try_lock().ok()?;
        if *next > Instant::now() || self.tasks.is_closed() {
            return None;
        }
        // Whatever it is that fails here, the statement's own connection will meet it and tell.
        *next = Instant::now() + REST;
        let (client, driver) = manager.open().await.ok()?;
        let ending = CancellationToken::new();
        let ended = ending.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = drive(driver) => {}
                () = ended.cancelled() => {}
            }
        });
        let prepared = Mutex::new(LruCache::new(PREPARED_STATEMENTS));
        let lane = Lane { client, prepared, waiting: AtomicUsize::new(0), _driven: ending.clone().drop_guard(), ending };
        manager.begin_session(&lane.client).await.ok()?;
        *next = Instant::now();
        let lane = Arc::new(lane);
        place.lane.store(Some(Arc::clone(&lane)));
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
        let cancelled = manager.cancel(&lane.client);
        self.tasks.spawn(cancelled);
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

/// A statement's place in a lane.
struct Waiting<'l>(&'l Lane);

impl<'l> Waiting<'l> {
    fn enter(lane: &'l Lane) -> Option<Self> {
        let waiting = Self(lane);
        (lane.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    async fn fetch(&self, statement: &Statement) -> Result<Fetched, Error> {
        let prepared = self.prepare(&statement.text).await?;
        let rows = self.client.query_raw(&prepared, statement.binds.iter().map(AsText)).await;
        read_all(pin!(rows.map_err(|error| classify(&error))?), statement.numbers).await
    }

    async fn prepare(&self, text: &str) -> Result<tokio_postgres::Statement, Error> {
        if let Some(statement) = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await.map_err(|error| classify(&error))?;
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert(text.into(), statement.clone());
        Ok(statement)
    }
}

/// Moves a lane's bytes until its connection ends. Each time it is woken it lets whoever is ready go first, so that their
/// statements leave together.
async fn drive<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>>) {
    let mut connection = pin!(connection);
    loop {
        let mut polled = false;
        let ended = poll_fn(|context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(None);
            }
            connection.as_mut().poll(context).map(Some)
        });
        match ended.await {
            None => tokio::task::yield_now().await,
            Some(Ok(())) => return,
            Some(Err(error)) => {
                tracing::debug!(%error, "a lane to PostgreSQL ended");
                return;
            }
        }
    }
}
