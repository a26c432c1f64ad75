//! A message from its JSON.
//!
//! Unknown fields of the message are ignored, as the protocol says; unknown options are refused, as everywhere. The fields
//! are taken one by one, so that the id is known when another field is wrong.

use crate::protocol::options::Object;
use crate::protocol::{Code, Error, Operation, Options, Position, Request, Selector, Subscribe, Target, reason, subscribe};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a client said.
#[derive(Debug)]
pub struct Message {
    /// The client's name for it, which the answer has too; empty if there is none.
    pub id: String,
    /// Who says it, where the transport has no other place for that.
    pub token: Option<String>,
    /// What is wanted.
    pub said: Said,
}

/// What a client wants.
#[derive(Debug)]
pub enum Said {
    /// Rows, or a change of them.
    Request(Box<Request>),
    /// To be told of changes, or no more.
    Subscription(Subscription),
    /// A sign of life.
    Ping,
}

/// A message about a subscription.
#[derive(Debug)]
pub enum Subscription {
    /// Begins one.
    Subscribe(Box<Subscribe>),
    /// Ends one.
    Unsubscribe {
        /// Which.
        subscription_id: String,
    },
    /// Ends all of the client's.
    UnsubscribeAll,
    /// Says how far one was heard.
    Acknowledge {
        /// Which.
        subscription_id: String,
        /// Everything up to here has reached the client.
        position: Position,
    },
}

/// A message that can't be acted on, with the id as far as it could be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The client's name for it.
    pub id: String,
    /// Why.
    pub error: Error,
}

#[derive(Deserialize)]
#[serde(default)]
struct Wire<'a> {
    id: Value,
    token: Value,
    #[serde(rename = "type")]
    kind: Value,
    operation: Value,
    schema: Value,
    entity: Value,
    record_id: Value,
    subscription_id: Value,
    position: Value,
    idempotency_key: Value,
    if_match: Value,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
}

impl Default for Wire<'_> {
    fn default() -> Self {
        let absent = Value::Null;
        Self {
            id: absent.clone(),
            token: absent.clone(),
            kind: absent.clone(),
            operation: absent.clone(),
            schema: absent.clone(),
            entity: absent.clone(),
            record_id: absent.clone(),
            subscription_id: absent.clone(),
            position: absent.clone(),
            idempotency_key: absent.clone(),
            if_match: absent,
            data: None,
            options: None,
        }
    }
}

/// Reads a message.
pub fn decode(bytes: &[u8]) -> Result<Message, Unreadable> {
    read(bytes, None)
}

/// Reads a message that comes alone and is answered alone. It needs no id and no type, since there is only this one.
pub fn decode_alone(bytes: &[u8], kind: &str) -> Result<Message, Unreadable> {
    read(bytes, Some(kind))
}

fn read(bytes: &[u8], alone: Option<&str>) -> Result<Message, Unreadable> {
    let Object(mut wire) = serde_json::from_slice::<Object<Wire>>(bytes).map_err(|error| Unreadable {
        id: String::new(),
        error: Error::new(Code::InvalidMessage, format!("the message can't be read: {}", reason(&error))),
    })?;
    let id = text("id", wire.id.take()).map_err(|error| Unreadable { id: String::new(), error })?.unwrap_or_default();
    if let Some(kind) = alone.filter(|_| wire.kind.is_null()) {
        wire.kind = kind.into();
    }
    let (token, told_apart) = (wire.token.take(), alone.is_some() || !id.is_empty());
    match text("token", token).and_then(|token| Ok((token, said(wire, told_apart)?))) {
        Ok((token, said)) => Ok(Message { id, token, said }),
        Err(error) => Err(Unreadable { id, error }),
    }
}

fn said(mut wire: Wire<'_>, told_apart: bool) -> Result<Said, Error> {
    let kind = required("type", wire.kind.take())?;
    match kind.as_str() {
        "ping" => return Ok(Said::Ping),
        "request" | "subscription" => {}
        other => {
            let message = format!("type is request, subscription or ping, not '{}'", short(other));
            return Err(Error::new(Code::InvalidMessageType, message));
        }
    }
    if !told_apart {
        return Err(Error::new(Code::InvalidMessage, "the message has no id; the answer could not be told from others"));
    }
    let operation = required("operation", wire.operation.take())?;
    if kind == "request" {
        request(&operation, wire).map(|request| Said::Request(Box::new(request)))
    } else {
        subscription(&operation, wire).map(Said::Subscription)
    }
}

fn request(operation: &str, mut wire: Wire<'_>) -> Result<Request, Error> {
    let target = Target { schema: text("schema", wire.schema.take())?, entity: required("entity", wire.entity.take())? };
    let operation = Operation::parse(operation).ok_or_else(|| {
        let message = format!("operation is read, create, update, delete or meta, not '{}'", short(operation));
        Error::new(Code::InvalidOperation, message)
    })?;
    Ok(Request {
        selector: selector(wire.record_id.take())?,
        data: data(wire.data)?,
        options: wire.options.map(|options| Options::from_json(options.get()).map(Box::new)).transpose()?.unwrap_or_default(),
        idempotency_key: text("idempotency_key", wire.idempotency_key.take())?,
        if_match: text("if_match", wire.if_match.take())?,
        ..Request::new(operation, target)
    })
}

fn subscription(operation: &str, mut wire: Wire<'_>) -> Result<Subscription, Error> {
    match operation {
        "subscribe" => {
            let entity = text("entity", wire.entity.take())?.unwrap_or_default();
            let target = Target { schema: text("schema", wire.schema.take())?, entity };
            let said = subscribe::Said::new(&target, wire.record_id.take(), wire.options.map(RawValue::get));
            Subscribe::read(said).map(|asked| Subscription::Subscribe(Box::new(asked)))
        }
        "unsubscribe" => match text("subscription_id", wire.subscription_id.take())? {
            Some(subscription_id) => Ok(Subscription::Unsubscribe { subscription_id }),
            None => Err(Error::new(Code::MissingSubscriptionId, "say which subscription ends, by subscription_id")),
        },
        "unsubscribe_all" => Ok(Subscription::UnsubscribeAll),
        "acknowledge" => match text("subscription_id", wire.subscription_id.take())? {
            Some(subscription_id) => {
                let position = position(wire.position.take())?;
                Ok(Subscription::Acknowledge { subscription_id, position })
            }
            None => Err(Error::new(Code::MissingSubscriptionId, "say which subscription was heard, by subscription_id")),
        },
        other => {
            let message = format!("operation is subscribe, unsubscribe, unsubscribe_all or acknowledge, not '{}'", short(other));
            Err(Error::new(Code::InvalidSubscriptionOperation, message))
        }
    }
}

fn position(value: Value) -> Result<Position, Error> {
    serde_json::from_value(value).map_err(|error| {
        let message = format!("position is that of a notification, with epoch and offset: {}", reason(&error));
        Error::new(Code::InvalidMessage, message).with_detail("position")
    })
}

fn selector(record_id: Value) -> Result<Selector, Error> {
    Selector::from_json(record_id).map_err(|forms| Error::new(Code::InvalidMessage, format!("record_id is {forms}")))
}

/// The data; null is none.
fn data(text: Option<&RawValue>) -> Result<Option<Value>, Error> {
    let unreadable = |error| Error::new(Code::InvalidMessage, format!("data can't be read: {}", reason(&error)));
    let value: Option<Value> = text.map(|text| serde_json::from_str(text.get())).transpose().map_err(unreadable)?;
    Ok(value.filter(|value| !value.is_null()))
}

/// A text; the empty one is none.
fn text(name: &str, value: Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        _ => Err(Error::new(Code::InvalidMessage, format!("{name} is a text")).with_detail(name)),
    }
}

fn required(name: &str, value: Value) -> Result<String, Error> {
    text(name, value)?.ok_or_else(|| Error::new(Code::InvalidMessage, format!("the message has no {name}")).with_detail(name))
}

fn short(word: &str) -> String {
    word.chars().take(40).collect()
}
