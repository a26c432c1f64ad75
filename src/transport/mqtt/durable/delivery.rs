//! What is told of a part on its way to the broker: in order, many at once, each until the broker has acknowledged it.
//!
//! What the broker refuses is owed: its subscriber is told to read again, and the progress waits for that.

use super::lease::Progress;
use super::owed::{Owed, Verdict};
use super::serve::Duty;
use super::text;
use crate::event::hub::Resync;
use crate::transport::mqtt::{Broker, PublishError, Published};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

/// A message of a subscription.
pub(super) struct Message {
    pub id: Arc<str>,
    pub topic: Arc<str>,
    pub payload: Bytes,
    pub says: Says,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// What has happened.
    Change,
    /// That the subscription has ended.
    Ended,
    /// What is owed: that it has to be read again.
    Owed,
}

enum Out {
    Message(Message),
    /// Everything before this was taken.
    Reached(Progress),
}

enum Outcome {
    Answered(Message, Result<(), PublishError>),
    Reached(Progress),
}

/// What a step has come to.
pub(super) enum Step {
    /// Nothing that concerns others.
    On,
    /// Something that was owed is paid.
    Paid,
    /// A subscription has ended, and its client was told so or can't be told anything.
    Ended(Arc<str>),
}

/// The way of a part's messages to the broker.
pub(super) struct Delivery<'d> {
    duty: Duty<'d>,
    out: VecDeque<Out>,
    in_flight: FuturesOrdered<BoxFuture<'static, Outcome>>,
    owed: Owed,
}

impl<'d> Delivery<'d> {
    pub(super) fn new(duty: Duty<'d>) -> Self {
        Self { duty, out: VecDeque::new(), in_flight: FuturesOrdered::new(), owed: Owed::default() }
    }

    /// Puts a message behind the others.
    pub(super) fn push(&mut self, message: Message) {
        self.out.push_back(Out::Message(message));
    }

    /// Notes how far everything is when all before this is acknowledged.
    pub(super) fn push_reached(&mut self, progress: Progress) {
        self.out.push_back(Out::Reached(progress));
    }

    /// Whether everything is handed to the broker.
    pub(super) fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether it can be noted how far everything is.
    pub(super) fn may_reach(&self) -> bool {
        self.owed.is_empty() && !self.out.iter().any(|out| matches!(out, Out::Reached(_)))
    }

    /// Owes nothing to a subscription that is told no more here; whether something was owed.
    pub(super) fn owes_no_more(&mut self, id: &str) -> bool {
        self.owed.remove(id)
    }

    /// The next thing that happens; waits for ever while there is nothing to do. It can be given up at any time.
    pub(super) async fn step(&mut self) -> Result<Step, PublishError> {
        let owed = self.owed.next();
        tokio::select! {
            biased;
            Some(outcome) = self.in_flight.next() => self.done(outcome),
            sent = send(self.duty.broker, self.duty.usable, self.out.front()) => self.sent(sent),
            () = async { match owed { Some(at) => sleep_until(at).await, None => pending().await } } => {
                self.out.extend(self.owed.take_due(Instant::now()).into_iter().map(Out::Message));
                Ok(Step::On)
            }
        }
    }

    /// The same until the broker has everything that was put here; what is owed is left to whoever goes on.
    pub(super) async fn last_step(&mut self) -> Option<Result<Step, PublishError>> {
        if self.out.is_empty() && self.in_flight.is_empty() {
            return None;
        }
        let step = tokio::select! {
            biased;
            Some(outcome) = self.in_flight.next() => self.done(outcome),
            sent = send(self.duty.broker, self.duty.usable, self.out.front()) => self.sent(sent),
        };
        Some(step)
    }

    /// Says how far everything is, when nothing is on its way any more.
    pub(super) fn reach_last(&mut self) {
        if let Some(Out::Reached(progress)) = self.out.pop_front() {
            self.reach(progress);
        }
    }

    /// Something was handed to the broker, or can't be.
    fn sent(&mut self, sent: Sent) -> Result<Step, PublishError> {
        let Some(out) = self.out.pop_front() else { return Ok(Step::On) };
        match (out, sent) {
            (Out::Reached(progress), _) => self.in_flight.push_back(Box::pin(async move { Outcome::Reached(progress) })),
            (Out::Message(message), Sent::Message(Ok(published))) => self.in_flight.push_back(Box::pin(async move {
                let answer = published.acknowledged().await;
                Outcome::Answered(message, answer)
            })),
            (_, Sent::Message(Err(PublishError::Lost))) => return Err(PublishError::Lost),
            (Out::Message(message), Sent::Message(Err(error))) => {
                let instead = match error {
                    PublishError::TooLarge { .. } => text::instead(&message.payload, Resync::ChangeOmitted),
                    _ => None,
                };
                match instead.filter(|instead| instead.len() < message.payload.len()) {
                    Some(payload) => self.out.push_front(Out::Message(Message { payload, ..message })),
                    None => return Ok(self.refused(&message, &error)),
                }
            }
            (Out::Message(_), Sent::Nothing) => {}
        }
        Ok(Step::On)
    }

    fn done(&mut self, outcome: Outcome) -> Result<Step, PublishError> {
        Ok(match outcome {
            Outcome::Reached(progress) => {
                self.reach(progress);
                Step::On
            }
            Outcome::Answered(_, Err(PublishError::Lost)) => return Err(PublishError::Lost),
            Outcome::Answered(message, Err(error)) => self.refused(&message, &error),
            Outcome::Answered(message, Ok(())) => {
                self.duty.shared.metrics.notified(&self.duty.unit.broker);
                match message.says {
                    Says::Ended => Step::Ended(message.id),
                    Says::Owed if self.owed.remove(&message.id) => Step::Paid,
                    Says::Change | Says::Owed => Step::On,
                }
            }
        })
    }

    /// The broker does not take a message. Its subscriber has to read again, and is told so as soon as the broker takes that.
    fn refused(&mut self, message: &Message, error: &PublishError) -> Step {
        let (shared, broker) = (self.duty.shared, self.duty.broker.name());
        shared.metrics.refused(broker);
        let Message { id, topic, payload, says } = message;
        let verdict = match says {
            // There is nothing more to say.
            Says::Ended => Verdict::Over,
            Says::Change | Says::Owed => {
                let instead = text::instead(payload, Resync::NotificationRefused).unwrap_or_else(|| payload.clone());
                self.owed.refused(message, instead, Instant::now())
            }
        };
        if verdict == Verdict::Over {
            error!(%topic, %error, broker, "the broker refuses what a subscription is told, which has ended");
            return Step::Ended(Arc::clone(id));
        }
        if *says == Says::Change {
            warn!(%topic, %error, broker, "the broker refuses a notification; its subscriber has to read again");
        }
        Step::On
    }

    fn reach(&self, progress: Progress) {
        // What is owed would be forgotten by whoever goes on after it.
        if !self.owed.is_empty() {
            return;
        }
        let told = self.duty.shared.hub.told();
        if let (Some(told), Some(position)) = (told, &progress.position) {
            let lag = told.offset.saturating_sub(position.offset);
            self.duty.shared.metrics.part_lag(&self.duty.unit.broker, self.duty.unit.part.number(), lag);
        }
        self.duty.reached.send_replace(progress);
    }
}

enum Sent {
    Message(Result<Published, PublishError>),
    Nothing,
}

/// Hands the next message to the broker, if the lease still holds.
async fn send(broker: &Broker, usable: &watch::Receiver<Instant>, next: Option<&Out>) -> Sent {
    match next {
        None => pending().await,
        Some(Out::Reached(_)) => Sent::Nothing,
        Some(Out::Message(Message { topic, payload, .. })) => {
            if Instant::now() >= *usable.borrow() {
                // Whoever renews notices it as well.
                return pending().await;
            }
            Sent::Message(broker.send(topic.to_string(), payload.clone()).await)
        }
    }
}
