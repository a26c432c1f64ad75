//! DataSource: a database and how it is reached.

use super::rules::{DURATION, rules};
use super::status::DataSourceStatus;
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
    doc = "A database whose tables can be declared as entities.",
    status = "DataSourceStatus",
    shortname = "rsds",
    category = "resolvespec",
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".spec.engine"}"#,
    printcolumn = r#"{"name":"Capture","type":"string","jsonPath":".spec.capture.mode"}"#,
    printcolumn = r#"{"name":"Entities","type":"integer","jsonPath":".status.entities"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Degraded","type":"string","jsonPath":".status.conditions[?(@.type==\"Degraded\")].reason"}"#,
    printcolumn = r#"{"name":"Paused","type":"string","priority":1,"jsonPath":".metadata.annotations.resolvespec\\.dev/paused"}"#,
    printcolumn = r#"{"name":"Message","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.capture) || self.capture.mode != 'wal' || self.engine == 'postgres'", "`wal` is PostgreSQL's logical replication; use `trigger`, `api` or `none`"),
    ("!has(self.connection.url) || self.connection.url.startsWith(self.engine == 'sqlite' ? 'sqlite:' : self.engine == 'mysql' ? 'm' : 'postgres')", "the URL is of another engine"),
    ("!has(self.seed) || self.engine == 'sqlite'", "only a SQLite database can be seeded"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSourceSpec {
    /// The kind of database; it stays what it is.
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("self == oldSelf", "the engine can't be changed; make another DataSource"),
    ])))]
    pub engine: Engine,
    /// Where it is.
    pub connection: Connection,
    /// How many connections are kept, and how long one is waited for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pool: Pool,
    /// How long one statement may take, such as `30s` or `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION), length(max = 20))]
    pub statement_timeout: Option<String>,
    /// How long a client may take none of a large page before its connection is given to others, such as `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION), length(max = 20))]
    pub stall_timeout: Option<String>,
    /// How long an idempotency key is remembered with its answer, such as `24h`, which it is unless given; `1s` at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = DURATION), length(max = 20))]
    pub idempotency_lifetime: Option<String>,
    /// SQL files that `dev` runs in order on an empty SQLite database, relative to the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64))]
    pub seed: Vec<String>,
    /// How committed changes are captured.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = {}))]
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
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("[has(self.url), has(self.env), has(self.file), has(self.secretKeyRef)].filter(is, is).size() == 1", "a connection has exactly one of url, env, file and secretKeyRef"),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// A URL without a password: `postgres://user@host/database`, `mysql://…`, `sqlite:path/to/file.db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), extend("x-kubernetes-validations" = rules(&[
        ("!self.matches('://[^/?#]*:[^/?#]*@') && !self.matches('[?&](password|sslpassword|ssl-password)=')", "the URL holds a password, which belongs into a Secret; name it with secretKeyRef"),
    ])))]
    pub url: Option<String>,
    /// An environment variable that holds the URL; read by `dev` and `serve`, and refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub env: Option<String>,
    /// A file that holds the URL, relative to the manifest; read by `dev` and `serve`, and refused in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// A key of a Secret that holds the URL; for a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The Secret's namespace, the resource's own unless given. Another one has to agree by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
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
    #[schemars(regex(pattern = DURATION), length(max = 20))]
    pub acquire_timeout: Option<String>,
}

/// What a slot that nothing is wrong with may hold back from one moment to the next: giving it up for that would begin an epoch again
/// and again.
pub const LEAST_RETAINED: u64 = 256 << 20;

/// So many changes wait for a moment where many rows are changed at once.
pub const LEAST_WAITING: u64 = 100_000;

/// How committed changes become events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.mode == 'wal' || !(has(self.warnRetainedBytes) || has(self.maxRetainedBytes))",
        "only the mode `wal` makes the database retain its log",
    ),
    (
        "!has(self.maxWaitingRows) || self.mode == 'trigger' || self.mode == 'api'",
        "only the modes `trigger` and `api` have an outbox",
    ),
    (
        "!has(self.maxRetainedBytes) || !has(self.warnRetainedBytes) || self.maxRetainedBytes >= self.warnRetainedBytes",
        "a slot is warned of before it is given up",
    ),
])))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capture {
    /// Where changes are seen.
    #[serde(default)]
    pub mode: CaptureMode,
    /// Of `wal`: how many bytes of its log PostgreSQL may retain for the slot before it is warned of, 1 GiB unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub warn_retained_bytes: Option<u64>,
    /// Of `wal`: with how many bytes the slot is given up, so that the disk is not filled, 32 GiB unless given; every subscriber
    /// reads again when there is a new one. While no replica runs, `max_slot_wal_keep_size` of the server is what does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = LEAST_RETAINED))]
    pub max_retained_bytes: Option<u64>,
    /// Of `trigger` and `api`: how many changes may wait in the outbox while nothing can be told, 10,000,000 unless given. With
    /// more they are given up, so that the disk is not filled, and every subscriber reads again when changes can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = LEAST_WAITING))]
    pub max_waiting_rows: Option<u64>,
}

/// Where changes are seen; `none` unless given, since triggers cost every write something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMode {
    /// Triggers write an outbox: changes by any program. `resolvespec capture install` makes them, or the operator.
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
