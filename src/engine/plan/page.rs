//! Which part of the ordered rows is wanted.

use super::key::Key;
use crate::catalog::Entity;
use crate::protocol::{Code, Error, KeyInput, Options};

/// Limit, offset and cursor.
#[derive(Debug, Clone, PartialEq)]
pub struct Paging {
    /// At most so many rows.
    pub limit: u64,
    /// Rows to skip.
    pub offset: u64,
    /// The row that the page follows or precedes.
    pub cursor: Option<Cursor>,
}

/// A row by its key, and on which side of it the page lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// The row.
    pub key: Key,
    /// Whether the page ends before the row.
    pub backward: bool,
}

/// Resolves paging; a request without a limit gets the entity's.
pub(super) fn resolve_paging(entity: &Entity, options: &Options) -> Result<Paging, Error> {
    let limit = resolve_limit(entity, options.limit)?;
    let given = |key: &Option<KeyInput>| key.clone().filter(|key| *key != KeyInput::Text(String::new()));
    let cursor = match (given(&options.cursor_forward), given(&options.cursor_backward)) {
        (Some(key), _) => Some(Cursor { key: cursor_key(entity, &key)?, backward: false }),
        (None, Some(key)) => Some(Cursor { key: cursor_key(entity, &key)?, backward: true }),
        (None, None) => None,
    };
    let offset = options.offset.unwrap_or(0);
    if i64::try_from(offset).is_err() {
        return Err(Error::new(Code::InvalidOption, "offset is larger than any table"));
    }
    Ok(Paging { limit, offset, cursor })
}

/// The limit to apply; more than the entity's is refused.
pub(super) fn resolve_limit(entity: &Entity, limit: Option<u64>) -> Result<u64, Error> {
    let most = entity.limits.max_rows;
    match limit {
        Some(limit) if limit > most => {
            Err(Error::new(Code::LimitExceeded, format!("limit is {limit}; {} allows {most} rows a page", entity.full_name())))
        }
        Some(limit) => Ok(limit),
        None => Ok(most),
    }
}

fn cursor_key(entity: &Entity, key: &KeyInput) -> Result<Key, Error> {
    Key::resolve(entity, key).map_err(|error| Error::new(Code::CursorError, error.message))
}
