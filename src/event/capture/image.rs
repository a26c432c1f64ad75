//! A row's image, from the database's names and forms to the public names and what a read answers.

use super::sqlite_value;
use super::wal::text;
use crate::catalog::{Column, Entity, Kind};
use crate::database::Dialect;
use base64::Engine as _;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An image as it was written down: columns by the database's names.
#[derive(Clone)]
pub(super) struct Image<'a> {
    columns: Vec<(Cow<'a, str>, Raw<'a>)>,
}

/// A value in the form that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    /// A JSON text, as a trigger or the engine wrote it.
    Json(&'a str),
    /// PostgreSQL's own text, as its log has it.
    Text(&'a str),
    /// NULL in that log.
    Null,
}

/// The values of an entity's columns in their order, as JSON texts; none for a column that the image does not have.
pub(super) struct Values<'a>(pub(super) Vec<Option<Cow<'a, str>>>);

impl<'a> Image<'a> {
    /// The columns of a row of PostgreSQL's log.
    pub(super) fn of(columns: Vec<(Cow<'a, str>, Raw<'a>)>) -> Self {
        Self { columns }
    }

    /// Reads a row of an outbox.
    pub(super) fn read(text: &'a RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text.get())
    }

    /// The values as a read of the entity answers them.
    pub(super) fn values(&self, entity: &Entity) -> Values<'a> {
        // Both orders are the table's, so that the first look nearly always finds the column.
        let mut next = 0;
        let mut find = |name: &str| {
            let is_next = self.columns.get(next).is_some_and(|(found, _)| found == name);
            let place = if is_next { Some(next) } else { self.columns.iter().position(|(found, _)| found == name) };
            next = place.map_or(next, |place| place + 1);
            place.map(|place| self.columns[place].1)
        };
        let value = |column: &Column| {
            find(column.ident.as_str()).map(|raw| match raw {
                Raw::Json(json) => answered(entity.dialect, column, json),
                Raw::Text(told) => text::answered(column, told),
                Raw::Null => Cow::Borrowed("null"),
            })
        };
        Values(entity.columns.iter().map(value).collect())
    }
}

impl Values<'_> {
    /// The row as one JSON object.
    pub(super) fn row(&self, entity: &Entity) -> Result<Box<RawValue>, serde_json::Error> {
        let mut text = String::with_capacity(self.0.iter().flatten().map(|value| value.len() + 16).sum());
        let mut lead = '{';
        for (column, value) in entity.columns.iter().zip(&self.0) {
            let Some(value) = value else { continue };
            text.push(lead);
            text.push_str(&serde_json::to_string(&column.name)?);
            text.push(':');
            text.push_str(value);
            lead = ',';
        }
        text.push_str(if lead == '{' { "{}" } else { "}" });
        RawValue::from_string(text)
    }
}

/// What a read answers for a value of an image. It follows `engine::sql::json`, which makes the expressions of reads; a
/// value that the expression would refuse stays as it is.
fn answered<'a>(dialect: Dialect, column: &Column, raw: &'a str) -> Cow<'a, str> {
    match dialect {
        _ if raw == "null" => Cow::Borrowed(raw),
        // The trigger used a read's own expressions.
        Dialect::Mysql(_) => Cow::Borrowed(raw),
        Dialect::Sqlite => sqlite_value::answered(&column.kind, raw),
        Dialect::Postgres => postgres(column, raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}

/// What a read answers for what `row_to_json` writes, where the two differ.
pub(super) fn postgres(column: &Column, raw: &str) -> Option<String> {
    let declared = column.declared_type.as_str();
    match column.kind {
        Kind::Timestamp { zoned: false } if declared.starts_with("timestamp") => in_utc(raw),
        Kind::Bytes => base64_of_hex(raw),
        Kind::Array(ref item) => match **item {
            Kind::Timestamp { zoned: false } => each_item(raw, &in_utc),
            Kind::Bytes => each_item(raw, &base64_of_hex),
            _ => None,
        },
        Kind::Other | Kind::Text if declared == "inet" => masked(raw),
        // A text that holds JSON.
        Kind::Json if !declared.starts_with("json") => {
            let text: String = serde_json::from_str(raw).ok()?;
            RawValue::from_string(text).ok().map(|json| json.get().to_owned())
        }
        Kind::Boolean if !declared.starts_with("bool") && raw.parse::<i64>().is_ok() => {
            Some(if raw == "0" { "false" } else { "true" }.to_owned())
        }
        _ => None,
    }
}

/// A list whose items are brought into another form, whatever its dimensions; items without one stay as they are.
fn each_item(raw: &str, form: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    let item = |item: &&RawValue| {
        let text = item.get();
        let formed = if text.starts_with('[') { each_item(text, form) } else { form(text) };
        formed.unwrap_or_else(|| text.to_owned())
    };
    Some(format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(",")))
}

/// `"2024-03-10T02:30:00"` with its zone, which stands before an era. Infinity has none.
fn in_utc(raw: &str) -> Option<String> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    let (moment, era) = text.strip_suffix(" BC").map_or((text, ""), |moment| (moment, " BC"));
    (!moment.ends_with("infinity")).then(|| format!("\"{moment}+00:00{era}\""))
}

/// An address of one host, whose text form has a mask where its form in JSON has none.
fn masked(raw: &str) -> Option<String> {
    let text = raw.strip_suffix('"').filter(|text| !text.contains('/'))?;
    Some(format!("{text}/{}\"", if text.contains(':') { 128 } else { 32 }))
}

/// `"\\x0102"`, as JSON writes the form of the database.
fn base64_of_hex(raw: &str) -> Option<String> {
    let hex = raw.strip_prefix("\"\\\\x")?.strip_suffix('"')?;
    Some(format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(unhex(hex)?)))
}

/// The bytes of hexadecimal digits.
pub(super) fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

impl<'de: 'a, 'a> Deserialize<'de> for Image<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Columns)
    }
}

struct Columns;

impl<'de> Visitor<'de> for Columns {
    type Value = Image<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Image<'de>, A::Error> {
        let mut columns = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            columns.push((name, Raw::Json(value.get())));
        }
        Ok(Image { columns })
    }
}

/// A key that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::{base64_of_hex, in_utc, unhex};

    #[test]
    fn times_without_a_zone_are_utc() {
        let cases = [
            (r#""2024-03-10T02:30:00""#, Some(r#""2024-03-10T02:30:00+00:00""#)),
            (r#""0044-03-15T00:00:00 BC""#, Some(r#""0044-03-15T00:00:00+00:00 BC""#)),
            (r#""-infinity""#, None),
            ("5", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(in_utc(raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn bytes_become_base64() {
        assert_eq!(base64_of_hex(r#""\\x010203""#).as_deref(), Some(r#""AQID""#));
        assert_eq!(base64_of_hex(r#""\\x""#).as_deref(), Some(r#""""#));
        for raw in [r#""\\x0""#, r#""\\xzz""#, r#""text""#, "1"] {
            assert_eq!(base64_of_hex(raw), None, "{raw}");
        }
        assert_eq!(unhex("fF00").as_deref(), Some([255, 0].as_slice()));
    }
}
