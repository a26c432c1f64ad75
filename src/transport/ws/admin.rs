//! Who is connected, for operators: `/admin/connections` on the admin port.

use crate::transport::conversation::{Conversations, Entry, Traffic};
use crate::transport::rest::answer::plain;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Connections that are listed at most; all of them are counted.
const MOST: usize = 1000;

/// The route.
pub fn router(conversations: Conversations) -> Router {
    Router::new().route("/admin/connections", get(connections)).with_state(conversations)
}

async fn connections(State(conversations): State<Conversations>) -> Response<Body> {
    let (total, some) = conversations.some(MOST);
    let listed: Vec<Value> = some.iter().map(|entry| describe(entry)).collect();
    let body = json!({ "total": total, "listed": listed.len(), "connections": listed });
    plain(StatusCode::OK, Bytes::from(body.to_string()))
}

fn describe(entry: &Entry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "transport": entry.metrics.kind(),
        "subject": entry.principal.subject,
        "remote": entry.remote.map(|remote| remote.to_string()),
        "opened_at": entry.opened_at.to_string(),
        "received": traffic(&entry.received),
        "sent": traffic(&entry.sent),
        "subscriptions": entry.subscriptions.load(Ordering::Relaxed),
    })
}

fn traffic(traffic: &Traffic) -> Value {
    json!({ "messages": traffic.messages.load(Ordering::Relaxed), "bytes": traffic.bytes.load(Ordering::Relaxed) })
}
