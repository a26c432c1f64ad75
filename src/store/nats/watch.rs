//! Watching: one consumer with the latest message of each key, made again whenever something is odd about it.
//!
//! Since it always begins with everything that is there, nothing has to be remembered and nothing can be missed.

use super::super::{Entry, Error, Told, Watch};
use super::Inner;
use super::read::{Said, said};
use crate::nats::pulling::{self, FIRST_PAUSE, LONGEST_PAUSE};
use crate::nats::subject::unescape;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::{StreamExt, stream};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, warn};

/// How many messages are asked for at once.
const PULL_MESSAGES: usize = 500;

/// Everything that is there, then what changes; see [`super::super::Bucket::watch`].
pub(super) async fn watch(bucket: Arc<Inner>) -> Result<Watch, Error> {
    let mut watcher =
        Watcher { bucket, messages: None, serial: 0, is_current: false, queue: VecDeque::new(), pause: FIRST_PAUSE };
    watcher.open().await?;
    Ok(Box::pin(stream::unfold(watcher, |mut watcher| async {
        let told = watcher.next().await;
        Some((told, watcher))
    })))
}

struct Watcher {
    bucket: Arc<Inner>,
    messages: Option<pull::Stream>,
    /// How many messages the consumer delivered.
    serial: u64,
    is_current: bool,
    queue: VecDeque<Told>,
    pause: Duration,
}

impl Watcher {
    async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.queue.pop_front() {
                return told;
            }
            if let Err(error) = self.step().await {
                debug!(%error, bucket = self.bucket.settings.name, "watching is taken up again");
                self.messages = None;
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        let Some(messages) = self.messages.as_mut() else { return self.open().await };
        let lost = || Error::Unavailable("the consumer ended".to_owned());
        let message = messages.next().await.ok_or_else(lost)?.map_err(unavailable)?;
        self.take(&message).await?;
        self.pause = FIRST_PAUSE;
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Error> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: format!("{}>", self.bucket.values_prefix()),
            ..pulling::consumer()
        };
        let consumer = self.bucket.stream().await?.create_consumer(config).await.map_err(unavailable)?;
        let messages = pulling::messages(&self.bucket.connection, &consumer, PULL_MESSAGES).await.map_err(unavailable)?;
        self.messages = Some(messages);
        self.serial = 0;
        self.queue.push_back(Told::Beginning);
        self.is_current = consumer.cached_info().num_pending == 0;
        if self.is_current {
            self.queue.push_back(Told::Current);
        }
        Ok(())
    }

    async fn take(&mut self, message: &jetstream::Message) -> Result<(), Error> {
        let info = message.info().map_err(unavailable)?;
        if info.consumer_sequence != self.serial + 1 {
            return Err(Error::Unavailable("messages were lost on the way".to_owned()));
        }
        let (revision, pending) = (info.stream_sequence, info.pending);
        let told = self.told(message, revision).await?;
        self.serial += 1;
        self.queue.extend(told);
        if !self.is_current && pending == 0 {
            self.is_current = true;
            self.queue.push_back(Told::Current);
        }
        Ok(())
    }

    async fn told(&self, message: &jetstream::Message, revision: u64) -> Result<Option<Told>, Error> {
        let token = message.subject.strip_prefix(&self.bucket.values_prefix());
        let Some(key) = token.and_then(unescape) else {
            warn!(bucket = self.bucket.settings.name, "a key that is none of ours is left out");
            return Ok(None);
        };
        let value = match said(message.headers.as_ref()) {
            Said::Removed => return Ok(Some(Told::Removed { key })),
            Said::Whole => message.payload.clone(),
            // Without parts it is out of date, and what came after it is on its way.
            Said::Cut { id, parts } => match self.bucket.parts(&key, &id, parts).await? {
                Some(value) => value,
                None => return Ok(None),
            },
            Said::Unreadable => {
                warn!(bucket = self.bucket.settings.name, key, "a value that is none of ours is left out");
                return Ok(None);
            }
        };
        Ok(Some(Told::Put(Entry { key, value, revision })))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn unavailable(error: impl ToString) -> Error {
    Error::Unavailable(error.to_string())
}
