//! Where live changes come into a connection: the one place that a session of the hub is plugged into.
//!
//! A connection asks its `Live` for what there is to tell and hands it the client's messages about subscriptions.

use super::close::Close;
use crate::event::hub::{Begun, Restored, Session};
use crate::protocol::{Code, Error};
use crate::transport::envelope::page_metadata;
use crate::transport::message::Subscription;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::future::Future;

pub use crate::event::hub::Notification;

/// What a connection is told of changes.
pub trait Live: Send + 'static {
    /// Waits until there is something to tell, and appends what there is by then. It is given up and asked again as
    /// other things happen, and must lose nothing by that.
    fn next(&mut self, batch: &mut Vec<Notification>) -> impl Future<Output = Result<(), Close>> + Send;

    /// Begins, ends or acknowledges a subscription; answers the `data` of the answer as JSON. Nothing is asked of `next` until the answer
    /// is sent, so that it comes before the first notification.
    fn subscription(&mut self, asked: Subscription) -> BoxFuture<'static, Result<Bytes, Error>>;

    /// A ping is about to be written, after everything that was taken.
    fn pinged(&mut self) {}

    /// A ping was answered.
    fn answered(&mut self) {}

    /// The connection was told to leave, and may be cut off before it has.
    fn leaving(&mut self) {}

    /// Ends before the goodbye, so that a client that connects again at once finds what it has heard.
    fn end(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        async {}
    }
}

/// A session of the hub.
pub(super) struct Hearing {
    pub(super) session: Session,
    /// The largest answer.
    pub(super) max_bytes: usize,
}

impl Live for Hearing {
    async fn next(&mut self, batch: &mut Vec<Notification>) -> Result<(), Close> {
        self.session.next(batch).await.map_err(|_| Close::SlowConsumer)
    }

    fn subscription(&mut self, asked: Subscription) -> BoxFuture<'static, Result<Bytes, Error>> {
        match asked {
            Subscription::Subscribe(asked) => {
                let (begun, max_bytes) = (self.session.subscribe(*asked), self.max_bytes);
                Box::pin(async move {
                    let (begun, session) = begun.await?;
                    answer(&begun, session.as_deref(), max_bytes)
                })
            }
            Subscription::Unsubscribe { subscription_id } => {
                let ended = self.session.unsubscribe(subscription_id.clone());
                Box::pin(async move {
                    ended.await?;
                    Ok(json!({ "unsubscribed": true, "subscription_id": subscription_id }).to_string().into())
                })
            }
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

    async fn end(self) {
        self.session.end().await;
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

fn head(begun: &Begun) -> Value {
    json!({
        "subscription_id": &*begun.subscription_id,
        "schema": begun.schema,
        "entity": begun.entity,
        "position": begun.position,
    })
}

/// The answer to a subscription: where it begins, and the rows before that.
fn answer(begun: &Begun, session: Option<&str>, max_bytes: usize) -> Result<Bytes, Error> {
    let mut head = head(begun);
    if let Some(session) = session {
        head["session"] = session.into();
    }
    let mut text = head.to_string().into_bytes();
    if let Some(page) = &begun.snapshot {
        if page.rows.joined.len() > max_bytes {
            let message =
                "the snapshot is larger than a message may be; narrow the filters or the columns, or take a part by limit";
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let metadata = page_metadata(page.counts, page.rows.count, page.limit, page.offset);
        text.pop();
        for part in [b",\"snapshot\":[".as_slice(), &page.rows.joined, b"],\"metadata\":", metadata.as_bytes(), b"}"] {
            text.extend_from_slice(part);
        }
    }
    Ok(text.into())
}
