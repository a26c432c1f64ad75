//! Primary keys with typed values.

use super::value::Value;
use crate::catalog::Entity;
use crate::protocol::{Code, Error, KeyInput};
use serde_json::Value as Json;

/// The values of an entity's primary key, in the order of its columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Key(pub Vec<Value>);

impl Key {
    /// Reads a client's key.
    pub fn resolve(entity: &Entity, input: &KeyInput) -> Result<Self, Error> {
        if entity.primary_key.is_empty() {
            return Err(Error::new(Code::InvalidOperation, format!("{} has no primary key", entity.full_name())));
        }
        match input {
            KeyInput::Text(text) => Self::from_text(entity, text),
            KeyInput::Columns(columns) => {
                if let Some(name) = columns.keys().find(|name| !is_key_column(entity, name)) {
                    return Err(Error::new(
                        Code::InvalidColumn,
                        format!("'{name}' is not a key column of {}", entity.full_name()),
                    ));
                }
                Self::from_columns(entity, columns)?.ok_or_else(|| {
                    Error::new(Code::MissingId, format!("the key of {} is {}", entity.full_name(), key_names(entity)))
                })
            }
        }
    }

    /// Takes the key out of a row's columns; `None` if one is missing or null.
    pub fn from_columns(entity: &Entity, columns: &serde_json::Map<String, Json>) -> Result<Option<Self>, Error> {
        let mut values = Vec::with_capacity(entity.primary_key.len());
        for id in &entity.primary_key {
            let column = entity.column(*id);
            let given = columns.iter().find(|(name, _)| entity.find_column(name) == Some(*id)).map(|(_, value)| value);
            match given {
                None | Some(Json::Null) => return Ok(None),
                Some(json) => values.push(Value::from_json(json, &column.kind, &column.name)?),
            }
        }
        Ok((!values.is_empty()).then_some(Self(values)))
    }

    fn from_text(entity: &Entity, text: &str) -> Result<Self, Error> {
        let parts = if entity.primary_key.len() == 1 { vec![text.to_owned()] } else { split(text) };
        if parts.len() != entity.primary_key.len() {
            let message = format!("the key of {} is {}, with commas between the values", entity.full_name(), key_names(entity));
            return Err(Error::new(Code::InvalidValue, message));
        }
        let columns = entity.primary_key.iter().map(|id| entity.column(*id));
        let values = parts.iter().zip(columns).map(|(part, column)| Value::from_text(part, &column.kind, &column.name));
        values.collect::<Result<_, _>>().map(Self)
    }
}

fn is_key_column(entity: &Entity, name: &str) -> bool {
    entity.find_column(name).is_some_and(|id| entity.primary_key.contains(&id))
}

fn key_names(entity: &Entity) -> String {
    let names: Vec<&str> = entity.primary_key.iter().map(|id| entity.column(*id).name.as_str()).collect();
    names.join(",")
}

/// Splits at commas; a backslash takes the next character as it is.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, parts.last_mut()) {
            ('\\', Some(part)) => part.extend(characters.next()),
            (',', _) => parts.push(String::new()),
            (other, Some(part)) => part.push(other),
            (_, None) => {}
        }
    }
    parts
}
