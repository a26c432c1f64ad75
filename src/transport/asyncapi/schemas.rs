//! What messages are made of: keys, positions, the options of a subscription, and what happened to a row.

use crate::catalog::Entity;
use crate::event::hub::{Ending, Resync};
use crate::transport::describe::kinds;
use crate::transport::describe::options::{count, list_of, names, object};
use crate::transport::describe::visible::{Visible, component, schema_ref};
use serde_json::{Map, Value, json};

/// The schemas that no entity is in.
pub(super) fn shared(over_mqtt: bool) -> Map<String, Value> {
    let schemas = [
        ("Position", position(over_mqtt)),
        ("Timestamp", json!({"type": "string", "format": "date-time", "description": "When the message was made."})),
        ("SubscriptionId", json!({"type": "string", "description": "A subscription, as the answer to subscribe named it."})),
        ("SubscribeOptions", subscribe_options()),
        ("Subscribed", subscribed(over_mqtt)),
        ("Failure", failure()),
        ("ResyncRequired", resync_required()),
        ("Ended", ended()),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Adds an entity's schemas that no other document has.
pub(super) fn add(schemas: &mut Map<String, Value>, visible: &Visible<'_>, entity: &Entity) {
    if visible.rights(entity.id).read {
        schemas.insert(component("KeyOf", entity), key_of(entity));
    }
}

/// The beginning of every answer.
pub(super) fn answer(success: bool, mut rest: Value, required: &[&str]) -> Value {
    let mut properties = json!({
        "id": {"type": "string", "description": "The id of the message that is answered; empty if it could not be read."},
        "type": {"const": "response"},
        "success": {"const": success},
    });
    if let (Some(properties), Some(rest)) = (properties.as_object_mut(), rest.as_object_mut()) {
        properties.append(rest);
        properties.insert("timestamp".to_owned(), schema_ref("Timestamp"));
    }
    let mut all = vec!["id", "type", "success", "timestamp"];
    all.extend(required);
    json!({"type": "object", "required": all, "properties": properties})
}

fn position(over_mqtt: bool) -> Value {
    let mut members = json!({
        "epoch": {"type": "string", "description": "Which stream of changes it is."},
        "offset": count("The place in it."),
    });
    if over_mqtt {
        members["complete"] = count("Over MQTT: up to where everything was told before, which is where a resume goes on.");
    }
    object(members, &["epoch", "offset"])
}

fn subscribe_options() -> Value {
    object(
        json!({
            "columns": names("Columns to be told; all without it."),
            "omit_columns": names("Columns to leave out."),
            "filters": list_of("Filter", "Which rows. An OR filter joins the ones before it."),
            "snapshot": {"type": "boolean", "description": "Answers the rows as they are first; every change after them is told."},
            "sort": list_of("Sort", "The order of the snapshot."),
            "limit": count("At most so many rows of the snapshot; without it, or with 0, all must fit into a page."),
            "offset": count("Rows of the snapshot to skip."),
            "skip_count": {"type": "boolean", "description": "Leaves the snapshot's total and filtered uncounted; they are -1 then."},
            "resume": schema_ref("Position"),
            "conflate": {"type": "boolean", "description": "While the client lags, only the latest change of each row is told."},
        }),
        &[],
    )
}

/// What is told about a subscription at its beginning.
fn subscribed(over_mqtt: bool) -> Value {
    let mut properties = json!({
        "subscription_id": schema_ref("SubscriptionId"),
        "schema": {"type": "string"},
        "entity": {"type": "string"},
        "position": schema_ref("Position"),
        "session": {"type": "string", "description": "What a client that connects again comes with, to get its subscriptions back."},
    });
    if over_mqtt {
        properties["notify_topic"] = json!({"type": "string", "description": "Over MQTT: where notifications are published."});
    }
    json!({"type": "object", "required": ["subscription_id", "schema", "entity", "position"], "properties": properties})
}

fn failure() -> Value {
    answer(false, json!({"error": schema_ref("Error")}), &["error"])
}

/// The key of a row, as notifications have it.
fn key_of(entity: &Entity) -> Value {
    let columns = entity.primary_key.iter().map(|id| entity.column(*id)).filter(|column| column.readable());
    let properties: Map<String, Value> = columns.map(|column| (column.name.clone(), kinds::stored(column))).collect();
    json!({
        "type": "object",
        "description": "The primary key, as far as the subscription has its columns.",
        "properties": properties,
    })
}

/// The beginning of every notification, and where and when.
pub(super) fn notification(mut about: Value, required: &[&str]) -> Value {
    let mut properties = json!({"type": {"const": "notification"}, "subscription_id": schema_ref("SubscriptionId")});
    if let (Some(properties), Some(about)) = (properties.as_object_mut(), about.as_object_mut()) {
        properties.append(about);
        for (name, schema) in [("position", "Position"), ("timestamp", "Timestamp")] {
            properties.insert(name.to_owned(), schema_ref(schema));
        }
    }
    let mut all = vec!["type", "subscription_id", "operation", "schema", "entity", "position", "timestamp"];
    all.extend(required);
    json!({"type": "object", "required": all, "properties": properties})
}

fn resync_required() -> Value {
    let about = json!({
        "operation": {"const": "resync_required"},
        "reason": {"type": "string", "enum": Resync::ALL.map(Resync::as_str)},
        "schema": {"type": "string"},
        "entity": {"type": "string"},
    });
    let mut schema = notification(about, &["reason"]);
    schema["description"] = json!("Some changes could not be told: read again. Later ones are told on.");
    schema
}

fn ended() -> Value {
    let about = json!({
        "operation": {"const": "ended"},
        "reason": {"type": "string", "enum": Ending::ALL.map(Ending::as_str)},
        "schema": {"type": "string"},
        "entity": {"type": "string"},
        "error": schema_ref("Error"),
    });
    let mut schema = notification(about, &["reason"]);
    schema["description"] = json!(
        "The subscription has ended: what is served now does not allow it, or its changes are not captured any more, which `error` \
         says; or nothing was heard of its client."
    );
    schema
}
