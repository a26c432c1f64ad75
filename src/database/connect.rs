//! One database behind one handle, whichever it is.

use super::dialect::Dialect;
use super::error::Error;
use super::paced::{Rows, paced};
use super::pool::{Lease, Pool};
use super::postgres_lane::Lanes;
use super::rows::Fetched;
use super::settings::Settings;
use super::statement::Statement;
use super::{mysql, postgres, sqlite};
use futures_util::StreamExt;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    pools: Pools,
    dialect: Dialect,
    settings: Settings,
    // SQLite has one writer; the others have their own locks and never take this one.
    sqlite_writer: Arc<Mutex<()>>,
    // Where a server does not tell of commits, those of this process are told here.
    committed: Arc<Notify>,
}

pub(super) enum Pools {
    Postgres(Pool<postgres::Manager>, Lanes),
    Mysql(Pool<mysql::Manager>),
    Sqlite(Pool<sqlite::Manager>),
}

impl Database {
    /// Opens a first connection, so that wrong settings are told at once.
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let deadline = Instant::now() + settings.acquire_timeout;
        let (size, wait) = (settings.max_connections.max(1), settings.acquire_timeout);
        let (pools, dialect) = match settings.dialect()? {
            Dialect::Postgres => {
                let lanes = Lanes::most(size);
                let pool = Pool::new(postgres::Manager::new(settings)?, size - lanes, wait);
                drop(pool.acquire(deadline).await?);
                (Pools::Postgres(pool, Lanes::new(lanes)), Dialect::Postgres)
            }
            Dialect::Mysql(_) => {
                let pool = Pool::new(mysql::Manager::new(settings)?, size, wait);
                let dialect = mysql::dialect(&pool, deadline).await?;
                (Pools::Mysql(pool), dialect)
            }
            Dialect::Sqlite => {
                let pool = Pool::new(sqlite::Manager::new(settings), size, wait);
                drop(pool.acquire(deadline).await?);
                (Pools::Sqlite(pool), Dialect::Sqlite)
            }
        };
        let shared =
            Shared { pools, dialect, settings: settings.clone(), sqlite_writer: Arc::default(), committed: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same database through other connections, so that neither waits for the other's.
    pub fn apart(&self, connections: usize) -> Result<Self, Error> {
        let Shared { settings, dialect, sqlite_writer, committed, .. } = &*self.shared;
        let (size, wait) = (connections.max(1), settings.acquire_timeout);
        let pools = match dialect {
            Dialect::Postgres => Pools::Postgres(Pool::new(postgres::Manager::new(settings)?, size, wait), Lanes::new(0)),
            Dialect::Mysql(_) => Pools::Mysql(Pool::new(mysql::Manager::new(settings)?, size, wait)),
            Dialect::Sqlite => Pools::Sqlite(Pool::new(sqlite::Manager::new(settings), size, wait)),
        };
        let (sqlite_writer, committed) = (Arc::clone(sqlite_writer), Arc::clone(committed));
        Ok(Self { shared: Arc::new(Shared { pools, dialect: *dialect, settings: settings.clone(), sqlite_writer, committed }) })
    }

    /// Its SQL.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// How it is reached.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Runs a script of statements, which may have transactions of its own; SQLite alone takes several at once.
    pub async fn run_script(&self, text: &str) -> Result<(), Error> {
        let mut transaction = self.begin(self.deadline(None)).await?;
        transaction.batch("rollback").await?;
        transaction.batch(text).await?;
        transaction.finish();
        self.shared.committed.notify_one();
        Ok(())
    }

    /// Runs statements of our own in one transaction, which MySQL ends at each that changes a schema.
    pub async fn run_all(&self, statements: &[String]) -> Result<(), Error> {
        let mut transaction = self.begin(self.deadline(None)).await?;
        for statement in statements {
            if let Err(error) = transaction.batch(statement).await {
                transaction.rollback().await?;
                return Err(error);
            }
        }
        transaction.commit().await
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.shared.pools
    }

    /// Is notified of commits through this handle.
    pub(super) fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.committed)
    }

    /// When a statement that begins now must be done.
    #[must_use]
    pub fn deadline(&self, client: Option<Instant>) -> Instant {
        let own = Instant::now() + self.shared.settings.statement_timeout;
        client.map_or(own, |client| client.min(own))
    }

    /// Runs one statement and answers its rows, a large result as a stream.
    ///
    /// An idle connection can have died with its server; then the others have too, and the statement gets a new one.
    pub async fn fetch(&self, statement: Statement, deadline: Instant) -> Result<Fetched, Error> {
        match &self.shared.pools {
            Pools::Postgres(pool, lanes) => {
                if statement.short.is_some()
                    && let Some(outcome) = lanes.fetch(pool.manage(), &statement, deadline).await
                {
                    return outcome;
                }
                // A future of its own: that of a short statement is moved with its request's, and is small without this.
                Box::pin(fetch_from_postgres(pool, &statement, deadline)).await
            }
            Pools::Mysql(pool) => Box::pin(fetch_from_mysql(pool, &statement, deadline)).await,
            Pools::Sqlite(pool) => Box::pin(sqlite::fetch(pool, statement, deadline)).await,
        }
    }

    /// Has the database read a statement without running it.
    pub async fn prepare(&self, statement: &Statement) -> Result<(), Error> {
        let deadline = self.deadline(None);
        match &self.shared.pools {
            Pools::Postgres(pool, _) => postgres::prepare(pool, &statement.text, deadline).await,
            Pools::Mysql(pool) => mysql::prepare(pool, &statement.text, deadline).await,
            Pools::Sqlite(pool) => sqlite::prepare(pool, &statement.text, deadline).await,
        }
    }

    /// Runs one statement and answers each row's text by itself.
    pub async fn fetch_texts(&self, statement: Statement) -> Result<Vec<String>, Error> {
        let fetched = self.fetch(statement, self.deadline(None)).await?;
        let mut joined = fetched.rows.joined.to_vec();
        if let Some(mut more) = fetched.more {
            while let Some(rows) = more.next().await {
                joined.push(b',');
                joined.extend_from_slice(&rows?.joined);
            }
        }
        let wrapped = [b"[".as_slice(), joined.trim_ascii_end().strip_suffix(b",").unwrap_or(&joined), b"]"].concat();
        let rows: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_slice(&wrapped).map_err(|error| Error::Statement(format!("a row is not JSON: {error}")))?;
        Ok(rows.into_iter().map(|row| row.get().to_owned()).collect())
    }

    /// Begins a transaction, on a new connection if an idle one turns out to be dead.
    pub async fn begin(&self, deadline: Instant) -> Result<Transaction, Error> {
        self.begin_for(Purpose::Write, &Opening::default(), deadline).await
    }

    /// Begins a transaction with more to say at its begin and its end, which takes no time of its own.
    pub async fn begin_with(&self, opening: Opening, deadline: Instant) -> Result<Transaction, Error> {
        self.begin_for(Purpose::Write, &opening, deadline).await
    }

    /// Begins a transaction that only reads, all of whose statements see the database as it is at its first.
    pub async fn begin_snapshot(&self, deadline: Instant) -> Result<Transaction, Error> {
        self.begin_for(Purpose::Snapshot, &Opening::default(), deadline).await
    }

    async fn begin_for(&self, purpose: Purpose, opening: &Opening, deadline: Instant) -> Result<Transaction, Error> {
        match self.try_begin(purpose, opening, deadline).await {
            Err(Error::Unavailable(_)) => {
                match &self.shared.pools {
                    Pools::Postgres(pool, _) => pool.forget_idle(),
                    Pools::Mysql(pool) => pool.forget_idle(),
                    Pools::Sqlite(_) => {}
                }
                self.try_begin(purpose, opening, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn try_begin(&self, purpose: Purpose, opening: &Opening, deadline: Instant) -> Result<Transaction, Error> {
        let held = match &self.shared.pools {
            Pools::Postgres(pool, _) => {
                let mut lease = pool.acquire(deadline).await?;
                lease.begin();
                Held::Postgres(lease)
            }
            Pools::Mysql(pool) => {
                let mut lease = pool.acquire(deadline).await?;
                lease.begin();
                Held::Mysql(lease)
            }
            Pools::Sqlite(pool) => {
                let writer = match purpose {
                    Purpose::Write => {
                        let writer = Arc::clone(&self.shared.sqlite_writer).lock_owned();
                        Some(timeout_at(deadline, writer).await.map_err(|_| Error::Busy)?)
                    }
                    Purpose::Snapshot => None,
                };
                let mut lease = pool.acquire(deadline).await?;
                lease.begin();
                Held::Sqlite { lease: Some(lease), _writer: writer }
            }
        };
        let mut transaction = Transaction { held, deadline, committed: self.committed(), last: opening.last };
        transaction.batch(&followed(purpose.begin(self.dialect()), &opening.first)).await?;
        Ok(transaction)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(2).min(self.shared.settings.statement_timeout);
        self.fetch(Statement::new("select '1'"), deadline).await.map(|_| ())
    }

    /// Rows of a large result for a reader whose pace nobody knows; it loses them if it takes none for too long.
    #[must_use]
    pub fn paced(&self, rows: Rows) -> Rows {
        let (task, rows) = paced(rows, self.shared.settings.stall_timeout);
        match &self.shared.pools {
            Pools::Postgres(pool, _) => pool.spawn(task),
            Pools::Mysql(pool) => pool.spawn(task),
            Pools::Sqlite(pool) => pool.spawn(task),
        }
        rows
    }

    /// Open and busy connections.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        match &self.shared.pools {
            Pools::Postgres(pool, lanes) => {
                let ((open, lent), (lanes, busy)) = (pool.usage(), lanes.usage());
                (open + lanes, lent + busy)
            }
            Pools::Mysql(pool) => pool.usage(),
            Pools::Sqlite(pool) => pool.usage(),
        }
    }

    /// How many statements and transactions wait for a connection, since all are busy.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.shared.pools {
            Pools::Postgres(pool, _) => pool.waiting(),
            Pools::Mysql(pool) => pool.waiting(),
            Pools::Sqlite(pool) => pool.waiting(),
        }
    }

    /// How many connections were opened in all: as long as it is the same, nobody else has answered.
    #[must_use]
    pub fn opened(&self) -> usize {
        match &self.shared.pools {
            Pools::Postgres(pool, _) => pool.opened(),
            Pools::Mysql(pool) => pool.opened(),
            Pools::Sqlite(pool) => pool.opened(),
        }
    }

    /// Lends no more connections, and closes them.
    pub async fn close(&self) {
        match &self.shared.pools {
            Pools::Postgres(pool, lanes) => {
                lanes.close().await;
                pool.close().await;
            }
            Pools::Mysql(pool) => pool.close().await,
            Pools::Sqlite(pool) => pool.close().await,
        }
    }
}

async fn fetch_from_postgres(pool: &Pool<postgres::Manager>, statement: &Statement, deadline: Instant) -> Result<Fetched, Error> {
    match postgres::fetch(pool, statement, deadline).await {
        Err(Error::Unavailable(_)) => {
            pool.forget_idle();
            postgres::fetch(pool, statement, deadline).await
        }
        outcome => outcome,
    }
}

async fn fetch_from_mysql(pool: &Pool<mysql::Manager>, statement: &Statement, deadline: Instant) -> Result<Fetched, Error> {
    let mut failed = 0;
    loop {
        match mysql::fetch(pool, statement.clone(), deadline).await {
            Err(Error::Unavailable(_)) if failed == 0 => {}
            // Idle connections keep statements prepared, of which the server may have too many; and a table that was altered can
            // be altered again meanwhile.
            Err(Error::Unprepared(_)) if failed < 2 => {}
            outcome => return outcome,
        }
        failed += 1;
        pool.forget_idle();
    }
}

/// A transaction; dropping it without a commit rolls it back.
pub struct Transaction {
    held: Held,
    deadline: Instant,
    committed: Arc<Notify>,
    last: &'static str,
}

/// What else is said when a transaction begins and when it ends, in statements of our own; nothing unless given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Follows the begin.
    pub first: String,
    /// Follows the end, so that the session is as it was.
    pub last: &'static str,
}

fn followed<'t>(text: &'t str, more: &str) -> Cow<'t, str> {
    if more.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}; {more}")) }
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Write,
    Snapshot,
}

impl Purpose {
    fn begin(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Purpose::Write, Dialect::Postgres | Dialect::Mysql(_)) => "begin",
            (Purpose::Write, Dialect::Sqlite) => "begin immediate",
            (Purpose::Snapshot, Dialect::Postgres) => "begin isolation level repeatable read read only",
            (Purpose::Snapshot, Dialect::Mysql(_)) => {
                "set transaction isolation level repeatable read; start transaction with consistent snapshot, read only"
            }
            (Purpose::Snapshot, Dialect::Sqlite) => "begin deferred",
        }
    }
}

enum Held {
    Postgres(Lease<postgres::Manager>),
    Mysql(Lease<mysql::Manager>),
    Sqlite { lease: Option<Lease<sqlite::Manager>>, _writer: Option<OwnedMutexGuard<()>> },
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    /// Rows that it found.
    pub rows: u64,
    /// The key that the database counted up, where it tells.
    pub counted_key: Option<i64>,
}

impl Transaction {
    /// Runs a statement and takes all its rows.
    pub async fn fetch(&mut self, statement: Statement) -> Result<Fetched, Error> {
        let run = async {
            match &mut self.held {
                Held::Postgres(lease) => postgres::fetch_all(lease, &statement).await,
                Held::Mysql(lease) => mysql::fetch_all(lease, &statement).await,
                Held::Sqlite { lease, .. } => sqlite::fetch_all(lease, statement).await,
            }
        };
        timeout_at(self.deadline, run).await.unwrap_or(Err(Error::Deadline))
    }

    /// Runs a statement that answers no rows.
    pub async fn execute(&mut self, statement: Statement) -> Result<Executed, Error> {
        let run = async {
            match &mut self.held {
                Held::Postgres(lease) => {
                    postgres::execute(lease, &statement).await.map(|rows| Executed { rows, counted_key: None })
                }
                Held::Mysql(lease) => {
                    let (rows, key) = mysql::execute(lease, &statement).await?;
                    Ok(Executed { rows, counted_key: i64::try_from(key).ok().filter(|key| *key != 0) })
                }
                Held::Sqlite { lease, .. } => {
                    let (rows, key) = sqlite::execute(lease, statement).await?;
                    Ok(Executed { rows, counted_key: Some(key) })
                }
            }
        };
        timeout_at(self.deadline, run).await.unwrap_or(Err(Error::Deadline))
    }

    /// Makes the changes last. A lost connection here leaves it open whether they did.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.batch(&followed("commit", self.last)).await?;
        self.finish();
        self.committed.notify_one();
        Ok(())
    }

    /// Undoes the changes and hands the connection back in order.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.batch(&followed("rollback", self.last)).await?;
        self.finish();
        Ok(())
    }

    async fn batch(&mut self, text: &str) -> Result<(), Error> {
        let run = async {
            match &mut self.held {
                Held::Postgres(lease) => postgres::batch(lease, text).await,
                Held::Mysql(lease) => mysql::batch(lease, text).await,
                Held::Sqlite { lease, .. } => sqlite::batch(lease, text).await,
            }
        };
        timeout_at(self.deadline, run).await.unwrap_or(Err(Error::Deadline))
    }

    fn finish(&mut self) {
        match &mut self.held {
            Held::Postgres(lease) => lease.finish(),
            Held::Mysql(lease) => lease.finish(),
            Held::Sqlite { lease: Some(lease), .. } => lease.finish(),
            Held::Sqlite { lease: None, .. } => {}
        }
    }
}
