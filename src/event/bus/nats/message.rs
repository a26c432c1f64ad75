//! A change as a message of the stream, and back.
//!
//! Pure. The payload is the change's JSON, the subject its names, the message id its id in its epoch; so other programs can
//! follow the stream as well. What does not fit is sent without its images, which a header tells.

use super::super::omit::{has_images, omitted};
use super::super::{Error, Event};
use crate::nats::subject::escape;
use crate::protocol::Change;
use async_nats::HeaderMap;
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Tells that the images were left out.
const OMITTED: &str = "ResolveSpec-Omitted";

/// What headers take beside the message id, with room to spare.
const HEADER_BYTES: usize = 512;

/// NATS takes control lines of 4096 bytes, the subject and the reply among them.
const MAX_SUBJECT_BYTES: usize = 3072;

/// A token of a subject beyond this is cut: there are three of them. The payload has the whole names.
const MAX_TOKEN_BYTES: usize = 512;

/// A message that can be sent, alone or in a batch.
pub(super) struct Message {
    pub subject: String,
    pub payload: Bytes,
    id: String,
    omitted: bool,
}

/// Where a message stands in a batch.
pub(super) enum Place<'a> {
    Alone,
    InBatch { batch: &'a str, sequence: usize, last: bool },
}

impl Message {
    /// The message for a change, of at most so many bytes with its headers. A database that was restored gives an id to
    /// another change, in another epoch, which NATS must not take for the one that it has.
    pub(super) fn new(change: &Change, epoch: &str, prefix: &str, max_bytes: usize) -> Result<Self, Error> {
        let subject = subject(change, prefix)?;
        let id = format!("{epoch}.{}", escape(&change.id));
        let room = max_bytes.saturating_sub(HEADER_BYTES + id.len());
        let whole = encode(change)?;
        if whole.len() <= room {
            return Ok(Self { subject, payload: whole.into(), id, omitted: !has_images(change) });
        }
        let payload = encode(&omitted(change, room / 2))?;
        Ok(Self { subject, payload: payload.into(), id, omitted: true })
    }

    pub(super) fn headers(&self, place: &Place<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, self.id.as_str());
        if self.omitted {
            headers.insert(OMITTED, "images");
        }
        if let Place::InBatch { batch, sequence, last } = place {
            headers.insert(NATS_BATCH_ID, *batch);
            headers.insert(NATS_BATCH_SEQUENCE, sequence.to_string());
            if *last {
                headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            }
        }
        headers
    }
}

/// What a message of the stream tells.
pub(super) fn decode(payload: &[u8], headers: Option<&HeaderMap>) -> Event {
    let Ok(change) = serde_json::from_slice::<Change>(payload) else { return Event::Unreadable };
    if headers.is_some_and(|headers| headers.get(OMITTED).is_some()) {
        return Event::Omitted(Arc::new(change));
    }
    Event::Change(Arc::new(change))
}

/// The epoch that a message was published for, as whoever published it knew it.
pub(super) fn epoch_of(headers: Option<&HeaderMap>) -> Option<&str> {
    let (epoch, _) = headers?.get(NATS_MESSAGE_ID)?.as_str().split_once('.')?;
    Some(epoch)
}

fn encode(change: &Change) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(change).map_err(|error| Error::Unusable(format!("change {} can't be encoded: {error}", change.id)))
}

fn subject(change: &Change, prefix: &str) -> Result<String, Error> {
    let names = [&change.source, &change.schema, &change.entity].map(|name| token(name));
    let subject = format!("{prefix}.{}.{}", names.join("."), change.operation);
    if subject.len() > MAX_SUBJECT_BYTES {
        return Err(Error::Unusable("the name that everything in NATS has is too long for a subject".to_owned()));
    }
    Ok(subject)
}

/// The subjects of a source's changes.
pub(super) fn subjects_of(source: &str, prefix: &str) -> String {
    format!("{prefix}.{}.>", token(source))
}

/// A name as a token; of one that is too long its beginning and its hash, which is the token of no other name.
fn token(name: &str) -> String {
    let mut token = escape(name);
    if token.len() > MAX_TOKEN_BYTES {
        token.truncate(MAX_TOKEN_BYTES - 34);
        // No name has such letters after this sign. Writing to a string can't fail.
        _ = write!(token, "=h{:032x}", xxh3_128(name.as_bytes()));
    }
    token
}

#[cfg(test)]
mod tests {
    use super::{MAX_TOKEN_BYTES, token};

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = "ä".repeat(400);
        let (one, other) = (token(&format!("{long}1")), token(&format!("{long}2")));
        assert_eq!((one.len(), other.len()), (MAX_TOKEN_BYTES, MAX_TOKEN_BYTES));
        assert_ne!(one, other);
        assert_eq!(token("orders"), "orders");
    }
}
