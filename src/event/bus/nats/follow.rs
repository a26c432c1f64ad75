//! Following the stream: one consumer for each follower, made again whenever something is odd about it.
//!
//! The consumer lives in the memory of one server and acknowledges nothing, so it costs NATS little and is lost easily; what
//! counts is the offset that was handed on last. A message that is not the very next one is never handed on: the consumer is
//! made anew from the offset, and if the stream itself has a gap there, the follower ends.

use super::super::{Deliveries, Delivery, Error, Extent};
use super::message::{decode, epoch_of};
use super::stream::Stream;
use crate::nats::pulling::{self, FIRST_PAUSE, LONGEST_PAUSE};
use crate::protocol::Position;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_util::task::TaskTracker;
use tracing::debug;

/// How many messages are asked for at once.
const PULL_MESSAGES: usize = 1000;
/// How often it is looked whether the stream is still the same.
const EPOCH_CHECK: Duration = Duration::from_secs(2);

/// Every change after a position; see [`super::super::Bus::follow`].
pub(super) async fn follow(stream: Arc<Stream>, after: &Position) -> Result<Deliveries, Error> {
    let mut check = interval(EPOCH_CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower { stream, epoch: after.epoch.clone(), after: after.offset, pulling: None, check, void: None };
    follower.check().await?;
    Ok(Box::pin(stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(delivery) => Some((Ok(delivery), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    })))
}

struct Follower {
    stream: Arc<Stream>,
    epoch: String,
    /// The offset that was handed on last.
    after: u64,
    pulling: Option<Pulling>,
    check: Interval,
    /// Another epoch for which messages were published that is none of the stream's any more.
    void: Option<String>,
}

/// A consumer that is pulled from. It is deleted afterwards, since many come and go while many clients resume.
struct Pulling {
    messages: pull::Stream,
    name: String,
    stream: Arc<Stream>,
}

impl Drop for Pulling {
    fn drop(&mut self) {
        // At the end of the process nobody does it, and the server does after a while.
        let Ok(runtime) = Handle::try_current() else { return };
        let (stream, name) = (Arc::clone(&self.stream), std::mem::take(&mut self.name));
        let deleting = async move {
            let jetstream = stream.connection.jetstream();
            if let Err(error) = jetstream.delete_consumer_from_stream(&name, &stream.settings.name).await {
                debug!(%error, "a consumer stays for a while");
            }
        };
        TaskTracker::new().spawn_on(deleting, &runtime);
    }
}

/// What came first.
enum Turn {
    Message(Box<jetstream::Message>),
    Lost(String),
    Check,
}

impl Follower {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            match self.turn().await? {
                Turn::Message(message) => {
                    if self.goes_on(&message).await?
                        && let Some(delivery) = self.take(&message)?
                    {
                        return Ok(delivery);
                    }
                }
                Turn::Lost(reason) => {
                    debug!(reason, after = self.after, "following the stream of changes is taken up again");
                    self.pulling = None;
                }
                Turn::Check => match self.check_epoch().await {
                    Ok(_) => {}
                    // Then nothing can come either, and the consumer's heartbeat tells that.
                    Err(Error::Unavailable(reason)) => debug!(reason, "the stream of changes can't be looked at"),
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// Whether a message is of the same epoch: what another begins with must not be taken for what goes on. The stream alone knows
    /// whether there is another; whoever published can have been late to notice.
    async fn goes_on(&mut self, message: &jetstream::Message) -> Result<bool, Error> {
        let Some(epoch) = epoch_of(message.headers.as_ref()) else { return Ok(true) };
        if epoch == self.epoch || self.void.as_deref() == Some(epoch) {
            return Ok(true);
        }
        match self.check_epoch().await {
            Ok(_) => {
                self.void = Some(epoch.to_owned());
                Ok(true)
            }
            Err(Error::Unavailable(reason)) => {
                debug!(reason, "whether the stream of changes is still the same can't be known at the moment");
                self.pulling = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn turn(&mut self) -> Result<Turn, Error> {
        if self.pulling.is_none() {
            self.pulling = Some(self.open().await?);
        }
        let Some(pulling) = self.pulling.as_mut() else { return Ok(Turn::Lost("no consumer".to_owned())) };
        Ok(tokio::select! {
            message = pulling.messages.next() => match message {
                Some(Ok(message)) => Turn::Message(Box::new(message)),
                Some(Err(error)) => Turn::Lost(error.to_string()),
                None => Turn::Lost("the consumer ended".to_owned()),
            },
            _ = self.check.tick() => Turn::Check,
        })
    }

    /// The delivery, if it is the very next one.
    fn take(&mut self, message: &jetstream::Message) -> Result<Option<Delivery>, Error> {
        let info = message.info().map_err(|error| Error::Unavailable(error.to_string()))?;
        let (offset, serial) = (info.stream_sequence, info.consumer_sequence);
        if offset <= self.after {
            return Ok(None);
        }
        if offset > self.after + 1 {
            // The consumer's first message is the first that the stream still has; a later one can also be lost on the way.
            if serial == 1 {
                return Err(self.gone());
            }
            debug!(offset, after = self.after, "messages of the stream of changes were lost on the way");
            self.pulling = None;
            return Ok(None);
        }
        self.after = offset;
        self.stream.reached(&self.epoch, offset);
        Ok(Some(Delivery { offset, event: decode(&message.payload, message.headers.as_ref()) }))
    }

    /// A consumer from the position on; tried until there is one.
    async fn open(&self) -> Result<Pulling, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.check().await {
                Ok(()) => match self.consumer().await {
                    Ok(pulling) => return Ok(pulling),
                    Err(reason) => reason,
                },
                Err(Error::Unavailable(reason)) => reason,
                Err(error) => return Err(error),
            };
            debug!(reason, "the stream of changes can't be followed at the moment");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn consumer(&self) -> Result<Pulling, String> {
        let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: self.after + 1 };
        let config = pull::Config { deliver_policy, ..pulling::consumer() };
        let connection = &self.stream.connection;
        let made = connection.jetstream().create_consumer_on_stream(config, &self.stream.settings.name).await;
        let consumer = made.map_err(|error| error.to_string())?;
        let messages = pulling::messages(connection, &consumer, PULL_MESSAGES).await;
        let messages = messages.map_err(|error| error.to_string())?;
        Ok(Pulling { messages, name: consumer.cached_info().name.clone(), stream: Arc::clone(&self.stream) })
    }

    /// Whether the stream still has what follows the position.
    async fn check(&self) -> Result<(), Error> {
        let extent = self.check_epoch().await?;
        if self.after < extent.oldest { Err(self.gone()) } else { Ok(()) }
    }

    /// Whether the stream is still the one whose position this is.
    async fn check_epoch(&self) -> Result<Extent, Error> {
        let extent = self.stream.look().await?;
        if extent.epoch == self.epoch && self.after <= extent.latest { Ok(extent) } else { Err(self.gone()) }
    }

    fn gone(&self) -> Error {
        Error::Gone { epoch: self.epoch.clone(), offset: self.after }
    }
}
