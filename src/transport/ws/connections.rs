//! All connections of the process: how many there may be, who they are, and that they leave when they are told to.

use crate::auth::Principal;
use crate::telemetry::SessionMetrics;
use futures_util::task::AtomicWaker;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use uuid::Uuid;

/// All connections that are open.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    most: usize,
    metrics: SessionMetrics,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    entries: HashMap<Uuid, Arc<Entry>>,
    leaving: bool,
}

/// What is known of a connection.
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) principal: Arc<Principal>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) opened_at: jiff::Timestamp,
    pub(super) received: Traffic,
    pub(super) sent: Traffic,
    /// How many subscriptions it has.
    pub(super) subscriptions: Arc<AtomicUsize>,
    told_to_leave: AtomicBool,
    waker: AtomicWaker,
}

/// Messages in one direction.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// A connection's place among the others; given back when it is dropped.
pub(super) struct Seat {
    connections: Connections,
    entry: Arc<Entry>,
    ended: &'static str,
}

/// Timers are not much finer than this.
const STEP: Duration = Duration::from_millis(10);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many as there may be.
    Limit,
    /// The process ends.
    Leaving,
}

impl Connections {
    pub(super) fn new(most: usize, metrics: SessionMetrics) -> Self {
        Self(Arc::new(Shared { most, metrics, open: Mutex::default() }))
    }

    /// Takes a place.
    pub(super) fn admit(&self, principal: Principal, remote: Option<SocketAddr>) -> Result<Seat, Full> {
        let mut open = self.open();
        if open.leaving {
            return Err(Full::Leaving);
        }
        if open.entries.len() >= self.0.most {
            return Err(Full::Limit);
        }
        let entry = Arc::new(Entry {
            id: Uuid::new_v4(),
            principal: Arc::new(principal),
            remote,
            opened_at: jiff::Timestamp::now(),
            received: Traffic::default(),
            sent: Traffic::default(),
            subscriptions: Arc::default(),
            told_to_leave: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        open.entries.insert(entry.id, Arc::clone(&entry));
        self.0.metrics.opened();
        Ok(Seat { connections: self.clone(), entry, ended: "gone" })
    }

    /// Tells every connection to leave, evenly over this time, and admits no more.
    pub(super) async fn leave(&self, within: Duration) {
        let all: Vec<Arc<Entry>> = {
            let mut open = self.open();
            open.leaving = true;
            open.entries.values().map(Arc::clone).collect()
        };
        // As many as fall into one step leave together.
        let steps = usize::try_from(within.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX).max(1);
        let mut steps = all.chunks(all.len().div_ceil(steps).max(1)).peekable();
        while let Some(step) = steps.next() {
            for entry in step {
                entry.tell_to_leave();
            }
            if steps.peek().is_some() {
                tokio::time::sleep(STEP).await;
            }
        }
    }

    /// How many are open, and so many of them.
    pub(super) fn some(&self, most: usize) -> (usize, Vec<Arc<Entry>>) {
        let open = self.open();
        (open.entries.len(), open.entries.values().take(most).map(Arc::clone).collect())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn tell_to_leave(&self) {
        self.told_to_leave.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits until the connection is told to leave.
    pub(super) fn poll_told_to_leave(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.told_to_leave.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Traffic {
    pub(super) fn count(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Seat {
    /// What is known of the connection.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Gives the place back, and says how the connection ended.
    pub(super) fn leave(mut self, ended: &'static str) {
        self.ended = ended;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open().entries.remove(&self.entry.id);
        self.connections.0.metrics.closed(self.ended);
    }
}
