//! The AsyncAPI 3 document of the session transports, made from the catalog for one principal.
//!
//! It shows what the principal may see and do, by the rights that requests pass, as the OpenAPI document does, and shares its
//! schemas with it. `messages` has what is said in both directions, `schemas` what messages are made of, `websocket` and `mqtt`
//! where they are said. It never shows a hidden column or SQL of a manifest, and does no IO.

mod messages;
mod mqtt;
mod schemas;
#[cfg(test)]
mod tests;
mod websocket;

pub use mqtt::{Broker, Mqtt};

use crate::auth::Principal;
use crate::catalog::Catalog;
use crate::protocol::Code;
use crate::transport::describe::visible::Visible;
use crate::transport::describe::{answers, options, rows};
use messages::Messages;
use serde_json::{Map, Value, json};

/// What the document says beside the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Base<'b> {
    /// The host and port by which the caller reaches the service.
    pub host: &'b str,
    /// Whether the caller reaches it through TLS.
    pub secure: bool,
    /// Whether bearer tokens are read.
    pub takes_tokens: bool,
    /// Whether callers without a token get in.
    pub admits_anonymous: bool,
    /// Where MQTT is spoken, if it is.
    pub mqtt: Option<&'b Mqtt>,
}

const INTRODUCTION: &str = "Rows of declared entities in one JSON protocol, and notifications of every committed change. \
    A message is one JSON object; the `id` of a request comes back in its answer. The document is written from the service's \
    side: it receives requests and sends answers and notifications. It shows what the caller may see and do.";

/// The document for what a principal may see and do.
#[must_use]
pub fn document(catalog: &Catalog, principal: &Principal, base: &Base<'_>) -> Value {
    let visible = Visible::new(catalog, principal);
    let over_mqtt = base.mqtt.is_some();
    let messages = Messages::new(catalog, &visible, over_mqtt);
    let is_told = |code: &Code| !code.of_http() && (over_mqtt || !code.of_mqtt());
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(is_told).collect();
    let mut schemas = answers::schemas(&codes);
    schemas.extend(options::schemas());
    schemas.extend(schemas::shared(over_mqtt));
    for entity in visible.entities() {
        rows::add(&mut schemas, &visible, entity);
        schemas::add(&mut schemas, &visible, entity);
    }
    let (mut servers, mut channels, mut operations) = (Map::new(), Map::new(), Map::new());
    let mut security = Map::new();
    websocket::add(&messages, base, &mut servers, &mut channels, &mut operations);
    if base.takes_tokens {
        security.extend(websocket::security_schemes());
    }
    if let Some(mqtt) = base.mqtt {
        mqtt.add(&messages, &mut servers, &mut channels, &mut operations);
        security.extend(Mqtt::security_schemes());
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "ResolveSpec API", "version": env!("CARGO_PKG_VERSION"), "description": INTRODUCTION},
        "defaultContentType": "application/json",
        "servers": servers,
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas, "messages": messages.described(), "securitySchemes": security},
    })
}

fn channel_ref(channel: &str) -> Value {
    json!({"$ref": format!("#/channels/{channel}")})
}

/// Messages of a channel by their names, as its operations refer to them.
fn messages_of(channel: &str, names: &[String]) -> Vec<Value> {
    names.iter().map(|name| json!({"$ref": format!("#/channels/{channel}/messages/{name}")})).collect()
}

/// Messages of the components by their names, as a channel has them.
fn messages_in<'n>(names: impl IntoIterator<Item = &'n String>) -> Map<String, Value> {
    names.into_iter().map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")}))).collect()
}
