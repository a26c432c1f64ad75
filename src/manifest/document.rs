//! One YAML document on its way to a resource: `apiVersion`, `kind`, `metadata` and `spec`.
//!
//! Unknown fields are faults at every level, so that a mistyped word is never silently without effect.

use super::API_VERSION;
use super::declared::{Declared, Place};
use super::problem::Problem;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields that a resource has; a cluster adds `status`.
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// The fields of `metadata`, those that a cluster adds included, so that its answers can be read back.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// A document that is not yet a resource.
pub(super) struct Document {
    value: Value,
    pub(super) place: Place,
}

impl Document {
    pub(super) fn new(value: Value, place: Place) -> Self {
        Self { value, place }
    }

    /// The kind, if the document is of our API.
    pub(super) fn kind(&self) -> Result<&str, Problem> {
        let Value::Object(fields) = &self.value else {
            return Err(self.place.problem("", "a manifest must be a map of apiVersion, kind, metadata and spec"));
        };
        let advice = format!("write `apiVersion: {API_VERSION}`");
        match fields.get("apiVersion").map(Value::as_str) {
            Some(Some(API_VERSION)) => {}
            Some(Some(other)) => {
                return Err(self.place.problem("apiVersion", format!("unknown apiVersion '{other}'")).advise(advice));
            }
            _ => return Err(self.place.problem("apiVersion", "apiVersion is missing").advise(advice)),
        }
        fields.get("kind").and_then(Value::as_str).ok_or_else(|| self.place.problem("kind", "kind is missing"))
    }

    /// The resource, or all that is wrong with it.
    pub(super) fn parse<Spec: DeserializeOwned, T>(
        mut self,
        make: impl FnOnce(ObjectMeta, Spec) -> T,
    ) -> Result<Declared<T>, Vec<Problem>> {
        let mut problems = Vec::new();
        self.check_fields(&mut problems);
        let metadata = self.take_metadata().map_err(|problem| problems.push(problem));
        let spec = self.take_spec().map_err(|problem| problems.push(problem));
        match (metadata, spec) {
            (Ok(metadata), Ok(spec)) if problems.is_empty() => Ok(Declared { resource: make(metadata, spec), place: self.place }),
            _ => Err(problems),
        }
    }

    fn check_fields(&self, problems: &mut Vec<Problem>) {
        let fields = self.value.as_object().map(Map::keys).into_iter().flatten();
        let unknown = fields.filter(|field| !FIELDS.contains(&field.as_str()));
        problems.extend(unknown.map(|field| self.unknown(field, field)));
        let metadata = self.value["metadata"].as_object().map(Map::keys).into_iter().flatten();
        let unknown = metadata.filter(|field| !METADATA_FIELDS.contains(&field.as_str()));
        problems.extend(unknown.map(|field| self.unknown(&format!("metadata.{field}"), field)));
    }

    fn unknown(&self, path: &str, field: &str) -> Problem {
        self.place.problem(path, format!("unknown field '{field}'")).advise("remove it or correct its name")
    }

    fn take_metadata(&mut self) -> Result<ObjectMeta, Problem> {
        let value = match self.take("metadata") {
            Value::Null => Value::Object(Map::new()),
            value => value,
        };
        let metadata: ObjectMeta = self.decode("metadata", value)?;
        let name = metadata.name.as_deref().unwrap_or_default();
        if is_dns_name(name) {
            return Ok(metadata);
        }
        let reason = match name {
            "" => "metadata.name is missing".to_owned(),
            name => format!("'{name}' can't be a resource's name"),
        };
        let advice = "use lower-case letters, digits, '-' and '.'; an Entity's `table` and `name` can be anything";
        Err(self.place.problem("metadata.name", reason).advise(advice))
    }

    fn take_spec<Spec: DeserializeOwned>(&mut self) -> Result<Spec, Problem> {
        let value = self.take("spec");
        if value.is_null() {
            return Err(self.place.problem("", "spec is missing"));
        }
        self.decode("spec", value)
    }

    fn take(&mut self, field: &str) -> Value {
        self.value.get_mut(field).map(Value::take).unwrap_or_default()
    }

    fn decode<T: DeserializeOwned>(&self, field: &str, value: Value) -> Result<T, Problem> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string() {
                root if root == "." => field.to_owned(),
                inner if inner.starts_with('[') => format!("{field}{inner}"),
                inner => format!("{field}.{inner}"),
            };
            self.place.problem(&path, error.inner().to_string())
        })
    }
}

/// Whether Kubernetes takes the text as a resource's name: a DNS-1123 subdomain.
pub(super) fn is_dns_name(name: &str) -> bool {
    let edge = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    name.len() <= 253
        && !name.is_empty()
        && name
            .split('.')
            .all(|label| label.starts_with(edge) && label.ends_with(edge) && label.chars().all(|c| edge(c) || c == '-'))
}
