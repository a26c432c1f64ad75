//! Database errors as the client sees them: a stable code, and the column where one is to blame.
//!
//! The driver's text goes to the log alone.

use crate::catalog::Entity;
use crate::database::{self, Violation};
use crate::protocol::{Code, Error};

/// Turns a database error into the client's, and logs what is ours to mend.
pub fn from_database(error: database::Error, entity: &Entity) -> Error {
    use database::Error as Database;
    match error {
        Database::Violation { kind, constraint, columns, text } => {
            tracing::debug!(entity = entity.full_name(), %text, "constraint violation");
            violation(kind, constraint.as_deref(), &columns, entity)
        }
        Database::Value(text) => {
            tracing::debug!(entity = entity.full_name(), %text, "value refused");
            Error::new(Code::InvalidValue, format!("a value does not fit its column in {}", entity.full_name()))
        }
        // Declared SQL can be at fault as well, so the cause is told to whoever can see to it.
        Database::Incomparable(text) => {
            tracing::warn!(entity = entity.full_name(), %text, "comparison refused");
            let message =
                format!("the database can't compare, search or sort by the type of a column as asked, in {}", entity.full_name());
            Error::new(Code::InvalidOperator, message)
        }
        Database::Serialization(text) => {
            tracing::debug!(entity = entity.full_name(), %text, "concurrent write");
            Error::new(Code::SerializationFailure, "a concurrent write got in the way; send the request again")
        }
        Database::Deadline => Error::new(Code::DeadlineExceeded, "the statement did not finish within its deadline"),
        Database::Stalled => Error::new(Code::DeadlineExceeded, "the rows were not taken in time"),
        Database::TooLarge => {
            let message = format!(
                "a row of {} with all that was asked of it is larger than its database builds (max_allowed_packet); ask for fewer \
                 columns or related rows",
                entity.full_name()
            );
            Error::new(Code::LimitExceeded, message)
        }
        Database::Busy => Error::new(Code::Unavailable, "every database connection is busy; try again"),
        Database::Unprepared(text) => {
            tracing::warn!(source = entity.source, %text, "the database can't prepare statements");
            Error::new(Code::Unavailable, "the database can't take the statement now; try again")
        }
        Database::Unavailable(text) => {
            tracing::warn!(source = entity.source, %text, "database unavailable");
            Error::new(Code::Unavailable, "the database can't be reached; try again")
        }
        Database::Permission(text) => {
            tracing::error!(entity = entity.full_name(), %text, "the database's user lacks a permission");
            Error::new(Code::Forbidden, format!("the service's database user may not do this on {}", entity.full_name()))
        }
        Database::Schema(text) | Database::Statement(text) | Database::Configuration(text) => {
            tracing::error!(entity = entity.full_name(), %text, "statement failed");
            Error::internal()
        }
    }
}

fn violation(kind: Violation, constraint: Option<&str>, columns: &[String], entity: &Entity) -> Error {
    let mut names = public_names(columns, entity);
    if names.is_empty() {
        names = constraint.map(|name| entity.constraint_columns(name)).unwrap_or_default();
    }
    let subject = if names.is_empty() { None } else { Some(names.join(",")) };
    let on = subject.as_ref().map_or_else(String::new, |names| format!(" in {names}"));
    let named = constraint.filter(|name| is_name(name));
    let (code, message) = match kind {
        Violation::Unique => (Code::Conflict, format!("another row of {} has the same value{on}", entity.full_name())),
        Violation::ForeignKey => (
            Code::ForeignKeyViolation,
            format!(
                "the row{on} refers to a row that does not exist, or other rows still refer to it, in {}",
                entity.full_name()
            ),
        ),
        Violation::NotNull => (Code::NotNullViolation, format!("a value is missing{on} in {}", entity.full_name())),
        Violation::Check => {
            let check = named.map_or_else(|| "a check or trigger".to_owned(), |name| format!("the check '{name}'"));
            (Code::CheckViolation, format!("{check} of {} refuses the row", entity.full_name()))
        }
    };
    let error = Error::new(code, message);
    match subject.or_else(|| named.map(ToOwned::to_owned)) {
        Some(detail) => error.with_detail(detail),
        None => error,
    }
}

/// Whether it is a constraint's name. SQLite tells an unnamed check by its SQL, which stays inside.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '$' | '-' | '.'))
}

/// Database names as public ones; columns that clients can't see stay unnamed.
fn public_names(columns: &[String], entity: &Entity) -> Vec<String> {
    let find =
        |name: &String| entity.columns.iter().find(|column| column.ident.as_str().eq_ignore_ascii_case(name) && !column.hidden);
    columns.iter().filter_map(find).map(|column| column.name.clone()).collect()
}
