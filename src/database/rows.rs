//! Rows on their way out: JSON texts joined by commas, a first buffer and the rest as a stream.

use super::error::Error;
use crate::protocol::RowText;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;

/// The number columns that a statement can have beside the JSON text.
pub const MAX_NUMBERS: usize = 3;

/// Bytes of rows that are gathered before they are handed on.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// The rows of a statement.
pub struct Fetched {
    /// The first rows, all of them unless there is `more`.
    pub rows: RowText,
    /// The number columns of the first row.
    pub numbers: [Option<i64>; MAX_NUMBERS],
    /// The rest of a large result.
    pub more: Option<BoxStream<'static, Result<RowText, Error>>>,
}

/// Joins rows until the buffer is full.
#[derive(Default)]
pub(super) struct Gather {
    buffer: BytesMut,
    count: u64,
}

impl Gather {
    /// Appends a row.
    pub(super) fn push(&mut self, row: &[u8]) {
        if self.buffer.is_empty() {
            self.buffer.reserve(row.len().max(512));
        }
        self.begin_row().extend_from_slice(row);
    }

    /// Where the next row is to be written.
    pub(super) fn begin_row(&mut self) -> &mut BytesMut {
        if !self.buffer.is_empty() {
            self.buffer.extend_from_slice(b",");
        }
        self.count += 1;
        &mut self.buffer
    }

    /// Whether it has no row yet.
    pub(super) fn is_new(&self) -> bool {
        self.count == 0
    }

    /// Whether it is time to hand the rows on.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES
    }

    /// Hands the rows on and begins anew.
    pub(super) fn take(&mut self) -> RowText {
        let count = std::mem::take(&mut self.count);
        RowText { joined: Bytes::from(std::mem::take(&mut self.buffer)), count }
    }
}
