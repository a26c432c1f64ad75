//! Answers of the engine, before a transport gives them its shape.
//!
//! Rows are JSON texts as the database made them, joined by commas; nobody parses them on the way out.

use super::error::Error;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::Value;
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// What the engine answers.
#[derive(Debug)]
pub enum Response {
    /// A list of rows.
    Page(Page),
    /// One row, by key.
    Record(Record),
    /// The rows as the database has them after a write.
    Written(Written),
    /// The rows as they were before a delete, or how many there were.
    Deleted(Deleted),
    /// The entity's description, §0.3 of the protocol.
    Meta(Value),
}

/// Rows as JSON objects with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowText {
    /// The joined texts; no comma before the first or after the last.
    pub joined: Bytes,
    /// How many rows the text has.
    pub count: u64,
}

/// More rows of a page that did not fit into the first buffer; each item starts without a comma.
pub type MoreRows = BoxStream<'static, Result<RowText, Error>>;

/// A list of rows and what is known about it.
pub struct Page {
    /// The first rows; all of them unless there is `more`.
    pub rows: RowText,
    /// The rest of a large page.
    pub more: Option<MoreRows>,
    /// Counts beyond the page.
    pub counts: Counts,
    /// The limit that was applied.
    pub limit: u64,
    /// Rows skipped.
    pub offset: u64,
}

/// What was counted; `None` when the request declined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows that the caller may see.
    pub total: Option<i64>,
    /// Rows among them that meet the filters.
    pub filtered: Option<i64>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("rows", &self.rows)
            .field("streams", &self.more.is_some())
            .field("counts", &self.counts)
            .field("limit", &self.limit)
            .field("offset", &self.offset)
            .finish()
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct Record {
    /// The row's JSON object.
    pub row: Bytes,
    /// Its 1-based position in the filtered, sorted set, when asked for.
    pub row_number: Option<i64>,
}

/// Rows that were written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The rows as they are now.
    pub rows: RowText,
    /// Whether the request had a list.
    pub many: bool,
    /// Whether this is the stored answer of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// What a delete did.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// What was removed.
    pub removed: Removed,
    /// Whether this is the stored answer of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Rows that were removed.
#[derive(Debug, Clone)]
pub enum Removed {
    /// One row, as it was.
    Record(Bytes),
    /// How many of the ids existed.
    Count(u64),
}

/// The entity tag of a row's or a page's text: equal texts have equal tags.
#[must_use]
pub fn entity_tag(text: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(text))
}

/// The entity tag of a row that is answered with more than its own text, such as its place among others. The row's tag is a part of
/// it, so that a client can change the row that it has seen in any form.
#[must_use]
pub fn entity_tag_within(row: &[u8], answer: &[u8]) -> String {
    format!("\"{:032x}-{:032x}\"", xxh3_128(row), xxh3_128(answer))
}

/// Whether a tag that a client has seen is of this row, in whatever form it was answered.
#[must_use]
pub fn is_tag_of(tag: &str, row: &[u8]) -> bool {
    let tag = tag.trim().trim_start_matches("W/").strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let of_row = tag.and_then(|tag| tag.split('-').next());
    of_row == Some(format!("{:032x}", xxh3_128(row)).as_str())
}
