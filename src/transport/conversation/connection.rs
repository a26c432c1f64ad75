//! One connection: one task that waits for whatever comes next and does it.
//!
//! Messages are worked on one after the other, so that answers come in their order. While something waits to be written, no
//! notification is taken, and while much does, no further request begins: what a client does not take piles up with whoever
//! makes it, who knows its bounds, and not here. A client that goes away gives up what it asked for, as over HTTP.

use super::Conversations;
use super::clock::{Clock, Due};
use super::close::Close;
use super::connections::Entry;
use super::line::{Ended, Line, Received};
use super::live::{Live, Notification};
use super::requests::{Notifications, Queue, Running, Work, begin};
use crate::protocol::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// A connection with all that it needs.
pub(in crate::transport) struct Connection<N, L> {
    line: N,
    live: L,
    conversations: Conversations,
    entry: Arc<Entry>,
    queue: Queue,
    running: Option<Running>,
    batch: Vec<Notification>,
    clock: Clock,
    /// It ends for this reason when nothing is left to be answered.
    leaving: Option<Close>,
}

/// What a connection waits for.
enum Event {
    /// The request is answered.
    Answered(Vec<u8>),
    /// Something came from the client, or went to it.
    Received(Received),
    /// The client was told much, and may have said something meanwhile.
    Told,
    /// It is time to see what is due.
    Due,
    /// The connection is told to leave.
    ToldToLeave,
}

/// While more than this waits to be written, nothing is read and nothing is begun.
const ENOUGH_BYTES: usize = 64 * 1024;

/// Notifications that the batch keeps its room for.
const USUAL_BATCH: usize = 4;

/// Batches that are written before anything else is looked at.
const BATCHES: usize = 8;

/// What a notification begins with, before the id of its subscription.
pub(in crate::transport) const NOTIFICATION: &[u8] = b"{\"type\":\"notification\",\"subscription_id\":\"";

impl<N: Line, L: Live> Connection<N, L> {
    /// A connection over this line. Boxed, since a future has room for every place that a value is moved to.
    pub(in crate::transport) fn new(line: N, live: L, conversations: Conversations, entry: Arc<Entry>) -> Box<Self> {
        let clock = Clock::new(&conversations.settings, entry.principal.expires_at);
        Box::new(Self {
            line,
            live,
            queue: Queue::default(),
            running: None,
            batch: Vec::new(),
            clock: if N::PINGS { clock } else { clock.without_pings() },
            leaving: None,
            conversations,
            entry,
        })
    }

    /// Begins with work that nobody asked for by a message; what is asked for comes after it.
    pub(super) fn begin(&mut self, running: Running) {
        self.running = Some(running);
    }

    /// Closes it before anything was said.
    pub(in crate::transport) async fn refuse(self: Box<Self>, error: Error) -> Ended {
        let ended = Ended::Here(Close::Refused(error));
        Box::pin(self.line.end(&ended)).await;
        ended
    }

    /// Serves it to its end.
    pub(in crate::transport) async fn run(mut self: Box<Self>) -> Ended {
        let mut ended = loop {
            if let Err(ended) = self.turn().await {
                break ended;
            }
        };
        let Self { line, live, running, conversations, entry, .. } = *self;
        // What was begun for nobody ends now and not after the goodbye.
        drop(running);
        // Boxed, as is everything that happens once: a connection at rest should not have room for it.
        Box::pin(conversations.engine.leaving(entry.session())).await;
        match &mut ended {
            Ended::Here(Close::Restart(session)) => *session = Box::pin(live.end()).await,
            Ended::Here(_) => _ = Box::pin(live.end()).await,
            Ended::Client | Ended::Gone => drop(live),
        }
        Box::pin(line.end(&ended)).await;
        ended
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        self.begin_next().await?;
        if self.running.is_none() && self.queue.is_empty() {
            if let Some(close) = self.leaving.take() {
                return Err(Ended::Here(close));
            }
            // Who says nothing any more may still wait to be told something.
            if self.line.is_silent() && self.is_clear() && self.entry.subscriptions.load(Ordering::Relaxed) == 0 {
                return Err(Ended::Client);
            }
        }
        match self.event().await? {
            Event::Answered(text) => {
                self.running = None;
                self.answer(text);
                self.flush().await?;
            }
            Event::Received(Received::Message(message)) => {
                self.clock.heard();
                let bytes = message.as_ref().map_or(0, bytes::Bytes::len);
                self.entry.metrics.received(bytes);
                self.entry.received.count(1, bytes);
                self.queue.push(message);
            }
            Event::Received(Received::Control) => self.clock.heard(),
            Event::Received(Received::Pong) => {
                self.clock.heard();
                self.live.answered();
            }
            Event::Received(Received::Sent) => self.clock.wrote(),
            Event::Told => {}
            Event::Due => self.due().await?,
            Event::ToldToLeave => {
                self.leaving = Some(Close::Restart(None));
                // What is still worked on may take longer than this replica lives.
                if self.running.is_some() || !self.queue.is_empty() {
                    self.live.leaving();
                }
            }
        }
        Ok(())
    }

    /// Waits for the next event. Answers come before notifications.
    async fn event(&mut self) -> Result<Event, Ended> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        if let Some(running) = &mut self.running
            && let Poll::Ready(answer) = running.answer.as_mut().poll(context)
        {
            return Poll::Ready(answer.map(Event::Answered).map_err(|error| Ended::Here(Close::Refused(error))));
        }
        let deaf = !self.is_listening();
        if let Poll::Ready(received) = self.line.poll_receive(context, deaf) {
            return Poll::Ready(received.map(Event::Received));
        }
        if self.leaving.is_none() && !self.running.as_ref().is_some_and(|running| running.notifications == Notifications::Wait) {
            match self.poll_tell(context)? {
                Poll::Ready(()) => return Poll::Ready(Ok(Event::Told)),
                Poll::Pending => {}
            }
        }
        // Who takes a long answer by and by may do so for as long as nothing is lost to it meanwhile.
        if !self.is_clear() && self.live.poll_overflow(context).is_ready() {
            self.clock.lost();
        }
        if self.clock.poll(context).is_ready() {
            return Poll::Ready(Ok(Event::Due));
        }
        if self.leaving.is_none() && self.entry.poll_told_to_leave(context).is_ready() {
            return Poll::Ready(Ok(Event::ToldToLeave));
        }
        Poll::Pending
    }

    /// Takes what there is to tell and writes it, again and again while the client takes all of it. Nothing else is looked at
    /// in between: usually there is one batch, and everything else would be asked twice for it. Ready when something else
    /// should be.
    fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        for _ in 0..BATCHES {
            if !self.is_clear() {
                return Poll::Pending;
            }
            ready!(self.live.poll_next(context, &mut self.batch)).map_err(Ended::Here)?;
            self.notify();
            self.send(context)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client is listened to.
    fn is_listening(&self) -> bool {
        let room = self.queue.has_room(&self.conversations.settings);
        self.leaving.is_none() && room && self.line.waiting() < ENOUGH_BYTES
    }

    /// Whether everything is written.
    fn is_clear(&self) -> bool {
        self.line.waiting() == 0
    }

    /// Works on the messages that wait, up to the first whose answer takes time.
    async fn begin_next(&mut self) -> Result<(), Ended> {
        while self.running.is_none()
            && self.line.waiting() < ENOUGH_BYTES
            && let Some(message) = self.queue.pop()
        {
            match begin(&self.conversations, &self.entry, &mut self.live, message) {
                Work::Done(text) => self.answer(text),
                Work::Begun(running) => self.running = Some(running),
            }
        }
        if self.is_clear() { Ok(()) } else { self.flush().await }
    }

    fn answer(&mut self, text: Vec<u8>) {
        let before = self.line.waiting();
        self.line.answer(text);
        self.count_sent(1, before);
    }

    /// Puts the batch to what waits.
    fn notify(&mut self) {
        let before = self.line.waiting();
        let count = self.batch.len();
        for notification in self.batch.drain(..) {
            self.line.notify(&notification);
        }
        self.batch.shrink_to(USUAL_BATCH);
        self.count_sent(count, before);
    }

    fn count_sent(&self, messages: usize, before: usize) {
        let bytes = self.line.waiting() - before;
        self.entry.metrics.sent(messages, bytes);
        self.entry.sent.count(messages, bytes);
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        poll_fn(|context| Poll::Ready(self.send(context))).await
    }

    /// Writes as much of what waits as the client takes at once.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        self.line.send(context)?;
        if self.is_clear() {
            self.clock.wrote();
        } else {
            self.clock.waits(self.line.sent());
        }
        Ok(())
    }

    async fn due(&mut self) -> Result<(), Ended> {
        match self.clock.due(self.line.sent(), self.is_listening()) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                self.live.pinged();
                self.line.ping();
                self.flush().await
            }
            Due::Leave(close) => {
                self.leaving.get_or_insert(close);
                Ok(())
            }
            Due::End(close) => Err(Ended::Here(close)),
        }
    }
}
