//! The requests of each client one after the other, those of different clients beside each other.
//!
//! A client has a lane only while something of it waits or is worked on. How many requests wait in a lane is bounded, and how many are
//! in all lanes together; what comes beyond is answered that it should come again. So a client whose requests take long does not
//! fill what the broker sends us without an acknowledgement, by which all others would wait for it.

use super::Mqtt;
use super::broker::Broker;
use super::requests;
use super::wire::{Ack, Message};
use crate::telemetry::MqttMetrics;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

/// The lanes of a broker's clients. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

struct Shared {
    mqtt: Mqtt,
    broker: Broker,
    tasks: TaskTracker,
    metrics: MqttMetrics,
    waiting: Mutex<HashMap<Arc<str>, VecDeque<Request>>>,
    in_flight: AtomicUsize,
    empty: Notify,
}

/// A message that came for a client's request topic.
pub(super) struct Request {
    pub client: Arc<str>,
    pub message: Message,
    /// Acknowledges it when all is done.
    pub done: Done,
}

/// Keeps a request's place until it is dropped; acknowledges it if it is told to.
pub(super) struct Done {
    lanes: Lanes,
    ack: Option<(u64, Ack)>,
    acks: mpsc::UnboundedSender<(u64, Ack)>,
}

/// What became of a request that came.
enum Queued {
    /// It waits behind others of its client.
    Behind,
    /// Nothing of its client is worked on.
    First(Request),
    /// There is no room for it.
    Beyond(Request),
}

impl Lanes {
    pub(super) fn new(mqtt: Mqtt, broker: Broker, tasks: TaskTracker) -> Self {
        let metrics = mqtt.metrics.mqtt(broker.name());
        let (waiting, in_flight, empty) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Shared { mqtt, broker, tasks, metrics, waiting, in_flight, empty }))
    }

    pub(super) fn mqtt(&self) -> &Mqtt {
        &self.0.mqtt
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.0.broker
    }

    pub(super) fn metrics(&self) -> &MqttMetrics {
        &self.0.metrics
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Takes a message that came on a connection. It is done after those of the same client that came before.
    pub(super) fn take(&self, client: &str, mut message: Message, number: u64, acks: &mpsc::UnboundedSender<(u64, Ack)>) {
        let again = message.again;
        // What will be refused for its size must not wait with all of it.
        message.leave_out_beyond(self.0.mqtt.settings.max_message_bytes);
        let count = self.0.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.metrics.in_flight(count);
        let ack = message.ack.take().map(|ack| (number, ack));
        let done = Done { lanes: self.clone(), ack, acks: acks.clone() };
        let request = Request { client: client.into(), message, done };
        if count > usize::from(self.0.mqtt.settings.max_in_flight) {
            requests::turn_away(self, request, "too many requests are being worked on; send it again later");
            return;
        }
        let client = Arc::clone(&request.client);
        match self.queue(request, again) {
            Queued::Behind => {}
            Queued::First(request) => {
                let lanes = self.clone();
                self.0.tasks.spawn(async move { lanes.run(&client, request).await });
            }
            Queued::Beyond(request) => {
                requests::turn_away(
                    self,
                    request,
                    "too many requests of this client wait; send it again when others are answered",
                );
            }
        }
    }

    fn queue(&self, request: Request, again: bool) -> Queued {
        let mut waiting = self.waiting();
        let Some(lane) = waiting.get_mut(&request.client) else {
            waiting.insert(Arc::clone(&request.client), VecDeque::new());
            return Queued::First(request);
        };
        // What the broker tells again was let in before, and may be done by now: then it is known what came of it.
        if lane.len() >= self.0.mqtt.settings.max_queued && !again {
            return Queued::Beyond(request);
        }
        lane.push_back(request);
        Queued::Behind
    }

    async fn run(self, client: &str, first: Request) {
        let mut next = Some(first);
        while let Some(request) = next {
            requests::answer(&self, request).await;
            let mut waiting = self.waiting();
            next = waiting.get_mut(client).and_then(VecDeque::pop_front);
            if next.is_none() {
                waiting.remove(client);
            }
        }
    }

    /// Waits until nothing is in flight.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.0.empty.notified();
            if self.0.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Held for as long as it takes to put a request in or take one out.
    fn waiting(&self) -> MutexGuard<'_, HashMap<Arc<str>, VecDeque<Request>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    /// The request is answered, or need not be.
    pub(super) fn acknowledge(mut self) {
        if let Some(ack) = self.ack.take() {
            // Without a line there is no connection to acknowledge on.
            _ = self.acks.send(ack);
        }
    }

    /// The number of the connection by which the broker tells the request again if it is not acknowledged there.
    pub(super) fn told_again_by(&self) -> Option<u64> {
        self.ack.as_ref().map(|(number, _)| *number)
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        let shared = &self.lanes.0;
        let count = shared.in_flight.fetch_sub(1, Ordering::AcqRel) - 1;
        shared.metrics.in_flight(count);
        if count == 0 {
            shared.empty.notify_waiters();
        }
    }
}
