//! gRPC beside everything else on one port: calls go past what is about other requests, such as compression and origins.

use super::Enter;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, Version};
use futures_util::TryFutureExt;
use futures_util::future::{self, BoxFuture, MapOk};
use http_body_util::Either;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Both.
#[derive(Clone)]
pub struct Beside<S> {
    /// What answers calls of gRPC.
    pub grpc: Arc<Enter>,
    /// What answers everything else.
    pub other: S,
}

type Answer<B> = Response<Either<Body, B>>;
type Calling<B> = MapOk<BoxFuture<'static, Result<Response<Body>, Infallible>>, fn(Response<Body>) -> Answer<B>>;

impl<S, B> Service<Request> for Beside<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = Answer<B>;
    type Error = Infallible;
    type Future = future::Either<Calling<B>, MapOk<S::Future, fn(Response<B>) -> Answer<B>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.other.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_grpc(&request) {
            let call: fn(Response<Body>) -> Answer<B> = |response| response.map(Either::Left);
            return future::Either::Left(Enter::clone(&self.grpc).answer(request).map_ok(call));
        }
        let other: fn(Response<B>) -> Answer<B> = |response| response.map(Either::Right);
        future::Either::Right(self.other.call(request).map_ok(other))
    }
}

/// Whether it is a call; only HTTP/2 has the trailers that an answer ends with.
fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    request.version() == Version::HTTP_2 && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b'+')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_type_and_version() {
        let of = |kind: &str, version| {
            is_grpc(&Request::builder().header(CONTENT_TYPE, kind).version(version).body(Body::empty()).unwrap())
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(of(kind, Version::HTTP_2) && !of(kind, Version::HTTP_11), "{kind}");
        }
        for kind in ["application/grpc-web", "application/json", "application/grp"] {
            assert!(!of(kind, Version::HTTP_2), "{kind}");
        }
    }
}
