//! A YAML document as a JSON value, with the line of every part of it.
//!
//! Manifests take the way that the cluster's take, from YAML to JSON to types, so that both understand the same.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::Spanned;
use std::collections::HashMap;

/// Line and column by path, such as `spec.columns[2].name`; the empty path is the document.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(HashMap<String, (u64, u64)>);

impl Lines {
    /// The place of a path, or of the nearest part around it that is there; zeros if nothing is known.
    pub(super) fn find(&self, path: &str) -> (u64, u64) {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return *place;
            }
            if path.is_empty() {
                return (0, 0);
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }
}

/// One document.
#[derive(Debug)]
pub(super) struct Tree(Spanned<Node>);

#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Tree {
    /// The value and where its parts are.
    pub(super) fn into_value(self) -> (Value, Lines) {
        let mut lines = Lines::default();
        let place = (self.0.referenced.line(), self.0.referenced.column());
        lines.0.insert(String::new(), place);
        let value = value_of(self.0.value, "", &mut lines);
        (value, lines)
    }
}

fn value_of(node: Node, path: &str, lines: &mut Lines) -> Value {
    match node {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let item = |(place, item): (usize, Spanned<Node>)| {
                let path = format!("{path}[{place}]");
                lines.0.insert(path.clone(), (item.referenced.line(), item.referenced.column()));
                value_of(item.value, &path, lines)
            };
            Value::Array(items.into_iter().enumerate().map(item).collect())
        }
        Node::Map(entries) => {
            let entry = |(key, item): (Spanned<String>, Spanned<Node>)| {
                let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                lines.0.insert(path.clone(), (key.referenced.line(), key.referenced.column()));
                (key.value, value_of(item.value, &path, lines))
            };
            Value::Object(entries.into_iter().map(entry).collect())
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Tree)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text, a number, true, false, null, a list or a map")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
