//! Who writes, said to the database where it is written down with the change.
//!
//! It goes along with the statements that begin and end the transaction. On SQLite, which has no settings of a session, the
//! rows that the transaction has added to the outbox are signed before its end: there is no other writer in between.

use super::run::Writer;
use crate::catalog::{Capture, Entity};
use crate::database::{self, Bind, Dialect, Opening, Statement};
use crate::engine::error::from_database;
use crate::protocol::Error;
use std::fmt::Write;

/// What a transaction begins and ends with.
pub(super) fn opening(dialect: Dialect, capture: Capture, subject: Option<&str>) -> Opening {
    let Some(subject) = subject else { return Opening::default() };
    match (dialect, capture) {
        (_, Capture::Off) | (Dialect::Sqlite, _) => Opening::default(),
        (Dialect::Postgres, Capture::Wal(_)) => {
            let first = format!("select pg_logical_emit_message(true, 'resolvespec.subject', {})", postgres_text(subject));
            Opening { first, last: "" }
        }
        (Dialect::Postgres, Capture::Trigger | Capture::Api) => {
            let first = format!("select set_config('resolvespec.subject', {}, true)", postgres_text(subject));
            Opening { first, last: "" }
        }
        // A variable of the session, which others will have after this transaction.
        (Dialect::Mysql(_), _) => Opening {
            first: format!("set @resolvespec_subject = convert(x'{}' using utf8mb4)", hex(subject)),
            last: "set @resolvespec_subject = null",
        },
    }
}

/// Digits alone, so that no setting decides how the text is read.
fn postgres_text(subject: &str) -> String {
    format!("convert_from(decode('{}', 'hex'), 'UTF8')", hex(subject))
}

/// PostgreSQL has no text with a NUL.
fn hex(subject: &str) -> String {
    subject.replace('\0', "\u{fffd}").bytes().fold(String::new(), |mut digits, byte| {
        // Writing to a string can't fail.
        _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// What is to be signed at the end of a transaction of SQLite.
pub(super) struct Unsigned {
    subject: String,
    after: i64,
}

impl Writer<'_> {
    /// Remembers where the outbox ends, if there is one, and somebody to sign.
    pub(super) async fn unsigned(
        &mut self,
        entity: &Entity,
        capture: Capture,
        subject: Option<&str>,
    ) -> Result<Option<Unsigned>, Error> {
        let Some(subject) = subject.filter(|_| entity.dialect == Dialect::Sqlite && capture.has_outbox()) else {
            return Ok(None);
        };
        let statement = Statement { numbers: 1, ..Statement::new("select 'null', coalesce(max(id), 0) from resolvespec_outbox") };
        match self.transaction.fetch(statement).await {
            Ok(fetched) => Ok(fetched.numbers[0].map(|after| Unsigned { subject: subject.to_owned(), after })),
            // Capture is not installed, and there is nothing to sign.
            Err(database::Error::Schema(_)) => Ok(None),
            Err(error) => Err(from_database(error, entity)),
        }
    }

    /// Signs what was added since.
    pub(super) async fn sign(&mut self, entity: &Entity, unsigned: Option<Unsigned>) -> Result<(), Error> {
        let Some(Unsigned { subject, after }) = unsigned else { return Ok(()) };
        let binds = vec![Bind::from(subject), Bind::Integer(after)];
        let statement = Statement::with_binds("update resolvespec_outbox set changed_by = ? where id > ?", binds);
        self.transaction.execute(statement).await.map(|_| ()).map_err(|error| from_database(error, entity))
    }
}

#[cfg(test)]
mod tests {
    use super::opening;
    use crate::catalog::Capture;
    use crate::database::{Dialect, Flavour, Opening};

    #[test]
    fn nothing_is_said_where_nobody_listens_and_no_text_is_ever_read_as_sql() {
        let mysql = Dialect::Mysql(Flavour::Mariadb);
        for dialect in [Dialect::Postgres, mysql, Dialect::Sqlite] {
            assert_eq!(opening(dialect, Capture::Off, Some("ada")), Opening::default());
            assert_eq!(opening(dialect, Capture::Trigger, None), Opening::default());
            let Opening { first, .. } = opening(dialect, Capture::Api, Some("a'; drop table t; --\\\0"));
            assert!(!first.contains("drop") && !first.contains('\\'), "{first}");
        }
        let Opening { first, last } = opening(mysql, Capture::Trigger, Some("ada"));
        assert_eq!(first, "set @resolvespec_subject = convert(x'616461' using utf8mb4)");
        assert_eq!(last, "set @resolvespec_subject = null");
    }
}
