//! Where subscriptions come into this transport: the one place that they are plugged into.
//!
//! A client of a broker is not connected to us, so that what it subscribed to has to outlive any replica.

use super::broker::Broker;
use crate::auth::Principal;
use crate::protocol::Error;
use crate::transport::message::Subscription;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Who asks.
#[derive(Clone)]
pub struct Speaker {
    /// Through which broker.
    pub broker: Broker,
    /// The client's name in its topics.
    pub client: Arc<str>,
    /// Who it is.
    pub principal: Arc<Principal>,
}

/// What a message about a subscription is answered.
pub struct Answer {
    /// The `data` of the answer as JSON.
    pub data: Bytes,
    /// What is to be done when it is known what became of the answer.
    pub then: Option<Then>,
}

/// What is done when it is known what became of an answer.
pub type Then = Box<dyn FnOnce(Fate) -> BoxFuture<'static, ()> + Send>;

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The broker has it: whatever is published from now on comes after it.
    Taken,
    /// The broker does not take it, so that the client never hears of it.
    Refused,
    /// The connection was lost before it said which. It tells the request again, unless it has forgotten the client meanwhile.
    Lost,
}

impl From<Bytes> for Answer {
    fn from(data: Bytes) -> Self {
        Self { data, then: None }
    }
}

/// What messages about subscriptions are handed to.
pub trait Subscriptions: Send + Sync + 'static {
    /// Begins, ends or acknowledges a subscription, as a message says whose bytes are handed along.
    fn subscription(&self, speaker: Speaker, asked: Subscription, message: Bytes) -> BoxFuture<'static, Result<Answer, Error>>;

    /// Whether somebody else than this one has subscriptions under a client's name at a broker; none while that is not known.
    fn are_of_another(&self, broker: &str, client: &str, principal: &Principal) -> Option<bool>;

    /// A broker has given a client's session up, at a time in milliseconds since 1970 if it says so: everything that was begun
    /// under that name before has ended. How many that were.
    fn given_up(&self, broker: &str, client: &str, at: Option<u64>) -> BoxFuture<'static, Result<usize, Error>>;

    /// A client was heard, whatever it said.
    fn heard(&self, broker: &Broker, client: &str, principal: &Principal);
}
