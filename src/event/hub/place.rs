//! Where the hub is in the order of all changes.

use crate::protocol::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place that can be compared with every other: the bus's incarnations in the order in which the hub met them, and the
/// offset within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) incarnation: u32,
    pub(super) offset: u64,
}

/// An incarnation of the bus, and how far the hub has come in it.
#[derive(Debug)]
pub(super) struct Mark {
    incarnation: u32,
    epoch: Arc<str>,
    begun: AtomicU64,
    told: AtomicU64,
}

impl Mark {
    /// Begins an incarnation after an offset.
    pub(super) fn new(incarnation: u32, epoch: &str, offset: u64) -> Self {
        Self { incarnation, epoch: Arc::from(epoch), begun: AtomicU64::new(offset), told: AtomicU64::new(offset) }
    }

    /// The hub begins to tell the change at this offset. Whoever subscribed before is told of it; see [`Mark::begun`].
    pub(super) fn begin(&self, offset: u64) {
        self.begun.store(offset, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// How far the hub has come. Who asks after it is in the index is told of every later change: either the hub sees it
    /// there, or what is read here is the offset at which the hub did not.
    pub(super) fn begun(&self) -> Place {
        std::sync::atomic::fence(Ordering::SeqCst);
        self.at(self.begun.load(Ordering::SeqCst))
    }

    /// Everyone is told of the change at this offset, or will be by a replay.
    pub(super) fn finish(&self, offset: u64) {
        self.told.store(offset, Ordering::SeqCst);
    }

    /// The last offset of which all is told.
    pub(super) fn told(&self) -> Place {
        self.at(self.told.load(Ordering::SeqCst))
    }

    pub(super) fn at(&self, offset: u64) -> Place {
        Place { incarnation: self.incarnation, offset }
    }

    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    pub(super) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// A place as clients and the bus know it.
    pub(super) fn position(&self, place: Place) -> Position {
        Position { epoch: (*self.epoch).to_owned(), offset: place.offset }
    }
}
