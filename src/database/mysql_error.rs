//! What MySQL and MariaDB say, in the words that callers act on.

use super::error::{Error, Violation, names_between};
use sqlx::mysql::MySqlDatabaseError;
use std::ops::RangeInclusive;

/// Numbers of errors before anything of a prepared statement was run: the server does not know it, has no room for another
/// one (`max_prepared_stmt_count`, for all connections together), or its tables were altered or left the server's cache of
/// definitions each time that it was prepared again.
const UNPREPARED: [u16; 3] = [1243, 1461, 1615];

/// Numbers of errors of a server with its own files and memory (those of its library, `EE_…`): it could not write, read or
/// remove a temporary file, say.
const OWN_TROUBLE: RangeInclusive<u16> = 1..=45;

/// Numbers of errors of a server that is starting, stopping, read-only while others take over, or short of connections,
/// memory, threads, files or disk. Nothing is wrong with the statement.
const UNAVAILABLE: [u16; 25] = [
    1021, 1030, 1037, 1038, 1040, 1041, 1047, 1053, 1080, 1114, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1290,
    1836, 1927, 2006, 2013,
];

/// Reads what the server or the connection says.
pub(super) fn classify(error: &sqlx::Error) -> Error {
    let text = error.to_string();
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Configuration(_) => Error::Configuration(text),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Error::Unavailable(text)
            }
            _ => Error::Statement(text),
        };
    };
    let Some(mysql) = database.try_downcast_ref::<MySqlDatabaseError>() else { return Error::Statement(text) };
    let message = mysql.message();
    match mysql.number() {
        1062 | 1169 => Error::violation(Violation::Unique, key_name(message).as_deref(), Vec::new(), message),
        number @ (1451 | 1452 | 1216 | 1217) => {
            // A row that is still referred to is at fault by what is referred to.
            let before = if matches!(number, 1451 | 1217) { "REFERENCES " } else { "FOREIGN KEY " };
            let constraint = message.split_once("CONSTRAINT `").and_then(|(_, rest)| rest.split_once('`')).map(|(name, _)| name);
            let columns = message.split_once(before).map_or_else(Vec::new, |(_, rest)| names_between(rest, '(', ')'));
            Error::violation(Violation::ForeignKey, constraint, columns, message)
        }
        1048 | 1364 => Error::violation(Violation::NotNull, None, names_between(message, '\'', '\''), message),
        3819 | 4025 => {
            let constraint = message.split(['`', '\'']).nth(1);
            Error::violation(Violation::Check, constraint, Vec::new(), message)
        }
        // A trigger or function refuses, by `signal`.
        1644 => Error::violation(Violation::Check, None, Vec::new(), message),
        // The last: the table was altered after the transaction's snapshot.
        1213 | 1205 | 1020 | 1412 => Error::Serialization(text),
        1969 | 3024 | 1317 => Error::Deadline,
        1264 | 1265 | 1292 | 1366 | 1406 | 1411 | 1416 | 1690 | 3140 | 1153 => Error::Value(text),
        1142 | 1143 | 1227 | 1370 => Error::Permission(text),
        1044 | 1045 | 1049 => Error::Configuration(text),
        1146 | 1054 => Error::Schema(text),
        number if UNPREPARED.contains(&number) => Error::Unprepared(text),
        number if UNAVAILABLE.contains(&number) || OWN_TROUBLE.contains(&number) => {
            Error::Unavailable(format!("{text} ({number})"))
        }
        number => Error::Statement(format!("{text} ({number})")),
    }
}

/// The index of `Duplicate entry 'x' for key 'table.index'`.
fn key_name(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("for key '")?;
    let name = rest.trim_end_matches('\'');
    Some(name.rsplit_once('.').map_or(name, |(_, index)| index).to_owned())
}
