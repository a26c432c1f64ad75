//! A committed change as it is told: what happened to which row, and where it stands in the order of all changes.
//!
//! Pure data. Images hold every column under its public name, each value as a read answers it, so that a row that was
//! read and then changed by what is told is the row that a later read answers. Who may see what of it is decided where it
//! is handed on, never here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// A place in the order of all changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Which incarnation of the order it belongs to; offsets of two epochs can't be compared.
    pub epoch: String,
    /// The place; changes have offsets from 1, 0 is before all of them.
    pub offset: u64,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeOperation {
    /// It was added.
    Create,
    /// It was changed.
    Update,
    /// It was removed.
    Delete,
}

impl ChangeOperation {
    /// Every kind, each at the place of its number.
    pub const ALL: [Self; 3] = [ChangeOperation::Create, ChangeOperation::Update, ChangeOperation::Delete];

    /// The word on the wire and in subjects.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeOperation::Create => "create",
            ChangeOperation::Update => "update",
            ChangeOperation::Delete => "delete",
        }
    }
}

impl fmt::Display for ChangeOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One committed change of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// The same for the same change, however often it is told; unique among all sources.
    pub id: String,
    /// The data source's name.
    pub source: String,
    /// The entity's public schema.
    pub schema: String,
    /// The entity's public name.
    pub entity: String,
    /// The row's table, by the database's names; empty of what was told before tables were.
    #[serde(default)]
    pub table: String,
    /// The catalog's word for how whoever told it serves the table, since another one may call its rows something else; empty
    /// if nothing serves it there.
    #[serde(default)]
    pub serving: String,
    /// What happened.
    pub operation: ChangeOperation,
    /// The primary key by public column names.
    pub key: Map<String, Value>,
    /// The row before, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<RawValue>>,
    /// The row after, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<RawValue>>,
    /// Columns whose values differ, by public name; of an update only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The database's transaction, where it has a name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Who made it, where it was made through the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whose it is, where rows belong to tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When, RFC 3339 in UTC.
    pub occurred_at: String,
}
