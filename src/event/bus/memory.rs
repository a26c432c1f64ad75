//! A bus in this process's memory, for `dev` and for tests.
//!
//! A ring of the latest changes, bounded in number and in bytes. Followers keep their own positions and take no lock while
//! they wait. Its epoch is made anew with each process, since nothing outlives it.

use super::omit::omitted;
use super::{Bus, Deliveries, Delivery, Error, Event, Extent};
use crate::protocol::{Change, Position};
use async_trait::async_trait;
use futures_util::stream;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use uuid::Uuid;

/// How many deliveries a follower takes under one lock.
const CHUNK: usize = 128;

/// What a change takes beside its images, roughly.
const CHANGE_BYTES: usize = 256;

/// A key beyond this goes with the images of a change that is too large.
const KEY_BYTES: usize = 4096;

/// How much a bus in memory keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// Changes at most.
    pub max_changes: usize,
    /// Bytes at most, roughly; the latest change is kept in any case.
    pub max_bytes: usize,
    /// A change that takes more than this is told without its images.
    pub max_change_bytes: usize,
    /// How many of the latest ids are remembered, so that a change that is published again is dropped.
    pub remembered_ids: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { max_changes: 100_000, max_bytes: 64 << 20, max_change_bytes: 1 << 20, remembered_ids: 100_000 }
    }
}

/// The bus. Cheap to clone; clones are the same bus.
#[derive(Clone)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: String,
    settings: MemorySettings,
    ring: Mutex<Ring>,
    /// The offset of the latest change; what followers wait for.
    latest: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    kept: VecDeque<(Event, usize)>,
    /// The offset before the first that is kept.
    oldest: u64,
    bytes: usize,
    ids: HashSet<String>,
    ids_in_order: VecDeque<String>,
}

impl MemoryBus {
    /// An empty bus.
    #[must_use]
    pub fn new(settings: MemorySettings) -> Self {
        let (latest, _) = watch::channel(0);
        let epoch = Uuid::new_v4().simple().to_string();
        Self { shared: Arc::new(Shared { epoch, settings, ring: Mutex::default(), latest }) }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error> {
        let latest = {
            let mut ring = self.shared.ring();
            for change in changes {
                ring.keep(change, &self.shared.settings);
            }
            ring.latest()
        };
        self.shared.latest.send_if_modified(|told| {
            let later = latest > *told;
            *told = latest.max(*told);
            later
        });
        Ok(())
    }

    async fn extent(&self) -> Result<Extent, Error> {
        let ring = self.shared.ring();
        Ok(Extent { epoch: self.shared.epoch.clone(), oldest: ring.oldest, latest: ring.latest() })
    }

    async fn follow(&self, after: &Position) -> Result<Deliveries, Error> {
        let held = {
            let ring = self.shared.ring();
            (ring.oldest..=ring.latest()).contains(&after.offset)
        };
        if !held || after.epoch != self.shared.epoch {
            return Err(Error::Gone { epoch: after.epoch.clone(), offset: after.offset });
        }
        let follower = Follower {
            shared: Arc::clone(&self.shared),
            latest: self.shared.latest.subscribe(),
            after: after.offset,
            taken: VecDeque::new(),
        };
        Ok(Box::pin(stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(delivery) => Some((Ok(delivery), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    fn is_connected(&self) -> bool {
        true
    }
}

impl Shared {
    /// The ring. Nothing that holds it can panic half-way, so what a poisoned lock guards is whole.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn latest(&self) -> u64 {
        self.oldest + self.kept.len() as u64
    }

    fn keep(&mut self, change: &Arc<Change>, settings: &MemorySettings) {
        if !self.ids.insert(change.id.clone()) {
            return;
        }
        self.ids_in_order.push_back(change.id.clone());
        if self.ids_in_order.len() > settings.remembered_ids
            && let Some(forgotten) = self.ids_in_order.pop_front()
        {
            self.ids.remove(&forgotten);
        }
        let (event, bytes) = fitting(change, settings.max_change_bytes);
        self.kept.push_back((event, bytes));
        self.bytes += bytes;
        while self.kept.len() > 1 && (self.kept.len() > settings.max_changes || self.bytes > settings.max_bytes) {
            let Some((_, bytes)) = self.kept.pop_front() else { break };
            self.bytes -= bytes;
            self.oldest += 1;
        }
    }
}

fn fitting(change: &Arc<Change>, max_bytes: usize) -> (Event, usize) {
    let bytes = weight(change);
    if bytes <= max_bytes {
        return (Event::Change(Arc::clone(change)), bytes);
    }
    let rest = omitted(change, KEY_BYTES);
    let bytes = weight(&rest);
    (Event::Omitted(Arc::new(rest)), bytes)
}

fn weight(change: &Change) -> usize {
    let image = |image: &Option<Box<serde_json::value::RawValue>>| image.as_ref().map_or(0, |image| image.get().len());
    let key: usize = change.key.iter().map(|(column, value)| column.len() + value.as_str().map_or(16, str::len)).sum();
    CHANGE_BYTES + image(&change.before) + image(&change.after) + key
}

/// One who follows: a position, and what was taken from the ring and not yet handed on.
struct Follower {
    shared: Arc<Shared>,
    latest: watch::Receiver<u64>,
    after: u64,
    taken: VecDeque<Event>,
}

impl Follower {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(event) = self.taken.pop_front() {
                self.after += 1;
                return Ok(Delivery { offset: self.after, event });
            }
            self.take()?;
            if self.taken.is_empty() {
                let after = self.after;
                // The sender lives in `shared`, which this follower holds.
                let told = self.latest.wait_for(|latest| *latest > after).await;
                told.map_err(|error| Error::Unavailable(error.to_string()))?;
            }
        }
    }

    fn take(&mut self) -> Result<(), Error> {
        let ring = self.shared.ring();
        let Some(skipped) = self.after.checked_sub(ring.oldest).and_then(|skipped| usize::try_from(skipped).ok()) else {
            return Err(Error::Gone { epoch: self.shared.epoch.clone(), offset: self.after });
        };
        self.taken.extend(ring.kept.iter().skip(skipped).take(CHUNK).map(|(event, _)| event.clone()));
        Ok(())
    }
}
