//! A plain HTTP client: a request in, status, headers and JSON out.

use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// How long an answer may take, to its last byte.
const DEADLINE: Duration = Duration::from_mins(2);

/// A request, the path with its query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }
}

/// What came back; a body that is no JSON is kept as a text.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// A header's text, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Talks to one replica.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), address }
    }

    /// Where the replica takes requests.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request; anything that is no HTTP answer is an error.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, String> {
        let mut request = Request::builder().method(&call.method).uri(format!("http://{}{}", self.address, call.path));
        for (name, value) in &call.headers {
            request = request.header(name.as_str(), value.as_bytes());
        }
        let body = Full::from(call.body.clone().unwrap_or_default());
        let request = request.body(body).map_err(|error| format!("the request can't be made: {error}"))?;
        let answered = async {
            let answer = self.pool.request(request).await.map_err(|error| format!("no answer: {error:?}"))?;
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.map_err(|error| format!("the body broke off: {error}"))?.to_bytes();
            Ok::<_, String>((parts, bytes))
        };
        let (parts, bytes) = timeout(DEADLINE, answered).await.map_err(|_| format!("no answer within {DEADLINE:?}"))??;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}
