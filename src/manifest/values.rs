//! Manifests as JSON values, the form in which they leave the machine that has their files.
//!
//! A resource takes its kind, name, namespace and spec along and nothing else, so that neither notes nor what a cluster adds
//! makes a difference. What can't be resolved elsewhere, or would give a password away, is a problem.

use super::connection::obstacles;
use super::declared::Declared;
use super::problem::Problem;
use super::read::{Manifests, values};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A resource that came from elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// Where it was declared; problems name it.
    pub origin: String,
    /// The resource.
    pub resource: Value,
    /// What its table comes to, where whoever publishes watches the database: another table makes another generation, so that
    /// replicas look at it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The generation since which it is what it is, once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

impl Carried {
    /// Its kind, namespace and name, wherever it was declared.
    #[must_use]
    pub fn identity(&self) -> String {
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &self.resource["metadata"];
        format!("{} {}/{}", field(&self.resource["kind"]), field(&metadata["namespace"]), field(&metadata["name"]))
    }

    /// Whether both are the same for who serves them.
    #[must_use]
    pub fn says_the_same(&self, other: &Carried) -> bool {
        self.resource == other.resource && self.table == other.table
    }
}

/// Makes manifests ready to leave.
pub fn carry(manifests: &Manifests) -> Result<Vec<Carried>, Vec<Problem>> {
    let Manifests { sources, entities, policies } = manifests;
    let mut problems: Vec<Problem> = sources.iter().flat_map(obstacles).collect();
    let mut carried = Vec::new();
    for outcome in sources.iter().map(carry_one).chain(entities.iter().map(carry_one)).chain(policies.iter().map(carry_one)) {
        outcome.map_or_else(|problem| problems.push(problem), |one| carried.push(one));
    }
    if problems.is_empty() { Ok(carried) } else { Err(problems) }
}

/// Reads what was carried here as if it stood in files.
pub fn unpack(carried: &[Carried]) -> Result<Manifests, Vec<Problem>> {
    values(carried.iter().map(|one| (PathBuf::from(&one.origin), one.resource.clone())))
}

fn carry_one<T: Resource + Serialize>(declared: &Declared<T>) -> Result<Carried, Problem> {
    let mut resource = serde_json::to_value(&declared.resource)
        .map_err(|error| declared.problem("", format!("can't be written as JSON: {error}")))?;
    if let Some(fields) = resource.as_object_mut() {
        fields.remove("status");
    }
    resource["metadata"] = json!({"name": declared.name(), "namespace": declared.namespace()});
    Ok(Carried { origin: declared.place.to_string(), resource, table: None, since: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read;
    use std::path::Path;

    const SHOP: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop, annotations: {note: secret}}
spec: {engine: postgres, connection: {env: SHOP_URL}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items, namespace: other}
spec: {source: shop, columns: [{name: a, alias: b}]}
";

    #[test]
    fn what_is_carried_is_read_back() {
        let manifests = read::text(Path::new("shop.yaml"), SHOP).unwrap();
        let carried = carry(&manifests).unwrap();
        assert!(!serde_json::to_string(&carried).unwrap().contains("secret"), "notes are left behind");
        let back = unpack(&carried).unwrap();
        assert_eq!(back.sources[0].resource.spec, manifests.sources[0].resource.spec);
        assert_eq!(back.entities[0].resource.spec, manifests.entities[0].resource.spec);
        assert_eq!(back.entities[0].key(), "other/items");
        assert_eq!(
            carry(&back).unwrap().iter().map(|one| &one.resource).collect::<Vec<_>>(),
            carried.iter().map(|one| &one.resource).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_must_not_leave_does_not() {
        let text = SHOP.replace("{env: SHOP_URL}", "{url: 'postgres://me:hush@host/shop'}");
        let problems = carry(&read::text(Path::new("shop.yaml"), &text).unwrap()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("holds a password") && !problems[0].to_string().contains("hush"));
    }

    #[test]
    fn a_newer_field_is_a_problem_and_not_left_out() {
        let manifests = read::text(Path::new("shop.yaml"), SHOP).unwrap();
        let mut carried = carry(&manifests).unwrap();
        carried[1].resource["spec"]["telepathy"] = json!(true);
        let problems = unpack(&carried).unwrap_err();
        assert!(problems[0].to_string().starts_with("shop.yaml:7: "), "{}", problems[0]);
    }
}
