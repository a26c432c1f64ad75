//! What is said in both directions: the messages of sessions, and those of each entity.
//!
//! Their names are the same over every transport; what can be said over one of them alone is left out of the others' channels.

use super::schemas::{answer, notification};
use crate::catalog::{Capture, Catalog, Entity};
use crate::event::matcher::Reason;
use crate::protocol::Operation;
use crate::transport::describe;
use crate::transport::describe::rows::shown;
use crate::transport::describe::visible::{Rights, Visible, component, schema_ref};
use serde_json::{Map, Value, json};

/// Every message, by what it is for.
#[derive(Debug, Default)]
pub(super) struct Messages {
    described: Map<String, Value>,
    /// Requests about rows.
    pub(super) requests: Vec<String>,
    /// Their answers.
    pub(super) responses: Vec<String>,
    /// Wishes to be told of changes.
    pub(super) subscribes: Vec<String>,
    /// Their answers.
    pub(super) subscribed: Vec<String>,
    /// Changes.
    pub(super) notifications: Vec<String>,
}

/// Answers to whatever could not be done.
pub(super) const FAILURE: &str = "failure";
/// A session that was asked for by its id.
pub(super) const SESSION: &str = "session";

/// A message about a subscription that has begun, and its answer.
pub(super) struct Exchange {
    /// The name of the operation.
    pub(super) operation: &'static str,
    /// What the client says.
    pub(super) asked: &'static str,
    /// What it is answered.
    pub(super) answered: &'static str,
    /// What it is for.
    pub(super) summary: &'static str,
}

/// The end of one subscription.
const UNSUBSCRIBE: Exchange =
    Exchange { operation: "unsubscribe", asked: "unsubscribe", answered: "unsubscribed", summary: "End a subscription." };
/// The end of all subscriptions of a client of a broker, which can be its will.
const UNSUBSCRIBE_ALL: Exchange = Exchange {
    operation: "unsubscribe_all",
    asked: "unsubscribe_all",
    answered: "unsubscribed_all",
    summary: "End all subscriptions of the client. As the client's will, it ends them when the client is lost.",
};
/// How far a subscription was heard, which a broker finds out by itself.
const ACKNOWLEDGE: Exchange = Exchange {
    operation: "acknowledge",
    asked: "acknowledge",
    answered: "acknowledged",
    summary: "Say how far a subscription was heard, to be told less twice after a cut.",
};
/// What is said about subscriptions over WebSocket.
pub(super) const OVER_WEBSOCKET: [Exchange; 2] = [UNSUBSCRIBE, ACKNOWLEDGE];
/// What is said about subscriptions over MQTT.
pub(super) const OVER_MQTT: [Exchange; 2] = [UNSUBSCRIBE, UNSUBSCRIBE_ALL];

/// A sign of life.
pub(super) const PING: Exchange =
    Exchange { operation: "ping", asked: "ping", answered: "pong", summary: "Find out whether the service is there." };

impl Messages {
    /// What the caller may say and be told.
    pub(super) fn new(catalog: &Catalog, visible: &Visible<'_>, over_mqtt: bool) -> Self {
        let mut messages = Self::default();
        for entity in visible.entities() {
            messages.of_rows(visible, entity);
            let captured = catalog.capture(&entity.source) != Capture::Off && !entity.is_view;
            if captured && visible.rights(entity.id).read {
                messages.of_changes(entity);
            }
        }
        messages.of_subscriptions(over_mqtt);
        messages.of_sessions(over_mqtt);
        if over_mqtt {
            // Where the answer goes may be said by the message itself.
            for name in messages.requests.iter().chain(&messages.subscribes) {
                messages.described[name]["bindings"] = json!({"mqtt": {
                    "bindingVersion": "0.2.0",
                    "contentType": "application/json",
                    "responseTopic": {"type": "string", "description": "Where to answer instead (MQTT 5)."},
                    "correlationData": {"type": "string", "description": "Comes back with that answer (MQTT 5)."},
                }});
            }
        }
        messages
    }

    /// The messages as components.
    pub(super) fn described(&self) -> &Map<String, Value> {
        &self.described
    }

    /// The names of those that are said over WebSocket.
    pub(super) fn over_websocket(&self) -> impl Iterator<Item = &String> {
        let elsewhere = [UNSUBSCRIBE_ALL.asked, UNSUBSCRIBE_ALL.answered];
        self.described.keys().filter(move |name| !elsewhere.contains(&name.as_str()))
    }

    fn of_rows(&mut self, visible: &Visible<'_>, entity: &Entity) {
        let operations = operations(visible.rights(entity.id));
        let asked: Vec<Value> = operations.iter().map(|operation| request(*operation, entity)).collect();
        let (summary, tags) = (describe::entity(entity), tags(entity));
        let title = format!("Request about {}", entity.full_name());
        let message =
            json!({"title": title, "summary": summary, "tags": tags, "correlationId": by_id(), "payload": {"oneOf": asked}});
        let name = self.add(component("request", entity), message);
        self.requests.push(name);
        let title = format!("Answer about {}", entity.full_name());
        let payload = response(visible, entity, &operations);
        let message = json!({"title": title, "tags": tags, "correlationId": by_id(), "payload": payload});
        let name = self.add(component("response", entity), message);
        self.responses.push(name);
    }

    fn of_changes(&mut self, entity: &Entity) {
        let (full_name, tags) = (entity.full_name(), tags(entity));
        let mut payload = said("subscription", "subscribe", about(entity), &["entity"]);
        payload["properties"]["record_id"] = keys();
        payload["properties"]["options"] = schema_ref("SubscribeOptions");
        let title = format!("Subscribe to {full_name}");
        let message = json!({"title": title, "tags": tags, "correlationId": by_id(), "payload": payload});
        let name = self.add(component("subscribe", entity), message);
        self.subscribes.push(name);
        let data = json!({"allOf": [schema_ref("Subscribed"), {"properties": {
            "snapshot": {"type": "array", "items": schema_ref(&component("Row", entity)), "description": "Where it was asked for."},
            "metadata": schema_ref("Metadata"),
        }}]});
        let title = format!("Subscribed to {full_name}");
        let payload = answer(true, json!({ "data": data }), &["data"]);
        let message = json!({"title": title, "tags": tags, "correlationId": by_id(), "payload": payload});
        let name = self.add(component("subscribed", entity), message);
        self.subscribed.push(name);
        let title = format!("Change of {full_name}");
        let payload = json!({"oneOf": [written(entity), deleted(entity), schema_ref("ResyncRequired"), schema_ref("Ended")]});
        let name = self.add(component("notification", entity), json!({"title": title, "tags": tags, "payload": payload}));
        self.notifications.push(name);
    }

    fn of_subscriptions(&mut self, over_mqtt: bool) {
        let id = || json!({"subscription_id": schema_ref("SubscriptionId")});
        let one = |answered: &str| json!({answered: {"const": true}, "subscription_id": schema_ref("SubscriptionId")});
        self.exchange(&UNSUBSCRIBE, id(), &one(UNSUBSCRIBE.answered));
        let (mut asked, mut answered) = (id(), one(ACKNOWLEDGE.answered));
        asked["position"] = schema_ref("Position");
        answered["position"] = schema_ref("Position");
        self.exchange(&ACKNOWLEDGE, asked, &answered);
        if over_mqtt {
            let count = json!({"type": "integer", "description": "How many have ended."});
            self.exchange(&UNSUBSCRIBE_ALL, json!({}), &json!({ "unsubscribed": count }));
        }
    }

    /// A message with these fields and an answer with these, all of which are always there.
    fn exchange(&mut self, what: &Exchange, asked: Value, answered: &Value) {
        let Exchange { operation, asked: name, answered: answer_name, summary } = what;
        let names = |fields: &Value| fields.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>();
        let required = names(&asked);
        let payload = said("subscription", operation, asked, &required.iter().map(String::as_str).collect::<Vec<_>>());
        self.add((*name).to_owned(), json!({"summary": summary, "correlationId": by_id(), "payload": payload}));
        let data = json!({"type": "object", "required": names(answered), "properties": answered});
        let payload = answer(true, json!({ "data": data }), &["data"]);
        self.add((*answer_name).to_owned(), json!({"correlationId": by_id(), "payload": payload}));
    }

    fn of_sessions(&mut self, over_mqtt: bool) {
        let failure = json!({
            "summary": "What could not be done, and why.", "correlationId": by_id(), "payload": schema_ref("Failure"),
        });
        self.add(FAILURE.to_owned(), failure);
        let id = json!({"type": "string", "description": "Comes back in the answer, if there is one."});
        let sign = |word: &str, mut properties: Value, required: &[&str]| {
            properties["type"] = json!({"const": word});
            json!({"type": "object", "required": required, "properties": properties})
        };
        let ping = sign("ping", json!({ "id": id }), &["type"]);
        self.add(PING.asked.to_owned(), json!({"summary": PING.summary, "payload": ping}));
        let mut pong = json!({"id": id, "timestamp": schema_ref("Timestamp")});
        if over_mqtt {
            pong["success"] = json!({"const": true, "description": "Over MQTT."});
        }
        let pong = sign("pong", pong, &["type", "timestamp"]);
        self.add(PING.answered.to_owned(), json!({ "payload": pong }));
        let failed = json!({
            "type": "object",
            "required": ["subscription_id", "error"],
            "properties": {"subscription_id": schema_ref("SubscriptionId"), "error": schema_ref("Error")},
        });
        let session = json!({
            "session": {"type": "string", "description": "The session, which goes on."},
            "restored": {"type": "array", "items": schema_ref("Subscribed")},
            "failed": {"type": "array", "items": failed},
            "error": schema_ref("Error"),
            "timestamp": schema_ref("Timestamp"),
        });
        let summary = "The first message of a connection that asked for a session: what goes on, or why nothing does.";
        self.add(SESSION.to_owned(), json!({"summary": summary, "payload": sign(SESSION, session, &["type", "timestamp"])}));
    }

    fn add(&mut self, name: String, mut message: Value) -> String {
        message["name"] = json!(name);
        self.described.insert(name.clone(), message);
        name
    }
}

fn by_id() -> Value {
    json!({"location": "$message.payload#/id"})
}

fn tags(entity: &Entity) -> Value {
    json!([{"name": entity.full_name()}])
}

fn keys() -> Value {
    json!({"anyOf": [schema_ref("Key"), {"type": "array", "items": schema_ref("Key")}]})
}

/// The entity, as messages name it.
fn about(entity: &Entity) -> Value {
    json!({"schema": {"const": entity.schema}, "entity": {"const": entity.name}})
}

/// What a client says.
fn said(kind: &str, operation: &str, rest: Value, required: &[&str]) -> Value {
    let mut properties = json!({
        "id": {"type": "string", "minLength": 1, "description": "Chosen by the client; the answer has it too."},
        "type": {"const": kind},
        "operation": {"const": operation},
    });
    if let (Some(properties), Value::Object(mut rest)) = (properties.as_object_mut(), rest) {
        properties.append(&mut rest);
    }
    let mut all = vec!["id", "type", "operation"];
    all.extend(required);
    json!({"type": "object", "required": all, "properties": properties})
}

fn operations(rights: Rights) -> Vec<Operation> {
    let all = [
        (Operation::Read, rights.read),
        (Operation::Create, rights.create),
        (Operation::Update, rights.update),
        (Operation::Delete, rights.delete),
        (Operation::Meta, rights.read),
    ];
    all.into_iter().filter(|(_, may)| *may).map(|(operation, _)| operation).collect()
}

fn request(operation: Operation, entity: &Entity) -> Value {
    let mut schema = said("request", operation.as_str(), about(entity), &["entity"]);
    schema["title"] = json!(operation.as_str());
    let properties = &mut schema["properties"];
    if operation != Operation::Meta {
        properties["options"] = schema_ref("Options");
    }
    if matches!(operation, Operation::Read | Operation::Update | Operation::Delete) {
        properties["record_id"] = keys();
    }
    if matches!(operation, Operation::Create | Operation::Update | Operation::Delete) {
        properties["idempotency_key"] = json!({"type": "string", "description": "Makes it safe to send the write again."});
    }
    if matches!(operation, Operation::Update | Operation::Delete) {
        properties["if_match"] = json!({"type": "string", "description": "The etag that the row must still have."});
    }
    let prefix = match operation {
        Operation::Create => "Create",
        Operation::Update => "Update",
        Operation::Delete => {
            let description = "Keys of the rows to remove, instead of a record_id.";
            properties["data"] =
                json!({"description": description, "anyOf": [{"type": "object"}, {"type": "array", "items": schema_ref("Key")}]});
            return schema;
        }
        Operation::Read | Operation::Meta => return schema,
    };
    let row = schema_ref(&component(prefix, entity));
    properties["data"] = json!({"anyOf": [row, {"type": "array", "items": row}]});
    schema["required"] = json!(["id", "type", "operation", "entity", "data"]);
    schema
}

/// What the operations answer.
fn response(visible: &Visible<'_>, entity: &Entity, operations: &[Operation]) -> Value {
    let row = shown(visible, entity);
    let mut data = vec![row.clone(), json!({"type": "array", "items": row})];
    if operations.contains(&Operation::Delete) {
        let description = "Whether the row, or how many rows were removed.";
        data.push(json!({
            "type": "object",
            "required": ["deleted"],
            "properties": {"deleted": {"description": description, "type": ["boolean", "integer"]}},
        }));
    }
    let mut rest = json!({});
    if operations.contains(&Operation::Read) {
        data.push(meta());
        rest["metadata"] = json!({
            "description": "Where it is a read.",
            "allOf": [schema_ref("Metadata"), {"properties": {"etag": {"type": "string", "description": "Of one row: for if_match."}}}],
        });
    }
    if visible.rights(entity.id).writes() {
        rest["idempotency_replayed"] =
            json!({"const": true, "description": "The answer is the one that an earlier request with this key got."});
    }
    rest["data"] = json!({ "anyOf": data });
    answer(true, rest, &["data"])
}

fn meta() -> Value {
    json!({
        "type": "object",
        "required": ["schema", "entity", "table_name", "columns", "primary_key", "description"],
        "properties": {
            "schema": {"type": "string"},
            "entity": {"type": "string"},
            "table_name": {"type": "string"},
            "columns": {"type": "array", "items": {"type": "string"}},
            "primary_key": {"type": "string", "description": "The key's columns, with commas between them."},
            "description": schema_ref("EntityMetadata"),
        },
    })
}

/// A row that there is now, or that has begun to match.
fn written(entity: &Entity) -> Value {
    let mut about = change(entity);
    about["operation"] = json!({"type": "string", "enum": ["create", "update"]});
    about["reason"] = json!({"const": Reason::Enter.as_str(), "description": "The row was there and begins to match."});
    about["data"] = schema_ref(&component("Row", entity));
    notification(about, &["key", "data", "occurred_at"])
}

/// A row that is gone, or has ceased to match.
fn deleted(entity: &Entity) -> Value {
    let mut about = change(entity);
    about["operation"] = json!({"const": "delete"});
    about["reason"] = json!({"const": Reason::Leave.as_str(), "description": "The row is still there and ceases to match."});
    about["data"] = schema_ref(&component("KeyOf", entity));
    notification(about, &["key", "data", "occurred_at"])
}

fn change(entity: &Entity) -> Value {
    let mut about = about(entity);
    about["key"] = schema_ref(&component("KeyOf", entity));
    about["occurred_at"] = json!({"type": "string", "format": "date-time", "description": "When the change was made."});
    about
}
