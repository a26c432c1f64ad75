//! One connection: one task that waits for whatever comes next and does it.
//!
//! Messages are worked on one after the other, so that answers come in their order. While something waits to be written, no
//! notification is taken, and while much does, no further request begins: what a client does not take piles up with whoever
//! makes it, who knows its bounds, and not here. A client that goes away gives up what it asked for, as over HTTP.

use super::Ws;
use super::clock::{Clock, Due};
use super::close::Close;
use super::connections::Entry;
use super::live::{Live, Notification};
use super::requests::{Notifications, Queue, Running, Work, begin};
use super::socket::{Ended, Received, Socket};
use std::future::poll_fn;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection with all that it needs.
pub(super) struct Connection<I, L> {
    socket: Socket<I>,
    live: L,
    ws: Ws,
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
    /// There are notifications in the batch.
    Notified,
    /// It is time to see what is due.
    Due,
    /// The connection is told to leave.
    ToldToLeave,
}

/// While more than this waits to be written, nothing is read and nothing is begun.
const ENOUGH_BYTES: usize = 64 * 1024;

/// Notifications that the batch keeps its room for.
const USUAL_BATCH: usize = 4;

const NOTIFICATION: &[u8] = b"{\"type\":\"notification\",\"subscription_id\":\"";

impl<I: AsyncRead + AsyncWrite + Unpin, L: Live> Connection<I, L> {
    /// A connection over a stream whose handshake is done. Boxed, since a future has room for every place that a value is
    /// moved to.
    pub(super) fn new(stream: I, live: L, ws: Ws, entry: Arc<Entry>) -> Box<Self> {
        Box::new(Self {
            socket: Socket::new(stream, ws.settings.max_message_bytes),
            live,
            queue: Queue::default(),
            running: None,
            batch: Vec::new(),
            clock: Clock::new(&ws.settings, entry.principal.expires_at),
            leaving: None,
            ws,
            entry,
        })
    }

    /// Begins with work that nobody asked for by a message; what is asked for comes after it.
    pub(super) fn begin(&mut self, running: Running) {
        self.running = Some(running);
    }

    /// Closes it before anything was said.
    pub(super) async fn refuse(self: Box<Self>, message: String) -> Ended {
        let ended = Ended::Here(Close::Refused(message));
        Box::pin(self.socket.end(&ended)).await;
        ended
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self: Box<Self>) -> Ended {
        let ended = loop {
            if let Err(ended) = self.turn().await {
                break ended;
            }
        };
        let Self { socket, live, running, .. } = *self;
        // What was begun for nobody ends now and not after the goodbye.
        drop(running);
        // Boxed, as is everything that happens once: a connection at rest should not have room for it.
        match &ended {
            Ended::Here(_) => Box::pin(live.end()).await,
            Ended::Client | Ended::Gone => drop(live),
        }
        Box::pin(socket.end(&ended)).await;
        ended
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        self.begin_next().await?;
        if self.running.is_none()
            && self.queue.is_empty()
            && let Some(close) = self.leaving.take()
        {
            return Err(Ended::Here(close));
        }
        match self.event().await? {
            Event::Answered(text) => {
                self.running = None;
                self.answer(text);
                self.flush().await?;
            }
            Event::Received(Received::Message(message)) => {
                self.clock.heard();
                self.ws.metrics.received(message.len());
                self.entry.received.count(1, message.len());
                self.queue.push(message);
            }
            Event::Received(Received::Control) => self.clock.heard(),
            Event::Received(Received::Pong) => {
                self.clock.heard();
                self.live.answered();
            }
            Event::Received(Received::Sent) => self.clock.wrote(),
            Event::Notified => {
                self.notify();
                self.flush().await?;
            }
            Event::Due => self.due().await?,
            Event::ToldToLeave => {
                self.leaving = Some(Close::Restart);
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
        let deaf = !self.is_listening();
        let told = self.is_clear() && self.leaving.is_none();
        let leaves = self.leaving.is_none();
        let Self { socket, live, running, batch, clock, entry, .. } = self;
        let waits = running.as_ref().is_some_and(|running| running.notifications == Notifications::Wait);
        tokio::select! {
            biased;
            text = answered(running) => Ok(Event::Answered(text)),
            received = poll_fn(|context| socket.poll_receive(context, deaf)) => received.map(Event::Received),
            next = live.next(batch), if told && !waits => next.map(|()| Event::Notified).map_err(Ended::Here),
            () = poll_fn(|context| clock.poll(context)) => Ok(Event::Due),
            () = poll_fn(|context| entry.poll_told_to_leave(context)), if leaves => Ok(Event::ToldToLeave),
        }
    }

    /// Whether the client's frames are read.
    fn is_listening(&self) -> bool {
        self.leaving.is_none() && self.queue.has_room(self.ws.settings.max_message_bytes) && self.socket.waiting() < ENOUGH_BYTES
    }

    /// Whether everything is written.
    fn is_clear(&self) -> bool {
        self.socket.waiting() == 0
    }

    /// Works on the messages that wait, up to the first whose answer takes time.
    async fn begin_next(&mut self) -> Result<(), Ended> {
        while self.running.is_none()
            && self.socket.waiting() < ENOUGH_BYTES
            && let Some(message) = self.queue.pop()
        {
            match begin(&self.ws, &self.entry, &mut self.live, &message) {
                Work::Done(text) => self.answer(text),
                Work::Begun(running) => self.running = Some(running),
            }
        }
        if self.is_clear() { Ok(()) } else { self.flush().await }
    }

    fn answer(&mut self, text: Vec<u8>) {
        let before = self.socket.waiting();
        self.socket.outgoing().whole(text);
        self.count_sent(1, before);
    }

    /// Puts the batch into frames.
    fn notify(&mut self) {
        let before = self.socket.waiting();
        let count = self.batch.len();
        for Notification { subscription_id, tail } in self.batch.drain(..) {
            self.socket.outgoing().text(&[NOTIFICATION, subscription_id.as_bytes(), b"\",", &tail]);
        }
        self.batch.shrink_to(USUAL_BATCH);
        self.count_sent(count, before);
    }

    fn count_sent(&self, messages: usize, before: usize) {
        let bytes = self.socket.waiting() - before;
        self.ws.metrics.sent(messages, bytes);
        self.entry.sent.count(messages, bytes);
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.socket.flush().await?;
        if self.is_clear() {
            self.clock.wrote();
        } else {
            self.clock.waits(self.socket.sent());
        }
        Ok(())
    }

    async fn due(&mut self) -> Result<(), Ended> {
        match self.clock.due(self.socket.sent(), self.is_listening()) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                self.live.pinged();
                self.socket.ping();
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

/// Waits for the answer; forever if there is no request.
async fn answered(running: &mut Option<Running>) -> Vec<u8> {
    match running {
        Some(running) => running.answer.as_mut().await,
        None => std::future::pending().await,
    }
}
