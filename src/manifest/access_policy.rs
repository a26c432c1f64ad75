//! AccessPolicy: which rows and columns of an entity a caller may see and write.
//!
//! It is validated and published, and not enforced yet: an entity that has one is closed to everybody.

use super::rules::rules;
use super::status::AccessPolicyStatus;
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
    doc = "Which rows and columns of an entity a caller may see and write.",
    status = "AccessPolicyStatus",
    shortname = "rsap",
    category = "resolvespec",
    printcolumn = r#"{"name":"Entity","type":"string","jsonPath":".spec.entity"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Paused","type":"string","priority":1,"jsonPath":".metadata.annotations.resolvespec\\.dev/paused"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.filter) || has(self.check) || has(self.columns)", "a policy without filter, check and columns says nothing"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessPolicySpec {
    /// The Entity's name; it stays what it is, so that no entity loses its policy unseen.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "the entity can't be changed; make another AccessPolicy"),
    ])))]
    pub entity: String,
    /// The roles it holds for; every caller if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,
    /// A CEL expression over `row` and `principal`: the rows that can be seen, changed and removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub filter: Option<String>,
    /// A CEL expression over `row` and `principal` that a written row must meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub check: Option<String>,
    /// The columns that can be seen; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub columns: Vec<String>,
}
