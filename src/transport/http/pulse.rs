//! What a connection's client does at the moment: nothing, sending a head, waiting for an answer, taking one.
//!
//! Noted by the socket and by the requests, read by whoever attends the connection. It costs a request two looks at the
//! clock and no allocation.

use super::Settings;
use super::pings::Pings;
use crate::transport::cores::Connection;
use axum::body::HttpBody;
use axum::http::Version;
use hyper::body::{Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// In which a client was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request.
    Idle,
    /// The head of a request is on its way.
    Head,
    /// The client takes nothing of what is written.
    Answer,
    /// The client pings without end, in which it is too quick.
    Pings,
}

impl Phase {
    /// As metrics name it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Head => "head",
            Phase::Answer => "answer",
            Phase::Pings => "pings",
        }
    }
}

/// The state of one connection. Times are microseconds since it was opened, and 0 is none.
pub(super) struct Pulse {
    opened: Instant,
    requests: AtomicUsize,
    multiplexed: AtomicBool,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    stuck_since: AtomicU64,
    flooded: AtomicBool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            stuck_since: AtomicU64::new(0),
            flooded: AtomicBool::new(false),
        }
    }

    /// Whether the client pings without end.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Whether a part of a request's head has come, and the rest has not.
    pub(super) fn head_has_begun(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0
    }

    /// The head of a request is complete.
    pub(super) fn begin(pulse: &Arc<Self>, version: Version) -> Begun {
        pulse.requests.fetch_add(1, Ordering::Relaxed);
        pulse.head_since.store(0, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            pulse.multiplexed.store(true, Ordering::Relaxed);
        }
        Begun(Arc::clone(pulse))
    }

    /// When this connection ends unless something happens, and why; nothing as long as it is this side's turn.
    pub(super) fn deadline(&self, settings: &Settings) -> Option<(Instant, Phase)> {
        let stuck = self.stuck_since.load(Ordering::Relaxed);
        if stuck != 0 {
            return Some((self.at(stuck, settings.body_time), Phase::Answer));
        }
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        match self.head_since.load(Ordering::Relaxed) {
            0 => Some((self.at(self.idle_since.load(Ordering::Relaxed), settings.idle_time), Phase::Idle)),
            since => Some((self.at(since, settings.header_time), Phase::Head)),
        }
    }

    fn at(&self, since: u64, time: Duration) -> Instant {
        self.opened + Duration::from_micros(since) + time
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Bytes came. Between the requests of HTTP/2 they are not the beginning of one: pings and window sizes come as well.
    fn came(&self) {
        let waited = self.requests.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0;
        if waited && !self.multiplexed.load(Ordering::Relaxed) {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Something was to be written, and the socket took it or is full.
    fn written(&self, full: bool) {
        let since = self.stuck_since.load(Ordering::Relaxed);
        if full && since == 0 {
            self.stuck_since.store(self.now(), Ordering::Relaxed);
        } else if !full && since != 0 {
            self.stuck_since.store(0, Ordering::Relaxed);
        }
    }
}

/// A request from its head to the last byte of its answer's body.
pub(super) struct Begun(Arc<Pulse>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with which its request ends.
pub(super) struct Whole<B> {
    body: B,
    _begun: Begun,
}

impl<B> Whole<B> {
    pub(super) fn new(body: B, begun: Begun) -> Self {
        Self { body, _begun: begun }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Whole<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that notes what comes and what is not taken.
pub(super) struct Watched {
    connection: Connection,
    pulse: Arc<Pulse>,
    pings: Pings,
}

impl Watched {
    pub(super) fn new(connection: Connection, pulse: Arc<Pulse>, max_pings: u32) -> Self {
        Self { connection, pulse, pings: Pings::new(max_pings, Instant::now()) }
    }
}

impl Watched {
    fn written(&mut self, outcome: &Poll<io::Result<usize>>) {
        self.pulse.written(outcome.is_pending());
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.pings.written(*bytes);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.connection.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            let this = &mut *self;
            this.pulse.came();
            if this.pings.came(&buffer.filled()[before..], Instant::now()) {
                this.pulse.flooded.store(true, Ordering::Relaxed);
            }
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection.stream).poll_write(context, bytes);
        self.written(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection.stream).poll_write_vectored(context, slices);
        self.written(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection.stream).poll_shutdown(context)
    }
}
