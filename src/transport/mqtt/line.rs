//! The connection to one broker: made, used, made again when it is lost, and left in order.
//!
//! One task. The event loop is polled without ever being given up in the middle, and what is acknowledged goes through this
//! task, so that no acknowledgement gets into another connection than the one that its message came by.

use super::Mqtt;
use super::broker::{Broker, Connection};
use super::group::Filter;
use super::lanes::Lanes;
use super::settings::{Server, Settings};
use super::topic;
use super::versions::Versions;
use super::wire::{self, Ack, Broken, Change, Client, Event, EventLoop, Failure, Message, Refusal, Version};
use crate::readiness::BrokerState;
use crate::telemetry::MqttMetrics;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A connection that stood so long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// After the end of the subscription the broker may still have sent something: nothing is expected after such a silence.
const SILENCE: Duration = Duration::from_millis(200);
/// For the last acknowledgements and the goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The connection to a broker.
pub(super) struct Line {
    settings: Settings,
    server: Server,
    broker: Broker,
    lanes: Lanes,
    filter: Filter,
    metrics: MqttMetrics,
    state: BrokerState,
    leaving: CancellationToken,
    acks: Acks,
    /// Counts connections.
    number: u64,
}

/// Acknowledgements with the number of the connection that they are for, on their way to the line.
type Acks = (mpsc::UnboundedSender<(u64, Ack)>, mpsc::UnboundedReceiver<(u64, Ack)>);

/// How far a connection is on its way out.
enum Leaving {
    /// It is not.
    No,
    /// The broker is asked to send no more.
    Asked,
    /// It sends no more; what it has sent is finished.
    Finishing { last: Instant },
    /// Nothing is left but the goodbye.
    Goodbye,
}

/// How a connection ended.
enum End {
    /// In order.
    Left,
    /// By itself.
    Broken(Broken),
}

impl Line {
    pub(super) fn new(mqtt: &Mqtt, server: Server, broker: Broker, lanes: Lanes, filter: Filter) -> Self {
        Self {
            metrics: mqtt.metrics.mqtt(&server.name),
            state: mqtt.readiness.broker(),
            settings: mqtt.settings.clone(),
            leaving: mqtt.0.leaving.clone(),
            acks: mpsc::unbounded_channel(),
            number: 0,
            server,
            broker,
            lanes,
            filter,
        }
    }

    /// Connects, again and again, until it is told to leave.
    pub(super) async fn run(mut self) {
        self.keep().await;
        self.broker.end();
    }

    async fn keep(&mut self) {
        let mut versions = Versions::new(self.settings.version);
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        while !self.leaving.is_cancelled() {
            let began = Instant::now();
            let connected = self.number;
            let end = self.connection(versions.next()).await;
            let stood = self.number > connected;
            self.broker.lost();
            self.state.lost();
            self.metrics.connected(false);
            let End::Broken(Broken { reason, refusal }) = end else { return };
            if stood && began.elapsed() >= GOOD {
                pause = FIRST_PAUSE;
            }
            if versions.ended(stood, refusal) && !stood {
                let version = versions.next().as_str();
                info!(broker = self.server.name, version, reason, "trying the other version of MQTT");
            } else if stood || told != reason {
                warn!(broker = self.server.name, reason, "no connection to the broker; trying again");
                told = reason;
            }
            // Replicas that lost the same broker do not come back together.
            let share = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
            self.leaving.run_until_cancelled(sleep(pause.mul_f64(f64::midpoint(1.0, share)))).await;
            pause = (pause * 2).min(self.settings.max_pause);
        }
    }

    async fn connection(&mut self, version: Version) -> End {
        let (client, mut events) = wire::open(&self.server, &self.settings, version);
        let session = loop {
            let leaving = self.leaving.clone();
            match leaving.run_until_cancelled(events.poll()).await {
                None => return End::Left,
                Some(Ok(Event::Connected(session))) => break session,
                Some(Ok(_)) => {}
                Some(Err(broken)) => return End::Broken(broken),
            }
        };
        if self.filter.shared && !session.shares {
            return End::Broken(Broken {
                reason: "the broker has no shared subscriptions; run one replica with --mqtt-group none".to_owned(),
                refusal: Refusal::Other,
            });
        }
        self.number += 1;
        let number = self.number;
        let Ok(subscribing) = client.subscribe(&self.filter.topic) else {
            return End::Broken(Broken { reason: "it was lost at once".to_owned(), refusal: Refusal::Other });
        };
        self.broker.stands(Connection { number, client: client.clone(), session });
        info!(broker = self.server.name, version = version.as_str(), resumed = session.resumed, "connected to the broker");
        self.serve(client, &mut events, subscribing).await
    }

    async fn serve(&mut self, client: Client, events: &mut EventLoop, subscribing: Change) -> End {
        let mut changing = Some(Box::pin(subscribing.acknowledged()));
        let mut leaving = Leaving::No;
        loop {
            let event = {
                let mut poll = pin!(events.poll());
                loop {
                    tokio::select! {
                        event = &mut poll => break event,
                        Some((number, ack)) = self.acks.1.recv() => {
                            // Of an earlier connection it would acknowledge another message here.
                            if number == self.number {
                                client.acknowledge(ack);
                            }
                        }
                        outcome = async { changing.as_mut().expect("asked for only if it is there").await }, if changing.is_some() => {
                            changing = None;
                            match (&leaving, outcome) {
                                (Leaving::No, Ok(())) => {
                                    self.state.stands();
                                    self.metrics.connected(true);
                                }
                                (Leaving::No, Err(failure)) => return End::Broken(self.not_subscribed(&failure)),
                                (_, _) => leaving = Leaving::Finishing { last: Instant::now() },
                            }
                        }
                        () = self.leaving.cancelled(), if matches!(leaving, Leaving::No) => {
                            leaving = Leaving::Asked;
                            match client.unsubscribe(&self.filter.topic) {
                                Ok(change) => changing = Some(Box::pin(change.acknowledged())),
                                Err(_) => return End::Left,
                            }
                        }
                        () = finished(&self.lanes, &leaving), if matches!(leaving, Leaving::Finishing { .. }) => {
                            leaving = Leaving::Goodbye;
                            while let Ok((number, ack)) = self.acks.1.try_recv() {
                                if number == self.number {
                                    client.acknowledge(ack);
                                }
                            }
                            client.disconnect(GOODBYE);
                        }
                    }
                }
            };
            match event {
                Ok(Event::Message(message)) => {
                    if let Leaving::Finishing { last } = &mut leaving {
                        *last = Instant::now();
                    }
                    self.received(*message);
                }
                Ok(Event::Connected(_) | Event::Other) => {}
                Err(_) if matches!(leaving, Leaving::Goodbye) => return End::Left,
                Err(broken) => return End::Broken(broken),
            }
        }
    }

    fn not_subscribed(&self, failure: &Failure) -> Broken {
        let reason = match failure {
            Failure::Lost => "it was lost before it was subscribed".to_owned(),
            Failure::Refused(reason) => {
                error!(broker = self.server.name, filter = self.filter.topic, reason, "the broker refuses the subscription");
                format!("the subscription to {} is refused: {reason}", self.filter.topic)
            }
        };
        Broken { reason, refusal: Refusal::Other }
    }

    fn received(&self, message: Message) {
        self.metrics.received(message.payload.len(), message.again);
        let topic = std::str::from_utf8(&message.topic).unwrap_or_default();
        let Some(client) = topic::client_of(&self.settings.prefix, topic).map(ToOwned::to_owned) else {
            warn!(broker = self.server.name, "a message came by a topic that nobody subscribed to");
            return self.drop_message(message);
        };
        if message.retained {
            // Whoever asked may be long gone, and every new subscriber would do it again.
            self.metrics.refused("retained");
            return self.drop_message(message);
        }
        self.lanes.take(&client, message, self.number, &self.acks.0);
    }

    fn drop_message(&self, message: Message) {
        if let Some(ack) = message.ack {
            // This line has the other end.
            _ = self.acks.0.send((self.number, ack));
        }
    }
}

/// Waits until what came is finished and nothing has come for a while.
async fn finished(lanes: &Lanes, leaving: &Leaving) {
    lanes.emptied().await;
    if let Leaving::Finishing { last } = leaving {
        tokio::time::sleep_until(*last + SILENCE).await;
    }
    lanes.emptied().await;
}
