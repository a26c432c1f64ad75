//! A connection to a broker in either version of MQTT, with the few words that the rest of this transport needs.
//!
//! The library has a crate for each version; beyond this folder nobody knows which one is spoken. Every connection has a
//! client and an event loop of its own, so that whatever was not acknowledged when it is lost has failed, and nothing of it
//! gets into the next one.

mod v4;
mod v5;

use super::settings::{Server, Settings};
use bytes::Bytes;
use std::time::Duration;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V4,
}

impl Version {
    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V5 => "5",
            Version::V4 => "3.1.1",
        }
    }
}

/// How both connect: a small packet leaves at once, and does not wait until the one before it is acknowledged.
fn network() -> rumqttc_v5::NetworkOptions {
    let mut network = rumqttc_v5::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

/// What speaks on a connection. Cheap to clone; of a connection that is lost it only fails.
#[derive(Clone)]
pub(super) enum Client {
    V5(rumqttc_v5::AsyncClient),
    V4(rumqttc_v4::AsyncClient),
}

/// What moves a connection: nothing is read or written unless it is polled.
pub(super) enum EventLoop {
    V5(Box<rumqttc_v5::EventLoop>),
    V4(Box<rumqttc_v4::EventLoop>),
}

/// What happens on a connection.
pub(super) enum Event {
    /// The broker has let us in.
    Connected(Session),
    /// A message came.
    Message(Box<Message>),
    /// Something that is of no interest here.
    Other,
}

/// What the broker says of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// Whether it knows us from before, and tells again what we did not acknowledge.
    pub resumed: bool,
    /// The largest packet that it takes, if it says so.
    pub max_packet_bytes: Option<usize>,
    /// Whether it has shared subscriptions, as far as it says.
    pub shares: bool,
}

/// A message from the broker.
pub(super) struct Message {
    pub topic: Bytes,
    pub payload: Bytes,
    /// How many bytes a payload had that was too large to be kept until it is answered.
    pub left_out: Option<usize>,
    /// Whether the broker has sent it before.
    pub again: bool,
    /// Whether it was kept by the broker for whoever subscribes, and is no request of now.
    pub retained: bool,
    /// Where the client wants the answer too; MQTT 5 only.
    pub response_topic: Option<String>,
    /// What the answer there has to carry.
    pub correlation: Option<Bytes>,
    /// Names and values beside the payload; MQTT 5 only.
    pub properties: Vec<(String, String)>,
    /// Acknowledges it.
    pub ack: Option<Ack>,
}

/// What acknowledges a message, on the connection that it came by and no other.
pub(super) enum Ack {
    V5(rumqttc_v5::ManualAck),
    V4(rumqttc_v4::ManualAck),
}

/// A message to the broker.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub topic: String,
    pub payload: Bytes,
    /// What a request with a response topic gave us to send back; left out in 3.1.1.
    pub correlation: Option<Bytes>,
}

/// A message that was handed over and that the broker has still to acknowledge.
pub(super) enum Receipt {
    V5(rumqttc_v5::PublishNotice),
    V4(rumqttc_v4::PublishNotice),
}

/// A subscription, or its end, that the broker has still to acknowledge.
pub(super) enum Change {
    SubscribeV5(rumqttc_v5::SubscribeNotice),
    SubscribeV4(rumqttc_v4::SubscribeNotice),
    UnsubscribeV5(rumqttc_v5::UnsubscribeNotice),
    UnsubscribeV4(rumqttc_v4::UnsubscribeNotice),
}

/// Why the broker did not take something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is lost; the broker may have it or not.
    Lost,
    /// The broker does not want it.
    Refused(String),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct Broken {
    pub reason: String,
    pub refusal: Refusal,
}

/// What the end of a connection says of the version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The broker does not know it: it says so, or answers in another one.
    OfVersion,
    /// The connection was closed in order, before any answer that can be read.
    Closed,
    /// Nothing.
    Other,
}

/// Packets may have so much around a payload: topic, properties and headers.
pub(super) const OVERHEAD: usize = 64 << 10;

/// A connection to be; it is made by polling.
pub(super) fn open(server: &Server, settings: &Settings, version: Version) -> (Client, EventLoop) {
    match version {
        Version::V5 => v5::open(server, settings),
        Version::V4 => v4::open(server, settings),
    }
}

impl EventLoop {
    /// The next event. It must be polled to its end before it is asked again.
    pub(super) async fn poll(&mut self) -> Result<Event, Broken> {
        match self {
            EventLoop::V5(events) => v5::poll(events).await,
            EventLoop::V4(events) => v4::poll(events).await,
        }
    }
}

impl Client {
    /// Hands a message over, after those before it. How many may wait is for the caller to bound.
    pub(super) fn publish(&self, message: Outgoing) -> Result<Receipt, Failure> {
        match self {
            Client::V5(client) => v5::publish(client, message).map(Receipt::V5),
            Client::V4(client) => v4::publish(client, message).map(Receipt::V4),
        }
    }

    /// Acknowledges a message of this connection.
    pub(super) fn acknowledge(&self, ack: Ack) {
        // Of a lost connection nothing can be acknowledged, and the broker knows that.
        match (self, ack) {
            (Client::V5(client), Ack::V5(ack)) => _ = client.try_manual_ack(ack),
            (Client::V4(client), Ack::V4(ack)) => _ = client.try_manual_ack(ack),
            (Client::V5(_), Ack::V4(_)) | (Client::V4(_), Ack::V5(_)) => {}
        }
    }

    /// Subscribes with QoS 1.
    pub(super) fn subscribe(&self, filter: &str) -> Result<Change, Failure> {
        match self {
            Client::V5(client) => v5::subscribe(client, filter).map(Change::SubscribeV5),
            Client::V4(client) => v4::subscribe(client, filter).map(Change::SubscribeV4),
        }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, filter: &str) -> Result<Change, Failure> {
        match self {
            Client::V5(client) => v5::unsubscribe(client, filter).map(Change::UnsubscribeV5),
            Client::V4(client) => v4::unsubscribe(client, filter).map(Change::UnsubscribeV4),
        }
    }

    /// Says goodbye, after everything that was handed over. Nothing is kept for us at the broker if it knows MQTT 5.
    pub(super) fn disconnect(&self, within: Duration) {
        match self {
            Client::V5(client) => v5::disconnect(client, within),
            Client::V4(client) => _ = client.try_disconnect_with_timeout(within),
        }
    }
}

impl Message {
    /// Keeps no payload beyond so many bytes, nor anything else that holds on to the packet that it came in.
    pub(super) fn leave_out_beyond(&mut self, most: usize) {
        let bytes = self.payload.len();
        if bytes > most {
            self.left_out = Some(bytes);
            (self.payload, self.topic) = (Bytes::new(), Bytes::new());
            self.correlation = self.correlation.as_deref().map(Bytes::copy_from_slice);
        }
    }
}

impl Receipt {
    /// Waits for the broker's acknowledgement.
    pub(super) async fn acknowledged(self) -> Result<(), Failure> {
        match self {
            Receipt::V5(notice) => v5::acknowledged(notice).await,
            Receipt::V4(notice) => notice.wait_completion_async().await.map_err(|_| Failure::Lost),
        }
    }
}

impl Change {
    /// Waits for the broker's acknowledgement.
    pub(super) async fn acknowledged(self) -> Result<(), Failure> {
        match self {
            Change::SubscribeV5(notice) => v5::subscribed(notice).await,
            Change::SubscribeV4(notice) => v4::subscribed(notice).await,
            Change::UnsubscribeV5(notice) => v5::unsubscribed(notice).await,
            Change::UnsubscribeV4(notice) => notice.wait_completion_async().await.map_err(|_| Failure::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_too_large_only_its_length_is_kept() {
        let packet = Bytes::from("topic payload correlation".to_owned());
        let message = || Message {
            topic: packet.slice(..5),
            payload: packet.slice(6..13),
            left_out: None,
            again: false,
            retained: false,
            response_topic: None,
            correlation: Some(packet.slice(14..)),
            properties: Vec::new(),
            ack: None,
        };
        let (mut small, mut large) = (message(), message());
        small.leave_out_beyond(7);
        assert_eq!((&small.payload[..], small.left_out), (&b"payload"[..], None));
        large.leave_out_beyond(6);
        assert_eq!((large.payload.len(), large.left_out), (0, Some(7)));
        assert_eq!(large.correlation.as_deref(), Some(&b"correlation"[..]));
        drop(small);
        assert!(packet.is_unique(), "nothing of it holds on to the packet");
    }
}
