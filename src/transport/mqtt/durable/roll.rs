//! What the buckets have, as one watcher of each was told: subscriptions in one, leases of parts and replicas in the other.
//!
//! Times are those at which this replica learned of something, by its own clock: no two clocks are ever compared.

use super::kept::{self, Kept};
use super::lease::{self, Lease, Unit};
use crate::store::{self, Bucket, Entry, Told};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout};

/// Changes of subscriptions that a server of a part may be behind before it looks at all of them.
const CHANGES: usize = 1024;
const RETRY: Duration = Duration::from_millis(500);
/// What the keys of marks begin with, which say nothing but that all before them was told.
const MARK: &str = "mark.";
const MARK_LIFETIME: Duration = Duration::from_mins(1);
/// A watcher that is further behind is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an entry takes of a bucket beside its value.
const ENTRY_BYTES: usize = 256;

/// Which of the buckets something was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Subscriptions,
    Leases,
}

/// The roll.
pub(super) struct Roll {
    inner: Mutex<Inner>,
    /// The ids of subscriptions that were put or removed.
    changes: broadcast::Sender<Arc<str>>,
    /// The revision of the subscriptions' bucket that was told last, for who waits for one or for anything at all.
    told: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// Everything was told once, of each bucket.
    knows_subscriptions: bool,
    knows_leases: bool,
    subscriptions: HashMap<Arc<str>, Entered>,
    /// What they take of their bucket.
    bytes: usize,
    clients: HashMap<(String, String), BTreeSet<Arc<str>>>,
    leases: HashMap<Unit, Seen<Lease>>,
    replicas: HashMap<String, Seen<Vec<String>>>,
}

/// A subscription, and its revision.
#[derive(Clone)]
pub(super) struct Entered {
    pub kept: Arc<Kept>,
    pub revision: u64,
    /// What it takes of the bucket.
    bytes: usize,
    claims_bytes: usize,
}

/// Something that has to be renewed, and when that was seen last.
#[derive(Debug, Clone)]
pub(super) struct Seen<T> {
    pub value: T,
    pub revision: u64,
    pub at: Instant,
}

impl Entered {
    /// The revision under which it was kept first when its client had been answered.
    pub(super) fn since(&self) -> u64 {
        self.kept.since.unwrap_or(self.revision)
    }

    /// The revision under which it was kept first, also before its client had been answered.
    pub(super) fn begun(&self) -> u64 {
        self.kept.begun(self.revision)
    }

    /// What it takes that its client has said, and that is said of its client.
    pub(super) fn said_bytes(&self) -> usize {
        self.kept.said.len() + self.claims_bytes
    }
}

impl Roll {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), changes: broadcast::channel(CHANGES).0, told: watch::channel(0).0 }
    }

    /// Follows the buckets for ever.
    pub(super) async fn follow(&self, subscriptions: &dyn Bucket, leases: &dyn Bucket) {
        tokio::join!(self.follow_one(subscriptions, Of::Subscriptions), self.follow_one(leases, Of::Leases));
    }

    async fn follow_one(&self, bucket: &dyn Bucket, of: Of) {
        loop {
            match bucket.watch().await {
                Ok(mut watch) => {
                    let mut anew: Option<HashSet<String>> = None;
                    while let Some(told) = watch.next().await {
                        self.take(told, of, &mut anew);
                    }
                }
                Err(error) => tracing::warn!(%error, "subscriptions can't be followed for now"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn take(&self, told: Told, of: Of, anew: &mut Option<HashSet<String>>) {
        let mut changed = Vec::new();
        let revision = match &told {
            Told::Beginning => Some(0),
            Told::Put(entry) => Some(entry.revision),
            Told::Removed { .. } | Told::Current => None,
        };
        {
            let mut inner = self.inner();
            match told {
                Told::Beginning => *anew = Some(HashSet::new()),
                Told::Put(entry) => {
                    if let Some(anew) = anew {
                        anew.insert(entry.key.clone());
                    }
                    changed.extend(inner.put(&entry));
                }
                Told::Removed { key } => changed.extend(inner.remove(&key)),
                Told::Current => {
                    if let Some(there) = anew.take() {
                        for key in inner.keys(of).into_iter().filter(|key| !there.contains(key)) {
                            changed.extend(inner.remove(&key));
                        }
                    }
                    match of {
                        Of::Subscriptions => inner.knows_subscriptions = true,
                        Of::Leases => inner.knows_leases = true,
                    }
                }
            }
        }
        for id in changed {
            // Nobody may serve a part here.
            _ = self.changes.send(id);
        }
        let revision = revision.filter(|_| of == Of::Subscriptions);
        self.told.send_modify(|last| *last = revision.unwrap_or(*last));
    }

    /// Waits until everything is known that the bucket has at this moment, and answers a revision that all of that is older than, and
    /// nothing that comes after the call; whoever waits has a name of its own.
    pub(super) async fn catch_up(&self, bucket: &dyn Bucket, name: &str) -> Result<u64, store::Error> {
        let mut told = self.told.subscribe();
        let mut first = None;
        // What is written over while the first mark is waited for is told after that mark, and before the second.
        for _ in 0..2 {
            let revision = bucket.put(&format!("{MARK}{name}"), Bytes::new(), Some(MARK_LIFETIME)).await?;
            first = first.or(Some(revision));
            if timeout(PATIENCE, told.wait_for(|last| *last >= revision)).await.is_err() {
                return Err(store::Error::Unavailable("what the bucket has is not told in time".to_owned()));
            }
        }
        Ok(first.unwrap_or_default())
    }

    /// The ids of subscriptions that change from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<Arc<str>> {
        self.changes.subscribe()
    }

    /// Is told of everything.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Whether what had a revision of the subscriptions' bucket was told.
    pub(super) fn has_told(&self, revision: u64) -> bool {
        *self.told.borrow() >= revision
    }

    pub(super) fn is_current(&self) -> bool {
        let inner = self.inner();
        inner.knows_subscriptions && inner.knows_leases
    }

    pub(super) fn subscription(&self, id: &str) -> Option<Entered> {
        self.inner().subscriptions.get(id).cloned()
    }

    /// All of a broker.
    pub(super) fn of_broker(&self, broker: &str) -> Vec<(Arc<str>, Entered)> {
        let inner = self.inner();
        let all = inner.subscriptions.iter().filter(|(_, one)| one.kept.broker == broker);
        all.map(|(id, one)| (Arc::clone(id), one.clone())).collect()
    }

    /// All of a client.
    pub(super) fn of_client(&self, broker: &str, client: &str) -> Vec<(Arc<str>, Entered)> {
        let inner = self.inner();
        let ids = inner.clients.get(&(broker.to_owned(), client.to_owned()));
        let found = ids.into_iter().flatten().filter_map(|id| Some((Arc::clone(id), inner.subscriptions.get(id)?.clone())));
        found.collect()
    }

    /// Some of all, for people.
    pub(super) fn some(&self, most: usize) -> Vec<(Arc<str>, Entered)> {
        self.inner().subscriptions.iter().take(most).map(|(id, one)| (Arc::clone(id), one.clone())).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.inner().subscriptions.len()
    }

    /// What all of them take of the bucket.
    pub(super) fn bytes(&self) -> usize {
        self.inner().bytes
    }

    pub(super) fn count_of(&self, broker: &str) -> usize {
        let inner = self.inner();
        let of_broker = inner.clients.iter().filter(|((other, _), _)| other == broker);
        of_broker.map(|(_, ids)| ids.len()).sum()
    }

    pub(super) fn leases(&self, broker: &str) -> HashMap<Unit, Seen<Lease>> {
        let inner = self.inner();
        let of_broker = inner.leases.iter().filter(|(unit, _)| unit.broker.as_ref() == broker);
        of_broker.map(|(unit, seen)| (unit.clone(), seen.clone())).collect()
    }

    /// The replicas that said so lately that they can reach a broker.
    pub(super) fn replicas(&self, broker: &str, lately: Duration) -> BTreeSet<String> {
        let inner = self.inner();
        let live = inner.replicas.iter().filter(|(_, seen)| seen.at.elapsed() < lately);
        live.filter(|(_, seen)| seen.value.iter().any(|one| one == broker)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a process has told lately that it is there.
    pub(super) fn lives(&self, holder: &str, lately: Duration) -> bool {
        self.inner().replicas.get(holder).is_some_and(|seen| seen.at.elapsed() < lately)
    }

    /// Held for as long as it takes to look something up.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, entry: &Entry) -> Option<Arc<str>> {
        if let Some(id) = kept::id_of(&entry.key) {
            let kept: Kept = read(entry)?;
            let id: Arc<str> = id.into();
            self.clients.entry((kept.broker.clone(), kept.client.clone())).or_default().insert(Arc::clone(&id));
            let bytes = entry.key.len() + entry.value.len() + ENTRY_BYTES;
            let claims_bytes = kept::claims_bytes(&kept.claims);
            let entered = Entered { kept: Arc::new(kept), revision: entry.revision, bytes, claims_bytes };
            self.bytes += bytes;
            if let Some(before) = self.subscriptions.insert(Arc::clone(&id), entered) {
                self.bytes -= before.bytes;
            }
            return Some(id);
        }
        if let Some(unit) = Unit::of_key(&entry.key) {
            renewed(&mut self.leases, unit, read(entry)?, entry.revision);
        } else if let Some(name) = lease::replica_of(&entry.key) {
            renewed(&mut self.replicas, name.to_owned(), read(entry)?, entry.revision);
        }
        None
    }

    fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        if let Some(id) = kept::id_of(key) {
            let (id, one) = self.subscriptions.remove_entry(id)?;
            self.bytes -= one.bytes;
            let client = (one.kept.broker.clone(), one.kept.client.clone());
            if let Some(ids) = self.clients.get_mut(&client) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.clients.remove(&client);
                }
            }
            return Some(id);
        }
        if let Some(unit) = Unit::of_key(key) {
            self.leases.remove(&unit);
        } else if let Some(name) = lease::replica_of(key) {
            self.replicas.remove(name);
        }
        None
    }

    fn keys(&self, of: Of) -> Vec<String> {
        match of {
            Of::Subscriptions => self.subscriptions.keys().map(|id| kept::key(id)).collect(),
            Of::Leases => {
                let replicas = self.replicas.keys().map(|name| lease::replica_key(name));
                self.leases.keys().map(Unit::key).chain(replicas).collect()
            }
        }
    }
}

/// Takes what was told; the same told again is not seen later for that.
fn renewed<K: std::hash::Hash + Eq, T>(all: &mut HashMap<K, Seen<T>>, key: K, value: T, revision: u64) {
    if all.get(&key).is_none_or(|before| before.revision != revision) {
        all.insert(key, Seen { value, revision, at: Instant::now() });
    }
}

fn read<T: serde::de::DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value)
        .inspect_err(|error| tracing::error!(%error, key = entry.key, "a value of the bucket can't be read"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBucket;
    use futures_util::FutureExt;
    use serde_json::json;

    fn kept(client: &str) -> Bytes {
        let kept = json!({"broker": "b", "client": client, "subject": null, "roles": [], "claims": {}, "schema": "main",
            "entity": "items", "said": {"entity": "items"}, "began": {"epoch": "e", "offset": 1}, "created": 1, "heard": 1});
        kept.to_string().into()
    }

    #[tokio::test]
    async fn whoever_has_caught_up_knows_what_the_bucket_had_before() {
        let (roll, bucket, leases) = (Roll::new(), MemoryBucket::default(), MemoryBucket::default());
        let asks = async {
            for number in 0..20 {
                let (id, client) = (format!("s{number}"), format!("c{number}"));
                for _ in 0..3 {
                    bucket.put(&kept::key(&id), kept(&client), None).await.unwrap();
                }
                roll.catch_up(&bucket, "one").await.unwrap();
                assert_eq!(roll.of_client("b", &client).len(), 1);
                assert!(roll.bytes() > kept(&client).len());
                bucket.delete(&kept::key(&id)).await.unwrap();
                roll.catch_up(&bucket, "one").await.unwrap();
                assert!(roll.subscription(&id).is_none());
            }
        };
        tokio::select! {
            () = roll.follow(&bucket, &leases) => panic!("it is followed for ever"),
            () = asks => {}
        }
        assert_eq!((roll.count(), roll.bytes()), (0, 0), "marks are no subscriptions");
    }

    #[tokio::test]
    async fn what_is_kept_while_somebody_catches_up_is_told_from_what_was_there() {
        let (roll, bucket, leases) = (Roll::new(), MemoryBucket::default(), MemoryBucket::default());
        bucket.put(&kept::key("early"), kept("c"), None).await.unwrap();
        let mut asking = Box::pin(roll.catch_up(&bucket, "one"));
        assert!((&mut asking).now_or_never().is_none(), "nobody is told of anything yet");
        bucket.put(&kept::key("late"), kept("c"), None).await.unwrap();
        let now = tokio::select! {
            () = roll.follow(&bucket, &leases) => panic!("it is followed for ever"),
            now = asking => now.unwrap(),
        };
        let begun = |id| roll.subscription(id).expect("it is known").begun();
        assert!(begun("early") < now && now < begun("late"), "{} {now} {}", begun("early"), begun("late"));
    }

    #[test]
    fn what_is_told_anew_of_one_bucket_says_nothing_of_the_other() {
        let roll = Roll::new();
        let lease = json!({"holder": "h", "replica": "r", "position": null, "covers": 7}).to_string();
        let unit = Unit { broker: "b".into(), part: crate::event::hub::Part::all().next().unwrap() };
        let entry = |key: String, value: Bytes, revision: u64| Told::Put(Entry { key, value, revision });
        let mut anew = None;
        for told in [Told::Beginning, entry(kept::key("s"), kept("c"), 5), Told::Current] {
            roll.take(told, Of::Subscriptions, &mut anew);
        }
        assert!(!roll.is_current(), "nothing is known of leases");
        for told in [Told::Beginning, entry(unit.key(), lease.into(), 9), Told::Current] {
            roll.take(told, Of::Leases, &mut anew);
        }
        assert!(roll.is_current() && roll.has_told(5) && !roll.has_told(6), "the revisions of leases are their own");
        assert_eq!((roll.count(), roll.leases("b").len()), (1, 1));
        for told in [Told::Beginning, Told::Current] {
            roll.take(told, Of::Subscriptions, &mut anew);
        }
        assert_eq!((roll.count(), roll.leases("b").len()), (0, 1));
    }
}
