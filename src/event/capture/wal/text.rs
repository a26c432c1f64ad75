//! A value as PostgreSQL's log has it, in the database's own text form, as a read answers it.
//!
//! Pure. First into what `row_to_json` makes of it, by the type that the database gives the column, then on as the image of
//! a trigger goes. The session that reads the log has the settings of sessions that read rows, so the text forms are known.

use super::super::image::postgres;
use crate::catalog::{Column, Kind};
use std::borrow::Cow;

/// What a read answers for a value that is not NULL.
pub(in crate::event::capture) fn answered<'a>(column: &Column, text: &'a str) -> Cow<'a, str> {
    let delimiter = if column.declared_type.starts_with("box") { ';' } else { ',' };
    let json = json(&column.native, text, delimiter);
    match postgres(column, &json) {
        Some(answered) => Cow::Owned(answered),
        None => json,
    }
}

/// What `row_to_json` writes; a value that is not of its kind, since the column had another one then, is a text.
fn json<'a>(kind: &Kind, text: &'a str, delimiter: char) -> Cow<'a, str> {
    match kind {
        Kind::Integer | Kind::Decimal | Kind::Float if is_number(text) => Cow::Borrowed(text),
        Kind::Boolean if text == "t" => Cow::Borrowed("true"),
        Kind::Boolean if text == "f" => Cow::Borrowed("false"),
        Kind::Json if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => Cow::Borrowed(text.trim()),
        Kind::Timestamp { zoned } => Cow::Owned(moment(text, *zoned)),
        Kind::Array(item) => Cow::Owned(List::read(text, item, delimiter).unwrap_or_else(|| quoted(text))),
        _ => Cow::Owned(quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether the text of a number is one in JSON too; NaN and infinity are not.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    digits.starts_with(|first: char| first.is_ascii_digit()) && digits.bytes().all(is_part)
}

/// `2024-03-10 02:30:00+00` as JSON has it.
fn moment(text: &str, zoned: bool) -> String {
    let (moment, era) = text.strip_suffix(" BC").map_or((text, ""), |moment| (moment, " BC"));
    let moment = moment.replacen(' ', "T", 1);
    match moment.strip_suffix("+00") {
        Some(local) if zoned => quoted(&format!("{local}+00:00{era}")),
        _ => quoted(&format!("{moment}{era}")),
    }
}

/// The text of an array on its way into a JSON list.
struct List<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    item: &'a Kind,
    delimiter: char,
    json: String,
}

impl<'a> List<'a> {
    fn read(text: &'a str, item: &'a Kind, delimiter: char) -> Option<String> {
        // Bounds that do not begin at one stand before.
        let body = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
        let mut list = List { rest: body.chars().peekable(), item, delimiter, json: String::with_capacity(body.len() + 8) };
        list.list()?;
        list.rest.next().is_none().then_some(list.json)
    }

    fn list(&mut self) -> Option<()> {
        (self.rest.next()? == '{').then_some(())?;
        self.json.push('[');
        if self.rest.next_if_eq(&'}').is_none() {
            loop {
                match self.rest.peek()? {
                    '{' => self.list()?,
                    '"' => self.quoted_item()?,
                    _ => self.plain_item()?,
                }
                match self.rest.next()? {
                    '}' => break,
                    other if other == self.delimiter => self.json.push(','),
                    _ => return None,
                }
            }
        }
        self.json.push(']');
        Some(())
    }

    fn quoted_item(&mut self) -> Option<()> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => break,
                '\\' => text.push(self.rest.next()?),
                other => text.push(other),
            }
        }
        self.push(&text);
        Some(())
    }

    fn plain_item(&mut self) -> Option<()> {
        let mut text = String::new();
        while let Some(next) = self.rest.next_if(|next| *next != '}' && *next != self.delimiter) {
            text.push(next);
        }
        if text == "NULL" {
            self.json.push_str("null");
        } else {
            self.push(&text);
        }
        self.rest.peek().map(|_| ())
    }

    fn push(&mut self, text: &str) {
        let item = json(self.item, text, self.delimiter);
        self.json.push_str(&item);
    }
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::catalog::Kind;

    fn list(item: Kind) -> Kind {
        Kind::Array(Box::new(item))
    }

    #[test]
    fn texts_become_what_row_to_json_writes() {
        let zoned = Kind::Timestamp { zoned: true };
        let local = Kind::Timestamp { zoned: false };
        let cases = [
            (Kind::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Kind::Decimal, "123456789012345678901234567890.0001", "123456789012345678901234567890.0001"),
            (Kind::Float, "1e+20", "1e+20"),
            (Kind::Float, "NaN", r#""NaN""#),
            (Kind::Float, "-Infinity", r#""-Infinity""#),
            (Kind::Integer, "was a text", r#""was a text""#),
            (Kind::Boolean, "t", "true"),
            (Kind::Text, "a \"b\"\n\\", r#""a \"b\"\n\\""#),
            (Kind::Json, r#"{"a": [1,  2]}"#, r#"{"a": [1,  2]}"#),
            (Kind::Bytes, "\\x0102", r#""\\x0102""#),
            (zoned.clone(), "2024-03-10 02:30:00.5+00", r#""2024-03-10T02:30:00.5+00:00""#),
            (zoned.clone(), "0044-03-15 00:00:00+00 BC", r#""0044-03-15T00:00:00+00:00 BC""#),
            (zoned.clone(), "infinity", r#""infinity""#),
            (local.clone(), "2024-03-10 02:30:00", r#""2024-03-10T02:30:00""#),
            (Kind::Date, "0044-03-15 BC", r#""0044-03-15 BC""#),
            (list(Kind::Integer), "{}", "[]"),
            (list(Kind::Integer), "{1,NULL,3}", "[1,null,3]"),
            (list(Kind::Integer), "[0:1]={1,2}", "[1,2]"),
            (list(Kind::Integer), "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
            (list(Kind::Text), r#"{a,"b, \"c\"","NULL",""}"#, r#"["a","b, \"c\"","NULL",""]"#),
            (list(Kind::Json), r#"{"{\"a\": 1}"}"#, r#"[{"a": 1}]"#),
            (list(Kind::Boolean), "{t,f}", "[true,false]"),
            (list(local), r#"{"2024-03-10 02:30:00"}"#, r#"["2024-03-10T02:30:00"]"#),
            (list(Kind::Integer), "{1,2", r#""{1,2""#),
            (list(Kind::Integer), "1 2", r#""1 2""#),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(json(&kind, text, ','), expected, "{kind:?} {text}");
        }
        assert_eq!(json(&list(Kind::Other), "{(1,1),(0,0);(3,3),(2,2)}", ';'), r#"["(1,1),(0,0)","(3,3),(2,2)"]"#);
    }
}
