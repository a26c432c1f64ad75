//! Publishing in order: batches that are kept whole or not at all, each committed after the one before it.
//!
//! The messages of a batch are sent while the batch before it is being committed, so that no time is lost. NATS refuses a
//! batch with a change in it that it has already, which happens when something is published again after an error; that
//! batch is sent one by one, each after the acknowledgement of the one before.

use super::super::Error;
use super::message::{Message, Place};
use super::stream::Stream;
use crate::protocol::Change;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use std::error::Error as _;
use std::sync::Arc;
use tokio::time::timeout;
use uuid::Uuid;

/// Keeps changes in order; see [`super::super::Bus::publish`].
pub(super) async fn publish(stream: &Stream, changes: &[Arc<Change>]) -> Result<(), Error> {
    if !stream.connection.is_connected() {
        return Err(Error::Unavailable("there is no connection to NATS".to_owned()));
    }
    stream.look_after_reconnect().await?;
    let mut rest = changes;
    let mut committing: Option<Committing> = None;
    while !rest.is_empty() {
        let batch = Batch::of_first(stream, &mut rest)?;
        in_time(stream, batch.stage(stream)).await?;
        if let Some(before) = committing.take() {
            before.settle(stream).await?;
        }
        committing = Some(in_time(stream, batch.commit(stream)).await?);
    }
    match committing {
        Some(last) => last.settle(stream).await,
        None => Ok(()),
    }
}

/// Messages that are kept together.
struct Batch {
    id: String,
    messages: Vec<Message>,
}

/// A batch that was sent as a whole and is not acknowledged yet.
struct Committing {
    batch: Batch,
    seen_before: u64,
    acknowledged: PublishAckFuture,
}

impl Batch {
    /// Takes as many of the changes as fit into a batch; at least one.
    fn of_first(stream: &Stream, rest: &mut &[Arc<Change>]) -> Result<Self, Error> {
        let (epoch, max_bytes) = (stream.epoch(), stream.connection.client().max_payload());
        let mut messages = Vec::new();
        let mut bytes = 0;
        while let Some((change, after)) = rest.split_first() {
            if messages.len() >= stream.settings.batch || bytes >= stream.settings.batch_bytes {
                break;
            }
            let message = Message::new(change, &epoch, &stream.settings.prefix, max_bytes)?;
            bytes += message.payload.len();
            messages.push(message);
            *rest = after;
        }
        Ok(Self { id: Uuid::new_v4().simple().to_string(), messages })
    }

    /// Sends all messages but the last, which nobody acknowledges.
    async fn stage(&self, stream: &Stream) -> Result<(), Error> {
        let all_but_last = self.messages.len() - 1;
        for (index, message) in self.messages.iter().take(all_but_last).enumerate() {
            let headers = message.headers(&self.place(index));
            let sent = stream.connection.client().publish_with_headers(message.subject.clone(), headers, message.payload.clone());
            sent.await.map_err(|error| Error::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    /// Sends the last, which commits the batch.
    async fn commit(self, stream: &Stream) -> Result<Committing, Error> {
        let seen_before = stream.latest_seen();
        let last = self.messages.len() - 1;
        let acknowledged = send(stream, &self.messages[last], &self.place(last)).await?;
        Ok(Committing { batch: self, seen_before, acknowledged })
    }

    fn place(&self, index: usize) -> Place<'_> {
        if self.messages.len() == 1 {
            return Place::Alone;
        }
        Place::InBatch { batch: &self.id, sequence: index + 1, last: index + 1 == self.messages.len() }
    }

    async fn one_by_one(&self, stream: &Stream) -> Result<(), Error> {
        for message in &self.messages {
            let seen_before = stream.latest_seen();
            let acknowledged = in_time(stream, send(stream, message, &Place::Alone)).await?;
            let ack = acknowledged.await.map_err(|error| unavailable(&error))?;
            given(stream, &ack, 1, seen_before).await?;
        }
        Ok(())
    }
}

impl Committing {
    async fn settle(self, stream: &Stream) -> Result<(), Error> {
        match self.acknowledged.await {
            Ok(ack) => given(stream, &ack, self.batch.messages.len() as u64, self.seen_before).await,
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                stream.ensure().await?;
                self.batch.one_by_one(stream).await
            }
            Err(error) if is_kept_in_part(&error) => self.batch.one_by_one(stream).await,
            Err(error) => Err(unavailable(&error)),
        }
    }
}

async fn send(stream: &Stream, message: &Message, place: &Place<'_>) -> Result<PublishAckFuture, Error> {
    let publish = PublishMessage::build().payload(message.payload.clone()).headers(message.headers(place));
    let sent = stream.connection.jetstream().send_publish(message.subject.clone(), publish).await;
    sent.map_err(|error| unavailable(&error))
}

/// Nothing comes between the messages of a batch, so its last offset tells all of them.
async fn given(stream: &Stream, ack: &PublishAck, messages: u64, seen_before: u64) -> Result<(), Error> {
    if ack.duplicate {
        return Ok(());
    }
    let first = (ack.sequence + 1).saturating_sub(messages);
    stream.given(first..=ack.sequence, seen_before).await
}

/// Sending waits for a connection, and that can take for ever.
async fn in_time<T>(stream: &Stream, sending: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = timeout(stream.connection.request_timeout(), sending).await;
    outcome.unwrap_or_else(|_| Err(Error::Unavailable("NATS takes no messages".to_owned())))
}

fn is_kept_in_part(error: &PublishError) -> bool {
    let told = error.source().and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    told.is_some_and(|told| told.error_code() == ErrorCode::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE)
}

fn unavailable(error: &PublishError) -> Error {
    Error::Unavailable(error.to_string())
}
