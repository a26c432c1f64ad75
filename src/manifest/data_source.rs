//! DataSource: a database and how it is reached.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database whose tables can be declared as entities.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "resolvespec.dev",
    version = "v1alpha1",
    kind = "DataSource",
    namespaced,
    shortname = "rsds",
    category = "resolvespec",
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".spec.engine"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSourceSpec {
    /// The kind of database.
    pub engine: Engine,
    /// Where it is.
    pub connection: Connection,
    /// How many connections are kept, and how long one is waited for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pool: Pool,
    /// How long one statement may take, such as `30s` or `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<String>,
    /// How long a client may take none of a large page before its connection is given to others, such as `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<String>,
    /// How long an idempotency key is remembered with its answer, such as `24h`, which it is unless given; `1s` at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_lifetime: Option<String>,
    /// SQL files that `dev` runs in order on an empty SQLite database, relative to the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seed: Vec<String>,
    /// How committed changes are captured.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Capture,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// SQLite, a file.
    Sqlite,
}

impl Engine {
    /// The word in manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Postgres => "postgres",
            Engine::Mysql => "mysql",
            Engine::Sqlite => "sqlite",
        }
    }
}

/// Where a database is; exactly one of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// A URL without a password: `postgres://user@host/database`, `mysql://…`, `sqlite:path/to/file.db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// An environment variable that holds the URL; read by `dev` and `serve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A file that holds the URL, such as one of a mounted Secret; relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A key of a Secret that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A key of a Secret in the resource's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key within it.
    pub key: String,
}

/// The connections of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Connections at most; four for each core of the replica unless given, but 8 at least and 16 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_connections: Option<u32>,
    /// How long a request waits for a connection, such as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquire_timeout: Option<String>,
}

/// How committed changes become events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capture {
    /// Where changes are seen.
    #[serde(default)]
    pub mode: CaptureMode,
    /// Of `wal`: how many bytes of its log PostgreSQL may retain for the slot before it is warned of, 1 GiB unless given.
    /// `max_slot_wal_keep_size` of the server is what ends a slot that retains too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub warn_retained_bytes: Option<u64>,
}

/// Where changes are seen; `none` unless given, since triggers cost every write something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// Triggers write an outbox: changes by any program. `resolvespec capture install` makes them.
    Trigger,
    /// PostgreSQL's logical replication, without triggers: changes by any program. `resolvespec capture install` makes the
    /// publication and the slot.
    Wal,
    /// The service writes the outbox itself: its own changes only, and no row that the database changes by itself.
    /// `resolvespec capture install` makes the outbox.
    Api,
    /// No events.
    #[default]
    None,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
