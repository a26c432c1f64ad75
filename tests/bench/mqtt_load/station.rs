//! One client of the broker, with MQTT 5 and QoS 1.

use super::Outcome;
use bytes::Bytes;
use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::{AsyncClient, Broker, Event, EventLoop, MqttOptions, NetworkOptions, Packet, PublishOptions};

/// Messages of a client that wait to be written.
const WAITING: usize = 1000;
const IN_FLIGHT: u16 = 100;

pub(super) struct Station {
    client: AsyncClient,
    events: EventLoop,
}

impl Station {
    /// Connects, and subscribes.
    pub(super) async fn enter(port: u16, id: String, topics: &[String]) -> Outcome<Self> {
        let mut options = MqttOptions::new(id, Broker::tcp("127.0.0.1", port));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        // A client has a place for each message in flight from the start, and here are thousands of clients.
        options
            .set_clean_start(true)
            .set_keep_alive(60)
            .set_outgoing_inflight_upper_limit(IN_FLIGHT)
            .set_network_options(network);
        let (client, events) = AsyncClient::builder(options).capacity(WAITING).build();
        let mut station = Self { client, events };
        for topic in topics {
            station.client.subscribe(topic.clone(), QoS::AtLeastOnce).await?;
            while !matches!(station.next().await?, Some(Packet::SubAck(_))) {}
        }
        Ok(station)
    }

    /// What speaks for it elsewhere.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    /// What the broker says next, or nothing if something else happened.
    pub(super) async fn next(&mut self) -> Outcome<Option<Packet>> {
        match self.events.poll().await? {
            Event::Incoming(packet) => Ok(Some(packet)),
            _ => Ok(None),
        }
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> Outcome<Bytes> {
        loop {
            if let Some(Packet::Publish(message)) = self.next().await? {
                return Ok(message.payload);
            }
        }
    }
}

/// Hands a message over; it is written when its client is polled.
pub(super) async fn publish(client: &AsyncClient, topic: &str, payload: Bytes) -> Outcome<()> {
    client.publish(topic, payload, PublishOptions::at_least_once()).await?;
    Ok(())
}
