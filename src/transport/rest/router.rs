//! Every REST route, and the one way through which they all reach the engine.

use super::body;
use super::gate::{read_body, request_id};
use crate::auth::{self, Authenticator, Credentials, Principal};
use crate::drain::Drain;
use crate::engine::Engine;
use crate::protocol::{Code, Error, Operation, Request, Target};
use crate::telemetry::Metrics;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request as HttpRequest, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

/// What the routes need.
#[derive(Clone)]
pub struct Rest {
    /// What answers.
    pub engine: Engine,
    /// Who may enter.
    pub authenticator: Authenticator,
    /// Whether new requests are still taken.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Metrics,
    /// The largest body in bytes.
    pub max_body_bytes: usize,
    /// Origins of browsers that may call; none unless listed.
    pub cors_origins: Arc<[HeaderValue]>,
}

const EXPOSED: [&str; 12] = [
    "content-range",
    "etag",
    "idempotency-replayed",
    "retry-after",
    "x-api-modelname",
    "x-api-range-etotal",
    "x-api-range-from",
    "x-api-range-size",
    "x-api-range-total",
    "x-limit",
    "x-offset",
    "x-request-id",
];

/// All REST routes.
pub fn router(rest: Rest) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(rest.cors_origins.iter().cloned()))
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ]))
        .allow_credentials(true)
        .expose_headers(ExposeHeaders::list(EXPOSED.map(HeaderName::from_static)))
        .max_age(std::time::Duration::from_secs(24 * 60 * 60));
    let body_methods = || post(body_call).get(body_meta).options(body_meta).fallback(body_method);
    Router::new()
        .route("/api/{entity}", body_methods())
        .route("/api/{schema}/{entity}", body_methods())
        .route("/api/{schema}/{entity}/{id}", body_methods())
        .merge(super::header_routes::routes())
        .route("/openapi", get(super::openapi_routes::whole))
        .merge(super::docs::routes())
        .route("/health", get(super::super::admin::health))
        .route("/ready", get(super::super::admin::ready))
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(rest.clone(), super::openapi_routes::instead))
        .layer(middleware::from_fn_with_state(rest.clone(), enter))
        .layer(CompressionLayer::new())
        .layer(cors)
        .with_state(rest)
}

/// Counts the request, gives it an id, and turns it away while the process drains.
async fn enter(State(rest): State<Rest>, mut request: HttpRequest, next: Next) -> Response<Body> {
    let id = request_id(request.headers());
    let template = request.extensions().get::<MatchedPath>().cloned();
    let path = template.as_ref().map_or("unmatched", MatchedPath::as_str);
    let timer = rest.metrics.request(request.method(), path);
    let probe = matches!(path, "/health" | "/ready");
    request.headers_mut().insert("x-request-id", id.clone());
    let mut response = if rest.drain.is_draining() && !probe {
        let mut response =
            body::encode_error(&Error::new(Code::Unavailable, "this replica is shutting down; send the request again"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    } else {
        next.run(request).await
    };
    timer.finish(response.status());
    response.headers_mut().insert("x-request-id", id);
    response
}

/// Finds out who asks.
pub(super) async fn authenticate(rest: &Rest, headers: &HeaderMap) -> Result<Principal, Error> {
    let refused = |error: auth::Error| {
        let code = if error.retryable() { Code::Unavailable } else { Code::Unauthorized };
        Error::new(code, error.to_string()).with_detail(error.reason())
    };
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| Error::new(Code::Unauthorized, "the Authorization header is not text"))?;
    let credentials = Credentials::from_authorization(header).map_err(refused)?;
    rest.authenticator.authenticate(credentials).await.map_err(refused)
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
    let outcome = async {
        let principal = authenticate(&rest, &parts.headers).await?;
        let (target, id) = target(names)?;
        let bytes = read_body(body, rest.max_body_bytes).await?;
        let request = with_headers(body::decode(target, id, &bytes)?, &parts.headers)?;
        rest.engine.handle(&principal, request).await
    };
    match outcome.await {
        Ok(response) => body::encode(&parts.headers, response),
        Err(error) => body::encode_error(&error),
    }
}

async fn body_meta(State(rest): State<Rest>, names: Names, headers: HeaderMap) -> Response<Body> {
    let outcome = async {
        let principal = authenticate(&rest, &headers).await?;
        let (target, _) = target(names)?;
        rest.engine.handle(&principal, Request::new(Operation::Meta, target)).await
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

async fn unknown_path() -> Response<Body> {
    let message = "there is nothing at this path; entities are at /api/{schema}/{entity} and /rest/{schema}/{entity}";
    body::encode_error(&Error::new(Code::NotFound, message))
}
