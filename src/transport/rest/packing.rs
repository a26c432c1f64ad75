//! What is about other clients than most: answers that are compressed, and pages of other origins. Who asks for neither goes
//! past both, since an answer that might be compressed is large to hand on.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, VARY};
use axum::http::{HeaderValue, Response};
use futures_util::future::{BoxFuture, Either, MapOk};
use futures_util::{FutureExt, TryFutureExt};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use tower::{Service, ServiceExt};
use tower_http::compression::Predicate;
use tower_http::compression::predicate::DefaultPredicate;

/// Two ways to the same answers.
#[derive(Clone)]
pub struct Packing<S, W> {
    /// The short one.
    pub plain: S,
    /// The one by compression and origins.
    pub packed: Arc<W>,
    /// Whether nobody may take the short one.
    pub always: bool,
}

type Plain<F> = MapOk<F, fn(Response<Body>) -> Response<Body>>;

impl<S, W> Service<Request> for Packing<S, W>
where
    S: Service<Request, Response = Response<Body>, Error = Infallible>,
    W: Service<Request, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    W::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Plain<S::Future>, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.plain.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.always || request.headers().contains_key(ACCEPT_ENCODING) {
            return Either::Right(W::clone(&self.packed).oneshot(request).boxed());
        }
        let varied: fn(Response<Body>) -> Response<Body> = varied;
        Either::Left(self.plain.call(request).map_ok(varied))
    }
}

/// Says of what would be compressed for others that it would.
fn varied(mut response: Response<Body>) -> Response<Body> {
    static COMPRESSED: LazyLock<DefaultPredicate> = LazyLock::new(DefaultPredicate::new);
    if !response.headers().contains_key(CONTENT_RANGE) && COMPRESSED.should_compress(&response) {
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}
