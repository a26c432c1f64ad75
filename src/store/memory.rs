//! A bucket in this process's memory, for `dev` and for tests.
//!
//! Nothing runs in the background: what has outlived its lifetime is not seen by any call and goes with the next put. A
//! watcher compares what it told with what is there.

use super::{Bucket, Entry, Error, Told, Watch};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The bucket. Cheap to clone; clones are the same bucket.
#[derive(Clone)]
pub struct MemoryBucket {
    shared: Arc<Shared>,
}

struct Shared {
    values: Mutex<Values>,
    /// Counts changes; what watchers wait for.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Values {
    by_key: BTreeMap<String, Value>,
    revision: u64,
}

#[derive(Clone)]
struct Value {
    entry: Entry,
    ends_at: Option<Instant>,
}

impl Values {
    fn put(&mut self, key: &str, value: Bytes, lifetime: Option<Duration>) -> u64 {
        let now = Instant::now();
        self.by_key.retain(|_, value| value.is_alive(now));
        self.revision += 1;
        let entry = Entry { key: key.to_owned(), value, revision: self.revision };
        self.by_key.insert(key.to_owned(), Value { entry, ends_at: lifetime.map(|lifetime| now + lifetime) });
        self.revision
    }
}

impl Value {
    fn is_alive(&self, now: Instant) -> bool {
        self.ends_at.is_none_or(|ends_at| now < ends_at)
    }
}

impl Default for MemoryBucket {
    fn default() -> Self {
        let (changes, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { values: Mutex::default(), changes }) }
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        let revision = self.shared.values().put(key, value, lifetime);
        self.shared.changes.send_modify(|count| *count += 1);
        Ok(revision)
    }

    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        let kept = {
            let mut values = self.shared.values();
            let alive = values.by_key.get(key).filter(|value| value.is_alive(Instant::now()));
            let is_as_expected = alive.map(|value| value.entry.revision) == revision;
            is_as_expected.then(|| values.put(key, value, lifetime))
        };
        if kept.is_some() {
            self.shared.changes.send_modify(|count| *count += 1);
        }
        Ok(kept)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let values = self.shared.values();
        let alive = values.by_key.get(key).filter(|value| value.is_alive(Instant::now()));
        Ok(alive.map(|value| value.entry.clone()))
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.shared.values().by_key.remove(key);
        self.shared.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        let removed = {
            let mut values = self.shared.values();
            let alive = values.by_key.get(key).filter(|value| value.is_alive(Instant::now()));
            let is_as_expected = alive.is_some_and(|value| value.entry.revision == revision);
            is_as_expected && values.by_key.remove(key).is_some()
        };
        if removed {
            self.shared.changes.send_modify(|count| *count += 1);
        }
        Ok(removed)
    }

    async fn watch(&self) -> Result<Watch, Error> {
        let watcher = Watcher {
            changes: self.shared.changes.subscribe(),
            shared: Arc::clone(&self.shared),
            told: BTreeMap::new(),
            next_end: None,
            queue: VecDeque::from([Told::Beginning]),
            is_current: false,
        };
        Ok(Box::pin(stream::unfold(watcher, |mut watcher| async {
            let told = watcher.next().await?;
            Some((told, watcher))
        })))
    }
}

impl Shared {
    /// The values. Nothing that holds them can panic half-way, so what a poisoned lock guards is whole.
    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watcher {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    /// The revisions that were told.
    told: BTreeMap<String, u64>,
    /// When the next of what was told is over.
    next_end: Option<Instant>,
    queue: VecDeque<Told>,
    is_current: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.queue.pop_front() {
                return Some(told);
            }
            if self.is_current {
                self.changed().await?;
            }
            self.compare();
            if !self.is_current {
                self.is_current = true;
                self.queue.push_back(Told::Current);
            }
        }
    }

    async fn changed(&mut self) -> Option<()> {
        let Some(end) = self.next_end else { return self.changes.changed().await.ok() };
        tokio::select! {
            changed = self.changes.changed() => changed.ok(),
            () = sleep_until(end) => Some(()),
        }
    }

    fn compare(&mut self) {
        _ = self.changes.borrow_and_update();
        let now = Instant::now();
        let values = self.shared.values();
        let alive = |key: &String| values.by_key.get(key).is_some_and(|value| value.is_alive(now));
        let queue = &mut self.queue;
        self.told.retain(|key, _| {
            let stays = alive(key);
            if !stays {
                queue.push_back(Told::Removed { key: key.clone() });
            }
            stays
        });
        let mut fresh = Vec::new();
        for (key, value) in values.by_key.iter().filter(|(_, value)| value.is_alive(now)) {
            if self.told.insert(key.clone(), value.entry.revision) != Some(value.entry.revision) {
                fresh.push(value.entry.clone());
            }
        }
        fresh.sort_unstable_by_key(|entry| entry.revision);
        self.queue.extend(fresh.into_iter().map(Told::Put));
        self.next_end = values.by_key.values().filter(|value| value.is_alive(now)).filter_map(|value| value.ends_at).min();
    }
}
