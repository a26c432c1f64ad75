//! What a database can answer instead of rows, in words that callers act on.
//!
//! The driver's text is kept for the log; nobody shows it to a client.

/// A failure of a statement or of a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The settings can't work.
    #[error("{0}")]
    Configuration(String),
    /// The database can't be reached, or the connection was lost.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The database did not take the statement, for a reason that passes; nothing of it was run.
    #[error("the statement could not be prepared: {0}")]
    Unprepared(String),
    /// Every connection was busy for too long.
    #[error("no connection became free in time")]
    Busy,
    /// The statement did not finish in time.
    #[error("the statement exceeded its deadline")]
    Deadline,
    /// The reader of a large result took none of it for too long.
    #[error("the reader took no rows for too long")]
    Stalled,
    /// A row came without its text, which MySQL and MariaDB answer in the place of one that they may not build.
    #[error("a row came without its text: it may be longer than the database builds (max_allowed_packet)")]
    TooLarge,
    /// A constraint refuses the row.
    #[error("{kind:?} violation of {constraint:?}, columns {columns:?}: {text}")]
    Violation {
        /// Which kind of constraint.
        kind: Violation,
        /// Its name in the database, where the database tells it.
        constraint: Option<String>,
        /// Its columns in the database, where the database tells them.
        columns: Vec<String>,
        /// The driver's text.
        text: String,
    },
    /// A value does not fit its column.
    #[error("a value does not fit: {0}")]
    Value(String),
    /// A type has no such comparison, order or text.
    #[error("values can't be compared so: {0}")]
    Incomparable(String),
    /// A concurrent write got in the way; the transaction may be tried again.
    #[error("concurrent write: {0}")]
    Serialization(String),
    /// The database's user may not do this.
    #[error("the database refuses: {0}")]
    Permission(String),
    /// The table or column is not there any more.
    #[error("the schema has changed: {0}")]
    Schema(String),
    /// Anything else.
    #[error("statement failed: {0}")]
    Statement(String),
}

/// A kind of constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Unique or primary key.
    Unique,
    /// Foreign key.
    ForeignKey,
    /// NOT NULL.
    NotNull,
    /// CHECK.
    Check,
}

impl Error {
    /// Its kind in one word, as traces name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Configuration(_) => "configuration",
            Error::Unavailable(_) => "unavailable",
            Error::Unprepared(_) => "unprepared",
            Error::Busy => "busy",
            Error::Deadline => "deadline",
            Error::Stalled => "stalled",
            Error::TooLarge => "too_large",
            Error::Violation { .. } => "violation",
            Error::Value(_) => "value",
            Error::Incomparable(_) => "incomparable",
            Error::Serialization(_) => "serialization",
            Error::Permission(_) => "permission",
            Error::Schema(_) => "schema",
            Error::Statement(_) => "statement",
        }
    }

    /// Whether the database may just be away or busy, so that the error says nothing about what was asked.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Busy | Error::Deadline)
    }

    /// A violation with what the database tells of it.
    pub(super) fn violation(kind: Violation, constraint: Option<&str>, columns: Vec<String>, text: &str) -> Self {
        Error::Violation { kind, constraint: constraint.map(ToOwned::to_owned), columns, text: text.to_owned() }
    }
}

/// The names between the first pair of marks, such as `Key (a, b)=…` between parentheses.
pub(super) fn names_between(text: &str, open: char, close: char) -> Vec<String> {
    let Some((_, rest)) = text.split_once(open) else { return Vec::new() };
    let Some((names, _)) = rest.split_once(close) else { return Vec::new() };
    names.split(',').map(|name| name.trim().trim_matches(['"', '`', '\'']).to_owned()).collect()
}
