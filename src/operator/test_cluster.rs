//! An API server for tests, which answers as it is told to.

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use std::convert::Infallible;

/// A client of one that answers each address with a status and a body, or never.
pub(super) fn client(answer: impl Fn(&str) -> Option<(u16, Value)> + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(&request.uri().to_string());
        async move {
            let Some((status, body)) = answer else { return std::future::pending().await };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).expect("a response"))
        }
    });
    Client::new(service, "default")
}
