//! What a client says to be told of changes: the options of a read, and three of its own.
//!
//! `snapshot` answers the rows as they are first, `resume` goes on after a position, `conflate` lets a client that lags
//! miss what was overtaken. Options of a read that say nothing about changes are refused here, never ignored.

use super::change::Position;
use super::error::{Code, Error};
use super::options::{self, Options};
use super::reason::reason;
use super::request::{Selector, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A wish to be told of changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The entity.
    pub target: Target,
    /// Which rows, by key.
    pub selector: Selector,
    /// Which rows and what of them, as in a read; order and part are those of the snapshot.
    pub options: Options,
    /// Whether the rows as they are come first.
    pub snapshot: bool,
    /// The position after which to go on.
    pub resume: Option<Position>,
    /// Whether only the latest change of each record is told while the client lags.
    pub conflate: bool,
    /// What was said, from which it can be read again.
    pub said: Said,
}

/// A wish as the client said it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Box<str>>,
    entity: Box<str>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    record_id: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Box<str>>,
}

impl Said {
    /// An entity, the key of a row or null, and the options' JSON.
    #[must_use]
    pub fn new(target: &Target, record_id: Value, options: Option<&str>) -> Self {
        let (schema, entity) = (target.schema.as_deref().map(Into::into), target.entity.as_str().into());
        Self { schema, entity, record_id, options: options.filter(|text| *text != "null").map(Into::into) }
    }

    /// How long it is, but for its punctuation.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it always says something")]
    pub fn len(&self) -> usize {
        let record = if self.record_id.is_null() { 0 } else { self.record_id.to_string().len() };
        self.schema.as_deref().map_or(0, str::len) + self.entity.len() + record + self.options.as_deref().map_or(0, str::len)
    }
}

const OWN: [&str; 3] = ["snapshot", "resume", "conflate"];

impl Subscribe {
    /// Reads what was said.
    pub fn read(said: Said) -> Result<Self, Error> {
        let target = Target { schema: said.schema.as_deref().map(ToOwned::to_owned), entity: said.entity.to_string() };
        let selector = Selector::from_json(said.record_id.clone())
            .map_err(|forms| Error::new(Code::InvalidMessage, format!("record_id is {forms}")))?;
        let mut own = Own::default();
        let options = match &said.options {
            Some(text) => Options::from_json(&own.take(text)?)?,
            None => Options::default(),
        };
        let Own { snapshot, resume, conflate } = own;
        let asked = Self { target, selector, options, snapshot, resume, conflate, said };
        asked.check()?;
        Ok(asked)
    }

    /// The same, to go on after a position.
    #[must_use]
    pub fn resumed(self, position: Position) -> Self {
        Self { snapshot: false, resume: Some(position), ..self }
    }

    /// The same, from now on.
    #[must_use]
    pub fn anew(self) -> Self {
        Self { snapshot: false, resume: None, ..self }
    }

    fn check(&self) -> Result<(), Error> {
        let Options { sort, limit, offset, cursor_forward, cursor_backward, fetch_row_number, skip_count, preload, .. } =
            &self.options;
        let never = [
            ("cursor_forward", cursor_forward.is_some()),
            ("cursor_backward", cursor_backward.is_some()),
            ("fetch_row_number", fetch_row_number.is_some()),
            ("preload", !preload.is_empty()),
        ];
        if let Some((name, _)) = never.iter().find(|(_, given)| *given) {
            let message = format!("options.{name}: changes are told without it; leave it out, and read when a change arrives");
            return Err(refuse(name, message));
        }
        let of_snapshot =
            [("sort", !sort.is_empty()), ("limit", limit.is_some()), ("offset", offset.is_some()), ("skip_count", *skip_count)];
        match of_snapshot.iter().find(|(_, given)| *given && !self.snapshot) {
            Some((name, _)) => {
                let message =
                    format!("options.{name}: it is about the snapshot alone; ask for snapshot as well, or leave it out");
                Err(refuse(name, message))
            }
            None if self.snapshot && self.resume.is_some() => {
                Err(refuse("resume", "options.resume: a snapshot begins anew and a resume goes on; ask for one of them"))
            }
            None => Ok(()),
        }
    }
}

fn refuse(name: &str, message: impl Into<String>) -> Error {
    Error::new(Code::InvalidOption, message).with_detail(format!("options.{name}"))
}

/// A position as it was told. Over MQTT it says as well up to where everything was told before, and that is where it goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heard {
    epoch: String,
    offset: u64,
    complete: Option<u64>,
}

impl From<Heard> for Position {
    fn from(Heard { epoch, offset, complete }: Heard) -> Self {
        Self { epoch, offset: complete.map_or(offset, |complete| complete.min(offset)) }
    }
}

#[derive(Default)]
struct Own {
    snapshot: bool,
    resume: Option<Position>,
    conflate: bool,
}

impl Own {
    /// Takes its options out, and leaves those of a read.
    fn take(&mut self, text: &str) -> Result<String, Error> {
        // Most have none of them, and are read once. Names with escapes in them are not looked for, and refused as unknown.
        if !OWN.iter().any(|name| text.contains(name)) {
            return Ok(text.to_owned());
        }
        let unreadable = |error: serde_json::Error| Error::new(Code::InvalidOption, format!("options: {}", reason(&error)));
        let options::Object(mut all) =
            serde_json::from_str::<options::Object<BTreeMap<&str, &RawValue>>>(text).map_err(unreadable)?;
        self.snapshot = read(all.remove("snapshot"), "snapshot")?.unwrap_or_default();
        self.resume = read::<Heard>(all.remove("resume"), "resume")?.map(Position::from);
        self.conflate = read(all.remove("conflate"), "conflate")?.unwrap_or_default();
        serde_json::to_string(&all).map_err(unreadable)
    }
}

fn read<'t, T: Deserialize<'t>>(value: Option<&'t RawValue>, name: &str) -> Result<Option<T>, Error> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|error| refuse(name, format!("options.{name}: {}", reason(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(options: &Value) -> Result<Subscribe, Error> {
        let target = Target { schema: None, entity: "items".to_owned() };
        Subscribe::read(Said::new(&target, Value::Null, Some(&options.to_string())))
    }

    #[test]
    fn its_own_options_stand_among_those_of_a_read() {
        let asked = read(&json!({"columns": ["id"], "snapshot": true, "limit": 3, "conflate": true})).expect("good options");
        assert_eq!((asked.snapshot, asked.conflate, asked.options.limit), (true, true, Some(3)));
        let resumed = read(&json!({"resume": {"epoch": "e", "offset": 7}, "conflate": null})).expect("good options");
        assert_eq!(resumed.resume, Some(Position { epoch: "e".to_owned(), offset: 7 }));
        for (complete, offset) in [(5, 5), (9, 7)] {
            let heard = json!({"resume": {"epoch": "e", "offset": 7, "complete": complete}});
            let resumed = read(&heard).expect("good options");
            assert_eq!(resumed.resume, Some(Position { epoch: "e".to_owned(), offset }));
        }
        assert!(read(&Value::Null).is_ok_and(|asked| !asked.snapshot && asked.options == Options::default()));
    }

    #[test]
    fn what_says_nothing_about_changes_is_refused() {
        for (options, name) in [
            (json!({"limit": 3}), "limit"),
            (json!({"sort": [{"column": "id"}]}), "sort"),
            (json!({"snapshot": true, "cursor_forward": "1"}), "cursor_forward"),
            (json!({"snapshot": true, "preload": [{"relation": "a"}]}), "preload"),
            (json!({"fetch_row_number": "1"}), "fetch_row_number"),
            (json!({"snapshot": true, "resume": {"epoch": "e", "offset": 1}}), "resume"),
            (json!({"resume": {"epoch": "e"}}), "resume"),
            (json!({"resume": {"epoch": "e", "offset": -1}}), "resume"),
            (json!({"snapshot": 1}), "snapshot"),
            (json!({"snapshots": true}), "snapshots"),
            (json!(["snapshot"]), "options"),
        ] {
            let error = read(&options).expect_err("it is refused");
            assert_eq!(error.code, Code::InvalidOption, "{options}");
            assert!(error.message.contains(name), "{options}: {}", error.message);
        }
    }
}
