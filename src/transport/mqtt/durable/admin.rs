//! Durable subscriptions, for operators: `/admin/subscriptions` on the admin port.

use super::Durable;
use crate::transport::rest::answer::plain;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};

/// Subscriptions that are listed at most; all of them are counted.
const MOST: usize = 1000;

/// The route.
pub fn router(durable: Durable) -> Router {
    Router::new().route("/admin/subscriptions", get(subscriptions)).with_state(durable)
}

async fn subscriptions(State(durable): State<Durable>) -> Response<Body> {
    let some = durable.0.roll.some(MOST);
    let listed: Vec<Value> = some
        .iter()
        .map(|(id, one)| {
            let kept = &one.kept;
            json!({
                "id": &**id,
                "broker": kept.broker,
                "client": kept.client,
                "subject": kept.subject,
                "schema": kept.schema,
                "entity": kept.entity,
                "began": kept.began,
                "created": kept.created,
                "heard": kept.heard,
            })
        })
        .collect();
    let body = json!({ "total": durable.0.roll.count(), "listed": listed.len(), "subscriptions": listed });
    plain(StatusCode::OK, Bytes::from(body.to_string()))
}
