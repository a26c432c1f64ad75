//! What a conversation needs of the way to its client.

use super::close::Close;
use super::live::Notification;
use crate::transport::message::Unreadable;
use bytes::Bytes;
use std::task::{Context, Poll};

/// A message as it came: its JSON, or why it has none.
pub(in crate::transport) type Incoming = Result<Bytes, Unreadable>;

/// The way to a client and back.
pub(in crate::transport) trait Line: Send {
    /// Whether the client is asked for signs of life, which also tell what has reached it.
    const PINGS: bool;

    /// Writes what waits and, unless it is `deaf`, waits for what the client says next.
    fn poll_receive(&mut self, context: &mut Context<'_>, deaf: bool) -> Poll<Result<Received, Ended>>;

    /// Whether the client says nothing any more and still listens.
    fn is_silent(&self) -> bool {
        false
    }

    /// Puts an answer to what waits; its text begins after `HEADROOM` free bytes.
    fn answer(&mut self, text: Vec<u8>);

    /// Puts a notification to what waits.
    fn notify(&mut self, notification: &Notification);

    /// Asks for a sign of life, after everything that waits.
    fn ping(&mut self);

    /// Bytes that wait to be written.
    fn waiting(&self) -> usize;

    /// Bytes that were written so far.
    fn sent(&self) -> u64;

    /// Writes as much of what waits as is taken at once.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Ended>;

    /// Says goodbye, within a time.
    fn end(self, ended: &Ended) -> impl Future<Output = ()> + Send;
}

/// What came of waiting for the client.
#[derive(Debug)]
pub(in crate::transport) enum Received {
    /// A message.
    Message(Incoming),
    /// The client has what was written before the last ping.
    Pong,
    /// A sign of life and nothing else, which is answered by now if it has to be.
    Control,
    /// Nothing came, but everything that waited is written.
    Sent,
}

/// How a conversation ends.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) enum Ended {
    /// The client ended it.
    Client,
    /// The client is gone.
    Gone,
    /// It is ended from here.
    Here(Close),
}
