//! All connections of the process: how many there may be, who they are, and that they leave when they are told to.

use crate::auth::Principal;
use crate::engine::Session;
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
pub(in crate::transport) struct Connections(Arc<Shared>);

struct Shared {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    entries: HashMap<Uuid, Arc<Entry>>,
    leaving: bool,
}

/// What is known of a connection.
pub(in crate::transport) struct Entry {
    pub(in crate::transport) id: Uuid,
    pub(in crate::transport) principal: Arc<Principal>,
    pub(in crate::transport) remote: Option<SocketAddr>,
    /// Where it is counted.
    pub(in crate::transport) metrics: SessionMetrics,
    pub(in crate::transport) opened_at: jiff::Timestamp,
    pub(in crate::transport) received: Traffic,
    pub(in crate::transport) sent: Traffic,
    /// How many subscriptions it has.
    pub(in crate::transport) subscriptions: Arc<AtomicUsize>,
    told_to_leave: AtomicBool,
    waker: AtomicWaker,
}

/// Messages in one direction.
#[derive(Default)]
pub(in crate::transport) struct Traffic {
    pub(in crate::transport) messages: AtomicU64,
    pub(in crate::transport) bytes: AtomicU64,
}

/// A connection's place among the others; given back when it is dropped.
pub(in crate::transport) struct Seat {
    connections: Connections,
    entry: Arc<Entry>,
    ended: &'static str,
}

/// Timers are not much finer than this.
const STEP: Duration = Duration::from_millis(10);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Full {
    /// There are as many as there may be.
    Limit,
    /// The process ends.
    Leaving,
}

impl Connections {
    pub(in crate::transport) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, open: Mutex::default() }))
    }

    /// Takes a place, and counts it there.
    pub(in crate::transport) fn admit(
        &self,
        principal: Principal,
        remote: Option<SocketAddr>,
        metrics: SessionMetrics,
    ) -> Result<Seat, Full> {
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
            metrics,
            opened_at: jiff::Timestamp::now(),
            received: Traffic::default(),
            sent: Traffic::default(),
            subscriptions: Arc::default(),
            told_to_leave: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        open.entries.insert(entry.id, Arc::clone(&entry));
        entry.metrics.opened();
        Ok(Seat { connections: self.clone(), entry, ended: "gone" })
    }

    /// Tells every connection to leave, evenly over this time, and admits no more.
    pub(in crate::transport) async fn leave(&self, within: Duration) {
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
    pub(in crate::transport) fn some(&self, most: usize) -> (usize, Vec<Arc<Entry>>) {
        let open = self.open();
        (open.entries.len(), open.entries.values().take(most).map(Arc::clone).collect())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Who it is, for hooks.
    pub(in crate::transport) fn session(&self) -> Session<'_> {
        Session { id: self.id, principal: &self.principal, remote: self.remote }
    }

    fn tell_to_leave(&self) {
        self.told_to_leave.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits until the connection is told to leave.
    pub(in crate::transport) fn poll_told_to_leave(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.told_to_leave.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Traffic {
    pub(in crate::transport) fn count(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Seat {
    /// What is known of the connection.
    pub(in crate::transport) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Gives the place back, and says how the connection ended.
    pub(in crate::transport) fn leave(mut self, ended: &'static str) {
        self.ended = ended;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open().entries.remove(&self.entry.id);
        self.entry.metrics.closed(self.ended);
    }
}
