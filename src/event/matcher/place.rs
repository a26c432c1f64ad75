//! A place in a JSON column, found and read as each database does it.
//!
//! The databases differ: in which of two equal keys counts, and in the text of a number or of an object.

use super::Error;
use super::datum::Datum;
use super::domain::{Domain, stored};
use super::json::{Doubled, Token, each_member, items, member, token};
use super::number::Number;
use crate::database::Dialect;
use crate::engine::plan::PathStep;
use std::fmt::Write;

/// The value at a path, as its JSON text; none if there is nothing.
pub(super) fn find<'r>(root: &'r str, path: &[PathStep], dialect: Dialect) -> Result<Option<&'r str>, Error> {
    if dialect == Dialect::Sqlite
        && let Token::Text(text) = token(root)?
        && text.trim_start().starts_with(['{', '[', '/'])
    {
        // Either a text, or JSON in a spelling that reads answer as a text and SQLite looks into.
        return Err(Error::Undecided("a JSON column holds a text that may be JSON itself".to_owned()));
    }
    let mut raw = root;
    for step in path {
        let found = match (token(raw)?, step) {
            (Token::Object, PathStep::Key(key)) => member(raw, key, doubled(dialect))?,
            (Token::Array, PathStep::Item(item)) => nth(raw, *item)?,
            _ => None,
        };
        match found {
            Some(found) => raw = found,
            None => return Ok(None),
        }
    }
    Ok(Some(raw))
}

fn doubled(dialect: Dialect) -> Doubled {
    if dialect == Dialect::Postgres { Doubled::Last } else { Doubled::First }
}

fn nth(array: &str, item: u32) -> Result<Option<&str>, Error> {
    let items = items(array)?;
    Ok(usize::try_from(item).ok().and_then(|item| items.get(item).copied()))
}

/// Reads a place as what the comparison takes it for; none if it is not that, or nothing.
pub(super) fn read(raw: Option<&str>, domain: Domain, dialect: Dialect) -> Result<Option<Datum>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    match (domain, token(raw)?) {
        (Domain::Boolean, Token::Boolean(truth)) => Ok(Some(Datum::Boolean(truth))),
        (Domain::Number, Token::Number(digits)) => number(digits, dialect).map(Some),
        (Domain::Stored(_), Token::Number(digits)) => sqlite_number(digits).map(Some),
        (Domain::Text(_), _) => Ok(text(Some(raw), dialect)?.map(|text| Datum::Text(text.into()))),
        _ => Ok(None),
    }
}

/// Digits that MySQL and MariaDB keep of a number in JSON, before and after the point.
pub(super) const MYSQL_PLACES: (i64, i64) = (35, 30);

fn number(digits: &str, dialect: Dialect) -> Result<Datum, Error> {
    let number = Number::parse(digits).ok_or_else(|| Error::Malformed(format!("{digits} is no number")))?;
    let (after, before) = number.places();
    if matches!(dialect, Dialect::Mysql(_)) && (before > MYSQL_PLACES.0 || after > MYSQL_PLACES.1) {
        return Err(Error::Undecided("a number in JSON has more digits than the database compares".to_owned()));
    }
    Ok(Datum::Number(number))
}

/// Significant digits up to which SQLite reads the nearest floating-point number.
pub(super) const SQLITE_DIGITS: usize = 17;

fn sqlite_number(digits: &str) -> Result<Datum, Error> {
    if let Some(integer) = stored(digits).filter(|datum| matches!(datum, Datum::Number(_))) {
        return Ok(integer);
    }
    let exact = Number::parse(digits).is_some_and(|number| number.significant_digits() <= SQLITE_DIGITS);
    match super::domain::double(digits).filter(|_| exact) {
        Some(real) => Ok(Datum::Real(real)),
        None => Err(Error::Undecided("a number in JSON has more digits than SQLite keeps".to_owned())),
    }
}

/// The text of a place; none for nothing and for JSON's null.
pub(super) fn text(raw: Option<&str>, dialect: Dialect) -> Result<Option<String>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    Ok(Some(match (token(raw)?, dialect) {
        (Token::Null, _) => return Ok(None),
        (Token::Text(text), _) => text.into_owned(),
        (Token::Boolean(truth), _) => truth.to_string(),
        (Token::Number(_) | Token::Array | Token::Object, Dialect::Postgres) => {
            let mut text = String::with_capacity(raw.len());
            jsonb(raw, &mut text)?;
            text
        }
        (Token::Number(digits), Dialect::Mysql(_)) => digits.to_owned(),
        (Token::Number(digits), Dialect::Sqlite) => match stored(digits) {
            Some(Datum::Number(Number::Integer(integer))) => integer.to_string(),
            _ => return Err(Error::Undecided("a number in JSON has a point, and is compared as a text".to_owned())),
        },
        (Token::Array | Token::Object, Dialect::Mysql(_) | Dialect::Sqlite) => {
            return Err(Error::Undecided("an object or a list in JSON is compared as a text".to_owned()));
        }
    }))
}

/// Writes JSON as PostgreSQL's `jsonb` writes itself: keys by length and then by bytes, the last of equal ones.
fn jsonb(raw: &str, out: &mut String) -> Result<(), Error> {
    match token(raw)? {
        Token::Object => {
            let mut members: Vec<(String, &str)> = Vec::new();
            each_member(raw, |name, value| {
                members.push((name.to_owned(), value));
                Ok(())
            })?;
            // Equal ones stay in their order, so that the last is the one that takes the place of those before it.
            members.sort_by(|(left, _), (right, _)| left.len().cmp(&right.len()).then_with(|| left.cmp(right)));
            members.dedup_by(|next, kept| {
                let is_equal = next.0 == kept.0;
                if is_equal {
                    std::mem::swap(next, kept);
                }
                is_equal
            });
            out.push('{');
            for (place, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                quoted(&name, out);
                out.push_str(": ");
                jsonb(value, out)?;
            }
            out.push('}');
        }
        Token::Array => {
            out.push('[');
            for (place, item) in items(raw)?.into_iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                jsonb(item, out)?;
            }
            out.push(']');
        }
        Token::Text(text) => quoted(&text, out),
        Token::Number(digits) => out.push_str(&numeric(digits)?),
        Token::Boolean(_) | Token::Null => out.push_str(raw),
    }
    Ok(())
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => _ = write!(out, "\\u{:04x}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Exponents beyond this are refused by PostgreSQL.
const NUMERIC_LIMIT: i64 = 140_000;

/// A number as PostgreSQL's `numeric` writes it: without exponent, with the digits after the point that it was given.
fn numeric(digits: &str) -> Result<String, Error> {
    let bad = || Error::Malformed(format!("{digits} is no number that PostgreSQL can hold"));
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() <= NUMERIC_LIMIT).ok_or_else(bad)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent);
    let before = usize::try_from(point.max(0)).map_err(|_| bad())?;
    let zeros = usize::try_from((-point).max(0)).map_err(|_| bad())?;
    let whole = format!("{:0<before$}", all.get(..before).unwrap_or(&all));
    let whole = whole.trim_start_matches('0');
    let fraction = format!("{}{}", "0".repeat(zeros), all.get(before..).unwrap_or_default());
    let is_zero = whole.is_empty() && fraction.bytes().all(|byte| byte == b'0');
    let sign = if digits.starts_with('-') && !is_zero { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::{find, numeric, text};
    use crate::database::{Dialect, Flavour};
    use crate::engine::plan::PathStep;

    const MARIADB: Dialect = Dialect::Mysql(Flavour::Mariadb);

    #[test]
    fn numerics_are_written_without_exponent() {
        let cases = [
            ("1.50", "1.50"),
            ("1e2", "100"),
            ("1.5e1", "15"),
            ("1.50e1", "15.0"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1e-3", "0.001"),
            ("12.5e-4", "0.00125"),
            ("-7", "-7"),
            ("0e5", "0"),
        ];
        for (digits, expected) in cases {
            assert_eq!(numeric(digits).expect("a number"), expected, "{digits}");
        }
    }

    #[test]
    fn numbers_are_items_and_texts_are_keys_and_doubled_keys_differ() {
        let key = |key: &str| PathStep::Key(key.to_owned());
        let root = r#"{"a":1,"a":2,"l":[1,{"b":null}],"0":"zero"}"#;
        let cases: [(&[PathStep], [Option<&str>; 3]); 8] = [
            (&[key("a")], [Some("2"), Some("1"), Some("1")]),
            (&[key("l"), PathStep::Item(1), key("b")], [Some("null"), Some("null"), Some("null")]),
            (&[key("l"), key("-2")], [None, None, None]),
            (&[key("l"), key("0")], [None, None, None]),
            (&[key("a"), PathStep::Item(0)], [None, None, None]),
            (&[PathStep::Item(0)], [None, None, None]),
            (&[key("0")], [Some("\"zero\""), Some("\"zero\""), Some("\"zero\"")]),
            (&[key("x")], [None, None, None]),
        ];
        for (path, expected) in cases {
            for (dialect, expected) in [Dialect::Postgres, MARIADB, Dialect::Sqlite].into_iter().zip(expected) {
                assert_eq!(find(root, path, dialect).expect("it is JSON"), expected, "{path:?} {dialect:?}");
            }
        }
    }

    #[test]
    fn objects_have_the_text_of_jsonb() {
        let raw = r#"{"bb":[1.0,  "\u0041\n"],"a":{"x":null},"bb":[true]}"#;
        assert_eq!(
            text(Some(raw), Dialect::Postgres).expect("it is JSON").as_deref(),
            Some(r#"{"a": {"x": null}, "bb": [true]}"#)
        );
        assert!(text(Some(raw), MARIADB).is_err());
        let thrice = r#"{"a":1,"b":0,"a":2,"c":{},"a":3,"b":[]}"#;
        let told = text(Some(thrice), Dialect::Postgres).expect("it is JSON");
        assert_eq!(told.as_deref(), Some(r#"{"a": 3, "b": [], "c": {}}"#), "the last of equal keys");
        assert_eq!(text(Some("null"), MARIADB).expect("it is JSON"), None);
    }
}
