//! Entity: a table or view that clients may use.
//!
//! What is left out is taken from the database.

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
    shortname = "rse",
    category = "resolvespec",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.source"}"#,
    printcolumn = r#"{"name":"Table","type":"string","jsonPath":".spec.table"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntitySpec {
    /// The DataSource's name.
    pub source: String,
    /// The database's schema; `public`, the connection's database, or `main` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The table or view; the resource's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The name that clients use; the table's name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The schema that clients name; the database's schema unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_schema: Option<String>,
    /// What it is for; shown in the API's documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Columns about which there is something to say; the others are exposed as the database has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnSpec>,
    /// The primary key's columns; needed for a view, otherwise the database's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// Relations; derived from foreign keys between entities if absent, none if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relations: Option<Vec<RelationSpec>>,
    /// Which operations are exposed and to whom; all of them to everyone that gets in, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<OperationsSpec>,
    /// Declared columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computed: Vec<ComputedSpec>,
    /// Declared conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorSpec>,
    /// Bounds of what one request can ask.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LimitsSpec,
    /// The order of rows when a request has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_sort: Vec<SortSpec>,
}

/// What is said about one column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnSpec {
    /// The column's name in the database.
    pub name: String,
    /// The name that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What its values are, where the database can't tell: JSON in a text column, a boolean in a number.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnType>,
    /// The values of an `enum`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelationSpec {
    /// The name that clients use.
    pub name: String,
    /// Which way the key points.
    pub kind: RelationKindSpec,
    /// The other entity: its public name, or `schema.name`.
    pub target: String,
    /// This entity's columns; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The other entity's columns; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub table: String,
    /// Its schema; the entity's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its columns with this entity's key; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Its columns with the other entity's key; from the foreign key if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub roles: Option<Vec<String>>,
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputedSpec {
    /// The name that clients use.
    pub name: String,
    /// SQL over the entity's own columns.
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
    pub name: String,
    /// SQL over the entity's own columns; `{parameter}` stands for a value.
    pub condition: String,
    /// The parameters in the condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterSpec>,
}

/// A parameter of a declared condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterSpec {
    /// Its name.
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
    pub max_rows: Option<u64>,
    /// Comparisons of a request, preloads included; 64 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_filters: Option<usize>,
    /// Nested preloads; 8 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_preload_depth: Option<usize>,
    /// Preloads of a request; 32 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_preloads: Option<usize>,
    /// Levels that a recursive preload follows; 8 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_recursion: Option<usize>,
    /// Rows of a write, nested ones included; 1,000 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_write_rows: Option<usize>,
    /// Items of an `in` list, or ids; 1,000 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_list: Option<usize>,
}

/// One key of the default order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SortSpec {
    /// The column's public name.
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
