//! `crds`: prints the CustomResourceDefinitions that `crds/resolvespec.yaml` holds.

use crate::cli::Error;
use crate::manifest::{AccessPolicy, DataSource, Entity};
use kube::CustomResourceExt;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::io::Write;

/// Prints one YAML stream.
pub fn crds() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "# Made by `resolvespec crds`; change src/manifest and make it again.")?;
    for definition in [DataSource::crd(), Entity::crd(), AccessPolicy::crd()] {
        let json = serde_json::to_value(&definition)?;
        write!(out, "---\n{}", serde_saphyr::to_string(&Plain(&json))?)?;
    }
    Ok(())
}

/// A value whose numbers are numbers to every writer. Numbers of `serde_json` keep all their digits, and other writers than
/// its own are told them as something else.
struct Plain<'v>(&'v Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => serializer.serialize_i64(whole),
                #[expect(clippy::cast_possible_truncation, reason = "bounds in schemas are small whole numbers")]
                (None, Some(number)) if number.fract() == 0.0 && number.abs() < 1e15 => serializer.serialize_i64(number as i64),
                (None, Some(number)) => serializer.serialize_f64(number),
                (None, None) => Err(serde::ser::Error::custom("a number is out of range")),
            },
            Value::Array(items) => serializer.collect_seq(items.iter().map(Plain)),
            Value::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, Plain(value)))),
            other => other.serialize(serializer),
        }
    }
}
