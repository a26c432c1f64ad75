//! The first and last thing that happens to a call: an id, the drain, a time for its message.

use super::status::status;
use crate::protocol::{Code, Error};
use crate::telemetry::follow;
use crate::transport::rest::Rest;
use crate::transport::rest::gate::request_id;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Response;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tower::Service;
use tracing::Instrument;

/// Wraps the services.
#[derive(Clone)]
pub struct Enter {
    pub(super) rest: Rest,
    pub(super) router: Router,
    /// The largest message that is taken.
    pub(super) max_message_bytes: usize,
}

/// The calls that metrics, logs and traces name; others come from whoever guesses.
const PATHS: [&str; 7] = [
    "/resolvespec.v1.ResolveSpec/Call",
    "/resolvespec.v1.ResolveSpec/Subscribe",
    "/resolvespec.v1.ResolveSpec/Session",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

impl Enter {
    pub(super) fn answer(&mut self, mut request: Request) -> BoxFuture<'static, Result<Response<Body>, Infallible>> {
        let path = PATHS.into_iter().find(|known| *known == request.uri().path()).unwrap_or("unmatched");
        let id = request_id(request.headers());
        if self.rest.drain.is_draining() && !path.starts_with("/grpc.health") {
            let leaving = Error::new(Code::Unavailable, "this replica is shutting down; call again");
            return Box::pin(std::future::ready(Ok(status(&leaving).into_http())));
        }
        let span = tracing::info_span!("request", method = "POST", path, id = id.to_str().unwrap_or_default());
        if !span.is_disabled() {
            follow(&span, request.headers());
        }
        // Messages of streams are small and made once for all who are told them; each would be compressed for each.
        if !path.ends_with("/Call") {
            request.headers_mut().remove("grpc-accept-encoding");
        }
        // Only there may a client be silent for long.
        if !path.ends_with("/Session") {
            let time = self.rest.body_time;
            request = request.map(|body| Body::new(Prompt::new(body, time)));
        }
        let largest = self.max_message_bytes;
        let answer = self.router.call(request).instrument(span);
        Box::pin(async move {
            let mut response = answer.await?;
            if is_too_large(&response) {
                let message = format!("the message is larger than {largest} bytes");
                response = status(&Error::new(Code::PayloadTooLarge, message)).into_http();
            }
            response.headers_mut().insert("x-request-id", id);
            Ok(response)
        })
    }
}

/// Whether the library has refused a message by its size, which it does without details; ours have some.
fn is_too_large(response: &Response<Body>) -> bool {
    let headers = response.headers();
    // As it comes, or when it is read out of its compression.
    headers.get(Status::GRPC_STATUS).is_some_and(|code| [b"11".as_slice(), b"8"].contains(&code.as_bytes()))
        && !headers.contains_key(Status::GRPC_STATUS_DETAILS)
}

/// A body of which something must come in time, until its end.
struct Prompt {
    body: Body,
    time: Duration,
    /// Runs while the body is waited for.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Prompt {
    fn new(body: Body, time: Duration) -> Self {
        Self { body, time, clock: None }
    }
}

impl HttpBody for Prompt {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, time, clock } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            *clock = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // Where the bytes are there already, no timer is started.
        let clock = clock.get_or_insert_with(|| Box::pin(sleep(*time)));
        clock.as_mut().poll(context).map(|()| {
            let message = format!("nothing of the message came for {} seconds", time.as_secs());
            Some(Err(status(&Error::new(Code::RequestTimeout, message)).into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
