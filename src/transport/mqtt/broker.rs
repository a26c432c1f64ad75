//! One broker as the rest of the service sees it: messages go out through it, in order, each until the broker has it.
//!
//! A message that is out when the connection is lost has failed, whether the broker got it or not; whoever sent it decides
//! whether it is sent again. So nothing that was sent later can have gone before.

use super::wire::{Client, Failure, OVERHEAD, Outgoing, Receipt, Session};
use crate::telemetry::MqttMetrics;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// A broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    name: String,
    /// One for each message that the broker has still to acknowledge.
    room: Arc<Semaphore>,
    max_message_bytes: usize,
    connection: watch::Sender<Option<Connection>>,
    /// There will be no further connection.
    over: CancellationToken,
    metrics: MqttMetrics,
}

/// A connection that stands, or stood.
#[derive(Clone)]
pub(super) struct Connection {
    /// Tells it from others.
    pub number: u64,
    pub client: Client,
    pub session: Session,
}

/// A message that is out.
pub struct Published {
    receipt: Receipt,
    _room: OwnedSemaphorePermit,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no connection, or it was lost before the broker acknowledged the message.
    #[error("the connection to the broker is lost")]
    Lost,
    /// The broker does not take it, and would not take it again.
    #[error("the broker refuses the message: {0}")]
    Refused(String),
    /// It is larger than the broker or the settings allow.
    #[error("the message has {bytes} bytes, and {most} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        most: usize,
    },
}

impl Broker {
    pub(super) fn new(name: String, max_out: usize, max_message_bytes: usize, metrics: MqttMetrics) -> Self {
        let (connection, _) = watch::channel(None);
        let (room, over) = (Arc::new(Semaphore::new(max_out)), CancellationToken::new());
        Self(Arc::new(Inner { name, room, max_message_bytes, connection, over, metrics }))
    }

    /// Host and port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.connection.borrow().is_some()
    }

    /// Waits until there is a connection; says that there will be none when the process ends.
    pub async fn connected(&self) -> bool {
        self.after(0).await.is_some()
    }

    /// Waits until it is connected if it was not, or not connected if it was.
    pub(super) async fn changes(&self, was_connected: bool) {
        let mut told = self.0.connection.subscribe();
        // The sender is held here.
        _ = told.wait_for(|connection| connection.is_some() != was_connected).await;
    }

    /// Sends a message with QoS 1 and waits until the broker has it.
    pub async fn publish(&self, topic: impl Into<String>, payload: Bytes) -> Result<(), Error> {
        self.send(topic, payload).await?.acknowledged().await
    }

    /// Sends a message with QoS 1 after all that were sent before, and does not wait for the broker to have it. Waits only
    /// while as many as may be are out.
    pub async fn send(&self, topic: impl Into<String>, payload: Bytes) -> Result<Published, Error> {
        self.send_message(Outgoing { topic: topic.into(), payload, correlation: None }).await
    }

    /// The largest payload that can be sent now.
    pub(super) fn max_payload_bytes(&self) -> usize {
        let told = self.0.connection.borrow().as_ref().and_then(|connection| connection.session.max_packet_bytes);
        // A broker that takes small packets only has short topics too.
        let most = told.map_or(usize::MAX, |bytes| bytes.saturating_sub(OVERHEAD.min(bytes / 4)));
        most.min(self.0.max_message_bytes)
    }

    pub(super) async fn send_message(&self, message: Outgoing) -> Result<Published, Error> {
        self.check(&message)?;
        let room = Arc::clone(&self.0.room).acquire_owned().await.map_err(|_| Error::Lost)?;
        self.hand_over(message, room)
    }

    /// The same if there is room at once.
    pub(super) fn try_send(&self, message: Outgoing) -> Result<Published, Error> {
        self.check(&message)?;
        let room = Arc::clone(&self.0.room).try_acquire_owned().map_err(|_| Error::Refused("too much waits".to_owned()))?;
        self.hand_over(message, room)
    }

    fn check(&self, message: &Outgoing) -> Result<(), Error> {
        let (bytes, most) = (message.payload.len(), self.max_payload_bytes());
        if bytes > most { Err(Error::TooLarge { bytes, most }) } else { Ok(()) }
    }

    fn hand_over(&self, message: Outgoing, room: OwnedSemaphorePermit) -> Result<Published, Error> {
        let bytes = message.payload.len();
        let connection = self.0.connection.borrow();
        let client = &connection.as_ref().ok_or(Error::Lost)?.client;
        let receipt = client.publish(message)?;
        self.0.metrics.sent(bytes);
        Ok(Published { receipt, _room: room })
    }

    /// The connection stands.
    pub(super) fn stands(&self, connection: Connection) {
        self.0.connection.send_replace(Some(connection));
    }

    /// The connection is lost.
    pub(super) fn lost(&self) {
        self.0.connection.send_replace(None);
    }

    /// There will be no further connection.
    pub(super) fn end(&self) {
        self.lost();
        self.0.over.cancel();
    }

    /// The number of the connection that stands, or of none.
    pub(super) fn number(&self) -> Option<u64> {
        self.0.connection.borrow().as_ref().map(|connection| connection.number)
    }

    /// Waits for a connection after this one. None comes when the process ends.
    pub(super) async fn after(&self, number: u64) -> Option<Session> {
        let mut told = self.0.connection.subscribe();
        let later = |connection: &Option<Connection>| connection.as_ref().is_some_and(|connection| connection.number > number);
        let found = self.0.over.run_until_cancelled(told.wait_for(later)).await?;
        found.ok()?.as_ref().map(|connection| connection.session)
    }
}

impl Published {
    /// Waits until the broker has it.
    pub async fn acknowledged(self) -> Result<(), Error> {
        Ok(self.receipt.acknowledged().await?)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => Error::Lost,
            Failure::Refused(reason) => Error::Refused(reason),
        }
    }
}
