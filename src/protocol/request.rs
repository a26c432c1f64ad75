//! One request: an operation on an entity, with what it selects, writes and asks for.
//!
//! Every transport decodes into this type.

use super::options::Options;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::time::Instant;

/// What a client asks the engine.
#[derive(Debug, Clone)]
pub struct Request {
    /// The entity.
    pub target: Target,
    /// What to do.
    pub operation: Operation,
    /// Which rows, by key.
    pub selector: Selector,
    /// What to write.
    pub data: Option<Value>,
    /// How to read. In a place of its own, since a request is handed on more often than it says anything here.
    pub options: Box<Options>,
    /// Makes a retried write safe.
    pub idempotency_key: Option<String>,
    /// The entity tag that the row must still have.
    pub if_match: Option<String>,
    /// When the client stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

impl Request {
    /// A request with nothing but an operation and its target.
    #[must_use]
    pub fn new(operation: Operation, target: Target) -> Self {
        Self {
            target,
            operation,
            selector: Selector::None,
            data: None,
            options: Box::default(),
            idempotency_key: None,
            if_match: None,
            deadline: None,
        }
    }
}

/// The name of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Absent means the default schema of whichever source has the entity.
    pub schema: Option<String>,
    /// The entity's public name.
    pub entity: String,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Answers rows.
    Read,
    /// Adds rows.
    Create,
    /// Changes rows by key.
    Update,
    /// Removes rows by key.
    Delete,
    /// Describes the entity.
    Meta,
}

impl Operation {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Meta => "meta",
        }
    }

    /// Reads the word, with regard to case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Operation::Read, Operation::Create, Operation::Update, Operation::Delete, Operation::Meta]
            .into_iter()
            .find(|operation| operation.as_str() == word)
    }
}

/// Which rows a request names by key.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Selector {
    /// None by key.
    #[default]
    None,
    /// One row; the answer is a record.
    One(KeyInput),
    /// Some rows; the answer is a list.
    Many(Vec<KeyInput>),
}

impl Selector {
    /// Reads a JSON key or a list of them; null and the empty text name none. The error says what it is instead.
    pub fn from_json(id: Value) -> Result<Self, &'static str> {
        const FORMS: &str = "a text, a number, an object with the key's columns, or a list of them";
        match id {
            Value::Null => Ok(Selector::None),
            Value::String(text) if text.is_empty() => Ok(Selector::None),
            Value::Array(items) => {
                items.into_iter().map(|item| KeyInput::from_json(item).ok_or(FORMS)).collect::<Result<_, _>>().map(Selector::Many)
            }
            one => KeyInput::from_json(one).map(Selector::One).ok_or(FORMS),
        }
    }
}

/// A primary key as the client wrote it: a scalar, or an object with the key's columns.
///
/// The key of several columns is written in a path or a header as its values with commas between them; a comma or a
/// backslash within a value has a backslash before it.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyInput {
    /// A text, also the text of a number.
    Text(String),
    /// Values by column.
    Columns(Map<String, Value>),
}

impl KeyInput {
    /// Reads a JSON key: a text, a number, or an object by column.
    #[must_use]
    pub fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(KeyInput::Text(text)),
            Value::Number(number) => Some(KeyInput::Text(number.to_string())),
            Value::Object(columns) => Some(KeyInput::Columns(columns)),
            Value::Null | Value::Bool(_) | Value::Array(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for KeyInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        KeyInput::from_json(Value::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("a key is a text, a number, or an object with the key's columns"))
    }
}
