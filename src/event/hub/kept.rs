//! Sessions that outlive their connections: what a client has subscribed to and how far it has heard, kept in a bucket for
//! a while, so that it gets all of it back on any replica.
//!
//! A session is a head, which says whose it is, and parts with some of its subscriptions each: what begins or ends one writes
//! its part alone, however many there are. The head counts the parts, and a part is written before it is counted, so that
//! none that is counted was never there.
//!
//! A session belongs to whoever began it, and to one connection. Whoever takes it raises the head's term, then each part's.
//! Taking and writing are compare-and-set, and what has a higher term is never written over: of two connections that take it
//! at once one has it, and an older connection that has not noticed its end yet writes nothing over that.

use crate::auth::Principal;
use crate::protocol::{Code, Error, Position, Said};
use crate::store::{self, Bucket, Entry};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Where sessions are kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) lifetime: Duration,
}

/// What stands under a session's own key.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Whose it is.
    pub(super) identity: Value,
    /// How many connections have had it.
    pub(super) term: u64,
    /// How many parts it has.
    pub(super) parts: usize,
}

/// Some of a session's subscriptions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The connection that wrote it last.
    pub(super) term: u64,
    pub(super) subscriptions: Vec<StoredSubscription>,
}

/// A subscription of a session.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredSubscription {
    pub(super) id: String,
    pub(super) said: Said,
    /// Everything up to here has reached the client; none while it has to be told to read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<Position>,
    /// The form in which that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) form: Option<u64>,
}

/// The term of either.
#[derive(Deserialize)]
struct Term {
    term: u64,
}

/// A session that was taken, with the revisions of what it is made of.
pub(super) struct Taken {
    pub(super) term: u64,
    pub(super) head: u64,
    pub(super) parts: Vec<(Vec<StoredSubscription>, u64)>,
}

/// How often a value that changes under our hands is tried again; only the same connection or one that takes it changes it.
const ATTEMPTS: usize = 10;

/// Parts that are read or written at once.
pub(super) const AT_ONCE: usize = 8;

/// What came of a write.
pub(super) enum Written {
    /// It is kept, as this revision.
    Kept(u64),
    /// Another connection has the session, for ever.
    Taken,
}

impl Kept {
    /// Writes a session's head, unless another connection has taken it. `revision` is that of what the connection wrote last.
    /// One without subscriptions is kept as well, so that nobody who had it before takes it for forgotten and writes it again.
    pub(super) async fn write_head(&self, session: &str, head: &Head, revision: Option<u64>) -> Result<Written, store::Error> {
        self.write(&head_key(session), text(head)?, head.term, revision).await
    }

    /// Writes a part of a session, as the head is written.
    pub(super) async fn write_part(
        &self,
        session: &str,
        number: usize,
        part: &Part,
        revision: Option<u64>,
    ) -> Result<Written, store::Error> {
        self.write(&part_key(session, number), text(part)?, part.term, revision).await
    }

    async fn write(&self, key: &str, text: Bytes, term: u64, revision: Option<u64>) -> Result<Written, store::Error> {
        let mut expected = revision;
        for _ in 0..ATTEMPTS {
            if let Some(revision) = self.bucket.replace(key, text.clone(), expected, Some(self.lifetime)).await? {
                return Ok(Written::Kept(revision));
            }
            let entry = self.bucket.get(key).await?;
            let known = entry.as_ref().and_then(|entry| serde_json::from_slice::<Term>(&entry.value).ok());
            if known.is_some_and(|known| known.term > term) {
                return Ok(Written::Taken);
            }
            // Its time was over, an earlier write was kept whose answer was lost, or it is a part that somebody who had the
            // session before wrote and could not have counted any more.
            expected = entry.map(|entry| entry.revision);
        }
        Err(contended(key))
    }

    /// Takes a session from the connection that has it, for one of the same client.
    pub(super) async fn take(&self, session: &str, principal: &Principal) -> Result<Taken, Error> {
        if uuid::Uuid::try_parse(session).is_err() {
            return Err(unknown());
        }
        let (Head { term, parts, .. }, head) = self.take_head(session, principal).await?;
        let parts = stream::iter((0..parts).map(|number| self.take_part(session, number, term)));
        let parts: Vec<_> = parts.buffered(AT_ONCE).try_collect().await?;
        if parts.iter().all(|(subscriptions, _)| subscriptions.is_empty()) {
            return Err(unknown());
        }
        Ok(Taken { term, head, parts })
    }

    async fn take_head(&self, session: &str, principal: &Principal) -> Result<(Head, u64), Error> {
        let key = head_key(session);
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let entry = self.entry(&key).await?;
            let mut head: Head = read(&entry)?;
            if head.identity != principal.identity() {
                return Err(unknown());
            }
            if *before.get_or_insert(head.term) != head.term {
                return Err(taken_meanwhile());
            }
            head.term += 1;
            if let Some(revision) = self.raise(&key, &head, &entry).await? {
                return Ok((head, revision));
            }
            // Whoever has it may have written it anew; that is no reason to leave it to them.
        }
        Err(unavailable(&contended(&key)))
    }

    async fn take_part(&self, session: &str, number: usize, term: u64) -> Result<(Vec<StoredSubscription>, u64), Error> {
        let key = part_key(session, number);
        for _ in 0..ATTEMPTS {
            // The time of one that was counted is over: whatever else there is would not be the whole session.
            let entry = self.entry(&key).await?;
            let mut part: Part = read(&entry)?;
            if part.term > term {
                return Err(taken_meanwhile());
            }
            part.term = term;
            if let Some(revision) = self.raise(&key, &part, &entry).await? {
                return Ok((part.subscriptions, revision));
            }
        }
        Err(unavailable(&contended(&key)))
    }

    async fn entry(&self, key: &str) -> Result<Entry, Error> {
        self.bucket.get(key).await.map_err(|error| unavailable(&error))?.ok_or_else(unknown)
    }

    /// Writes what was read with another term, unless it has changed since.
    async fn raise(&self, key: &str, value: &impl Serialize, entry: &Entry) -> Result<Option<u64>, Error> {
        let text = text(value).map_err(|error| unavailable(&error))?;
        let replaced = self.bucket.replace(key, text, Some(entry.revision), Some(self.lifetime)).await;
        replaced.map_err(|error| unavailable(&error))
    }
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        tracing::error!(%error, "a session can't be read");
        unknown()
    })
}

fn text(value: &impl Serialize) -> Result<Bytes, store::Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| store::Error::Unusable(error.to_string()))
}

fn unknown() -> Error {
    Error::new(Code::SessionNotFound, "there is no such session, or its time is over; subscribe again")
}

fn taken_meanwhile() -> Error {
    Error::new(Code::Unavailable, "another connection takes this session at the same time; connect again")
}

fn contended(key: &str) -> store::Error {
    store::Error::Unavailable(format!("key '{key}' is written by others again and again"))
}

fn head_key(session: &str) -> String {
    format!("session.{session}")
}

fn part_key(session: &str, number: usize) -> String {
    format!("session.{session}.{number}")
}

fn unavailable(error: &store::Error) -> Error {
    tracing::warn!(%error, "sessions can't be reached");
    Error::new(Code::Unavailable, "sessions can't be reached now; connect again")
}

#[cfg(test)]
mod tests;
