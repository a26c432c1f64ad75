//! The `options` object of a request: what to select, filter, sort, page and load beside it.
//!
//! An unknown key is an error. Fields that the reference fills with SQL text are names of declared fragments here.

use super::error::{Code, Error};
use super::filter::{self, Condition};
use super::reason::reason;
use super::request::KeyInput;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::marker::PhantomData;

/// What a client asks of a read, beside the entity.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Columns to answer; empty means all.
    #[serde(deserialize_with = "list")]
    pub columns: Vec<String>,
    /// Columns to leave out.
    #[serde(deserialize_with = "list")]
    pub omit_columns: Vec<String>,
    /// Which rows.
    #[serde(deserialize_with = "filter::deserialize")]
    pub filters: Condition,
    /// In which order.
    #[serde(deserialize_with = "objects")]
    pub sort: Vec<Sort>,
    /// At most so many rows.
    #[serde(deserialize_with = "count")]
    pub limit: Option<u64>,
    /// Rows to skip.
    #[serde(deserialize_with = "count")]
    pub offset: Option<u64>,
    /// Relations to load.
    #[serde(deserialize_with = "objects")]
    pub preload: Vec<Preload>,
    /// Declared conditions to apply.
    #[serde(rename = "customOperators", alias = "custom_operators", deserialize_with = "objects")]
    pub custom_operators: Vec<Fragment>,
    /// Declared columns to add.
    #[serde(rename = "computedColumns", alias = "computed_columns", deserialize_with = "objects")]
    pub computed_columns: Vec<Fragment>,
    /// Values for the parameters of declared conditions.
    #[serde(deserialize_with = "objects")]
    pub parameters: Vec<Parameter>,
    /// Rows after this one.
    pub cursor_forward: Option<KeyInput>,
    /// Rows before this one.
    pub cursor_backward: Option<KeyInput>,
    /// The row whose position is wanted.
    pub fetch_row_number: Option<KeyInput>,
    /// Leaves `total` and `filtered` uncounted; they are −1 then.
    pub skip_count: bool,
}

impl Options {
    /// Reads options that arrive as a text of their own.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read: Result<Option<Object<Options>>, _> = serde_path_to_error::deserialize(&mut json);
        read.map(|options| options.map(|options| options.0).unwrap_or_default()).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => "options".to_owned(),
                path => format!("options.{path}"),
            };
            let reason = reason(error.inner());
            Error::new(code_of(&path, &reason), format!("{path}: {reason}")).with_detail(path)
        })
    }
}

/// The code of a fault at a path that begins with `options`.
#[must_use]
pub fn code_of(path: &str, reason: &str) -> Code {
    if path.starts_with("options.filters") && reason.contains("unknown operator") {
        return Code::InvalidOperator;
    }
    Code::InvalidOption
}

impl Default for Condition {
    fn default() -> Self {
        Condition::always()
    }
}

/// One sort key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// A column, a declared computed column, or a place in a JSON column.
    pub column: String,
    /// Ascending unless said otherwise.
    #[serde(default, deserialize_with = "direction")]
    pub direction: Direction,
    /// Where NULLs go; last when ascending and first when descending unless said otherwise.
    #[serde(default, deserialize_with = "nulls")]
    pub nulls: Option<Nulls>,
}

/// Which way a key is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// Reads `asc` or `desc` without regard to case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "" | "asc" | "ascending" => Some(Direction::Ascending),
            "desc" | "descending" => Some(Direction::Descending),
            _ => None,
        }
    }
}

/// Where NULLs are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Before every value.
    First,
    /// After every value.
    Last,
}

/// A relation to load beside each row.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preload {
    /// The relation's name; a dotted path loads the relations on the way as well.
    pub relation: String,
    /// The related table's name, for clients that send it; it must fit the relation.
    pub table_name: Option<String>,
    /// Columns to answer; empty means all.
    #[serde(deserialize_with = "list")]
    pub columns: Vec<String>,
    /// Columns to leave out.
    #[serde(deserialize_with = "list")]
    pub omit_columns: Vec<String>,
    /// Order within each parent.
    #[serde(deserialize_with = "objects")]
    pub sort: Vec<Sort>,
    /// Which related rows.
    #[serde(deserialize_with = "filter::deserialize")]
    pub filters: Condition,
    /// A declared condition of the related entity.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// At most so many rows for each parent.
    #[serde(deserialize_with = "count")]
    pub limit: Option<u64>,
    /// Rows to skip for each parent.
    #[serde(deserialize_with = "count")]
    pub offset: Option<u64>,
    /// Relations of the related rows.
    #[serde(deserialize_with = "objects")]
    pub preload: Vec<Preload>,
    /// Declared columns of the related entity to add.
    #[serde(deserialize_with = "computed")]
    pub computed_ql: Vec<Fragment>,
    /// Follows the relation from the related rows again, down to the entity's limit.
    pub recursive: bool,
    /// Sent by clients of the reference; writing through a preload is decided by the entity.
    #[serde(alias = "updatable")]
    pub updateable: Option<bool>,
    /// Sent by clients of the reference; it must be the relation's key.
    pub primary_key: Option<String>,
    /// Sent by clients of the reference; it must be the relation's key.
    pub related_key: Option<String>,
    /// Sent by clients of the reference; it must be the relation's key.
    pub foreign_key: Option<String>,
    /// Sent by clients of the reference; it must be the relation's key.
    pub recursive_child_key: Option<String>,
    /// SQL of clients of the reference; refused unless empty.
    #[serde(deserialize_with = "refuse_joins")]
    pub sql_joins: (),
    /// Belongs to `sql_joins`; refused unless empty.
    #[serde(deserialize_with = "refuse_joins")]
    pub join_aliases: (),
}

impl Preload {
    /// A preload of a relation with nothing else said.
    pub fn of(relation: impl Into<String>) -> Self {
        Self { relation: relation.into(), ..Self::default() }
    }
}

/// The name of a fragment that the entity declares.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// The declared name.
    pub name: String,
    /// Text that a client of the reference sends as SQL; refused unless it is the name again.
    #[serde(default, alias = "expression")]
    pub sql: Option<String>,
}

impl Fragment {
    /// Refuses SQL text with an error that says what to do instead.
    pub fn declared_name(&self) -> Result<&str, Error> {
        match self.sql.as_deref() {
            None | Some("") => Ok(&self.name),
            Some(text) if text == self.name => Ok(&self.name),
            Some(_) => Err(Error::new(
                Code::RawSqlRefused,
                format!("'{}' carries SQL text; declare the fragment in the Entity and send its name only", self.name),
            )),
        }
    }
}

/// A value for a parameter of a declared condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The parameter's name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: Value,
    /// Read and not used: parameters are named.
    #[serde(default)]
    pub sequence: Option<i64>,
}

/// An object: serde alone would read a list as the fields in their order.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(list::<D, Object<T>>(deserializer)?.into_iter().map(|object| object.0).collect())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a count; the reference's clients send 0 for "none given".
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.filter(|count| *count > 0))
}

fn direction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Direction, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Direction::parse(&word).ok_or_else(|| serde::de::Error::custom(format!("direction is asc or desc, not '{word}'")))
}

fn nulls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nulls>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Ok(None),
        Some("first") => Ok(Some(Nulls::First)),
        Some("last") => Ok(Some(Nulls::Last)),
        Some(word) => Err(serde::de::Error::custom(format!("nulls is first or last, not '{word}'"))),
    }
}

fn computed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Fragment>, D::Error> {
    let map = Option::<serde_json::Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let fragment = |(name, value): (String, Value)| match value {
        Value::Null | Value::Bool(true) => Ok(Fragment { name, sql: None }),
        Value::String(text) => Ok(Fragment { name, sql: Some(text) }),
        _ => Err(serde::de::Error::custom(format!("computed_ql.{name} is the name of a declared column"))),
    };
    map.into_iter().map(fragment).collect()
}

fn refuse_joins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(()),
        Value::Array(items) if items.is_empty() => Ok(()),
        _ => Err(serde::de::Error::custom("joins can't be sent as SQL; declare a relation in the Entity")),
    }
}
