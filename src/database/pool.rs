//! A fixed number of connections, lent to one statement or transaction at a time.
//!
//! A lease that is dropped in the middle of a statement is never lent again: its statement is cancelled and its
//! connection closed, so that nobody gets another's rows. Each core has a share of the connections, and lends them to others
//! while it has nothing to do. Nothing here knows which database it is.

use super::error::Error;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::cell::Cell;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Opens and ends connections of one kind.
pub(super) trait Manage: Send + Sync + 'static {
    /// What is lent.
    type Connection: Send + 'static;

    /// Opens one.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Whether an idle one can still be lent.
    fn is_usable(&self, connection: &Self::Connection) -> bool;

    /// Ends one that was given up in the middle of a statement.
    fn abandon(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}

/// The connections of one database.
pub(super) struct Pool<M: Manage> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: Manage> {
    manage: M,
    /// One for each core, so that a core that has what it needs wakes no other; at most as many as there are connections.
    places: Box<[Place<M::Connection>]>,
    size: usize,
    open: AtomicUsize,
    acquire_timeout: Duration,
    tasks: TaskTracker,
}

/// A core's share of the connections.
struct Place<C> {
    permits: Arc<Semaphore>,
    // Last in, first out: a busy connection has warm caches. The lock is held for a push or a pop only.
    idle: Mutex<Vec<Idle<C>>>,
}

struct Idle<C> {
    connection: C,
    /// The runtime that opened it, by which it is woken.
    home: usize,
}

/// How long a permit is waited for in one's own place before it is waited for everywhere.
const PATIENCE: Duration = Duration::from_millis(10);

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Manage> Pool<M> {
    pub(super) fn new(manage: M, size: usize, acquire_timeout: Duration) -> Self {
        let count = parallelism().min(size).max(1);
        let share = |place| size / count + usize::from(place < size % count);
        let place = |place| Place { permits: Arc::new(Semaphore::new(share(place))), idle: Mutex::default() };
        let shared = Shared {
            manage,
            places: (0..count).map(place).collect(),
            size,
            open: AtomicUsize::new(0),
            acquire_timeout,
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What opens connections, for those that are not lent.
    pub(super) fn manage(&self) -> &M {
        &self.shared.manage
    }

    /// Lends a connection; opens one if none is idle.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<Lease<M>, Error> {
        let shared = &self.shared;
        let permit = if let Some(permit) = shared.free_permit() {
            permit
        } else {
            let latest = deadline.min(Instant::now() + shared.acquire_timeout);
            let waited = tokio::time::timeout_at(latest, shared.permit()).await;
            waited.map_err(|_| Error::Busy)?.map_err(|_| Error::Unavailable("the pool is closed".to_owned()))?
        };
        let lend = |Idle { connection, home }| Lease {
            shared: Arc::clone(shared),
            connection: Some(connection),
            finished: true,
            home,
            _permit: permit,
        };
        let room = loop {
            match shared.idle_or_room() {
                Some(Found::Idle(idle)) if shared.manage.is_usable(&idle.connection) => return Ok(lend(idle)),
                Some(Found::Idle(_)) => _ = shared.open.fetch_sub(1, Ordering::Relaxed),
                Some(Found::Room(room)) => break room,
                // Idle ones are just being forgotten.
                None => tokio::task::yield_now().await,
            }
        };
        let latest = deadline.min(Instant::now() + shared.acquire_timeout);
        let connected = tokio::time::timeout_at(latest, shared.manage.connect()).await;
        // Whoever has less time than connecting may take learns nothing of the database by it.
        let too_long = |_| {
            if latest < deadline { Error::Unavailable("connecting took too long".to_owned()) } else { Error::Deadline }
        };
        let connection = connected.map_err(too_long)??;
        room.taken();
        Ok(lend(Idle { connection, home: here() }))
    }

    /// Forgets idle connections, which died with the one that a statement just lost.
    pub(super) fn forget_idle(&self) {
        for place in &self.shared.places {
            let idle = std::mem::take(&mut *place.idle());
            self.shared.open.fetch_sub(idle.len(), Ordering::Relaxed);
        }
    }

    /// Open and lent connections.
    pub(super) fn usage(&self) -> (usize, usize) {
        let free: usize = self.shared.places.iter().map(|place| place.permits.available_permits()).sum();
        let lent = self.shared.size.saturating_sub(free);
        (self.shared.open.load(Ordering::Relaxed), lent)
    }

    /// Runs something that `close` waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// Lends no more, and waits until what was given up is ended.
    pub(super) async fn close(&self) {
        self.shared.places.iter().for_each(|place| place.permits.close());
        self.forget_idle();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl<M: Manage> Shared<M> {
    /// A runtime's own place, and then the others.
    fn places(&self, home: usize) -> impl Iterator<Item = &Place<M::Connection>> {
        (0..self.places.len()).map(move |next| &self.places[(home + next) % self.places.len()])
    }

    /// A permit that nobody waits for.
    fn free_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.places(here()).find_map(|place| Arc::clone(&place.permits).try_acquire_owned().ok())
    }

    /// Waits for a permit: of the own place, and after a while of any.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut waiting = self.places(here()).map(|place| Arc::clone(&place.permits).acquire_owned());
        let mut own = pin!(waiting.next().unwrap_or_else(|| unreachable!("a pool has a place")));
        if let Ok(permit) = tokio::time::timeout(PATIENCE, &mut own).await {
            return permit;
        }
        let mut others: FuturesUnordered<_> = waiting.collect();
        tokio::select! {
            permit = &mut own => permit,
            Some(permit) = others.next() => permit,
        }
    }

    /// An idle connection of this runtime, or room for another one, or an idle connection of another runtime.
    fn idle_or_room(&self) -> Option<Found<'_, M::Connection>> {
        let here = here();
        let mut own = self.places[here % self.places.len()].idle();
        if let Some(place) = own.iter().rposition(|idle| idle.home == here) {
            return Some(Found::Idle(own.remove(place)));
        }
        drop(own);
        let with_one_more = |open| (open < self.size).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_one_more).is_ok() {
            return Some(Found::Room(Room(&self.open)));
        }
        self.places(here).find_map(|place| place.idle().pop()).map(Found::Idle)
    }
}

enum Found<'p, C> {
    Idle(Idle<C>),
    Room(Room<'p>),
}

/// Room for one connection, counted as open unless it is not taken.
struct Room<'p>(&'p AtomicUsize);

impl Room<'_> {
    fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C> Place<C> {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads that can run at the same time.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of this thread's runtime, counted from the first that asked: what is opened on it is woken by it.
pub(super) fn here() -> usize {
    static RUNTIMES: Mutex<Vec<runtime::Id>> = Mutex::new(Vec::new());
    thread_local!(static LAST: Cell<Option<(runtime::Id, usize)>> = const { Cell::new(None) });
    // Whoever is on no runtime opens nothing.
    let Ok(id) = runtime::Handle::try_current().map(|handle| handle.id()) else { return 0 };
    if let Some((_, number)) = LAST.get().filter(|(last, _)| *last == id) {
        return number;
    }
    let mut all = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let number = all.iter().position(|known| *known == id).unwrap_or_else(|| {
        all.push(id);
        all.len() - 1
    });
    LAST.set(Some((id, number)));
    number
}

/// A connection on loan.
pub(super) struct Lease<M: Manage> {
    shared: Arc<Shared<M>>,
    connection: Option<M::Connection>,
    finished: bool,
    // The runtime that opened it, which is not always the one that has it on loan.
    home: usize,
    _permit: OwnedSemaphorePermit,
}

impl<M: Manage> Lease<M> {
    /// Says that a statement or transaction runs on it; a drop now gives the connection up.
    pub(super) fn begin(&mut self) {
        self.finished = false;
    }

    /// Says that nothing runs on it any more.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl<M: Manage> Deref for Lease<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }
}

impl<M: Manage> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }
}

impl<M: Manage> Drop for Lease<M> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let place = &self.shared.places[self.home % self.shared.places.len()];
        if self.finished && self.shared.manage.is_usable(&connection) {
            let mut idle = place.idle();
            // Who closes the pool takes what is idle after this can be seen.
            if !place.permits.is_closed() {
                idle.push(Idle { connection, home: self.home });
                return;
            }
        }
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if !self.finished && tokio::runtime::Handle::try_current().is_ok() {
            let shared = Arc::clone(&self.shared);
            self.shared.tasks.spawn(async move {
                // A database that hangs must not keep the process from ending.
                let abandoned = tokio::time::timeout(shared.acquire_timeout, shared.manage.abandon(connection)).await;
                if abandoned.is_err() {
                    tracing::debug!("a statement could not be cancelled in time; its connection is closed");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
