//! The requests of each client one after the other, those of different clients beside each other.
//!
//! A client has a lane only while something of it waits or is worked on. How many requests are in all lanes together is bounded; what
//! comes beyond is answered that it should come again. So is what waits of one client beyond its own bound, if that is so for long:
//! many quick requests at once are done by then, and those that take long do not fill what the broker sends us without an
//! acknowledgement, by which all others would wait for them.

use super::Mqtt;
use super::broker::Broker;
use super::requests;
use super::wire::{Ack, Message};
use crate::telemetry::MqttMetrics;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// The lanes of a broker's clients. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

struct Shared {
    mqtt: Mqtt,
    broker: Broker,
    tasks: TaskTracker,
    metrics: MqttMetrics,
    lanes: Mutex<HashMap<Arc<str>, Lane>>,
    in_flight: AtomicUsize,
    empty: Notify,
}

/// What waits of a client, behind what is worked on.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Request>,
    /// When it was more than there should be for the first time. It is for as long as the lane is there, or a client whose requests
    /// take long would have more than its share again and again.
    crowded: Option<Instant>,
}

/// For how long a client may have more than its share: many quick requests at once are done by then, and nobody waits for much longer.
const PATIENCE: Duration = Duration::from_secs(5);

const CROWDED: &str = "too many requests of this client wait; send it again when others are answered";

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
    /// There has been no room for long.
    Beyond(Request),
}

impl Lanes {
    pub(super) fn new(mqtt: Mqtt, broker: Broker, tasks: TaskTracker) -> Self {
        let metrics = mqtt.metrics.mqtt(broker.name());
        let (lanes, in_flight, empty) = (Mutex::default(), AtomicUsize::new(0), Notify::new());
        Self(Arc::new(Shared { mqtt, broker, tasks, metrics, lanes, in_flight, empty }))
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
            Queued::Beyond(request) => requests::turn_away(self, request, CROWDED),
        }
    }

    fn queue(&self, request: Request, again: bool) -> Queued {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(&request.client) else {
            lanes.insert(Arc::clone(&request.client), Lane::default());
            return Queued::First(request);
        };
        // What the broker tells again was let in before, and may be done by now: then it is known what came of it.
        let most = self.0.mqtt.settings.max_queued;
        if lane.is_crowded() && lane.waiting.len() >= most && !again {
            return Queued::Beyond(request);
        }
        lane.waiting.push_back(request);
        if lane.waiting.len() > most {
            lane.crowded.get_or_insert_with(Instant::now);
        }
        Queued::Behind
    }

    async fn run(self, client: &str, first: Request) {
        let mut next = Some(first);
        while let Some(request) = next {
            let mut answering = pin!(requests::answer(&self, request));
            while timeout(PATIENCE / 5, &mut answering).await.is_err() {
                self.thin(client);
            }
            self.thin(client);
            next = self.next(client);
        }
    }

    /// Turns away what there has been no room for, for long.
    fn thin(&self, client: &str) {
        let beyond = match self.lanes().get_mut(client) {
            Some(lane) if lane.is_crowded() => lane.beyond(self.0.mqtt.settings.max_queued),
            _ => return,
        };
        for request in beyond {
            requests::turn_away(self, request, CROWDED);
        }
    }

    /// What is worked on next; without any, the lane ends.
    fn next(&self, client: &str) -> Option<Request> {
        let mut lanes = self.lanes();
        let next = lanes.get_mut(client).and_then(|lane| lane.waiting.pop_front());
        if next.is_none() {
            lanes.remove(client);
        }
        next
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
    fn lanes(&self) -> MutexGuard<'_, HashMap<Arc<str>, Lane>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// Whether more than there should be is no matter of a moment.
    fn is_crowded(&self) -> bool {
        self.crowded.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// Takes out what waits beyond so many, but for what the broker has told again.
    fn beyond(&mut self, most: usize) -> Vec<Request> {
        let later = self.waiting.split_off(self.waiting.len().min(most));
        let (kept, beyond): (Vec<Request>, Vec<Request>) = later.into_iter().partition(|request| request.message.again);
        self.waiting.extend(kept);
        beyond
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
