//! The lease of a part: who tells of it, and how far everything is told.
//!
//! It is one key, written by compare-and-set. Whoever holds it renews it well before it is over and writes the progress with
//! that; whoever sees it unchanged for the time of a lease may take it. The holder counts from before it asked and the others
//! from when they were told, so that the holder stops first, without any clock being compared with another.

use crate::event::hub::Part;
use crate::protocol::Position;
use crate::store::{self, Bucket};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A part of what is told through a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Unit {
    pub broker: Arc<str>,
    pub part: Part,
}

/// What is kept of a part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The process that has it; none if it was handed over.
    pub holder: Option<String>,
    /// The replica's name, for people.
    pub replica: String,
    /// How far everything is told.
    #[serde(flatten)]
    pub progress: Progress,
}

/// How far a part is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Everything up to here is told and acknowledged.
    pub position: Option<Position>,
    /// Of the subscriptions that were kept up to this revision; later ones begin where they say themselves.
    pub covers: u64,
}

const LEASE: &str = "part.";
const REPLICA: &str = "replica.";

impl Unit {
    pub(super) fn key(&self) -> String {
        format!("{LEASE}{}.{}", self.part.number(), self.broker)
    }

    pub(super) fn of_key(key: &str) -> Option<Self> {
        let (number, broker) = key.strip_prefix(LEASE)?.split_once('.')?;
        let number: u8 = number.parse().ok()?;
        Some(Self { broker: broker.into(), part: Part::all().find(|part| part.number() == number)? })
    }
}

pub(super) fn replica_key(name: &str) -> String {
    format!("{REPLICA}{name}")
}

pub(super) fn replica_of(key: &str) -> Option<&str> {
    key.strip_prefix(REPLICA)
}

/// A lease that is held.
pub(super) struct Held {
    bucket: Arc<dyn Bucket>,
    unit: Unit,
    holder: String,
    replica: String,
    revision: u64,
    time: Duration,
    /// Until when it may be used.
    pub until: Instant,
}

impl Held {
    /// Takes a lease that is free, over, or not there yet, if nobody else is quicker.
    pub(super) async fn take(
        bucket: &Arc<dyn Bucket>,
        unit: &Unit,
        (holder, replica): (&str, &str),
        time: Duration,
        revision: Option<u64>,
        progress: &Progress,
    ) -> Result<Option<Self>, store::Error> {
        let mut held = Self {
            bucket: Arc::clone(bucket),
            unit: unit.clone(),
            holder: holder.to_owned(),
            replica: replica.to_owned(),
            revision: 0,
            time,
            until: Instant::now(),
        };
        let until = held.next_end();
        let value = held.value(Some(holder.to_owned()), progress)?;
        let Some(revision) = bucket.replace(&unit.key(), value, revision, None).await? else { return Ok(None) };
        (held.revision, held.until) = (revision, until);
        Ok(Some(held))
    }

    /// Renews it with the progress. `false` says that somebody else has it.
    pub(super) async fn renew(&mut self, progress: &Progress) -> Result<bool, store::Error> {
        let until = self.next_end();
        if !self.write(Some(self.holder.clone()), progress).await? {
            return Ok(false);
        }
        self.until = until;
        Ok(true)
    }

    /// Hands it over to whoever takes it.
    pub(super) async fn release(&mut self, progress: &Progress) -> Result<bool, store::Error> {
        self.write(None, progress).await
    }

    async fn write(&mut self, holder: Option<String>, progress: &Progress) -> Result<bool, store::Error> {
        for _ in 0..2 {
            let value = self.value(holder.clone(), progress)?;
            if let Some(revision) = self.bucket.replace(&self.unit.key(), value, Some(self.revision), None).await? {
                self.revision = revision;
                return Ok(true);
            }
            // A write may have been kept whose answer was lost.
            let there = self.bucket.get(&self.unit.key()).await?;
            let own = there.filter(|entry| {
                serde_json::from_slice::<Lease>(&entry.value).is_ok_and(|lease| lease.holder.as_ref() == Some(&self.holder))
            });
            let Some(own) = own else { return Ok(false) };
            self.revision = own.revision;
        }
        Ok(false)
    }

    /// A margin is left for what is on its way when the time is over.
    fn next_end(&self) -> Instant {
        Instant::now() + self.time.mul_f64(0.8)
    }

    fn value(&self, holder: Option<String>, progress: &Progress) -> Result<Bytes, store::Error> {
        let lease = Lease { holder, replica: self.replica.clone(), progress: progress.clone() };
        serde_json::to_vec(&lease).map(Bytes::from).map_err(|error| store::Error::Unusable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBucket;

    #[tokio::test]
    async fn a_lease_has_one_holder_and_keeps_the_progress() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let unit = Unit { broker: "host:1883".into(), part: Part::all().nth(3).unwrap() };
        assert_eq!(Unit::of_key(&unit.key()), Some(unit.clone()));
        let (time, none) = (Duration::from_secs(3), Progress::default());
        let (one, other) = ("one", "other");
        let take = async |who, revision| Held::take(&bucket, &unit, (who, "r"), time, revision, &none).await.unwrap();
        let mut held = take(one, None).await.unwrap();
        assert!(take(other, None).await.is_none());
        let position = Some(Position { epoch: "e".to_owned(), offset: 7 });
        let progress = Progress { position, covers: 5 };
        assert!(held.renew(&progress).await.unwrap());
        let entry = bucket.get(&unit.key()).await.unwrap().unwrap();
        let taken = take(other, Some(entry.revision)).await.unwrap();
        assert!(!held.renew(&progress).await.unwrap(), "another has it");
        assert!(!held.release(&progress).await.unwrap(), "and keeps it");
        drop(taken);
    }
}
