//! Getting: the value's message, and its parts if it was cut.

use super::super::{Entry, Error};
use super::{ATTEMPTS, Inner, OPERATION, PARTS};
use async_nats::HeaderMap;
use async_nats::header::NATS_MARKER_REASON;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::{Bytes, BytesMut};

/// What a message under a key says.
pub(super) enum Said {
    Whole,
    Cut { id: String, parts: usize },
    Removed,
    Unreadable,
}

impl Inner {
    pub(super) async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        for _ in 0..ATTEMPTS {
            let Some(head) = self.head(key).await? else { return Ok(None) };
            let value = match said(Some(&head.headers)) {
                Said::Removed => return Ok(None),
                Said::Unreadable => return Err(Error::Unusable(format!("key '{key}' was written by somebody else"))),
                Said::Whole => Some(head.payload),
                Said::Cut { id, parts } => self.parts(key, &id, parts).await?,
            };
            if let Some(value) = value {
                return Ok(Some(Entry { key: key.to_owned(), value, revision: head.sequence }));
            }
        }
        Err(Error::Unavailable(format!("key '{key}' is written by others again and again")))
    }

    /// The message under a key, as the leader of the stream has it.
    pub(super) async fn head(&self, key: &str) -> Result<Option<StreamMessage>, Error> {
        self.last(&self.value_subject(key)).await
    }

    /// The parts of a value as one; nothing if they were purged, since another value is there by now.
    pub(super) async fn parts(&self, key: &str, id: &str, parts: usize) -> Result<Option<Bytes>, Error> {
        let mut value = BytesMut::new();
        for number in 0..parts {
            let Some(part) = self.last(&format!("{}{id}.{number}", self.parts_prefix(key))).await? else { return Ok(None) };
            if !matches!(said(Some(&part.headers)), Said::Whole) {
                return Ok(None);
            }
            value.extend_from_slice(&part.payload);
        }
        Ok(Some(value.freeze()))
    }

    async fn last(&self, subject: &str) -> Result<Option<StreamMessage>, Error> {
        let stream = self.connection.jetstream().get_stream_no_info(self.stream_name()).await;
        let stream = stream.map_err(|error| Error::Unavailable(error.to_string()))?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                _ => Err(Error::Unavailable(error.to_string())),
            },
        }
    }
}

/// What the headers of a message say of it.
pub(super) fn said(headers: Option<&HeaderMap>) -> Said {
    let Some(headers) = headers else { return Said::Whole };
    if headers.get(OPERATION).is_some() || headers.get(NATS_MARKER_REASON).is_some() {
        return Said::Removed;
    }
    let Some(parts) = headers.get(PARTS) else { return Said::Whole };
    let parsed = parts.as_str().split_once(' ').and_then(|(id, parts)| Some((id, parts.parse().ok()?)));
    match parsed {
        Some((id, parts)) => Said::Cut { id: id.to_owned(), parts },
        None => Said::Unreadable,
    }
}
