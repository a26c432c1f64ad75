//! Finds the filters that a row may match, without looking at the others.
//!
//! A filter that needs a column to have a value, or one of a few, is found by the hash of column and value; only filters
//! that need no value are looked at one by one. What is found is evaluated exactly.
//!
//! Matching takes read locks alone, each for one look into one of many small tables. Whoever subscribes makes everything
//! ready first and takes a table's write lock for one insertion, which moves at most the entries of that table. Changes
//! of one entity's entries wait for each other on a lock that matching never takes.
//!
//! An index is of one catalog, whose places it uses. Another catalog needs another index.

use super::Error;
use super::classify::{Told, classify};
use super::datum::Datum;
use super::domain::Domain;
use super::filter::{Check, Filter, Node, Source};
use super::image::Image;
use super::shard::{Entry, Shard};
use crate::catalog::{Catalog, ColumnId, Entity};
use crate::engine::plan::Match;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Everyone who follows entities of a catalog, by their filters.
#[derive(Debug)]
pub struct Index<T> {
    entities: Box<[Followed<T>]>,
    hashes: RandomState,
    numbers: AtomicU64,
}

/// What a subscriber gives back to be removed.
#[derive(Debug)]
pub struct Ticket<T> {
    entry: Arc<Entry<T>>,
    number: u64,
}

/// Who is told of a change, and what.
pub type Concerned<T> = (Arc<Entry<T>>, Result<Told, Error>);

/// The entries of one entity.
#[derive(Debug)]
struct Followed<T> {
    /// Taken by whoever adds or removes; holds how many entries are found through each column.
    changes: Mutex<HashMap<(ColumnId, Domain), usize>>,
    /// The columns of `changes`, for whoever matches.
    columns: ArcSwap<Vec<(ColumnId, Domain)>>,
    keyed: OnceLock<Box<[Shard<T>]>>,
    scanned: Shard<T>,
}

/// Tables of an entity. With a million entries a table that grows moves some thousands, which takes less than a millisecond.
const SHARDS: u64 = 256;

/// Values of a list by which a filter is found; one with more is looked at with every change.
const MAX_VALUES: usize = 256;

impl<T> Index<T> {
    /// An index over a catalog's entities.
    #[must_use]
    pub fn new(catalog: &Catalog) -> Self {
        let entities = catalog.entities().iter().map(|_| Followed::default()).collect();
        Self { entities, hashes: RandomState::new(), numbers: AtomicU64::new(0) }
    }

    /// Adds a subscriber. Filters of another catalog's entities are not followed by anything.
    pub fn insert(&self, filter: Filter, subscriber: T) -> Ticket<T> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let access = access(&filter.root);
        let hashes = self.hashes_of(access, &filter);
        let Some(followed) = self.entities.get(filter.entity.index()) else {
            return Ticket { entry: Arc::new(Entry::new(filter, number, subscriber)), number };
        };
        let mut changes = followed.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let home = followed.shard(access.is_some(), hashes[0]);
        if let Some(entry) = home.find(hashes[0], &filter) {
            entry.add(number, subscriber);
            return Ticket { entry, number };
        }
        let column = access.map(|access| (access.column, access.domain));
        let entry = Arc::new(Entry::new(filter, number, subscriber));
        for hash in hashes {
            followed.shard(column.is_some(), hash).insert(hash, Arc::clone(&entry));
        }
        if let Some(column) = column {
            *changes.entry(column).or_default() += 1;
            followed.tell_columns(&changes);
        }
        Ticket { entry, number }
    }

    /// Removes a subscriber, and its filter if nobody else has it.
    pub fn remove(&self, ticket: Ticket<T>) {
        let Ticket { entry, number } = ticket;
        let filter = entry.filter();
        let Some(followed) = self.entities.get(filter.entity.index()) else { return };
        let mut changes = followed.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if !entry.take(number) {
            return;
        }
        let access = access(&filter.root);
        for hash in self.hashes_of(access, filter) {
            followed.shard(access.is_some(), hash).remove(hash, &entry);
        }
        if let Some(access) = access
            && let Some(count) = changes.get_mut(&(access.column, access.domain))
        {
            *count = count.saturating_sub(1);
            changes.retain(|_, count| *count > 0);
            followed.tell_columns(&changes);
        }
    }

    /// The entries whose filters the row may match, each once.
    pub fn candidates(&self, image: &Image<'_>) -> Result<Vec<Arc<Entry<T>>>, Error> {
        let mut found = Vec::new();
        self.gather(image, &mut found)?;
        Ok(found)
    }

    /// Who is told of a change from one row to the other, and what. An entry for which that can't be said has the reason.
    pub fn concerned(&self, before: Option<&Image<'_>>, after: Option<&Image<'_>>) -> Result<Vec<Concerned<T>>, Error> {
        let mut found = Vec::new();
        for image in [before, after].into_iter().flatten() {
            self.gather(image, &mut found)?;
        }
        if before.is_some() && after.is_some() {
            found.sort_unstable_by_key(Arc::as_ptr);
            found.dedup_by(|left, right| Arc::ptr_eq(left, right));
        }
        let matches = |entry: &Entry<T>, image: Option<&Image<'_>>| image.map(|image| entry.filter().matches(image)).transpose();
        let told = |entry: Arc<Entry<T>>| {
            let told = matches(&entry, before).and_then(|before| Ok(classify(before, matches(&entry, after)?)));
            told.transpose().map(|told| (entry, told))
        };
        Ok(found.into_iter().filter_map(told).collect())
    }

    fn gather(&self, image: &Image<'_>, found: &mut Vec<Arc<Entry<T>>>) -> Result<(), Error> {
        let entity: &Entity = image.entity();
        let Some(followed) = self.entities.get(entity.id.index()) else { return Ok(()) };
        for (column, domain) in followed.columns.load().iter() {
            if let Some(datum) = image.datum(*column, *domain)? {
                let hash = self.hash(*column, *domain, datum);
                followed.shard(true, hash).gather(hash, found);
            }
        }
        followed.scanned.gather_all(found);
        Ok(())
    }

    fn hashes_of(&self, access: Option<Access<'_>>, filter: &Filter) -> Vec<u64> {
        let Some(access) = access else { return vec![self.hashes.hash_one(filter)] };
        let mut hashes: Vec<u64> = access.values.iter().map(|value| self.hash(access.column, access.domain, value)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    fn hash(&self, column: ColumnId, domain: Domain, value: &Datum) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        column.hash(&mut hasher);
        value.feed(domain.comparison(), &mut hasher);
        hasher.finish()
    }
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self { changes: Mutex::default(), columns: ArcSwap::default(), keyed: OnceLock::new(), scanned: Shard::default() }
    }
}

impl<T> Followed<T> {
    /// The table of a hash.
    fn shard(&self, is_keyed: bool, hash: u64) -> &Shard<T> {
        if !is_keyed {
            return &self.scanned;
        }
        let shards = self.keyed.get_or_init(|| (0..SHARDS).map(|_| Shard::default()).collect());
        // Bits that a table itself does not look at.
        usize::try_from((hash >> 24) % SHARDS).ok().and_then(|place| shards.get(place)).unwrap_or(&self.scanned)
    }

    fn tell_columns(&self, changes: &HashMap<(ColumnId, Domain), usize>) {
        let known = self.columns.load();
        if known.len() != changes.len() || known.iter().any(|column| !changes.contains_key(column)) {
            self.columns.store(Arc::new(changes.keys().copied().collect()));
        }
    }
}

/// A column that must have one of some values.
#[derive(Debug, Clone, Copy)]
struct Access<'f> {
    column: ColumnId,
    domain: Domain,
    values: &'f [Datum],
}

/// The best way to find a filter: one value before a list, what is likely to be a key before what has few values.
fn access(root: &Node) -> Option<Access<'_>> {
    let mut found = Vec::new();
    gather_accesses(root, &mut found);
    let rank = |access: &Access<'_>| {
        let kind = match access.values {
            [Datum::Uuid(_) | Datum::Number(_), ..] => 0,
            [Datum::Boolean(_), ..] => 2,
            _ => 1,
        };
        (access.values.len(), kind)
    };
    found.into_iter().min_by_key(rank)
}

fn gather_accesses<'f>(node: &'f Node, found: &mut Vec<Access<'f>>) {
    let test = match node {
        Node::All(parts) => return parts.iter().for_each(|part| gather_accesses(part, found)),
        Node::Test(test) => test,
        Node::Any(_) | Node::Not(_) => return,
    };
    let Source::Column(column) = test.source else { return };
    let (domain, values) = match &test.check {
        Check::Value(domain, Match::Equal, value) => (*domain, std::slice::from_ref(value)),
        Check::In(domain, values) if (1..=MAX_VALUES).contains(&values.len()) => (*domain, &**values),
        _ => return,
    };
    found.push(Access { column, domain, values });
}

#[cfg(test)]
mod tests;
