//! From a message to its answer: decode, call the engine, encode.

use super::Conversations;
use super::connections::Entry;
use super::line::Incoming;
use super::live::{Live, restored};
use super::settings::Settings;
use crate::event::hub::Restored;
use crate::protocol::{Error, Operation, Request};
use crate::transport::message::{self, Said, Subscription};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tracing::Instrument as _;

/// Bytes that are left free before a text, so that a line can put there what comes before it.
pub(in crate::transport) const HEADROOM: usize = 10;

/// What a message leads to. Texts begin after `HEADROOM` free bytes.
pub(super) enum Work {
    /// Its answer.
    Done(Vec<u8>),
    /// Work that ends with the answer.
    Begun(Running),
}

/// A request that is being worked on.
pub(super) struct Running {
    /// Ends with the answer's text, or with why the conversation ends.
    pub(super) answer: BoxFuture<'static, Result<Vec<u8>, Error>>,
    /// Whether notifications wait for the answer.
    pub(super) notifications: Notifications,
}

/// What happens to notifications while a request is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notifications {
    /// They go out.
    Pass,
    /// They wait: they might be about what the answer tells first.
    Wait,
}

/// Begins the work on a message.
pub(super) fn begin(conversations: &Conversations, entry: &Arc<Entry>, live: &mut impl Live, incoming: Incoming) -> Work {
    let message = match incoming.and_then(|bytes| message::decode(&bytes)) {
        Ok(message) => message,
        Err(unreadable) => {
            return Work::Done(text(|out| message::failure(out, &unreadable.id, &unreadable.error)));
        }
    };
    match message.said {
        Said::Ping => Work::Done(text(|out| message::pong(out, &message.id))),
        Said::Request(request) => Work::Begun(requested(conversations.clone(), Arc::clone(entry), message.id, *request)),
        Said::Subscription(asked) => Work::Begun(subscribed(live, message.id, asked)),
    }
}

fn requested(conversations: Conversations, entry: Arc<Entry>, id: String, request: Request) -> Running {
    let reads = matches!(request.operation, Operation::Read | Operation::Meta);
    let span = tracing::info_span!("message", operation = request.operation.as_str(), connection = %entry.id, id);
    let answer = async move {
        let timer = entry.metrics.start(request.operation.as_str());
        let outcome = conversations.engine.handle(&entry.principal, &request).await;
        let mut out = vec![0; HEADROOM];
        let success = message::answer(&mut out, &id, outcome, conversations.settings.max_answer_bytes).await;
        timer.finish(success);
        Ok(out)
    };
    let notifications = if reads { Notifications::Pass } else { Notifications::Wait };
    Running { answer: Box::pin(answer.instrument(span)), notifications }
}

fn subscribed(live: &mut impl Live, id: String, asked: Subscription) -> Running {
    let outcome = live.subscription(asked);
    let answer = async move {
        Ok(match outcome.await {
            Ok(data) => text(|out| message::data(out, &id, &data)),
            Err(error) => text(|out| message::failure(out, &id, &error)),
        })
    };
    Running { answer: Box::pin(answer), notifications: Notifications::Wait }
}

/// Begins the subscription that a conversation is all about, which ends if it can't begin.
pub(super) fn alone(live: &mut impl Live, id: String, asked: Subscription) -> Running {
    let outcome = live.subscription(asked);
    let answer = async move { outcome.await.map(|data| text(|out| message::data(out, &id, &data))) };
    Running { answer: Box::pin(answer), notifications: Notifications::Wait }
}

/// Begins to restore a session, of which the client is told before anything else.
pub(super) fn restore(restoring: impl Future<Output = Result<Restored, Error>> + Send + 'static) -> Running {
    let answer = async move {
        let told = restored(&restoring.await).to_string();
        Ok(text(|out| out.extend_from_slice(told.as_bytes())))
    };
    Running { answer: Box::pin(answer), notifications: Notifications::Wait }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0; HEADROOM];
    write(&mut out);
    out
}

/// Messages that wait for their turn, up to a number and a size.
#[derive(Default)]
pub(super) struct Queue {
    messages: std::collections::VecDeque<Incoming>,
    bytes: usize,
}

impl Queue {
    /// Whether another message may come.
    pub(super) fn has_room(&self, settings: &Settings) -> bool {
        self.messages.len() < settings.max_queued && self.bytes < settings.max_message_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn push(&mut self, message: Incoming) {
        self.bytes += message.as_ref().map_or(0, Bytes::len);
        self.messages.push_back(message);
    }

    /// The next message. An empty queue holds no memory.
    pub(super) fn pop(&mut self) -> Option<Incoming> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.as_ref().map_or(0, Bytes::len);
        if self.messages.is_empty() {
            *self = Self::default();
        }
        Some(message)
    }
}
