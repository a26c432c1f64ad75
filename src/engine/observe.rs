//! Who is told of the engine's statements: a span around each, how it ended, and how long it took.
//!
//! The engine knows no metrics: the wiring hands in an [`Observe`], which is asked for its tallies once for each catalog.
//! After that a statement looks nothing up and allocates nothing. Values and SQL are never told.

use crate::catalog::{Catalog, Entity};
use crate::database::{Dialect, Error, Flavour};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{Span, field};

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads rows.
    Select,
    /// Adds a row.
    Insert,
    /// Changes a row.
    Update,
    /// Removes a row.
    Delete,
    /// Makes a write last.
    Commit,
}

impl Verb {
    /// Every verb, each at the place of its number.
    pub const ALL: [Verb; 5] = [Verb::Select, Verb::Insert, Verb::Update, Verb::Delete, Verb::Commit];

    /// The word of SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Select => "SELECT",
            Verb::Insert => "INSERT",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
            Verb::Commit => "COMMIT",
        }
    }
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The database has answered, to the last row.
    Ok,
    /// The database has refused, was too slow, or can't be reached.
    Error,
    /// Nobody waits for it any more.
    Cancelled,
}

/// Makes tallies.
pub trait Observe: Send + Sync + 'static {
    /// What was being done for a client has panicked, and the client was told of an internal error.
    fn panicked(&self, method: &str);

    /// The tally of one kind of statement on one entity.
    fn tally(&self, verb: Verb, entity: &Entity) -> Arc<dyn Tally>;
}

/// Is told of the statements of one kind.
pub trait Tally: Send + Sync + 'static {
    /// A statement has ended, so long after it began to wait for its connection.
    fn ended(&self, end: End, took: Duration);
}

/// The tallies of a catalog.
pub(super) struct Tallies(Vec<[Arc<dyn Tally>; Verb::ALL.len()]>);

impl Tallies {
    pub(super) fn of(catalog: &Catalog, observe: &dyn Observe) -> Self {
        let of_entity = |entity: &Entity| Verb::ALL.map(|verb| observe.tally(verb, entity));
        Self(catalog.entities().iter().map(of_entity).collect())
    }

    /// A statement begins.
    pub(super) fn begin(&self, verb: Verb, entity: &Entity) -> Running {
        let tally = Arc::clone(&self.0[entity.id.index()][verb as usize]);
        Running { tally, span: span(verb, entity), end: End::Cancelled, started: Instant::now() }
    }
}

/// A statement that is running. Dropped without a word about its end, it is cancelled.
#[must_use]
pub(super) struct Running {
    tally: Arc<dyn Tally>,
    span: Span,
    end: End,
    started: Instant,
}

impl Running {
    /// The database has answered so.
    pub(super) fn ended<T>(self, outcome: &Result<T, Error>) {
        match outcome {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
    }

    /// The database has answered.
    pub(super) fn succeeded(mut self) {
        self.end = End::Ok;
    }

    /// The database has refused, was too slow, or can't be reached.
    pub(super) fn failed(mut self, error: &Error) {
        self.end = End::Error;
        self.tell(error.kind());
    }

    fn tell(&self, kind: &'static str) {
        self.span.record("error.type", kind).record("otel.status_code", "ERROR");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.end == End::Cancelled {
            self.tell("cancelled");
        }
        self.tally.ended(self.end, self.started.elapsed());
    }
}

/// The span of a statement, by OpenTelemetry's conventions. Logs leave it out unless they are asked for this level.
fn span(verb: Verb, entity: &Entity) -> Span {
    let (operation, table) = (verb.as_str(), entity.table.name.as_str());
    tracing::debug_span!(
        "statement",
        otel.name = %format_args!("{operation} {table}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        db.system.name = system_name(entity.dialect),
        db.operation.name = operation,
        db.collection.name = table,
        error.type = field::Empty,
    )
}

/// The database as OpenTelemetry names it.
fn system_name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "postgresql",
        Dialect::Mysql(Flavour::Mariadb) => "mariadb",
        Dialect::Mysql(Flavour::Mysql) => "mysql",
        Dialect::Sqlite => "sqlite",
    }
}
