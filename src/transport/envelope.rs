//! What the envelopes of body-style REST and of messages have in common: the `metadata` object.

use crate::protocol::response::{Counts, Record};

/// The metadata of a page of so many rows. Counts that were declined are −1.
#[must_use]
pub fn page_metadata(counts: Counts, count: u64, limit: u64, offset: u64) -> String {
    let (total, filtered) = (counts.total.unwrap_or(-1), counts.filtered.unwrap_or(-1));
    format!("{{\"total\":{total},\"count\":{count},\"filtered\":{filtered},\"limit\":{limit},\"offset\":{offset}}}")
}

/// The metadata of one row, with its position where it was asked for.
#[must_use]
pub fn record_metadata(record: &Record) -> String {
    let number = record.row_number.map_or_else(String::new, |number| format!(",\"row_number\":{number}"));
    format!("{{\"total\":1,\"count\":1,\"filtered\":1,\"limit\":0,\"offset\":0{number}}}")
}
