//! A fixed number of connections, lent to one statement or transaction at a time.
//!
//! Each core has a share of the connections, and lends them to others while it has nothing to do. Nothing here knows
//! which database it is, nor what runs on what is lent.

mod lease;

pub(super) use self::lease::Lease;

use super::error::Error;
use super::home::{cores, here};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
    shares: Box<[Share<M::Connection>]>,
    size: usize,
    open: Arc<AtomicUsize>,
    /// How many were opened in all.
    opened: AtomicUsize,
    /// Who waits for one to be given back.
    waiting: AtomicUsize,
    acquire_timeout: Duration,
    tasks: TaskTracker,
}

/// A core's share of the connections.
struct Share<C> {
    permits: Arc<Semaphore>,
    // Last in, first out: a busy connection has warm caches. The lock is held for a push or a pop only.
    idle: Mutex<Vec<Open<C>>>,
}

/// A connection, and what is to be known of it while it is idle or lent.
struct Open<C> {
    connection: C,
    /// The runtime that opened it, by which it is woken.
    home: usize,
    /// How often in a row it was lent to another runtime.
    away: u32,
    seat: Seat,
}

/// Room for one connection, counted as open until this is dropped.
struct Seat(Arc<AtomicUsize>);

/// Somebody who waits for a connection, counted until this is dropped.
struct Waiting<'p>(&'p AtomicUsize);

enum Found<C> {
    Idle(Open<C>),
    Room(Seat),
}

/// How long a permit is waited for in one's own share before it is waited for everywhere.
const PATIENCE: Duration = Duration::from_millis(10);

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Manage> Pool<M> {
    pub(super) fn new(manage: M, size: usize, acquire_timeout: Duration) -> Self {
        let count = cores().min(size).max(1);
        let connections = |number| size / count + usize::from(number < size % count);
        let share = |number| Share { permits: Arc::new(Semaphore::new(connections(number))), idle: Mutex::default() };
        let shared = Shared {
            manage,
            shares: (0..count).map(share).collect(),
            size,
            open: Arc::default(),
            opened: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
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
            let _waiting = Waiting::begin(&shared.waiting);
            let waited = tokio::time::timeout_at(latest, shared.permit()).await;
            waited.map_err(|_| Error::Busy)?.map_err(|_| Error::Unavailable("the pool is closed".to_owned()))?
        };
        let seat = loop {
            match shared.idle_or_room() {
                Some(Found::Idle(open)) if shared.manage.is_usable(&open.connection) => {
                    return Ok(Lease::new(shared, open, permit));
                }
                Some(Found::Idle(_)) => {}
                Some(Found::Room(seat)) => break seat,
                // Idle ones are just being forgotten.
                None => tokio::task::yield_now().await,
            }
        };
        let latest = deadline.min(Instant::now() + shared.acquire_timeout);
        shared.opened.fetch_add(1, Ordering::Relaxed);
        let connected = tokio::time::timeout_at(latest, shared.open(seat)).await;
        // Whoever has less time than connecting may take learns nothing of the database by it.
        let too_long = |_| {
            if latest < deadline { Error::Unavailable("connecting took too long".to_owned()) } else { Error::Deadline }
        };
        Ok(Lease::new(shared, connected.map_err(too_long)??, permit))
    }

    /// Forgets idle connections, which died with the one that a statement just lost.
    pub(super) fn forget_idle(&self) {
        for share in &self.shared.shares {
            drop(std::mem::take(&mut *share.idle()));
        }
    }

    /// How many connections were opened in all.
    pub(super) fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Open and lent connections.
    pub(super) fn usage(&self) -> (usize, usize) {
        let free: usize = self.shared.shares.iter().map(|share| share.permits.available_permits()).sum();
        let lent = self.shared.size.saturating_sub(free);
        (self.shared.open.load(Ordering::Relaxed), lent)
    }

    /// How many wait for a connection, since all are lent.
    pub(super) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Runs something that `close` waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// Lends no more, and waits until what was given up is ended.
    pub(super) async fn close(&self) {
        self.shared.shares.iter().for_each(|share| share.permits.close());
        self.forget_idle();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl<M: Manage> Shared<M> {
    /// The share of a runtime.
    fn share(&self, home: usize) -> &Share<M::Connection> {
        &self.shares[home % self.shares.len()]
    }

    /// This runtime's own share, and then the others.
    fn shares(&self) -> impl Iterator<Item = &Share<M::Connection>> {
        let here = here();
        (0..self.shares.len()).map(move |next| self.share(here + next))
    }

    /// A permit that nobody waits for.
    fn free_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.shares().find_map(|share| Arc::clone(&share.permits).try_acquire_owned().ok())
    }

    /// Waits for a permit: of the own share, and after a while of any.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let mut waiting = self.shares().map(|share| Arc::clone(&share.permits).acquire_owned());
        let mut own = pin!(waiting.next().unwrap_or_else(|| unreachable!("a pool has a share")));
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
    fn idle_or_room(&self) -> Option<Found<M::Connection>> {
        let here = here();
        let mut own = self.share(here).idle();
        if let Some(place) = own.iter().rposition(|open| open.home == here) {
            let open = Open { away: 0, ..own.remove(place) };
            return Some(Found::Idle(open));
        }
        drop(own);
        if let Some(seat) = self.seat() {
            return Some(Found::Room(seat));
        }
        let mut borrowed = self.shares().find_map(|share| share.idle().pop())?;
        borrowed.away += 1;
        Some(Found::Idle(borrowed))
    }

    fn seat(&self) -> Option<Seat> {
        let with_one_more = |open| (open < self.size).then_some(open + 1);
        let counted = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_one_more);
        counted.is_ok().then(|| Seat(Arc::clone(&self.open)))
    }

    /// Opens a connection, which is at home here.
    async fn open(&self, seat: Seat) -> Result<Open<M::Connection>, Error> {
        let connection = self.manage.connect().await?;
        Ok(Open { connection, home: here(), away: 0, seat })
    }

    /// Makes a connection idle, unless the pool is closed.
    fn keep(&self, open: Open<M::Connection>) {
        let share = self.share(open.home);
        let mut idle = share.idle();
        // Who closes the pool takes what is idle after this can be seen.
        if !share.permits.is_closed() {
            idle.push(open);
        }
    }
}

impl<C> Share<C> {
    fn idle(&self) -> MutexGuard<'_, Vec<Open<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Waiting<'p> {
    fn begin(count: &'p AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
