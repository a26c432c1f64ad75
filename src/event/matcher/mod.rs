//! Whom a change concerns: the one filter language, evaluated in memory on images of rows.
//!
//! A filter is the same typed predicate that goes to SQL, and it answers what the database would answer, or it can't be
//! compiled: what a database does by rules that are not known here exactly is refused, with the reason and what to do
//! instead. Nothing here reaches a database, a bus or a client.
//!
//! In reading order: `column` says how a column's values are compared, `compile` makes a `filter` of a predicate, `image`
//! is a row, `index` finds the filters that a row may match, `classify` says what a subscriber is told.
//!
//! It relies on what the documentation says of stored values: a boolean column of MySQL, MariaDB or SQLite holds 0, 1 or
//! NULL, and a time of SQLite is stored as `YYYY-MM-DD HH:MM:SS` in UTC. Reads do not tell such values from others.

mod bound;
mod classify;
mod column;
mod compile;
mod datum;
mod domain;
mod filter;
mod image;
mod index;
mod instant;
mod json;
mod number;
mod pattern;
mod place;
mod projection;
mod shard;
mod text;

pub use classify::{Reason, Told, classify};
pub use filter::Filter;
pub use image::Image;
pub use index::{BATCH, Concerned, Images, Index, Ticket};
pub use projection::Projection;
pub use shard::Entry;

/// Why it can't be said whether a row matches. Never to be taken for no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The image is not a row of the entity as reads answer it.
    #[error("the image can't be read: {0}")]
    Malformed(String),
    /// The row has a value about which only the database can decide.
    #[error("only the database can say whether the row matches: {0}")]
    Undecided(String),
}
