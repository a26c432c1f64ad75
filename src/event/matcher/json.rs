//! JSON texts, looked into without decoding more than is asked for.

use super::Error;
use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What a JSON text is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'r> {
    Null,
    Boolean(bool),
    /// As it is written.
    Number(&'r str),
    /// Without its escapes.
    Text(Cow<'r, str>),
    Array,
    Object,
}

/// Tells what a JSON text is; a text is decoded.
pub(super) fn token(raw: &str) -> Result<Token<'_>, Error> {
    Ok(match raw.as_bytes().first() {
        Some(b'n') => Token::Null,
        Some(b't') => Token::Boolean(true),
        Some(b'f') => Token::Boolean(false),
        Some(b'[') => Token::Array,
        Some(b'{') => Token::Object,
        Some(b'"') => Token::Text(text(raw)?),
        _ => Token::Number(raw),
    })
}

fn text(raw: &str) -> Result<Cow<'_, str>, Error> {
    let plain = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|text| !text.contains('\\'));
    match plain {
        Some(plain) => Ok(Cow::Borrowed(plain)),
        None => serde_json::from_str(raw).map(Cow::Owned).map_err(|error| malformed(&error)),
    }
}

/// Which of several values of one key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubled {
    First,
    Last,
}

/// The value of an object's key.
pub(super) fn member<'r>(object: &'r str, key: &str, doubled: Doubled) -> Result<Option<&'r str>, Error> {
    let mut found = None;
    each_member(object, |name, raw| {
        if name == key && (doubled == Doubled::Last || found.is_none()) {
            found = Some(raw);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Visits the members of an object in their order.
pub(super) fn each_member<'r>(object: &'r str, visit: impl FnMut(&str, &'r str) -> Result<(), Error>) -> Result<(), Error> {
    struct Members<F> {
        visit: F,
    }
    impl<'r, F: FnMut(&str, &'r str) -> Result<(), Error>> Visitor<'r> for Members<F> {
        type Value = Result<(), Error>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'r>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut outcome = Ok(());
            while let Some(Name(name)) = map.next_key::<Name<'r>>()? {
                let raw: &'r RawValue = map.next_value()?;
                if outcome.is_ok() {
                    outcome = (self.visit)(&name, raw.get());
                }
            }
            Ok(outcome)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let outcome = deserializer.deserialize_map(Members { visit });
    deserializer.end().map_err(|error| malformed(&error))?;
    outcome.map_err(|error| malformed(&error))?
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'r>(#[serde(borrow)] Cow<'r, str>);

/// The items of an array.
pub(super) fn items(array: &str) -> Result<Vec<&str>, Error> {
    struct Items;
    impl<'r> Visitor<'r> for Items {
        type Value = Vec<&'r str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'r>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(raw) = list.next_element::<&'r RawValue>()? {
                items.push(raw.get());
            }
            Ok(items)
        }
    }
    serde_json::Deserializer::from_str(array).deserialize_seq(Items).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::Malformed(error.to_string())
}
