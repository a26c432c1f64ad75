//! A fixed number of connections, lent to one statement or transaction at a time.
//!
//! A lease that is dropped in the middle of a statement is never lent again: its statement is cancelled and its
//! connection closed, so that nobody gets another's rows. Nothing here knows which database it is.

use super::error::Error;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    // A connection goes back to the thread that asked for it, whose runtime it belongs to. Last in, first out: a busy connection
    // has warm caches. The locks are held for a push or a pop only.
    idle: Box<[Mutex<Vec<M::Connection>>]>,
    permits: Arc<Semaphore>,
    size: usize,
    open: AtomicUsize,
    acquire_timeout: Duration,
    tasks: TaskTracker,
}

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Manage> Pool<M> {
    pub(super) fn new(manage: M, size: usize, acquire_timeout: Duration) -> Self {
        let shared = Shared {
            manage,
            idle: std::iter::repeat_with(Mutex::default).take(parallelism()).collect(),
            permits: Arc::new(Semaphore::new(size)),
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
        let permit = if let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            permit
        } else {
            let latest = deadline.min(Instant::now() + shared.acquire_timeout);
            let waited = tokio::time::timeout_at(latest, Arc::clone(&shared.permits).acquire_owned()).await;
            waited.map_err(|_| Error::Busy)?.map_err(|_| Error::Unavailable("the pool is closed".to_owned()))?
        };
        loop {
            match shared.idle() {
                Some(connection) if shared.manage.is_usable(&connection) => {
                    return Ok(Lease {
                        shared: Arc::clone(shared),
                        connection: Some(connection),
                        finished: true,
                        home: here(),
                        _permit: permit,
                    });
                }
                Some(_) => _ = shared.open.fetch_sub(1, Ordering::Relaxed),
                None => break,
            }
        }
        let latest = deadline.min(Instant::now() + shared.acquire_timeout);
        let connected = tokio::time::timeout_at(latest, shared.manage.connect()).await;
        // Whoever has less time than connecting may take learns nothing of the database by it.
        let too_long = |_| {
            if latest < deadline { Error::Unavailable("connecting took too long".to_owned()) } else { Error::Deadline }
        };
        let connection = connected.map_err(too_long)??;
        shared.open.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { shared: Arc::clone(shared), connection: Some(connection), finished: true, home: here(), _permit: permit })
    }

    /// Forgets idle connections, which died with the one that a statement just lost.
    pub(super) fn forget_idle(&self) {
        for place in &self.shared.idle {
            let idle = std::mem::take(&mut *place.lock().unwrap_or_else(PoisonError::into_inner));
            self.shared.open.fetch_sub(idle.len(), Ordering::Relaxed);
        }
    }

    /// Open and lent connections.
    pub(super) fn usage(&self) -> (usize, usize) {
        let lent = self.shared.size - self.shared.permits.available_permits();
        (self.shared.open.load(Ordering::Relaxed), lent)
    }

    /// Runs something that `close` waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// Lends no more, and waits until what was given up is ended.
    pub(super) async fn close(&self) {
        self.shared.permits.close();
        self.forget_idle();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl<M: Manage> Shared<M> {
    fn place(&self, place: usize) -> MutexGuard<'_, Vec<M::Connection>> {
        self.idle[place % self.idle.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection: of this thread, or of another one if no more may be opened.
    fn idle(&self) -> Option<M::Connection> {
        let own = self.place(here()).pop();
        if own.is_some() || self.open.load(Ordering::Relaxed) < self.size {
            return own;
        }
        (1..self.idle.len()).find_map(|next| self.place(here() + next).pop())
    }
}

/// Threads that can run at the same time.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of this thread, counted from the first that asked.
pub(super) fn here() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static HERE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    HERE.with(|here| *here)
}

/// A connection on loan.
pub(super) struct Lease<M: Manage> {
    shared: Arc<Shared<M>>,
    connection: Option<M::Connection>,
    finished: bool,
    // The thread that asked for it, which is not always the one that drops it.
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
        let closed = self.shared.permits.is_closed();
        if self.finished && !closed && self.shared.manage.is_usable(&connection) {
            self.shared.place(self.home).push(connection);
            return;
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
