//! Where live changes come into a connection: the one place that a session of the hub is plugged into.
//!
//! A connection asks its `Live` for what there is to tell and hands it the client's messages about subscriptions.

use super::close::Close;
use crate::event::hub::{Restored, Session};
use crate::protocol::{Code, Error};
use crate::transport::message::{Subscription, begun as answer, head};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use crate::event::hub::Notification;

/// What a connection is told of changes.
pub trait Live: Send + 'static {
    /// Waits until there is something to tell, and appends what there is by then.
    fn poll_next(&mut self, context: &mut Context<'_>, batch: &mut Vec<Notification>) -> Poll<Result<(), Close>>;

    /// Waits until more waits than may, while nothing is asked of `poll_next`, which says the same.
    fn poll_overflow(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Begins, ends or acknowledges a subscription; answers the `data` of the answer as JSON. Nothing is asked of `poll_next` until the answer
    /// is sent, so that it comes before the first notification.
    fn subscription(&mut self, asked: Subscription) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// A ping is about to be written, after everything that was taken.
    fn pinged(&mut self) {}

    /// A ping was answered.
    fn answered(&mut self) {}

    /// The connection was told to leave, and may be cut off before it has.
    fn leaving(&mut self) {}

    /// Ends before the goodbye, so that a client that connects again at once finds what it has heard. Answers the session that it
    /// can come back with.
    fn end(self) -> impl Future<Output = Option<Arc<str>>> + Send
    where
        Self: Sized,
    {
        async { None }
    }
}

/// A session of the hub.
pub(super) struct Hearing {
    pub(super) session: Session,
    /// The largest answer.
    pub(super) max_bytes: usize,
}

impl Live for Hearing {
    fn poll_next(&mut self, context: &mut Context<'_>, batch: &mut Vec<Notification>) -> Poll<Result<(), Close>> {
        self.session.poll_next(context, batch).map_err(|_| Close::SlowConsumer)
    }

    fn poll_overflow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.session.poll_overflow(context).map(|_| ())
    }

    fn subscription(&mut self, asked: Subscription) -> BoxFuture<'static, Result<Bytes, Error>> {
        match asked {
            Subscription::Subscribe(asked) => {
                let begun = self.session.subscribe(*asked, self.max_bytes);
                Box::pin(async move {
                    let (begun, session) = begun.await?;
                    Ok(answer(&begun, session.as_deref().map(|session| ("session", session))))
                })
            }
            Subscription::Unsubscribe { subscription_id } => {
                let ended = self.session.unsubscribe(subscription_id.clone());
                Box::pin(async move {
                    ended.await?;
                    Ok(json!({ "unsubscribed": true, "subscription_id": subscription_id }).to_string().into())
                })
            }
            Subscription::UnsubscribeAll => Box::pin(std::future::ready(Err(Error::new(
                Code::InvalidSubscriptionOperation,
                "unsubscribe_all is for MQTT; close the connection, with which its subscriptions end",
            )))),
            Subscription::Acknowledge { subscription_id, position } => {
                let heard = self.session.acknowledge(&subscription_id, &position);
                let data = json!({ "acknowledged": true, "subscription_id": subscription_id, "position": position });
                Box::pin(std::future::ready(heard.map(|()| data.to_string().into())))
            }
        }
    }

    fn pinged(&mut self) {
        self.session.pinged();
    }

    fn answered(&mut self) {
        self.session.answered();
    }

    fn leaving(&mut self) {
        self.session.leaving();
    }

    async fn end(self) -> Option<Arc<str>> {
        self.session.end().await
    }
}

/// The message about a session that was asked for by its id: what goes on, or why nothing does.
pub(super) fn restored(outcome: &Result<Restored, Error>) -> Value {
    let now = jiff::Timestamp::now().to_string();
    match outcome {
        Ok(Restored { session, begun, failed }) => {
            let begun: Vec<Value> = begun.iter().map(head).collect();
            let failed: Vec<Value> = failed.iter().map(|(id, error)| json!({ "subscription_id": id, "error": error })).collect();
            json!({ "type": "session", "session": &**session, "restored": begun, "failed": failed, "timestamp": now })
        }
        Err(error) => json!({ "type": "session", "error": error, "timestamp": now }),
    }
}
