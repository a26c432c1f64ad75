//! How changes reach every replica, in one order for all of them.
//!
//! A bus is a bounded cache of the latest changes and not the truth, which is in the databases. It knows no entity's
//! rules and no subscriber. Two implementations pass the same conformance suite: memory, and NATS JetStream.

mod memory;
mod nats;
mod omit;

pub use memory::{MemoryBus, MemorySettings};
pub use nats::{NatsBus, StreamSettings};

use crate::protocol::{Change, Position};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Carries changes from the relays to every replica.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Keeps changes in the order of the list, and answers when all of them are kept. A change whose id the bus has kept
    /// lately, in this epoch, is dropped. After an error any number of the first ones can be kept and none after a missing one, so
    /// publishing all again is safe. A change too large to be carried is kept as [`Event::Omitted`] and is no error, as is
    /// one that has no image to begin with.
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error>;

    /// What the bus holds now.
    async fn extent(&self) -> Result<Extent, Error>;

    /// The latest change of a source that was kept in this epoch; none if none was, or none is any more.
    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error>;

    /// Every change after a position, then every later one as it is kept, in order and without gap. Connections that are
    /// lost are made again within the stream; it ends with an error only where a gap can't be avoided.
    async fn follow(&self, after: &Position) -> Result<Deliveries, Error>;

    /// Begins a new epoch, since changes were lost, before they could be published or out of their database after: every
    /// earlier position is void, and every follower ends soon. What is published afterwards belongs to the new epoch, where no
    /// id was kept yet.
    async fn renew(&self) -> Result<(), Error>;

    /// The same, unless the epoch is another one by now.
    async fn renew_after(&self, epoch: &str) -> Result<(), Error>;

    /// Whether it can be reached at this moment, for readiness.
    fn is_connected(&self) -> bool;
}

/// Changes with their positions, in order.
pub type Deliveries = BoxStream<'static, Result<Delivery, Error>>;

/// A change at its place.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it stands.
    pub offset: u64,
    /// What is told.
    pub event: Event,
}

/// What is told at a place in the order.
#[derive(Debug, Clone)]
pub enum Event {
    /// A change, whole.
    Change(Arc<Change>),
    /// A change whose images were too large to be carried, or could not be known: it names source, schema, entity and
    /// operation. The key is empty where even that was too large, or where many rows are meant. Whoever follows the entity
    /// has to read again.
    Omitted(Arc<Change>),
    /// Something that is no change; somebody else wrote it. What it stands for is not known to anyone.
    Unreadable,
}

impl Event {
    /// The change that is told, with its images or without.
    #[must_use]
    pub fn change(&self) -> Option<&Arc<Change>> {
        match self {
            Event::Change(change) | Event::Omitted(change) => Some(change),
            Event::Unreadable => None,
        }
    }
}

/// The latest change of a source.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The epoch in which it was kept.
    pub epoch: String,
    /// What was told.
    pub change: Arc<Change>,
    /// Whether it would be dropped for sure if it was published again, and so would be what was published with it.
    pub is_remembered: bool,
}

/// What a bus holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The incarnation; another one means that every earlier position is void.
    pub epoch: String,
    /// The oldest offset from which changes can be followed: one before the oldest that is kept.
    pub oldest: u64,
    /// The offset of the latest change; 0 before the first.
    pub latest: u64,
}

/// Why a bus did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be reached; the same call may succeed later.
    #[error("the bus can't be reached: {0}")]
    Unavailable(String),
    /// The position belongs to another epoch, or what followed it is no longer kept.
    #[error("changes after offset {offset} of epoch {epoch} are not kept any more")]
    Gone {
        /// The epoch that was asked for.
        epoch: String,
        /// The offset that was asked for.
        offset: u64,
    },
    /// It is set up in a way that can't work; the same call fails again until somebody changes that.
    #[error("{0}")]
    Unusable(String),
}
