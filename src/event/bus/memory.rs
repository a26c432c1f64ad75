//! A bus in this process's memory, for `dev` and for tests.
//!
//! A ring of the latest changes, bounded in number and in bytes. Followers keep their own positions and take no lock while
//! they wait. Its epoch is made anew with each process, since nothing outlives it, and whenever somebody asks for it.

use super::omit::{has_images, omitted};
use super::{Bus, Deliveries, Delivery, Error, Event, Extent, Latest};
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
    settings: MemorySettings,
    ring: Mutex<Ring>,
    /// What followers wait for.
    told: watch::Sender<Told>,
}

/// How far the ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Told {
    /// How often the epoch was renewed.
    renewals: u64,
    /// The offset of the latest change.
    latest: u64,
}

struct Ring {
    epoch: String,
    renewals: u64,
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
        let (told, _) = watch::channel(Told::default());
        Self { shared: Arc::new(Shared { settings, ring: Mutex::new(Ring::new()), told }) }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error> {
        let now = {
            let mut ring = self.shared.ring();
            for change in changes {
                ring.keep(change, &self.shared.settings);
            }
            ring.told()
        };
        self.shared.tell(now);
        Ok(())
    }

    async fn extent(&self) -> Result<Extent, Error> {
        let ring = self.shared.ring();
        Ok(Extent { epoch: ring.epoch.clone(), oldest: ring.oldest, latest: ring.latest() })
    }

    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error> {
        let ring = self.shared.ring();
        let mut changes = ring.kept.iter().rev().filter_map(|(event, _)| event.change());
        let latest = changes.find(|change| change.source == source);
        Ok(latest.map(|change| Latest {
            epoch: ring.epoch.clone(),
            change: Arc::clone(change),
            is_remembered: ring.ids.contains(&change.id),
        }))
    }

    async fn follow(&self, after: &Position) -> Result<Deliveries, Error> {
        let renewals = {
            let ring = self.shared.ring();
            if after.epoch != ring.epoch || !(ring.oldest..=ring.latest()).contains(&after.offset) {
                return Err(Error::Gone { epoch: after.epoch.clone(), offset: after.offset });
            }
            ring.renewals
        };
        let follower = Follower {
            shared: Arc::clone(&self.shared),
            told: self.shared.told.subscribe(),
            epoch: after.epoch.clone(),
            renewals,
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

    async fn renew(&self) -> Result<(), Error> {
        self.shared.renew(|_| true);
        Ok(())
    }

    async fn renew_after(&self, epoch: &str) -> Result<(), Error> {
        self.shared.renew(|current| current == epoch);
        Ok(())
    }

    fn is_connected(&self) -> bool {
        true
    }
}

impl Shared {
    /// Begins a new epoch, if the current one is to end.
    fn renew(&self, ends: impl FnOnce(&str) -> bool) {
        let now = {
            let mut ring = self.ring();
            if ends(&ring.epoch) {
                ring.renew();
            }
            ring.told()
        };
        self.tell(now);
    }

    /// Wakes those who wait, unless somebody has told of more already.
    fn tell(&self, now: Told) {
        self.told.send_if_modified(|told| {
            let later = now > *told;
            *told = now.max(*told);
            later
        });
    }

    /// The ring. Nothing that holds it can panic half-way, so what a poisoned lock guards is whole.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn new() -> Self {
        Self {
            epoch: new_epoch(),
            renewals: 0,
            kept: VecDeque::new(),
            oldest: 0,
            bytes: 0,
            ids: HashSet::new(),
            ids_in_order: VecDeque::new(),
        }
    }

    /// Nothing that is kept can be asked for any more, and ids count anew; offsets go on.
    fn renew(&mut self) {
        self.epoch = new_epoch();
        self.renewals += 1;
        self.oldest = self.latest();
        self.kept.clear();
        self.bytes = 0;
        self.ids.clear();
        self.ids_in_order.clear();
    }

    fn told(&self) -> Told {
        Told { renewals: self.renewals, latest: self.latest() }
    }

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

fn new_epoch() -> String {
    Uuid::new_v4().simple().to_string()
}

fn fitting(change: &Arc<Change>, max_bytes: usize) -> (Event, usize) {
    let bytes = weight(change);
    if bytes <= max_bytes {
        let whole = Arc::clone(change);
        return (if has_images(change) { Event::Change(whole) } else { Event::Omitted(whole) }, bytes);
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
    told: watch::Receiver<Told>,
    epoch: String,
    renewals: u64,
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
                let seen = Told { renewals: self.renewals, latest: self.after };
                // The sender lives in `shared`, which this follower holds.
                let told = self.told.wait_for(|told| *told > seen).await;
                told.map_err(|error| Error::Unavailable(error.to_string()))?;
            }
        }
    }

    fn take(&mut self) -> Result<(), Error> {
        let ring = self.shared.ring();
        let skipped = self.after.checked_sub(ring.oldest).and_then(|skipped| usize::try_from(skipped).ok());
        let Some(skipped) = skipped.filter(|_| self.renewals == ring.renewals) else {
            return Err(Error::Gone { epoch: self.epoch.clone(), offset: self.after });
        };
        self.taken.extend(ring.kept.iter().skip(skipped).take(CHUNK).map(|(event, _)| event.clone()));
        Ok(())
    }
}
