//! Cases over gRPC: the messages of WebSocket, each a call of its own. What REST has in headers comes as metadata, and an
//! error as a status with details.

use super::case::{Case, Wanted};
use super::compare::Seen;
use super::ws;
use crate::support::grpc::{Client, message, reason, value};
use serde_json::{Map, Value, json};
use tonic::Request;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

/// A message and its metadata.
#[derive(Debug)]
pub(crate) struct Call {
    message: Value,
    metadata: Map<String, Value>,
}

/// The call, or why it means another thing here.
pub(crate) fn encode(wanted: &Wanted) -> Result<Call, &'static str> {
    let mut message = ws::encode(wanted)?;
    let fields = message.as_object_mut().expect("a message is an object");
    for alone in ["type", "idempotency_key", "if_match"] {
        fields.remove(alone);
    }
    Ok(Call { message, metadata: wanted.headers.clone() })
}

/// Sends it, and answers what is looked at and all that came.
pub(crate) async fn send(client: &mut Client, call: Call, case: &Case) -> (Seen, Value) {
    let mut request = Request::new(message(&call.message));
    for (name, text) in &call.metadata {
        let name: AsciiMetadataKey = name.to_lowercase().parse().expect("a header's name is one of metadata");
        let text: AsciiMetadataValue = text.as_str().unwrap_or_default().parse().expect("and so is its value");
        request.metadata_mut().insert(name, text);
    }
    let answer = match client.call(request).await {
        Ok(answer) => value(answer.into_inner()),
        Err(status) => json!({"id": "case", "success": false, "error": reason(&status)}),
    };
    (ws::seen(&case.request, &case.expect, &answer), answer)
}
