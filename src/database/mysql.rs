//! MySQL and MariaDB through sqlx: prepared statements, one JSON text a row.
//!
//! The pool is ours, since a statement that is given up must be killed by its connection's id.

use super::dialect::{Dialect, Flavour};
use super::error::Error;
use super::mysql_error::classify;
use super::pool::{Lease, Manage, Pool};
use super::rows::{Fetched, Gather, MAX_NUMBERS};
use super::settings::Settings;
use super::statement::{Bind, Statement};
use crate::protocol::RowText;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, MySql, Row, SqlSafeStr};
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;

pub(super) struct Manager {
    options: MySqlConnectOptions,
    timeout_seconds: f64,
}

pub(super) struct Connection {
    inner: MySqlConnection,
    id: u64,
    /// Which server answered; its SQL differs in places.
    pub(super) flavour: Flavour,
    lost: bool,
}

impl Manager {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let url = settings.url.replacen("mariadb:", "mysql:", 1);
        let options = MySqlConnectOptions::from_str(&url)
            .map_err(|error| Error::Configuration(format!("the database URL of '{}' can't be used: {error}", settings.name)))?;
        let options = options.statement_cache_capacity(STATEMENTS).charset("utf8mb4").collation("utf8mb4_bin");
        Ok(Self { options, timeout_seconds: settings.statement_timeout.as_secs_f64() })
    }

    pub(super) async fn open(&self) -> Result<MySqlConnection, Error> {
        self.options.connect().await.map_err(|error| classify(&error))
    }

    /// What every session of ours has: long aggregates, a server-side bound on statements, and errors for values that do
    /// not fit, which a server may be set to cut silently. STRICT_ALL_TABLES is left out: with it, reads with preloads of
    /// large tables failed on MariaDB.
    fn session(&self, flavour: Flavour) -> String {
        let seconds = self.timeout_seconds;
        let timeout = match flavour {
            Flavour::Mariadb => format!("max_statement_time = {seconds:.3}"),
            Flavour::Mysql => format!("max_execution_time = {:.0}", seconds * 1000.0),
        };
        format!(
            "set session group_concat_max_len = 1073741824, \
             sql_mode = concat_ws(',', nullif(@@session.sql_mode, ''), 'STRICT_TRANS_TABLES'), {timeout}"
        )
    }
}

impl Connection {
    /// The connection, with room for another prepared statement.
    ///
    /// The driver would close one statement for each new one. The server does not answer that, so on a socket that waits
    /// for acknowledgements every new statement would wait 40 ms for the one of the close. All at once, they wait once.
    async fn ready(&mut self) -> Result<&mut MySqlConnection, Error> {
        if self.inner.cached_statements_size() >= STATEMENTS {
            self.forget_statements().await?;
        }
        Ok(&mut self.inner)
    }

    async fn forget_statements(&mut self) -> Result<(), Error> {
        self.inner.clear_cached_statements().await.map_err(|error| classify(&error))
    }
}

impl Manage for Manager {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Error> {
        let mut inner = self.open().await?;
        // As a text, since the server may have no room for another prepared statement.
        let asked = sqlx::raw_sql("select connection_id(), version()").fetch_one(&mut inner).await;
        let row = asked.map_err(|error| classify(&error))?;
        let id: u64 = row.try_get_unchecked(0).map_err(|error| classify(&error))?;
        let version: String = row.try_get_unchecked(1).map_err(|error| classify(&error))?;
        let flavour = if version.to_lowercase().contains("mariadb") { Flavour::Mariadb } else { Flavour::Mysql };
        let session = self.session(flavour);
        inner.execute(AssertSqlSafe(session)).await.map_err(|error| classify(&error))?;
        Ok(Connection { inner, id, flavour, lost: false })
    }

    fn is_usable(&self, connection: &Connection) -> bool {
        !connection.lost
    }

    async fn abandon(&self, connection: Connection) {
        if connection.lost {
            return;
        }
        let id = connection.id;
        let killed =
            async { self.open().await?.execute(AssertSqlSafe(format!("kill {id}"))).await.map_err(|error| classify(&error)) };
        if let Err(error) = killed.await {
            tracing::debug!(%error, "killing a statement failed");
        }
    }
}

/// The dialect of the server behind the pool.
pub(super) async fn dialect(pool: &Pool<Manager>, deadline: Instant) -> Result<Dialect, Error> {
    Ok(Dialect::Mysql(pool.acquire(deadline).await?.flavour))
}

/// Runs a statement on a pooled connection.
pub(super) async fn fetch(pool: &Pool<Manager>, statement: Statement, deadline: Instant) -> Result<Fetched, Error> {
    let mut lease = pool.acquire(deadline).await?;
    lease.begin();
    let mut chunks = Box::pin(driven(|sender| pump(lease, statement, sender)));
    let first = timeout_at(deadline, chunks.next()).await.unwrap_or(Some(Err(Error::Deadline)));
    let first = first.unwrap_or(Err(Error::Unavailable("the statement ended without an answer".to_owned())));
    let (rows, numbers, last) = first.inspect_err(|error| {
        if matches!(error, Error::Unavailable(_)) {
            pool.forget_idle();
        }
    })?;
    if last {
        // The pump hands its connection back as its last step.
        while chunks.next().await.is_some() {}
        return Ok(Fetched { rows, numbers, more: None });
    }
    // The deadline ends the pump with its stream, and so gives the connection up.
    let more = stream::try_unfold(chunks, move |mut chunks| async move {
        let next = timeout_at(deadline, chunks.next()).await.unwrap_or(Some(Err(Error::Deadline)));
        Ok(next.transpose()?.map(|(rows, _, _)| (rows, chunks)))
    });
    Ok(Fetched { rows, numbers, more: Some(more.boxed()) })
}

/// Has the database read a statement.
pub(super) async fn prepare(pool: &Pool<Manager>, text: &str, deadline: Instant) -> Result<(), Error> {
    let mut lease = pool.acquire(deadline).await?;
    lease.begin();
    let prepared = async {
        match prepare_once(&mut lease, text).await {
            Err(Error::Unprepared(_)) => {
                lease.forget_statements().await?;
                prepare_once(&mut lease, text).await
            }
            outcome => outcome,
        }
    };
    let outcome = timeout_at(deadline, prepared).await.unwrap_or(Err(Error::Deadline));
    match &outcome {
        Ok(()) => lease.finish(),
        Err(Error::Deadline) => {}
        Err(error) => settle(&mut lease, error),
    }
    outcome
}

type Chunk = Result<(RowText, [Option<i64>; MAX_NUMBERS], bool), Error>;

async fn prepare_once(connection: &mut Connection, text: &str) -> Result<(), Error> {
    let text = AssertSqlSafe(text.to_owned()).into_sql_str();
    connection.ready().await?.prepare(text).await.map(|_| ()).map_err(|error| classify(&error))
}

/// Reads rows into chunks; ends early when nobody reads them, which gives the connection up.
async fn pump(mut lease: Lease<Manager>, statement: Statement, sender: mpsc::Sender<Chunk>) {
    let mut read = Read::default();
    match read.all(&mut lease, &statement, Some(&sender)).await {
        Ok(true) => {
            lease.finish();
            drop(lease);
            _ = sender.send(Ok((read.gather.take(), read.numbers, true))).await;
        }
        Ok(false) => {}
        Err(error) => {
            settle(&mut lease, &error);
            drop(lease);
            _ = sender.send(Err(error)).await;
        }
    }
}

/// What was read of a result.
#[derive(Default)]
struct Read {
    gather: Gather,
    numbers: [Option<i64>; MAX_NUMBERS],
}

impl Read {
    /// Reads all rows; tells whether there was somebody to take them.
    async fn all(
        &mut self,
        connection: &mut Connection,
        statement: &Statement,
        sender: Option<&mpsc::Sender<Chunk>>,
    ) -> Result<bool, Error> {
        match self.once(connection, statement, sender).await {
            Err(Error::Unprepared(_)) => {
                connection.forget_statements().await?;
                self.once(connection, statement, sender).await
            }
            outcome => outcome,
        }
    }

    async fn once(
        &mut self,
        connection: &mut Connection,
        statement: &Statement,
        sender: Option<&mpsc::Sender<Chunk>>,
    ) -> Result<bool, Error> {
        let mut rows = query(statement).fetch(connection.ready().await?);
        while let Some(row) = rows.try_next().await.map_err(|error| classify(&error))? {
            read_row(&row, statement.numbers, &mut self.gather, &mut self.numbers)?;
            if let Some(sender) = sender
                && self.gather.is_full()
                && sender.send(Ok((self.gather.take(), self.numbers, false))).await.is_err()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn settle(lease: &mut Lease<Manager>, error: &Error) {
    if matches!(error, Error::Unavailable(_)) {
        lease.lost = true;
    }
    lease.finish();
}

/// Runs a statement in a transaction and takes all its rows.
pub(super) async fn fetch_all(lease: &mut Lease<Manager>, statement: &Statement) -> Result<Fetched, Error> {
    let mut read = Read::default();
    read.all(lease, statement, None).await?;
    Ok(Fetched { rows: read.gather.take(), numbers: read.numbers, more: None })
}

/// Runs a statement that answers no rows; says how many rows it found and the key that was counted up.
pub(super) async fn execute(lease: &mut Lease<Manager>, statement: &Statement) -> Result<(u64, u64), Error> {
    match execute_once(lease, statement).await {
        Err(Error::Unprepared(_)) => {
            lease.forget_statements().await?;
            execute_once(lease, statement).await
        }
        outcome => outcome,
    }
}

async fn execute_once(connection: &mut Connection, statement: &Statement) -> Result<(u64, u64), Error> {
    let done = query(statement).execute(connection.ready().await?).await.map_err(|error| classify(&error))?;
    Ok((done.rows_affected(), done.last_insert_id()))
}

/// Runs a text without binds, such as `begin`.
pub(super) async fn batch(lease: &mut Lease<Manager>, text: &str) -> Result<(), Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut lease.inner).await;
    done.map(|_| ()).map_err(|error| classify(&error))
}

fn query(statement: &Statement) -> Query<'_, MySql, MySqlArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.text.clone()));
    statement.binds.iter().fold(query, |query, bind| match bind {
        Bind::Null => query.bind(Option::<String>::None),
        Bind::Bool(value) => query.bind(*value),
        Bind::Integer(number) => query.bind(*number),
        Bind::Float(number) => query.bind(*number),
        Bind::Text(text) => query.bind(text.as_str()),
        Bind::Bytes(bytes) => query.bind(bytes.as_slice()),
    })
}

fn read_row(
    row: &MySqlRow,
    n_numbers: usize,
    gather: &mut Gather,
    numbers: &mut [Option<i64>; MAX_NUMBERS],
) -> Result<(), Error> {
    if gather.is_new() {
        for (place, number) in numbers.iter_mut().enumerate().take(n_numbers) {
            *number = row.try_get_unchecked(place + 1).map_err(|error| classify(&error))?;
        }
    }
    let text: Option<&[u8]> = row.try_get_unchecked(0).map_err(|error| classify(&error))?;
    gather.push(text.ok_or(Error::TooLarge)?);
    Ok(())
}

/// The stream of what a future sends, polled in place: dropping the stream drops the future.
fn driven<T, F: Future<Output = ()>>(start: impl FnOnce(mpsc::Sender<T>) -> F) -> impl Stream<Item = T> {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut future: Option<Pin<Box<F>>> = Some(Box::pin(start(sender)));
    stream::poll_fn(move |context| {
        if let Some(running) = &mut future
            && running.as_mut().poll(context).is_ready()
        {
            future = None;
        }
        match receiver.poll_recv(context) {
            Poll::Ready(item) => Poll::Ready(item),
            Poll::Pending => Poll::Pending,
        }
    })
}
