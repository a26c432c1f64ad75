//! Entity: a table or view that clients may use.
//!
//! What is left out is taken from the database.

use super::rules::rules;
use super::status::EntityStatus;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table or view that clients may use.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "resolvespec.dev",
    version = "v1alpha1",
    kind = "Entity",
    plural = "entities",
    namespaced,
    doc = "A table or view that clients may use.",
    status = "EntityStatus",
    shortname = "rse",
    category = "resolvespec",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.source"}"#,
    printcolumn = r#"{"name":"Table","type":"string","jsonPath":".spec.table"}"#,
    printcolumn = r#"{"name":"Path","type":"string","jsonPath":".status.endpoints.rest"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Degraded","type":"string","jsonPath":".status.conditions[?(@.type==\"Degraded\")].reason"}"#,
    printcolumn = r#"{"name":"Paused","type":"string","priority":1,"jsonPath":".metadata.annotations.resolvespec\\.dev/paused"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.sourceNamespace) == has(oldSelf.sourceNamespace)", "the source can't be changed; make another Entity"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntitySpec {
    /// The DataSource's name; it stays what it is.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "the source can't be changed; make another Entity"),
    ])))]
    pub source: String,
    /// The DataSource's namespace, the resource's own unless given. In a cluster another one has to agree by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "the source can't be changed; make another Entity"),
    ])))]
    pub source_namespace: Option<String>,
    /// The database's schema; `public`, the connection's database, or `main` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub schema: Option<String>,
    /// The table or view; the resource's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub table: Option<String>,
    /// The name that clients use; the table's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,
    /// The schema that clients name; the database's schema unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub api_schema: Option<String>,
    /// What it is for; shown in the API's documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Columns about which there is something to say; the others are exposed as the database has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub columns: Vec<ColumnSpec>,
    /// The primary key's columns; needed for a view, otherwise the database's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub primary_key: Vec<String>,
    /// Relations; derived from foreign keys between entities if absent, none if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub relations: Option<Vec<RelationSpec>>,
    /// Which operations are exposed and to whom; all of them to everyone that gets in, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<OperationsSpec>,
    /// Declared columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub computed: Vec<ComputedSpec>,
    /// Declared conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub operators: Vec<OperatorSpec>,
    /// Bounds of what one request can ask.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LimitsSpec,
    /// The order of rows when a request has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["column"]))]
    pub default_sort: Vec<SortSpec>,
}

/// What is said about one column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.values) || (has(self.type) && self.type == 'enum')", "`values` need `type: enum`"),
    ("!(has(self.readOnly) && self.readOnly && has(self.writeOnly) && self.writeOnly)", "a column that can neither be read nor written is hidden; use `hidden: true`"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnSpec {
    /// The column's name in the database.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The name that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub alias: Option<String>,
    /// What its values are, where the database can't tell: JSON in a text column, a boolean in a number.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnType>,
    /// The values of an `enum`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 256)))]
    pub values: Vec<String>,
    /// Clients can neither see nor name it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hidden: bool,
    /// Clients can't write it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Clients can write it and never see it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub write_only: bool,
    /// Whether it can be NULL; only where the database doesn't know, such as in a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
}

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the documentation, and the CRD lists them")]
pub enum ColumnType {
    Boolean,
    Integer,
    Decimal,
    Float,
    #[default]
    Text,
    Uuid,
    Date,
    Time,
    Timestamp,
    Bytes,
    Json,
    Enum,
}

/// A relation to another entity of the same source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.through) == (self.kind == 'manyToMany')", "a manyToMany relation goes `through` its link table, and no other one does"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelationSpec {
    /// The name that clients use.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Which way the key points.
    pub kind: RelationKindSpec,
    /// The other entity: its public name, or `schema.name`.
    #[schemars(length(min = 1, max = 257))]
    pub target: String,
    /// This entity's columns; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub columns: Vec<String>,
    /// The other entity's columns; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub target_columns: Vec<String>,
    /// The link table of a `manyToMany`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<ThroughSpec>,
}

/// Which way a relation's key points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RelationKindSpec {
    /// This row holds the other's key.
    BelongsTo,
    /// Other rows hold this row's key.
    HasMany,
    /// One other row holds this row's key.
    HasOne,
    /// A link table holds both keys.
    ManyToMany,
}

/// The link table of a `manyToMany`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThroughSpec {
    /// The table.
    #[schemars(length(min = 1, max = 128))]
    pub table: String,
    /// Its schema; the entity's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub schema: Option<String>,
    /// Its columns with this entity's key; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub columns: Vec<String>,
    /// Its columns with the other entity's key; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub target_columns: Vec<String>,
}

/// Which operations are exposed; one that is absent is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperationsSpec {
    /// Reading, metadata too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<RuleSpec>,
    /// Adding rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<RuleSpec>,
    /// Changing rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<RuleSpec>,
    /// Removing rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<RuleSpec>,
}

/// Who may do it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Callers with one of these roles; everyone that gets in, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Option<Vec<String>>,
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputedSpec {
    /// The name that clients use.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// SQL over the entity's own columns.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
    /// What its values are.
    #[serde(default, rename = "type")]
    pub kind: ColumnType,
}

/// A declared condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorSpec {
    /// The name that clients use.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// SQL over the entity's own columns; `{parameter}` stands for a value.
    #[schemars(length(min = 1, max = 4096))]
    pub condition: String,
    /// The parameters in the condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<ParameterSpec>,
}

/// A parameter of a declared condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// What its values are.
    #[serde(default, rename = "type")]
    pub kind: ColumnType,
}

/// Bounds of what one request can ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Rows of a page; 100,000 unless given. A request without a limit gets this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rows: Option<u64>,
    /// Comparisons of a request, preloads included; 64 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_filters: Option<usize>,
    /// Nested preloads; 8 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_preload_depth: Option<usize>,
    /// Preloads of a request; 32 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_preloads: Option<usize>,
    /// Levels that a recursive preload follows; 8 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_recursion: Option<usize>,
    /// Rows of a write, nested ones included; 1,000 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_write_rows: Option<usize>,
    /// Items of an `in` list, or ids; 1,000 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_list: Option<usize>,
}

/// One key of the default order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SortSpec {
    /// The column's public name.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
    /// Ascending unless given.
    #[serde(default)]
    pub direction: DirectionSpec,
    /// Last when ascending and first when descending, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<NullsSpec>,
}

/// Which way a key is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DirectionSpec {
    /// Smallest first.
    #[default]
    Asc,
    /// Largest first.
    Desc,
}

/// Where NULLs are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NullsSpec {
    /// Before every value.
    First,
    /// After every value.
    Last,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
