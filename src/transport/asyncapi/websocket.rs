//! WebSocket: one channel in both directions.

use super::messages::{FAILURE, Messages, OVER_WEBSOCKET, PING, SESSION};
use super::{Base, channel_ref, messages_in, messages_of};
use crate::transport::ws::Close;
use serde_json::{Map, Value, json};

/// The name of the server and of its channel.
const NAME: &str = "websocket";

/// Adds the server, its channel and what is done there.
pub(super) fn add(
    messages: &Messages,
    base: &Base<'_>,
    servers: &mut Map<String, Value>,
    channels: &mut Map<String, Value>,
    operations: &mut Map<String, Value>,
) {
    let mut server = json!({
        "host": base.host,
        "protocol": if base.secure { "wss" } else { "ws" },
        "description": "WebSocket, version 13 over HTTP/1.1; one JSON object a text frame, answered in order.",
    });
    if base.takes_tokens && base.admits_anonymous {
        server["description"] = json!(
            "WebSocket, version 13 over HTTP/1.1; one JSON object a text frame, answered in order. \
                                       A token may be given, and is not asked for."
        );
    } else if base.takes_tokens {
        let names =
            security_schemes().into_iter().map(|(name, _)| json!({"$ref": format!("#/components/securitySchemes/{name}")}));
        server["security"] = names.collect();
    }
    servers.insert(NAME.to_owned(), server);
    channels.insert(NAME.to_owned(), channel(base, &messages_in(messages.over_websocket())));
    let exchange = |asked: &[String], answered: &[String], summary: &str| {
        let answers: Vec<String> = answered.iter().cloned().chain([FAILURE.to_owned()]).collect();
        json!({
            "action": "receive",
            "channel": channel_ref(NAME),
            "summary": summary,
            "messages": messages_of(NAME, asked),
            "reply": {"channel": channel_ref(NAME), "messages": messages_of(NAME, &answers)},
        })
    };
    let send = |sent: &[String], summary: &str| json!({"action": "send", "channel": channel_ref(NAME), "summary": summary, "messages": messages_of(NAME, sent)});
    let mut add = |name: &str, operation: Value| operations.insert(format!("{NAME}.{name}"), operation);
    if !messages.requests.is_empty() {
        add("request", exchange(&messages.requests, &messages.responses, "Read or write rows."));
    }
    if !messages.subscribes.is_empty() {
        add("subscribe", exchange(&messages.subscribes, &messages.subscribed, "Be told of changes."));
        add("notify", send(&messages.notifications, "A change of a row that a subscription is about."));
        for one in OVER_WEBSOCKET {
            add(one.operation, exchange(&[one.asked.to_owned()], &[one.answered.to_owned()], one.summary));
        }
        add("restore", send(&[SESSION.to_owned()], "Tell a client that connects again what goes on."));
    }
    let answered = messages_of(NAME, &[PING.answered.to_owned()]);
    add(
        "ping",
        json!({
            "action": "receive",
            "channel": channel_ref(NAME),
            "summary": PING.summary,
            "messages": messages_of(NAME, &[PING.asked.to_owned()]),
            "reply": {"channel": channel_ref(NAME), "messages": answered},
        }),
    );
}

/// How a caller says who it is. A browser can't send headers.
pub(super) fn security_schemes() -> Map<String, Value> {
    let query = "The token as the query's `token`, for browsers.";
    Map::from_iter([
        ("bearer".to_owned(), json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})),
        ("token".to_owned(), json!({"type": "httpApiKey", "in": "query", "name": "token", "description": query})),
    ])
}

fn channel(base: &Base<'_>, messages: &Map<String, Value>) -> Value {
    let closes: Map<String, Value> = Close::all().iter().map(|close| (close.label().to_owned(), json!(close.reason()))).collect();
    let session = "The session of an earlier connection, whose subscriptions go on.";
    let mut query = json!({"session": {"type": "string", "description": session}});
    let mut protocols = "`resolvespec`, which is chosen where it is offered.".to_owned();
    if base.takes_tokens {
        query["token"] = json!({"type": "string", "description": "A bearer token, where headers can't be sent."});
        protocols.push_str(" A token may stand beside it, as `bearer.<token>`.");
    }
    json!({
        "address": "/ws",
        "servers": [{"$ref": format!("#/servers/{NAME}")}],
        "messages": messages,
        "bindings": {"ws": {
            "bindingVersion": "0.1.0",
            "method": "GET",
            "query": {"type": "object", "properties": query},
            "headers": {"type": "object", "properties": {
                "Sec-WebSocket-Protocol": {"type": "string", "description": protocols},
            }},
        }},
        "x-close-codes": closes,
    })
}
