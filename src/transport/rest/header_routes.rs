//! The routes of the header style: the verb is the operation.

use super::answer;
use super::gate::read_body;
use super::header::{self, HeaderRequest, Parameters, Shown};
use super::openapi_routes;
use super::router::{Names, Rest, authenticate, target, with_headers};
use crate::protocol::{Code, Error, KeyInput, Operation, Request, Selector, Target, reason};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{Method, Response};
use axum::routing::any;
use serde_json::Value;

/// All routes below `/rest`.
pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/rest/{entity}", any(call))
        .route("/rest/{schema}/{entity}", any(call))
        .route("/rest/{schema}/{entity}/metadata", any(metadata))
        .route("/rest/{schema}/{entity}/{id}", any(call))
}

async fn call(State(rest): State<Rest>, names: Names, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if openapi_routes::is_asked(parts.uri.query()) {
        return openapi_routes::of_entity(&rest, &parts.headers, names).await;
    }
    let methods = match &names {
        Ok(Path(names)) if names.iter().any(|(name, _)| name == "id") => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        _ => "GET, HEAD, POST, DELETE, OPTIONS",
    };
    let outcome = async {
        let principal = authenticate(&rest, &parts.headers).await?;
        let (target, id) = target(names)?;
        let asked = header::decode(&Parameters::collect(&parts.headers, parts.uri.query())?)?;
        let bytes = read_body(&rest, &parts.headers, body).await?;
        let (request, asked) = assemble(&parts.method, target, id, &bytes, asked)?;
        let request = with_headers(request, &parts.headers)?;
        let cursor = request.options.cursor_forward.is_some() || request.options.cursor_backward.is_some();
        // One catalog for both, or what was written could be answered by one that does not have the entity.
        let current = rest.engine.current();
        let named = request.target.clone();
        let response = rest.engine.handle_in(&current, &principal, &request).await?;
        let entity = current.served().catalog.find(&named).ok_or_else(Error::internal)?;
        let shown = Shown {
            request: &parts.headers,
            format: asked.format,
            single_record_as_object: asked.single_record_as_object,
            cursor,
            entity,
        };
        Ok(header::encode(&shown, response))
    };
    outcome.await.unwrap_or_else(|error: Error| answer::allowing(header::encode_error(&error), methods))
}

async fn metadata(State(rest): State<Rest>, names: Names, request: HttpRequest) -> Response<Body> {
    let (parts, _) = request.into_parts();
    if openapi_routes::is_asked(parts.uri.query()) {
        return openapi_routes::of_entity(&rest, &parts.headers, names).await;
    }
    let outcome = async {
        let principal = authenticate(&rest, &parts.headers).await?;
        let (target, _) = target(names)?;
        if parts.method != Method::GET && parts.method != Method::OPTIONS {
            return Err(Error::new(Code::MethodNotAllowed, "metadata is read with GET"));
        }
        rest.engine.handle(&principal, &Request::new(Operation::Meta, target)).await
    };
    match outcome.await {
        Ok(crate::protocol::Response::Meta(description)) => header::encode_meta(&description),
        Ok(_) => header::encode_error(&Error::internal()),
        Err(error) => answer::allowing(header::encode_error(&error), "GET, OPTIONS"),
    }
}

/// The request that a verb, a path and a body make.
fn assemble(
    method: &Method,
    target: Target,
    id: Option<String>,
    body: &[u8],
    mut asked: HeaderRequest,
) -> Result<(Request, HeaderRequest), Error> {
    let data = read_json(body)?;
    let meta = id.is_none() && *method == Method::POST && data.as_ref().is_some_and(is_meta);
    let operation = match (method.as_str(), &id) {
        ("OPTIONS", _) => Operation::Meta,
        ("POST", _) if meta => Operation::Meta,
        ("GET" | "HEAD", _) => Operation::Read,
        ("POST", None) => Operation::Create,
        ("POST" | "PUT" | "PATCH", Some(_)) => Operation::Update,
        ("DELETE", _) => Operation::Delete,
        ("PUT" | "PATCH", None) => return Err(Error::new(Code::MethodNotAllowed, "PUT and PATCH need the row's id in the path")),
        _ => return Err(Error::new(Code::MethodNotAllowed, "this path takes GET, POST, PUT, PATCH, DELETE and OPTIONS")),
    };
    let data = if operation == Operation::Read || operation == Operation::Meta { None } else { data };
    // The one record of a row number asked of a list stays a list.
    asked.single_record_as_object &= operation != Operation::Read || id.is_some();
    let selector = id.map_or(Selector::None, |id| Selector::One(KeyInput::Text(id)));
    let options = std::mem::take(&mut asked.options);
    let request = Request { selector, data, options, ..Request::new(operation, target) };
    Ok((request, asked))
}

fn read_json(body: &[u8]) -> Result<Option<Value>, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(body)
        .map(Some)
        .map_err(|error| Error::new(Code::InvalidRequest, format!("the body can't be read: {}", reason(&error))))
}

fn is_meta(data: &Value) -> bool {
    data.as_object().is_some_and(|object| object.len() == 1 && object.get("operation").and_then(Value::as_str) == Some("meta"))
}
