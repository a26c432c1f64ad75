//! The way out: not ready, then no new requests, then closed.
//!
//! One handle that every part holds; it decides nothing, it only tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const SERVING: u8 = 0;
const LEAVING: u8 = 1;
const DRAINING: u8 = 2;

/// Tells every part of the process how far its end has come. Cheap to clone.
#[derive(Clone, Default)]
pub struct Drain {
    phase: Arc<AtomicU8>,
    closing: CancellationToken,
}

impl Drain {
    /// Whether load balancers may send requests here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == SERVING
    }

    /// Whether new requests are turned away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= DRAINING
    }

    /// Not ready any more, but still answering: load balancers notice late.
    pub fn leave(&self) {
        self.phase.store(LEAVING, Ordering::Relaxed);
    }

    /// Turns new requests away and closes listeners; what has begun goes on.
    pub fn close(&self) {
        self.phase.store(DRAINING, Ordering::Relaxed);
        self.closing.cancel();
    }

    /// Waits for `close`.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }
}

/// Waits for the signal to end: TERM or INT.
pub async fn signaled() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
