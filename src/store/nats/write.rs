//! Putting and deleting: whole values at once, cut ones part by part.

use super::super::Error;
use super::read::{Said, said};
use super::{ATTEMPTS, Inner, OPERATION, PARTS, REMOVAL_LIFETIME};
use async_nats::HeaderMap;
use async_nats::header::{NATS_MESSAGE_TTL, NATS_ROLLUP};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use bytes::Bytes;
use std::error::Error as _;
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

/// Parts outlive the value that names them, so that a reader that has the name gets them.
const PARTS_OUTLIVE: Duration = Duration::from_mins(1);

/// What a put came to.
enum Put {
    Kept(u64),
    /// Somebody else was quicker.
    Overtaken,
}

impl Inner {
    pub(super) async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        if value.len() <= self.part_bytes() {
            let message = PublishMessage::build().payload(value).headers(headers(lifetime));
            return self.kept(self.send(self.value_subject(key), message).await);
        }
        for _ in 0..ATTEMPTS {
            let before = self.head(key).await?.map_or(0, |head| head.sequence);
            if let Put::Kept(revision) = self.put_in_parts(key, &value, lifetime, before).await? {
                return Ok(revision);
            }
        }
        Err(Error::Unavailable(format!("key '{key}' is written by others again and again")))
    }

    pub(super) async fn replace(
        &self,
        key: &str,
        value: &Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        let head = self.head(key).await?;
        let removed = |head: &StreamMessage| matches!(said(Some(&head.headers)), Said::Removed);
        let there = head.as_ref().filter(|head| !removed(head)).map(|head| head.sequence);
        if there != revision {
            return Ok(None);
        }
        // A key that was removed has a message that says so.
        let before = head.map_or(0, |head| head.sequence);
        let put = if value.len() <= self.part_bytes() {
            let message = PublishMessage::build().payload(value.clone()).headers(headers(lifetime));
            self.put_over(before, self.value_subject(key), message).await?
        } else {
            self.put_in_parts(key, value, lifetime, before).await?
        };
        Ok(match put {
            Put::Kept(revision) => Some(revision),
            Put::Overtaken => None,
        })
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let revision = self.kept(self.send(self.value_subject(key), removal()).await)?;
        self.purge_parts(key, revision).await;
        Ok(())
    }

    pub(super) async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        match self.put_over(revision, self.value_subject(key), removal()).await? {
            Put::Kept(revision) => {
                self.purge_parts(key, revision).await;
                Ok(true)
            }
            Put::Overtaken => Ok(false),
        }
    }

    async fn put_in_parts(&self, key: &str, value: &Bytes, lifetime: Option<Duration>, before: u64) -> Result<Put, Error> {
        let id = Uuid::new_v4().simple().to_string();
        let parts_lifetime = lifetime.map(|lifetime| lifetime + PARTS_OUTLIVE);
        let (mut number, mut first) = (0, None);
        for start in (0..value.len()).step_by(self.part_bytes()) {
            let part = value.slice(start..value.len().min(start + self.part_bytes()));
            let message = PublishMessage::build().payload(part).headers(headers(parts_lifetime));
            let sequence = self.kept(self.send(format!("{}{id}.{number}", self.parts_prefix(key)), message).await)?;
            first.get_or_insert(sequence);
            number += 1;
        }
        let mut headers = headers(lifetime);
        headers.insert(PARTS, format!("{id} {number}"));
        let put = self.put_over(before, self.value_subject(key), PublishMessage::build().headers(headers)).await?;
        if let Put::Kept(revision) = put {
            self.purge_parts(key, first.unwrap_or(revision)).await;
        }
        Ok(put)
    }

    /// Sends a value if the latest message of its subject is still this one.
    async fn put_over(&self, before: u64, subject: String, message: PublishMessage) -> Result<Put, Error> {
        match self.send(subject, message.expected_last_subject_sequence(before)).await {
            Ok(revision) => Ok(Put::Kept(revision)),
            Err(Refusal::Publish(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(Put::Overtaken),
            refused => self.kept(refused).map(Put::Kept),
        }
    }

    /// Purges the parts of a key below a revision. If it fails they only take room until the next put.
    async fn purge_parts(&self, key: &str, below: u64) {
        // Nothing is. Servers before 2.15 take "below the first" for all there are, the ones just kept among them.
        if below <= 1 {
            return;
        }
        let purged = match self.stream().await {
            Ok(stream) => {
                let purge = stream.purge().filter(format!("{}>", self.parts_prefix(key))).sequence(below);
                purge.await.map(|_| ()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = purged {
            warn!(bucket = self.settings.name, error, "parts of an earlier value stay for now");
        }
    }

    /// Sends a message and waits until it is kept; the answer is its sequence.
    async fn send(&self, subject: String, message: PublishMessage) -> Result<u64, Refusal> {
        let sending = self.connection.jetstream().send_publish(subject, message);
        // Sending waits for a connection, and that can take for ever.
        let sent = timeout(self.connection.request_timeout(), sending).await.map_err(|_| Refusal::NoConnection)?;
        let ack = sent.map_err(Refusal::Publish)?.await.map_err(Refusal::Publish)?;
        Ok(ack.sequence)
    }

    fn kept(&self, outcome: Result<u64, Refusal>) -> Result<u64, Error> {
        outcome.map_err(|refusal| match refusal {
            Refusal::NoConnection => Error::Unavailable("NATS takes no messages".to_owned()),
            Refusal::Publish(error) if is_full(&error) => Error::Unusable(format!("bucket {} is full", self.settings.name)),
            Refusal::Publish(error) => Error::Unavailable(error.to_string()),
        })
    }
}

/// Why a message was not kept.
enum Refusal {
    NoConnection,
    Publish(PublishError),
}

fn is_full(error: &PublishError) -> bool {
    let told = error.source().and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    told.is_some_and(|told| told.error_code() == ErrorCode::STREAM_STORE_FAILED)
}

/// What stands under a key that was removed, and takes away what was there.
fn removal() -> PublishMessage {
    let mut headers = headers(Some(REMOVAL_LIFETIME));
    headers.insert(OPERATION, "PURGE");
    headers.insert(NATS_ROLLUP, "sub");
    PublishMessage::build().headers(headers)
}

fn headers(lifetime: Option<Duration>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(lifetime) = lifetime {
        let seconds = lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0);
        headers.insert(NATS_MESSAGE_TTL, seconds.max(1).to_string());
    }
    headers
}
