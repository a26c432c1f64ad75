//! Every REST route, and the one way through which they all reach the engine.

use super::asyncapi_routes;
use super::body;
use super::gate::read_body;
use super::openapi_routes;
use super::style;
use crate::auth::{self, Authenticator, Credentials, Principal};
use crate::drain::Drain;
use crate::engine::Engine;
use crate::protocol::{Code, Error, Operation, Request, Target};
use crate::readiness::Readiness;
use crate::telemetry::Metrics;
use crate::transport::asyncapi::Mqtt;
use crate::transport::origin::{Hosts, Origins};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::header::{AUTHORIZATION, HOST, IF_MATCH, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::response::Redirect;
use axum::routing::{get, post};
use std::sync::Arc;
use std::time::Duration;

/// What the routes need. Cheap to clone, once a request.
#[derive(Clone)]
pub struct Rest(Arc<Parts>);

/// What the routes need.
#[derive(Clone)]
pub struct Parts {
    /// What answers.
    pub engine: Engine,
    /// Who may enter.
    pub authenticator: Authenticator,
    /// Whether new requests are still taken.
    pub drain: Drain,
    /// What the replica needs beside its databases.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
    /// The largest body in bytes.
    pub max_body_bytes: usize,
    /// How long nothing of a body may come.
    pub body_time: Duration,
    /// Where MQTT is spoken, for the document that says so.
    pub mqtt: Option<Mqtt>,
    /// Origins of pages that may read answers; none unless listed.
    pub cors_origins: Arc<[HeaderValue]>,
    /// Which pages may call without a token.
    pub origins: Origins,
    /// By which names it may be called.
    pub hosts: Hosts,
}

impl Rest {
    /// The same for a core of its own: what is cloned with each request is no other core's.
    #[must_use]
    pub fn of_core(&self) -> Self {
        Self::from(Parts { metrics: self.metrics.of_core(), ..Parts::clone(&self.0) })
    }
}

impl From<Parts> for Rest {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Rest {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// All REST routes.
pub fn router(rest: Rest) -> Router {
    let body_methods = || post(body_call).get(body_meta).options(body_meta).fallback(body_method);
    Router::new()
        .route("/api/{entity}", body_methods())
        .route("/api/{schema}/{entity}", body_methods())
        .route("/api/{schema}/{entity}/{id}", body_methods())
        .merge(super::header_routes::routes())
        .route("/openapi", get(openapi_routes::whole))
        .route("/", get(async || Redirect::to("/docs")))
        .route("/asyncapi", get(asyncapi_routes::document))
        .merge(super::docs::routes())
        .route("/health", get(super::super::admin::health))
        .route("/ready", get(super::super::admin::ready))
        .fallback(unknown_path)
        .with_state(rest)
}

/// Finds out who asks. Who needs no token for that may be any page of the web, unless it is asked where it comes from.
pub(super) async fn authenticate(rest: &Rest, headers: &HeaderMap) -> Result<Principal, Error> {
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| Error::new(Code::Unauthorized, "the Authorization header is not text"))?;
    let credentials = Credentials::from_authorization(header).map_err(refused)?;
    let principal = rest.authenticator.authenticate(credentials).await.map_err(refused)?;
    if principal.is_anonymous() && !rest.origins.admits_at(headers.get(HOST), headers.get(ORIGIN)) {
        let message = "pages of this origin may not call without a token; an operator can list it (--cors-origin of serve)";
        return Err(Error::new(Code::Forbidden, message));
    }
    Ok(principal)
}

/// Why somebody is not let in, as the client is told.
#[must_use]
pub fn refused(error: auth::Error) -> Error {
    let code = if error.retryable() { Code::Unavailable } else { Code::Unauthorized };
    Error::new(code, error.to_string()).with_detail(error.reason())
}

/// A path of one, two or three names.
pub(super) type Names = Result<Path<Vec<(String, String)>>, PathRejection>;

/// The entity and the row that a path names.
pub(super) fn target(names: Names) -> Result<(Target, Option<String>), Error> {
    let Path(names) = names.map_err(|_| Error::new(Code::InvalidRequest, "the path is not UTF-8"))?;
    let (mut schema, mut entity, mut id) = (None, String::new(), None);
    for (name, value) in names {
        match name.as_str() {
            "schema" => schema = Some(value),
            "entity" => entity = value,
            _ => id = Some(value),
        }
    }
    Ok((Target { schema, entity }, id))
}

async fn body_call(State(rest): State<Rest>, names: Names, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if openapi_routes::is_asked(parts.uri.query()) {
        return openapi_routes::of_entity(&rest, &parts.headers, names).await;
    }
    let outcome = async {
        let principal = authenticate(&rest, &parts.headers).await?;
        let (target, id) = target(names)?;
        let bytes = read_body(&rest, &parts.headers, body).await?;
        let request = with_headers(body::decode(target, id, &bytes)?, &parts.headers)?;
        rest.engine.handle(&principal, &request).await
    };
    match outcome.await {
        Ok(response) => body::encode(&parts.headers, response),
        Err(error) => body::encode_error(&error),
    }
}

async fn body_meta(State(rest): State<Rest>, names: Names, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if openapi_routes::is_asked(uri.query()) {
        return openapi_routes::of_entity(&rest, &headers, names).await;
    }
    let outcome = async {
        let principal = authenticate(&rest, &headers).await?;
        let (target, _) = target(names)?;
        rest.engine.handle(&principal, &Request::new(Operation::Meta, target)).await
    };
    match outcome.await {
        Ok(response) => body::encode(&headers, response),
        Err(error) => body::encode_error(&error),
    }
}

/// Takes what requests of both styles carry in headers.
pub(super) fn with_headers(request: Request, headers: &HeaderMap) -> Result<Request, Error> {
    let text = |name: &str| match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(Error::new(Code::InvalidRequest, format!("the header {name} is not ASCII text"))),
    };
    Ok(Request { idempotency_key: text("idempotency-key")?, if_match: text(IF_MATCH.as_str())?, ..request })
}

async fn body_method() -> Response<Body> {
    body::encode_error(&Error::new(
        Code::MethodNotAllowed,
        "the body style takes POST with an operation in the body, and GET for metadata",
    ))
}

async fn unknown_path(uri: Uri) -> Response<Body> {
    let message = "there is nothing at this path; entities are at /api/{schema}/{entity} and /rest/{schema}/{entity}";
    style::encode_error(uri.path(), &Error::new(Code::NotFound, message))
}
