//! AccessPolicy: which rows and columns of an entity a caller may see and write.
//!
//! The type exists so that manifests can carry it. It is not enforced yet: `dev`, `serve` and `check` refuse it.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which rows and columns of an entity a caller may see and write.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "resolvespec.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    shortname = "rsap",
    category = "resolvespec",
    printcolumn = r#"{"name":"Entity","type":"string","jsonPath":".spec.entity"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessPolicySpec {
    /// The Entity's name.
    pub entity: String,
    /// The roles it holds for; every caller if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// A CEL expression over `row` and `principal`: the rows that can be seen, changed and removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// A CEL expression over `row` and `principal` that a written row must meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The columns that can be seen; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}
