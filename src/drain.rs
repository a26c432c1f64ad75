//! The way out: not ready, then no new requests, then closed.
//!
//! One handle that every part holds; it decides nothing, it only tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// The signals to end: TERM and INT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals from here on; before, they end the process at once.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them; can be given up and asked again.
    pub async fn received(&mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
        }
    }
}
