//! Rows of SQLite as JSON: put together in SQL, or value by value here, where no text is made on the way.

use super::rows::{Gather, MAX_NUMBERS};
use super::statement::{RowFields, RowForm, Statement, ValueForm};
use super::{sqlite_real, sqlite_timestamp};
use base64::Engine as _;
use bytes::{BufMut, BytesMut};
use rusqlite::types::ValueRef;

/// Appends a row, and takes the numbers of the first.
pub(super) fn read_row(
    row: &rusqlite::Row<'_>,
    statement: &Statement,
    gather: &mut Gather,
    numbers: &mut [Option<i64>; MAX_NUMBERS],
) -> rusqlite::Result<()> {
    let width = match &statement.row {
        RowForm::Text => 1,
        RowForm::Fields(fields) => fields.len(),
    };
    if gather.is_new() {
        for (place, number) in numbers.iter_mut().enumerate().take(statement.numbers) {
            *number = row.get(width + place)?;
        }
    }
    match &statement.row {
        RowForm::Text => {
            if let ValueRef::Text(text) = row.get_ref(0)? {
                gather.push(text);
            }
            Ok(())
        }
        RowForm::Fields(fields) => write_fields(row, fields, gather.begin_row()),
    }
}

fn write_fields(row: &rusqlite::Row<'_>, fields: &RowFields, buffer: &mut BytesMut) -> rusqlite::Result<()> {
    for (place, (lead, form)) in fields.iter().enumerate() {
        buffer.put_slice(lead);
        let value = row.get_ref(place)?;
        match (form, value) {
            (_, ValueRef::Null) => buffer.put_slice(b"null"),
            (ValueForm::Json, ValueRef::Text(text)) => buffer.put_slice(text),
            (ValueForm::Boolean, value) => buffer.put_slice(if is_true(value) { b"true" } else { b"false" }),
            (ValueForm::Timestamp, value) => write_quoted(timestamp(value), buffer),
            (ValueForm::Bytes, value) => write_quoted(base64(value), buffer),
            (ValueForm::Json | ValueForm::Stored | ValueForm::Number, value) => write_stored(value, buffer),
        }
    }
    buffer.put_u8(b'}');
    Ok(())
}

/// A value by its storage class and not by its column, as JSON; a blob where none was declared is base64 as any other.
fn write_stored(value: ValueRef<'_>, buffer: &mut BytesMut) {
    match value {
        ValueRef::Null => buffer.put_slice(b"null"),
        ValueRef::Integer(number) => write_json(&number, buffer),
        ValueRef::Real(number) => buffer.put_slice(sqlite_real::text(number).as_bytes()),
        ValueRef::Text(text) => write_json(&String::from_utf8_lossy(text), buffer),
        ValueRef::Blob(_) => write_quoted(base64(value), buffer),
    }
}

/// The same for the rows that SQLite puts together: its own `json_quote` fails on a blob.
pub(super) fn quote(value: ValueRef<'_>) -> String {
    let mut buffer = BytesMut::new();
    write_stored(value, &mut buffer);
    String::from_utf8_lossy(&buffer).into_owned()
}

/// Whether SQLite takes a value for true: a number that is not zero, also one that a text begins with.
fn is_true(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Null => false,
        ValueRef::Integer(number) => number != 0,
        ValueRef::Real(number) => number != 0.0,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let text = text.trim_ascii_start();
            let end = text.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(text.len());
            let number = (1..=end).rev().find_map(|end| text[..end].parse::<f64>().ok());
            number.is_some_and(|number| number != 0.0)
        }
    }
}

fn write_json(value: &impl serde::Serialize, buffer: &mut BytesMut) {
    // A number or a text can always be written to memory.
    _ = serde_json::to_writer(buffer.writer(), value);
}

/// Writes a text that needs no escapes.
fn write_quoted(text: Option<String>, buffer: &mut BytesMut) {
    match text {
        None => buffer.put_slice(b"null"),
        Some(text) => {
            buffer.put_u8(b'"');
            buffer.put_slice(text.as_bytes());
            buffer.put_u8(b'"');
        }
    }
}

/// A value's bytes in base64.
pub(super) fn base64(value: ValueRef<'_>) -> Option<String> {
    let engine = base64::engine::general_purpose::STANDARD;
    match value {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(engine.encode(bytes)),
        ValueRef::Integer(number) => Some(engine.encode(number.to_string())),
        ValueRef::Real(number) => Some(engine.encode(number.to_string())),
    }
}

/// A stored time as RFC 3339: a text, seconds since 1970, or a Julian day.
pub(super) fn timestamp(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => None,
        ValueRef::Text(text) => Some(sqlite_timestamp::of_text(&String::from_utf8_lossy(text))),
        ValueRef::Integer(seconds) => sqlite_timestamp::of_seconds(seconds),
        ValueRef::Real(julian) => sqlite_timestamp::of_julian(julian),
    }
}
