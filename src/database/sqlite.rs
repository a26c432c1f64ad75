//! SQLite through rusqlite: statements run on blocking threads, rows come back in chunks.
//!
//! One write transaction runs at a time in this process, so that writers wait in order and not by polling the lock.

use super::error::{Error, Violation};
use super::pool::{Lease, Manage, Pool};
use super::rows::{Fetched, Gather, MAX_NUMBERS};
use super::settings::Settings;
use super::sqlite_row::{self, read_row};
use super::statement::{Bind, Statement};
use crate::protocol::RowText;
use futures_util::{StreamExt, stream};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, ToSql, ffi};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

pub(super) struct Manager {
    path: String,
}

impl Manager {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { path: settings.sqlite_path().to_owned() }
    }

    /// The database's file.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl Manage for Manager {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Error> {
        let path = self.path.clone();
        blocking(move || open(&path).map_err(|error| classify(&error))).await
    }

    fn is_usable(&self, _: &Connection) -> bool {
        true
    }

    async fn abandon(&self, connection: Connection) {
        _ = blocking(move || {
            drop(connection);
            Ok(())
        })
        .await;
    }
}

/// Opens a file as every connection of ours needs it.
pub(super) fn open(path: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // A name in double quotes is a name and never a text, and LIKE regards case as it does elsewhere.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma case_sensitive_like = on;",
    )?;
    connection.set_prepared_statement_cache_capacity(256);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("resolvespec_base64", 1, flags, |context| Ok(sqlite_row::base64(context.get_raw(0))))?;
    connection.create_scalar_function("resolvespec_quote", 1, flags, |context| Ok(sqlite_row::quote(context.get_raw(0))))?;
    connection.create_scalar_function("resolvespec_lower", 1, flags, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Null => None,
            ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).to_lowercase()),
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
        })
    })?;
    connection
        .create_scalar_function("resolvespec_timestamp", 1, flags, |context| Ok(sqlite_row::timestamp(context.get_raw(0))))?;
    Ok(connection)
}

/// Interrupts the statement if it is dropped while that runs.
struct Interrupt {
    handle: InterruptHandle,
    running: Running,
}

/// Whether a connection still runs the statement that it was lent for. Others have it afterwards, and theirs must go on.
#[derive(Clone)]
struct Running {
    going: Arc<Mutex<bool>>,
    /// SQLite forgets an interrupt that comes before the statement's first step, so the statement asks as well.
    abandoned: Arc<AtomicBool>,
}

/// Steps of SQLite's machine between two such questions, less than a millisecond.
const STEPS: i32 = 10_000;

impl Interrupt {
    fn of(connection: &Connection) -> (Self, Running) {
        let running = Running { going: Arc::new(Mutex::new(true)), abandoned: Arc::default() };
        (Self { handle: connection.get_interrupt_handle(), running: running.clone() }, running)
    }
}

impl Running {
    fn begins(&self, connection: &mut Connection) -> Result<(), Error> {
        let abandoned = Arc::clone(&self.abandoned);
        let ask = move || abandoned.load(Ordering::Relaxed);
        connection.progress_handler(STEPS, Some(ask)).map_err(|error| classify(&error))
    }

    /// The connection's next holder must not be asked for this one.
    fn ended(&self, connection: &mut Connection) {
        *self.going.lock().unwrap_or_else(PoisonError::into_inner) = false;
        if let Err(error) = connection.progress_handler(STEPS, None::<fn() -> bool>) {
            tracing::debug!(%error, "a connection keeps its question, which its next statement replaces");
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.running.abandoned.store(true, Ordering::Relaxed);
        let running = self.running.going.lock().unwrap_or_else(PoisonError::into_inner);
        if *running {
            self.handle.interrupt();
        }
    }
}

type Chunk = Result<(RowText, [Option<i64>; MAX_NUMBERS], bool), Error>;

/// Runs a statement on a pooled connection.
pub(super) async fn fetch(pool: &Pool<Manager>, statement: Statement, deadline: Instant) -> Result<Fetched, Error> {
    let lease = pool.acquire(deadline).await?;
    let (interrupt, running) = Interrupt::of(&lease);
    let (sender, mut receiver) = mpsc::channel::<Chunk>(2);
    let task = tokio::task::spawn_blocking(move || pump(lease, &running, &statement, &sender));
    let first = timeout_at(deadline, receiver.recv()).await.unwrap_or(Some(Err(Error::Deadline)));
    let ended = || Error::Statement("a SQLite statement ended without an answer".to_owned());
    let (rows, numbers, last) = first.unwrap_or_else(|| Err(ended()))?;
    if last {
        task.await.map_err(|_| ended())?;
        return Ok(Fetched { rows, numbers, more: None });
    }
    let more = stream::unfold((receiver, interrupt), move |(mut receiver, interrupt)| async move {
        let next = timeout_at(deadline, receiver.recv()).await.unwrap_or(Some(Err(Error::Deadline)))?;
        Some((next.map(|(rows, _, _)| rows), (receiver, interrupt)))
    });
    Ok(Fetched { rows, numbers, more: Some(more.boxed()) })
}

/// Has the database read a statement.
pub(super) async fn prepare(pool: &Pool<Manager>, text: &str, deadline: Instant) -> Result<(), Error> {
    let lease = pool.acquire(deadline).await?;
    let text = text.to_owned();
    blocking(move || lease.prepare(&text).map(|_| ()).map_err(|error| classify(&error))).await
}

fn pump(mut lease: Lease<Manager>, running: &Running, statement: &Statement, sender: &mpsc::Sender<Chunk>) {
    let mut gather = Gather::default();
    let mut numbers = [None; MAX_NUMBERS];
    let outcome = running.begins(&mut lease).and_then(|()| {
        each_row(&lease, statement, |row| {
            read_row(row, statement, &mut gather, &mut numbers)?;
            Ok(!gather.is_full() || sender.blocking_send(Ok((gather.take(), numbers, false))).is_ok())
        })
    });
    // The connection goes back before the last chunk does, so that it is free when the answer is there.
    running.ended(&mut lease);
    drop(lease);
    _ = sender.blocking_send(outcome.map(|()| (gather.take(), numbers, true)));
}

fn each_row(
    connection: &Connection,
    statement: &Statement,
    mut visit: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>,
) -> Result<(), Error> {
    let mut run = || {
        let mut prepared = connection.prepare_cached(&statement.text)?;
        let mut rows = prepared.query(rusqlite::params_from_iter(&statement.binds))?;
        while let Some(row) = rows.next()? {
            if !visit(row)? {
                break;
            }
        }
        Ok(())
    };
    run().map_err(|error| classify(&error))
}

/// Runs work on a connection that a transaction holds; a drop in its middle interrupts it.
async fn on_lease<T: Send + 'static>(
    slot: &mut Option<Lease<Manager>>,
    work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let gone = || Error::Statement("the transaction has lost its connection".to_owned());
    let mut lease = slot.take().ok_or_else(gone)?;
    let (_interrupt, running) = Interrupt::of(&lease);
    let task = tokio::task::spawn_blocking(move || {
        let outcome = running.begins(&mut lease).and_then(|()| work(&lease));
        running.ended(&mut lease);
        (lease, outcome)
    });
    let (lease, outcome) = task.await.map_err(|_| gone())?;
    *slot = Some(lease);
    outcome
}

/// Runs a statement in a transaction and takes all its rows.
pub(super) async fn fetch_all(slot: &mut Option<Lease<Manager>>, statement: Statement) -> Result<Fetched, Error> {
    on_lease(slot, move |connection| {
        let mut gather = Gather::default();
        let mut numbers = [None; MAX_NUMBERS];
        each_row(connection, &statement, |row| read_row(row, &statement, &mut gather, &mut numbers).map(|()| true))?;
        Ok(Fetched { rows: gather.take(), numbers, more: None })
    })
    .await
}

/// Runs a statement that answers no rows; says how many it touched and the key that was counted up.
pub(super) async fn execute(slot: &mut Option<Lease<Manager>>, statement: Statement) -> Result<(u64, i64), Error> {
    on_lease(slot, move |connection| {
        let run = || connection.prepare_cached(&statement.text)?.execute(rusqlite::params_from_iter(&statement.binds));
        let touched = run().map_err(|error| classify(&error))?;
        Ok((touched as u64, connection.last_insert_rowid()))
    })
    .await
}

/// Runs a text without binds, such as `begin`.
pub(super) async fn batch(slot: &mut Option<Lease<Manager>>, text: &str) -> Result<(), Error> {
    let text = text.to_owned();
    on_lease(slot, move |connection| connection.execute_batch(&text).map_err(|error| classify(&error))).await
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Statement("a SQLite thread ended early".to_owned()))?
}

impl ToSql for Bind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Bind::Null => ValueRef::Null,
            Bind::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Bind::Integer(number) => ValueRef::Integer(*number),
            Bind::Float(number) => ValueRef::Real(*number),
            Bind::Text(text) => ValueRef::Text(text.as_bytes()),
            Bind::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads what SQLite says.
pub(super) fn classify(error: &rusqlite::Error) -> Error {
    let text = error.to_string();
    let (code, extended) = match error {
        rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
        rusqlite::Error::SqlInputError { error, .. } => (error.code, error.extended_code),
        _ => return Error::Statement(text),
    };
    // "UNIQUE constraint failed: users.email, users.name" and "CHECK constraint failed: name"
    let subject = text.split_once("constraint failed: ").map_or("", |(_, subject)| subject);
    // A unique index of expressions is told by its name: "UNIQUE constraint failed: index 'name'"
    let index = subject.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\''));
    let subject = index.unwrap_or(subject);
    let columns: Vec<String> = subject.split(", ").map(|name| name.rsplit('.').next().unwrap_or(name).to_owned()).collect();
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            return match index {
                Some(index) => Error::violation(Violation::Unique, Some(index), Vec::new(), &text),
                None => Error::violation(Violation::Unique, None, columns, &text),
            };
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => return Error::violation(Violation::NotNull, None, columns, &text),
        ffi::SQLITE_CONSTRAINT_CHECK => return Error::violation(Violation::Check, Some(subject), Vec::new(), &text),
        // A trigger refuses, by `raise`.
        ffi::SQLITE_CONSTRAINT_TRIGGER => return Error::violation(Violation::Check, None, Vec::new(), &text),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => return Error::violation(Violation::ForeignKey, None, Vec::new(), &text),
        ffi::SQLITE_CONSTRAINT_DATATYPE => return Error::Value(text),
        _ => {}
    }
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Serialization(text),
        ErrorCode::OperationInterrupted => Error::Deadline,
        ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::DiskFull | ErrorCode::SystemIoFailure => {
            Error::Unavailable(text)
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => Error::Permission(text),
        ErrorCode::TypeMismatch | ErrorCode::TooBig => Error::Value(text),
        _ if text.contains("no such table") || text.contains("no such column") => Error::Schema(text),
        _ => Error::Statement(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{Interrupt, each_row, open};
    use crate::database::{Error, Statement};

    #[test]
    fn a_statement_that_is_given_up_before_its_first_step_ends_all_the_same() {
        let file = std::env::temp_dir().join(format!("resolvespec-interrupt-{}.db", std::process::id()));
        std::fs::File::create(&file).expect("the temporary folder can be written");
        let mut connection = open(file.to_str().expect("UTF-8")).expect("an empty file is a database");
        let count = |most: &str| {
            Statement::new(format!(
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < {most}) select count(*) from n"
            ))
        };
        let (interrupt, running) = Interrupt::of(&connection);
        drop(interrupt);
        running.begins(&mut connection).expect("it can be asked");
        let outcome = each_row(&connection, &count("20000000000"), |_| Ok(true));
        assert!(matches!(outcome, Err(Error::Deadline)), "{outcome:?}");
        running.ended(&mut connection);
        each_row(&connection, &count("100000"), |_| Ok(true)).expect("the next statement is not asked for it");
        drop(connection);
        for suffix in ["", "-wal", "-shm"] {
            _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
}
