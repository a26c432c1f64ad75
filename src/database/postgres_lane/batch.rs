//! The text that answers a short statement for many sets of binds at once, and those binds as arrays.
//!
//! Pure: the lane prepares and runs what is written here.

use crate::database::postgres::AsText;
use crate::database::statement::{Bind, Placeholders};
use bytes::BytesMut;
use std::fmt::Write;
use tokio_postgres::types::{Kind, ToSql, Type};

/// Writes the statement as one over arrays of its parameters: each of its rows is one that a set finds, and has the place of
/// that set, counted from one, as its last column. `None` if a parameter's type has no array that can be unnested.
pub(super) fn text(single: &str, Placeholders(places): &Placeholders, types: &[Type]) -> Option<String> {
    if types.len() != places.len() || types.is_empty() || !types.iter().all(is_plain) {
        return None;
    }
    let mut text = String::with_capacity(single.len() + 64 * types.len() + 64);
    text.push_str("select r.*, k.n from unnest(");
    for (number, kind) in types.iter().enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        _ = write!(text, "{separator}${}::{}.{}[]", number + 1, quoted(kind.schema()), quoted(kind.name()));
    }
    text.push_str(") with ordinality k(");
    for number in 0..types.len() {
        _ = write!(text, "a{number}, ");
    }
    text.push_str("n), lateral (");
    let mut rest = 0;
    for (number, place) in places.iter().enumerate() {
        text.push_str(single.get(rest..*place)?);
        _ = write!(text, "k.a{number}");
        rest = place + 1 + decimals(number + 1);
    }
    text.push_str(single.get(rest..)?);
    // One by one, by the key's index: what finds one row alone must not be joined with the whole table for some of them.
    text.push_str(" limit 1) r");
    Some(text)
}

/// Whether arrays of the type unnest into its values.
fn is_plain(kind: &Type) -> bool {
    matches!(kind.kind(), Kind::Simple | Kind::Enum(_) | Kind::Domain(_)) && *kind != Type::UNKNOWN
}

fn decimals(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The values of one parameter as the text of an array.
pub(super) fn array<'b>(values: impl Iterator<Item = &'b Bind>) -> Result<Bind, Box<dyn std::error::Error + Sync + Send>> {
    let (mut array, mut item) = (String::from("{"), BytesMut::new());
    for value in values {
        if array.len() > 1 {
            array.push(',');
        }
        if *value == Bind::Null {
            array.push_str("null");
            continue;
        }
        item.clear();
        AsText(value).to_sql(&Type::TEXT, &mut item)?;
        array.push('"');
        for character in std::str::from_utf8(&item)?.chars() {
            if matches!(character, '"' | '\\') {
                array.push('\\');
            }
            array.push(character);
        }
        array.push('"');
    }
    array.push('}');
    Ok(Bind::Text(array))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_written_over_arrays() {
        let single = "select \"$1\" from t where a = $1 and b = $2";
        let places = Placeholders(single.match_indices(" $").map(|(place, _)| place + 1).collect());
        assert_eq!(
            text(single, &places, &[Type::INT8, Type::TEXT]).unwrap(),
            "select r.*, k.n from \
             unnest($1::\"pg_catalog\".\"int8\"[], $2::\"pg_catalog\".\"text\"[]) with ordinality k(a0, a1, n), \
             lateral (select \"$1\" from t where a = k.a0 and b = k.a1 limit 1) r"
        );
        assert_eq!(text(single, &places, &[Type::INT8, Type::TEXT_ARRAY]), None);
    }

    #[test]
    fn values_are_quoted_in_an_array() {
        let values = [Bind::Integer(-1), Bind::Null, Bind::Text("a\"b\\c,{} null".to_owned()), Bind::Text("null".to_owned())];
        let expected = r#"{"-1",null,"a\"b\\c,{} null","null"}"#;
        assert_eq!(array(values.iter()).unwrap(), Bind::Text(expected.to_owned()));
    }
}
