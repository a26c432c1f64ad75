//! Entries of the index: each a filter with everyone who subscribed by it, found through hashes.

use super::filter::Filter;
use crate::catalog::EntityId;
use hashbrown::HashTable;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A filter and its subscribers. Equal filters share one.
///
/// What it costs to match a change among a million entries is to reach memory that is in no cache. So what is evaluated comes
/// first, right behind the counts of the [`Arc`]: both are in one line of the cache, where the allocator puts 128 bytes at a
/// multiple of 128.
#[derive(Debug)]
#[repr(C)]
pub struct Entry<T> {
    filter: Filter,
    subscribers: RwLock<Subscribers<T>>,
    _to_128_bytes: [u64; 2],
}

// With the two counts of the `Arc`. Subscribers are pointers, as large as a number.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Entry<Arc<()>>>() == 128 - 16);

/// Subscribers with their numbers. Most filters have one, who takes no list.
#[derive(Debug)]
enum Subscribers<T> {
    One(u64, T),
    Many(Vec<(u64, T)>),
}

impl<T> Entry<T> {
    pub(super) fn new(filter: Filter, number: u64, subscriber: T) -> Self {
        Self { filter, subscribers: RwLock::new(Subscribers::One(number, subscriber)), _to_128_bytes: [0; 2] }
    }

    /// What they subscribed by.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Who subscribed.
    pub fn subscribers(&self) -> Vec<T>
    where
        T: Clone,
    {
        match &*self.subscribers.read().unwrap_or_else(PoisonError::into_inner) {
            Subscribers::One(_, subscriber) => vec![subscriber.clone()],
            Subscribers::Many(list) => list.iter().map(|(_, subscriber)| subscriber.clone()).collect(),
        }
    }

    pub(super) fn add(&self, number: u64, subscriber: T) {
        let mut held = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = match std::mem::replace(&mut *held, Subscribers::Many(Vec::new())) {
            Subscribers::One(first, known) => vec![(first, known)],
            Subscribers::Many(list) => list,
        };
        list.push((number, subscriber));
        *held = Subscribers::Many(list);
    }

    /// Takes a subscriber out, and says whether none is left.
    pub(super) fn take(&self, number: u64) -> bool {
        let mut held = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Subscribers::One(known, _) if *known == number => *held = Subscribers::Many(Vec::new()),
            Subscribers::One(..) => {}
            Subscribers::Many(list) => list.retain(|(known, _)| *known != number),
        }
        matches!(&*held, Subscribers::Many(list) if list.is_empty())
    }
}

/// Entries by hashes, an entry as often as it has hashes.
#[derive(Debug)]
pub(super) struct Shard<T>(RwLock<Table<T>>);

type Table<T> = HashTable<(u64, Arc<Entry<T>>)>;

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self(RwLock::new(HashTable::new()))
    }
}

impl<T> Shard<T> {
    pub(super) fn insert(&self, hash: u64, entry: Arc<Entry<T>>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.insert_unique(hash, (hash, entry), |(hash, _)| *hash);
    }

    pub(super) fn remove(&self, hash: u64, entry: &Arc<Entry<T>>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(found) = table.find_entry(hash, |(known, other)| *known == hash && Arc::ptr_eq(other, entry)) {
            found.remove();
        }
        let len = table.len();
        if len * 4 < table.capacity() {
            table.shrink_to(len * 2, |(hash, _)| *hash);
        }
    }

    /// The entry of a filter.
    pub(super) fn find(&self, hash: u64, filter: &Filter) -> Option<Arc<Entry<T>>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.find(hash, |(known, entry)| *known == hash && entry.filter == *filter).map(|(_, entry)| Arc::clone(entry))
    }

    /// All entries.
    pub(super) fn all(&self) -> Vec<Arc<Entry<T>>> {
        self.read().iter().map(|(_, entry)| Arc::clone(entry)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Table<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tables of an entity. With a million entries one that grows moves some ten thousand, which takes less than a millisecond.
const SHARDS: usize = 64;

/// The entries of an entity that are found through hashes, in many tables.
#[derive(Debug)]
pub(super) struct Shards<T>([Shard<T>; SHARDS]);

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shard::default()))
    }
}

impl<T> Shards<T> {
    /// The table of a hash.
    pub(super) fn of(&self, hash: u64) -> &Shard<T> {
        &self.0[place(hash)]
    }

    /// The entries of each hash, beside the number that came with it, in that order.
    ///
    /// Each step is done for all before the next, with nothing in between that the processor would have to wait for: so it fetches
    /// for several at once what is in no cache.
    pub(super) fn gather(&self, entity: EntityId, hashes: &[(usize, u64)]) -> Vec<(usize, Arc<Entry<T>>)> {
        let needed = hashes.iter().fold(0_u64, |needed, (_, hash)| needed | 1 << place(*hash));
        // Whoever waits for a table holds only those before it, so that nobody waits in a circle.
        let tables: [_; SHARDS] = std::array::from_fn(|place| (needed >> place & 1 == 1).then(|| self.0[place].read()));
        let mut found = Vec::with_capacity(hashes.len());
        for (number, hash) in hashes {
            let there = tables[place(*hash)].iter().flat_map(|table| table.iter_hash(*hash));
            found.extend(there.filter(|(known, _)| known == hash).map(|(_, entry)| (*number, entry)));
        }
        // All of them; an entry has to be read before it is counted, since counting waits for it.
        found.retain(|(_, entry)| entry.filter.entity == entity);
        found.into_iter().map(|(number, entry)| (number, Arc::clone(entry))).collect()
    }
}

/// The table of a hash, by bits that a table itself does not look at.
fn place(hash: u64) -> usize {
    const { assert!(SHARDS == 1 << 6) };
    usize::from(hash.to_le_bytes()[3] & 63)
}
