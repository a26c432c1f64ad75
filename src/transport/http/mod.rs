//! HTTP over connections: each is served until it ends, is told to, or its client is too slow.
//!
//! Stands between `cores`, which hands connections over, and the routes, of which it knows nothing. A client can hold a
//! connection only for so long as it does something: heads, answers that are not taken and silence each have their time
//! here, and bodies have theirs where they are read.

mod door;
mod pings;
mod pulse;

pub use door::{Arrived, Door};

use super::cores::{Connection, Peer};
use crate::drain::Drain;
use crate::telemetry::ConnectionMetrics;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use pulse::{Phase, Pulse, Watched, Whole};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

/// Limits and times of connections, as the configuration says them.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Connections that are open at once; those that became WebSocket have a limit of their own.
    pub max_connections: usize,
    /// From the first byte of a request to the end of its head.
    pub header_time: Duration,
    /// How long nothing of a body may come, and how long a client may take nothing of an answer.
    pub body_time: Duration,
    /// How long a connection may wait for its first or its next request.
    pub idle_time: Duration,
    /// Requests that may be open at once on a connection over HTTP/2; streams of gRPC are among them.
    pub max_streams: u32,
    /// Between two pings of a connection over HTTP/2.
    pub ping_interval: Duration,
    /// How long the answer to one may take.
    pub ping_time: Duration,
    /// Pings of a client over HTTP/2 in ten seconds in which nothing but their answers is sent.
    pub max_pings: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(75),
            max_streams: 200,
            ping_interval: Duration::from_mins(1),
            ping_time: Duration::from_secs(20),
            max_pings: 100,
        }
    }
}

/// How connections are served. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    settings: Settings,
    builder: Builder<TokioExecutor>,
    metrics: ConnectionMetrics,
    drain: Drain,
}

/// Where connections come from.
pub trait Connections {
    /// The next one.
    fn next(&mut self) -> impl Future<Output = (Connection, Peer, OwnedSemaphorePermit)>;
}

impl Http {
    /// Connections with these limits, counted there, until that drains.
    #[must_use]
    pub fn new(settings: Settings, metrics: ConnectionMetrics, drain: Drain) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        // A peer over HTTP/2 that does not even answer pings is gone, whatever it has asked for.
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(settings.ping_interval)
            .keep_alive_timeout(settings.ping_time)
            .max_concurrent_streams(settings.max_streams);
        Self { settings, builder, metrics, drain }
    }

    /// Serves until the drain closes and then until what has begun is finished.
    pub async fn serve<S, B>(&self, mut connections: impl Connections, service: S)
    where
        S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: HttpBody + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let tasks = TaskTracker::new();
        // One of this core, so that its connections wait on nothing that other cores touch.
        let closing = CancellationToken::new();
        let mut closed = pin!(self.drain.closed());
        loop {
            let (connection, peer, seat) = tokio::select! {
                next = connections.next() => next,
                () = &mut closed => break,
            };
            tasks.spawn(self.clone().connection(connection, peer, seat, service.clone(), closing.clone()));
        }
        drop(connections);
        closing.cancel();
        tasks.close();
        tasks.wait().await;
    }

    async fn connection<S, B>(
        self,
        connection: Connection,
        peer: Peer,
        seat: OwnedSemaphorePermit,
        service: S,
        closing: CancellationToken,
    ) where
        S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: HttpBody + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let _counted = self.metrics.opened();
        // Dropped first: whoever reads that a connection has ended finds its seat free.
        let _seat = seat;
        let pulse = Arc::new(Pulse::new());
        let io = TokioIo::new(Watched::new(connection, Arc::clone(&pulse), self.settings.max_pings));
        let noted = Arc::clone(&pulse);
        let answer = service_fn(move |request: axum::http::Request<Incoming>| {
            let begun = Pulse::begin(&noted, request.version());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = service.clone().oneshot(request);
            async move { answer.await.map(|response| response.map(|body| Whole::new(body, begun))) }
        });
        let served = self.builder.serve_connection_with_upgrades(io, answer);
        if let Some(phase) = attend(served, &pulse, &self.settings, &closing).await {
            self.metrics.timed_out(phase.label());
        }
    }
}

/// Drives a connection to its end, or to the phase in which its client was too slow.
async fn attend<S, B>(
    connection: UpgradeableConnection<'_, TokioIo<Watched>, S, TokioExecutor>,
    pulse: &Pulse,
    settings: &Settings,
    closing: &CancellationToken,
) -> Option<Phase>
where
    S: hyper::service::Service<axum::http::Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut closed = pin!(closing.cancelled());
    // Moved to an earlier time only when a phase begins that ends earlier, so requests that come whole never touch it.
    let mut clock = pin!(sleep_until(Instant::now() + settings.idle_time));
    let mut leaving = false;
    poll_fn(|context| {
        loop {
            match connection.as_mut().poll(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(None),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "a connection broke");
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            // A request whose head has begun to come is told to come again elsewhere; hyper takes the connection for idle.
            if leaving || closed.as_mut().poll(context).is_pending() || pulse.head_has_begun() {
                break;
            }
            leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        if pulse.is_flooded() {
            return Poll::Ready(Some(Phase::Pings));
        }
        let deadline = pulse.deadline(settings);
        if let Some((at, _)) = deadline.filter(|(at, _)| *at < clock.deadline()) {
            clock.as_mut().reset(at);
        }
        while clock.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            match deadline {
                Some((at, phase)) if at <= now => return Poll::Ready(Some(phase)),
                Some((at, _)) => clock.as_mut().reset(at),
                None => clock.as_mut().reset(now + settings.idle_time),
            }
        }
        Poll::Pending
    })
    .await
}
