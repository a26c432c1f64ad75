//! A stream of gRPC as the line of a conversation.
//!
//! What is told goes through a channel of one place to the stream, in batches: one waits there, and the next is gathered
//! here until the client takes the first. HTTP/2 takes nothing from the stream while its client takes nothing, so a slow
//! client is seen here by what waits. The last word has a way of its own, since a stream that just ends tells of success.

use super::payload::{self, Form};
use super::proto::Message;
use super::status;
use crate::protocol::{Code, Error};
use crate::transport::conversation::{Close, Ended, HEADROOM, Line, NOTIFICATION, Notification, Received};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::PollSender;
use tonic::{Status, Streaming};

/// The server's side of a stream.
pub(super) struct StreamLine {
    /// What the client says; none if it has said everything.
    messages: Option<Streaming<Message>>,
    form: Form,
    batches: PollSender<Vec<Message>>,
    waiting: Vec<Message>,
    waiting_bytes: usize,
    sent: u64,
    last: Arc<OnceLock<Status>>,
    /// Ends when nobody takes what is told any more.
    gone: BoxFuture<'static, ()>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The client's side: what the library takes messages from.
pub(super) struct Outbox {
    batches: mpsc::Receiver<Vec<Message>>,
    batch: std::vec::IntoIter<Message>,
    last: Arc<OnceLock<Status>>,
    over: bool,
}

/// How long a client may take for what waits at the end.
const END_TIME: Duration = Duration::from_secs(5);

/// Both sides of a stream.
pub(super) fn open(messages: Option<Streaming<Message>>, form: Form, deadline: Option<Instant>) -> (StreamLine, Outbox) {
    let (sender, batches) = mpsc::channel::<Vec<Message>>(1);
    let last = Arc::new(OnceLock::new());
    let watched = sender.clone();
    let line = StreamLine {
        messages,
        form,
        batches: PollSender::new(sender),
        waiting: Vec::new(),
        waiting_bytes: 0,
        sent: 0,
        last: Arc::clone(&last),
        gone: Box::pin(async move { watched.closed().await }),
        deadline: deadline.map(|at| Box::pin(sleep_until(at.into()))),
    };
    (line, Outbox { batches, batch: Vec::new().into_iter(), last, over: false })
}

impl StreamLine {
    fn put(&mut self, json: Bytes) {
        self.waiting_bytes += json.len();
        self.waiting.push(self.form.message(json));
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if !self.waiting.is_empty() {
            ready!(self.batches.poll_reserve(context)).map_err(|_| Ended::Gone)?;
            self.batches.send_item(std::mem::take(&mut self.waiting)).map_err(|_| Ended::Gone)?;
            self.sent += std::mem::take(&mut self.waiting_bytes) as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Has the stream end with this, unless it already has a last word.
    fn last(&self, status: Status) {
        self.last.get_or_init(|| status);
    }
}

impl Line for StreamLine {
    /// HTTP/2 has pings of its own, whose answers tell nothing of what has reached the client; it may acknowledge.
    const PINGS: bool = false;

    fn poll_receive(&mut self, context: &mut Context<'_>, deaf: bool) -> Poll<Result<Received, Ended>> {
        if self.gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Ended::Gone));
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            self.last(status::status(&late()));
            return Poll::Ready(Err(Ended::Gone));
        }
        if !self.waiting.is_empty() && self.poll_send(context)?.is_ready() {
            return Poll::Ready(Ok(Received::Sent));
        }
        let Some(messages) = self.messages.as_mut().filter(|_| !deaf) else { return Poll::Pending };
        match ready!(Pin::new(messages).poll_next(context)) {
            Some(Ok(message)) => Poll::Ready(Ok(Received::Message(payload::json(message)))),
            None => {
                self.messages = None;
                Poll::Ready(Ok(Received::Control))
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a stream ends");
                Poll::Ready(Err(match error.code() {
                    // So the library says it of what is too large as it comes or when it is read, and of what can't be read.
                    tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => Ended::Here(Close::TooLarge),
                    tonic::Code::Internal => {
                        Ended::Here(Close::Refused(Error::new(Code::InvalidMessage, "the message can't be read")))
                    }
                    _ => {
                        self.last(error);
                        Ended::Gone
                    }
                }))
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.messages.is_none()
    }

    fn answer(&mut self, text: Vec<u8>) {
        self.put(Bytes::from(text).slice(HEADROOM..));
    }

    fn notify(&mut self, Notification { subscription_id, tail }: &Notification) {
        self.put([NOTIFICATION, subscription_id.as_bytes(), b"\",", tail].concat().into());
    }

    fn ping(&mut self) {}

    fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        match self.poll_send(context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    async fn end(mut self, ended: &Ended) {
        match ended {
            Ended::Gone => return,
            Ended::Client => {}
            Ended::Here(close) => self.last(status::end(close)),
        }
        // A slow client had its time.
        if *ended == Ended::Here(Close::SlowConsumer) {
            return;
        }
        let rest = std::future::poll_fn(|context| self.poll_send(context));
        if !matches!(tokio::time::timeout(END_TIME, rest).await, Ok(Ok(()))) {
            tracing::debug!("a client went away before everything was told");
            self.last(status::end(&Close::SlowConsumer));
        }
    }
}

/// What a client is told that has stopped waiting.
pub(super) fn late() -> Error {
    Error::new(Code::DeadlineExceeded, "the deadline of the call is over")
}

impl Stream for Outbox {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.batch.next() {
                return Poll::Ready(Some(Ok(message)));
            }
            match ready!(self.batches.poll_recv(context)) {
                Some(batch) => self.batch = batch.into_iter(),
                None if self.over => return Poll::Ready(None),
                None => {
                    self.over = true;
                    return Poll::Ready(self.last.get().cloned().map(Err));
                }
            }
        }
    }
}
