//! Finds the filters that a row may match, without looking at the others.
//!
//! A filter that needs a column to have a value, or one of a few, is found by the hash of column and value; only filters
//! that need no value are looked at one by one. What is found is evaluated exactly.
//!
//! Matching takes read locks alone, for a look into some of many small tables. Whoever subscribes makes everything
//! ready first and takes a table's write lock for one insertion, which moves at most the entries of that table. Subscribers
//! of one entity wait for each other on a lock that matching never takes.
//!
//! An index is of one catalog, whose places it uses. Another catalog needs another index.

use super::Error;
use super::classify::{Told, classify};
use super::datum::Datum;
use super::domain::Domain;
use super::filter::{Check, Filter, Node, Source};
use super::image::Image;
use super::shard::{Entry, Shard, Shards};
use crate::catalog::{Catalog, ColumnId, EntityId};
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

/// A row before a change and after it.
pub type Images<'i> = [Option<Image<'i>>; 2];

/// Who is told of a change, and what.
pub type Concerned<T> = (Arc<Entry<T>>, Result<Told, Error>);

/// The entries of one entity.
#[derive(Debug)]
struct Followed<T> {
    /// Taken by whoever adds or removes; holds how many entries are found through each column.
    changes: Mutex<HashMap<(ColumnId, Domain), usize>>,
    /// The columns of `changes`, for whoever matches.
    columns: ArcSwap<Vec<(ColumnId, Domain)>>,
    keyed: OnceLock<Box<Shards<T>>>,
    scanned: Shard<T>,
}

/// Changes that are best matched at once: more of them would not stay in the nearest cache.
pub const BATCH: usize = 32;

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

    /// Who is told of each of some changes, and what. An entry for which that can't be said has the reason.
    ///
    /// Many changes at once take less time than one after the other, up to [`BATCH`].
    pub fn concerned(&self, changes: &[Images<'_>]) -> Vec<Result<Vec<Concerned<T>>, Error>> {
        let mut all: Vec<_> = changes.iter().map(|_| Ok(Vec::new())).collect();
        let mut left: Vec<usize> = (0..changes.len()).collect();
        while let Some(entity) = left.iter().find_map(|number| entity_of(&changes[*number])) {
            let own;
            (own, left) = left.into_iter().partition(|number| entity_of(&changes[*number]) == Some(entity));
            if let Some(followed) = self.entities.get(entity.index()) {
                self.match_all(followed, entity, changes, &own, &mut all);
            }
        }
        all
    }

    /// Matches the changes of these numbers, all of one entity.
    fn match_all(
        &self,
        followed: &Followed<T>,
        entity: EntityId,
        changes: &[Images<'_>],
        own: &[usize],
        all: &mut [Result<Vec<Concerned<T>>, Error>],
    ) {
        let mut hashes = Vec::with_capacity(own.len());
        for number in own {
            let before = hashes.len();
            if let Err(error) = self.hash_images(followed, &changes[*number], *number, &mut hashes) {
                hashes.truncate(before);
                all[*number] = Err(error);
            }
        }
        let mut keyed = followed.keyed(entity, &hashes);
        let (mut rest, scanned) = (keyed.as_mut_slice(), followed.scanned.all());
        for number in own {
            let Ok(concerned) = &mut all[*number] else { continue };
            let (found, later) = rest.split_at_mut(rest.partition_point(|(of, _)| of == number));
            rest = later;
            // One that is found by the values of a list may be found by both images.
            found.sort_unstable_by_key(|(_, entry)| Arc::as_ptr(entry));
            let once = found.chunk_by(|(_, left), (_, right)| Arc::ptr_eq(left, right)).filter_map(|same| same.first());
            for entry in once.map(|(_, entry)| entry).chain(&scanned) {
                if let Some(told) = told(entry.filter(), &changes[*number]).transpose() {
                    concerned.push((Arc::clone(entry), told));
                }
            }
        }
    }

    /// The hashes by which entries are found that may match one of the images, beside the change's number.
    fn hash_images(
        &self,
        followed: &Followed<T>,
        images: &Images<'_>,
        number: usize,
        into: &mut Vec<(usize, u64)>,
    ) -> Result<(), Error> {
        for (column, domain) in followed.columns.load().iter() {
            let mut last = None;
            for image in images.iter().flatten() {
                let hash = image.datum(*column, *domain)?.map(|datum| self.hash(*column, *domain, datum));
                if let Some(hash) = hash.filter(|_| hash != last) {
                    into.push((number, hash));
                }
                last = hash;
            }
        }
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
        self.keyed.get_or_init(Box::default).of(hash)
    }

    /// The entries of each hash, beside the number that came with it.
    fn keyed(&self, entity: EntityId, hashes: &[(usize, u64)]) -> Vec<(usize, Arc<Entry<T>>)> {
        self.keyed.get().map(|shards| shards.gather(entity, hashes)).unwrap_or_default()
    }

    fn tell_columns(&self, changes: &HashMap<(ColumnId, Domain), usize>) {
        let known = self.columns.load();
        if known.len() != changes.len() || known.iter().any(|column| !changes.contains_key(column)) {
            self.columns.store(Arc::new(changes.keys().copied().collect()));
        }
    }
}

/// The entity that a change is of.
fn entity_of(images: &Images<'_>) -> Option<EntityId> {
    images.iter().flatten().next().map(|image| image.entity().id)
}

/// What whoever has a filter is told of a change, if anything.
fn told(filter: &Filter, [before, after]: &Images<'_>) -> Result<Option<Told>, Error> {
    let matches = |image: &Option<Image<'_>>| image.as_ref().map(|image| filter.matches(image)).transpose();
    Ok(classify(matches(before)?, matches(after)?))
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
