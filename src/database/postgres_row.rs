//! Rows of PostgreSQL as JSON: a text that it made, or value by value here from its binary form, which costs the
//! database half as much.
//!
//! A value gets the text that `row_to_json` would have given it. Which columns may come as values is decided where the
//! statement is written; a type that is not known here is an error.

use super::error::Error;
use super::postgres::classify;
use super::postgres_timestamp;
use super::rows::{Gather, MAX_NUMBERS};
use super::statement::{RowFields, RowForm, ValueForm};
use bytes::{BufMut, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// Appends a row, and takes the numbers of the first.
pub(super) fn read_row(
    row: &Row,
    form: &RowForm,
    n_numbers: usize,
    gather: &mut Gather,
    numbers: &mut [Option<i64>; MAX_NUMBERS],
) -> Result<(), Error> {
    let width = match form {
        RowForm::Text => 1,
        RowForm::Fields(fields) => fields.len(),
    };
    if gather.is_new() {
        for (place, number) in numbers.iter_mut().enumerate().take(n_numbers) {
            *number = row.try_get(width + place).map_err(|error| classify(&error))?;
        }
    }
    match form {
        RowForm::Text => {
            let Raw(text) = row.try_get(0).map_err(|error| classify(&error))?;
            gather.push(text);
            Ok(())
        }
        RowForm::Fields(fields) => write_fields(row, fields, gather.begin_row()),
    }
}

fn write_fields(row: &Row, fields: &RowFields, buffer: &mut BytesMut) -> Result<(), Error> {
    for (place, ((lead, form), column)) in fields.iter().zip(row.columns()).enumerate() {
        buffer.put_slice(lead);
        match row.try_get(place).map_err(|error| classify(&error))? {
            None => buffer.put_slice(b"null"),
            Some(Binary(value)) => {
                let written = write_value(value, form, column.type_(), buffer);
                written.ok_or_else(|| {
                    Error::Schema(format!("a column has the type {} by now, not what it was declared with", column.type_()))
                })?;
            }
        }
    }
    buffer.put_u8(b'}');
    Ok(())
}

/// Writes a value as JSON; `None` if it is none of its type.
fn write_value(value: &[u8], form: ValueForm, kind: &Type, buffer: &mut BytesMut) -> Option<()> {
    match (form, kind) {
        (ValueForm::Json, &Type::JSONB) => match value.split_first()? {
            (1, text) => buffer.put_slice(text),
            _ => return None,
        },
        (ValueForm::Json, &Type::JSON | &Type::TEXT) => buffer.put_slice(value),
        (ValueForm::Number, &Type::TEXT) => write_number(value, buffer),
        (ValueForm::Stored, kind) => return write_stored(value, kind, buffer),
        _ => return None,
    }
    Some(())
}

fn write_stored(value: &[u8], kind: &Type, buffer: &mut BytesMut) -> Option<()> {
    match *kind {
        Type::INT8 => write_json(&i64::from_be_bytes(value.try_into().ok()?), buffer),
        Type::INT4 => write_json(&i32::from_be_bytes(value.try_into().ok()?), buffer),
        Type::INT2 => write_json(&i16::from_be_bytes(value.try_into().ok()?), buffer),
        Type::TEXT | Type::VARCHAR => write_json(std::str::from_utf8(value).ok()?, buffer),
        Type::BOOL => buffer.put_slice(if value == [0] { b"false" } else { b"true" }),
        Type::UUID => {
            let mut text = uuid::Uuid::encode_buffer();
            let text = uuid::Uuid::from_slice(value).ok()?.hyphenated().encode_lower(&mut text);
            write_quoted(text.as_bytes(), buffer);
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            buffer.put_u8(b'"');
            postgres_timestamp::write(i64::from_be_bytes(value.try_into().ok()?), buffer);
            buffer.put_u8(b'"');
        }
        _ => return None,
    }
    Some(())
}

/// A decimal's text; those that are no number in JSON are quoted.
fn write_number(text: &[u8], buffer: &mut BytesMut) {
    if text.last().is_some_and(u8::is_ascii_digit) { buffer.put_slice(text) } else { write_quoted(text, buffer) }
}

fn write_json<V: serde::Serialize + ?Sized>(value: &V, buffer: &mut BytesMut) {
    // A number or a text can always be written to memory.
    _ = serde_json::to_writer(buffer.writer(), value);
}

/// Writes a text that needs no escapes.
fn write_quoted(text: &[u8], buffer: &mut BytesMut) {
    buffer.put_u8(b'"');
    buffer.put_slice(text);
    buffer.put_u8(b'"');
}

/// The bytes of a text or json value.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::TEXT | Type::JSON | Type::VARCHAR | Type::NAME)
    }
}

/// The bytes of a value of any type, in its binary form.
struct Binary<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Binary<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Binary(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
