//! Where live changes come into a connection: the one place that a session of the hub is plugged into.
//!
//! A connection asks its `Live` for what there is to tell and hands it the client's messages about subscriptions. This
//! build has no changes to tell; `Silent` says so.

use super::close::Close;
use crate::protocol::{Code, Error};
use crate::transport::message::Subscription;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;

/// One notification. Its text is the same for everyone but for the subscription's id, which comes before the `tail`.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Whom it is for.
    pub subscription_id: Arc<str>,
    /// The text after `{"type":"notification","subscription_id":"<id>",`.
    pub tail: Bytes,
}

/// What a connection is told of changes.
pub trait Live: Send + 'static {
    /// Waits until there is something to tell, and appends all that there is by then. It is given up and asked again as
    /// other things happen, and must lose nothing by that.
    fn next(&mut self, batch: &mut Vec<Notification>) -> impl Future<Output = Result<(), Close>> + Send;

    /// Begins or ends a subscription; answers the `data` of the answer as JSON. Nothing is asked of `next` until the answer
    /// is sent, so that it comes before the first notification.
    fn subscription(&mut self, asked: Subscription) -> BoxFuture<'static, Result<Bytes, Error>>;
}

/// Tells nothing, ever.
pub(super) struct Silent;

impl Live for Silent {
    async fn next(&mut self, _: &mut Vec<Notification>) -> Result<(), Close> {
        std::future::pending().await
    }

    fn subscription(&mut self, _: Subscription) -> BoxFuture<'static, Result<Bytes, Error>> {
        let error = Error::new(Code::Unavailable, "this build has no live changes yet; read again instead");
        Box::pin(std::future::ready(Err(error)))
    }
}
