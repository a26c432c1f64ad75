//! What is asked of an outbox: its rows in order, which of them were published, and how many wait.
//!
//! Rows are read in the order of their ids, and every visible row is taken, not only those of finished neighbours. A
//! transaction holds a row's lock from its change to its commit, so of two changes of one row the later has the higher id
//! and becomes visible no earlier; ids of different rows may become visible in any order, on every database. So nothing
//! may be skipped by its number: what was published is removed by exactly its id, and each pass begins at the start, in
//! one statement with one view of the table. To hold back what is not below the oldest running transaction would order it
//! worse: a transaction that began before and waits for a row until a later one has changed it would be told first.
//!
//! What was published leaves the table for a list of ids, which is kept for a while: who reads rows and wants the changes
//! after that must know which of them the read has seen.

mod statements;

use super::change::{Record, What, outbox_id};
use super::image::{Image, unhex};
use crate::database::{self, Bind, Database, Dialect, Statement, Transaction};
use crate::protocol::{Change, ChangeOperation, RowText};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use statements::{
    LATEST, MYSQL_BACKLOG, MYSQL_BARE, MYSQL_FORGET, MYSQL_GIVE_UP, MYSQL_GIVEN_UP, MYSQL_KNOWN, MYSQL_PUBLISHED, MYSQL_REMOVE,
    MYSQL_ROW, MYSQL_ROWS, MYSQL_SEEN, POSTGRES_BACKLOG, POSTGRES_BARE, POSTGRES_FORGET, POSTGRES_GIVE_UP, POSTGRES_GIVEN_UP,
    POSTGRES_KNOWN, POSTGRES_LATEST, POSTGRES_MARK, POSTGRES_ROW, POSTGRES_ROWS, POSTGRES_SEEN, POSTGRES_TRANSACTIONS,
    SQLITE_BACKLOG, SQLITE_BARE, SQLITE_FORGET, SQLITE_GIVE_UP, SQLITE_GIVEN_UP, SQLITE_KNOWN, SQLITE_PUBLISHED, SQLITE_REMOVE,
    SQLITE_ROW, SQLITE_ROWS, SQLITE_SEEN, TOLD,
};
use std::borrow::Cow;
use std::time::Duration;

/// Rows of one pass. A pass is one statement, which must end before the database's own limit ends it.
const PASS_ROWS: u32 = 20_000;

/// Rows that are read one by one at once.
const SINGLE_ROWS: u32 = 64;

/// Ids that one statement forgets.
const FORGET_ROWS: u32 = 10_000;

/// Rows that are counted at most when it is asked how many wait.
const COUNT_ROWS: u32 = 100_000;

/// A database's outbox.
pub struct Outbox<'a> {
    database: &'a Database,
    home: String,
}

/// A row of the outbox.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) transaction: Option<String>,
    #[serde(borrow)]
    pub(super) schema: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) table: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) before: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) after: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) user: Option<String>,
    pub(super) occurred_at: String,
}

/// A row of which nothing but what stands beside its images was asked, with its whole text, which may be no JSON.
pub(super) struct Bare {
    pub(super) id: i64,
    schema: String,
    table: String,
    operation: String,
    occurred_at: String,
    pub(super) text: String,
}

/// A row that is no change.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("row {id} of the outbox is not JSON: {reason}")]
    Row { id: i64, reason: serde_json::Error },
    #[error("row {id} of the outbox can't be read: {reason}")]
    Image { id: i64, reason: serde_json::Error },
    #[error("row {id} of the outbox has the operation '{operation}' and not the images of it")]
    Operation { id: i64, operation: String },
}

impl Row<'_> {
    /// What the row says.
    pub(super) fn record(&self) -> Result<Record<'_>, Unreadable> {
        let read = |text| Image::read(text).map_err(|reason| Unreadable::Image { id: self.id, reason });
        let (before, after) = (self.before.map(read).transpose()?, self.after.map(read).transpose()?);
        let what = match (&*self.operation, before, after) {
            ("create", None, Some(after)) => What::Created(after),
            ("update", Some(before), Some(after)) => What::Updated(before, after),
            ("delete", Some(before), None) => What::Deleted(before),
            (operation, _, _) => return Err(Unreadable::Operation { id: self.id, operation: operation.to_owned() }),
        };
        Ok(Record {
            id: self.id.to_string(),
            schema: &self.schema,
            table: &self.table,
            what,
            transaction: self.transaction.as_deref(),
            user: self.user.as_deref(),
            occurred_at: &self.occurred_at,
        })
    }

    /// What the row says when its images say nothing.
    pub(super) fn without_images(&self) -> Record<'_> {
        unknown(self.id, (&self.schema, &self.table, &self.operation), &self.occurred_at)
    }
}

impl Bare {
    /// What it says without its text.
    pub(super) fn record(&self) -> Record<'_> {
        unknown(self.id, (&self.schema, &self.table, &self.operation), &self.occurred_at)
    }

    fn read((id, texts): (i64, [Option<String>; 5])) -> Self {
        let read = |hex: Option<String>| {
            let bytes = hex.as_deref().and_then(unhex).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let [schema, table, operation, occurred_at, text] = texts.map(read);
        Self { id, schema, table, operation, occurred_at, text }
    }
}

fn unknown<'r>(id: i64, (schema, table, operation): (&'r str, &'r str, &str), occurred_at: &'r str) -> Record<'r> {
    let operation = match operation {
        "create" => ChangeOperation::Create,
        "delete" => ChangeOperation::Delete,
        _ => ChangeOperation::Update,
    };
    let what = What::Unknown(operation, None);
    Record { id: id.to_string(), schema, table, what, transaction: None, user: None, occurred_at }
}

/// What tells which ids can still turn up.
#[derive(Debug)]
pub(super) struct Horizon {
    /// The latest id that was given out.
    pub(super) latest: i64,
    /// The number of the oldest transaction that has not ended.
    pub(super) oldest: i64,
    /// A number that is higher than that of every transaction with an id up to `latest`.
    pub(super) next: i64,
}

/// Rows of an outbox, as ranges of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(Vec<(i64, i64)>);

impl Seen {
    /// Whether a row is among them.
    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= id);
        after.checked_sub(1).is_some_and(|place| id <= self.0[place].1)
    }

    /// Whether all of them have lower ids.
    #[must_use]
    pub fn is_before(&self, id: i64) -> bool {
        self.0.last().is_none_or(|(_, last)| *last < id)
    }
}

/// How full an outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Backlog {
    /// Rows that wait, counted up to a bound.
    pub rows: u64,
    /// How long the first of them has waited.
    pub oldest_seconds: u64,
    /// How many there can be at most, by the distance of their ids.
    pub span: u64,
    /// How many seconds ago the last was told that is still known.
    pub told_seconds: Option<u64>,
}

/// Whether an outbox goes on where the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is missing in between.
    GoesOn,
    /// The same, and the latest change that was told is still to be told here, as may be some before it: nobody has marked
    /// them.
    Waits,
    /// The latest change that was told is not known to it.
    Lost,
    /// Changes were given up, and nobody was told that.
    GivenUp,
}

/// Why an outbox can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses or can't be reached.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// It holds something that our triggers do not write.
    #[error("the outbox can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl<'a> Outbox<'a> {
    /// The outbox of a database, whether it is there or not.
    pub async fn of(database: &'a Database) -> Result<Self, Error> {
        let home = match database.dialect() {
            Dialect::Postgres => "public".to_owned(),
            Dialect::Sqlite => "main".to_owned(),
            // The connection's database, whichever databases its entities are in.
            Dialect::Mysql(_) => {
                let rows = database.fetch_texts(Statement::new("select coalesce(json_quote(database()), 'null')")).await?;
                serde_json::from_str(rows.first().map_or("null", String::as_str))?
            }
        };
        Ok(Self { database, home })
    }

    /// Its database, through the connections that it is asked by.
    pub(super) fn database(&self) -> &'a Database {
        self.database
    }

    /// Whether its server takes no writes, as one that follows another does.
    pub(super) async fn is_read_only(&self) -> Result<bool, Error> {
        // A PostgreSQL like that lets nobody listen, so that nobody leads there.
        if !matches!(self.database.dialect(), Dialect::Mysql(_)) {
            return Ok(false);
        }
        let rows = self.database.fetch_texts(Statement::new("select json_quote(cast(@@global.read_only as char))")).await?;
        let read_only: String = serde_json::from_str(rows.first().map_or("null", String::as_str))?;
        // Newer MariaDB has words for several ways of being so.
        Ok(!matches!(read_only.as_str(), "0" | "OFF"))
    }

    /// The schema that has it.
    pub(super) fn home(&self) -> &str {
        &self.home
    }

    /// How many rows wait.
    pub async fn count(&self) -> Result<u64, Error> {
        let mut statement = Statement::new(self.sql("select 'null', (select count(*) from {home}.resolvespec_outbox)"));
        statement.numbers = 1;
        let counted = self.database.fetch(statement, self.database.deadline(None)).await?;
        Ok(counted.numbers[0].and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// The first rows above an id, in chunks of some hundred kilobytes, each rows' JSON texts with commas between them.
    pub(super) async fn rows(&self, floor: i64) -> Result<BoxStream<'static, Result<RowText, database::Error>>, Error> {
        let text = match self.database.dialect() {
            Dialect::Postgres => POSTGRES_ROWS.replacen("{row}", POSTGRES_ROW, 1),
            Dialect::Mysql(_) => MYSQL_ROWS.replacen("{row}", MYSQL_ROW, 1),
            Dialect::Sqlite => SQLITE_ROWS.replacen("{row}", SQLITE_ROW, 1),
        };
        let binds = vec![Bind::Integer(floor)];
        let statement = Statement::with_binds(self.sql(&format!("{text} limit {PASS_ROWS}")), binds);
        let fetched = self.database.fetch(statement, self.database.deadline(None)).await?;
        let first = stream::iter((fetched.rows.count > 0).then_some(Ok(fetched.rows)));
        let more = fetched.more.unwrap_or_else(|| stream::empty().boxed());
        let has_rows = |chunk: &Result<RowText, database::Error>| !matches!(chunk, Ok(rows) if rows.count == 0);
        Ok(first.chain(more).filter(move |chunk| std::future::ready(has_rows(chunk))).boxed())
    }

    /// The first rows above an id one by one, for when they can't be read together. Nothing in a row keeps it from being told apart.
    pub(super) async fn singly(&self, floor: i64) -> Result<Vec<Bare>, Error> {
        let text = match self.database.dialect() {
            Dialect::Postgres => POSTGRES_ROWS.replacen("{row}", POSTGRES_BARE, 1),
            Dialect::Mysql(_) => MYSQL_ROWS.replacen("{row}", MYSQL_BARE, 1).replacen("{row}", MYSQL_ROW, 1),
            Dialect::Sqlite => SQLITE_ROWS.replacen("{row}", SQLITE_BARE, 1).replacen("{row}", SQLITE_ROW, 1),
        };
        let binds = vec![Bind::Integer(floor)];
        let statement = Statement::with_binds(self.sql(&format!("{text} limit {SINGLE_ROWS}")), binds);
        let rows = self.database.fetch_texts(statement).await?;
        rows.iter().map(|row| Ok(Bare::read(serde_json::from_str(row)?))).collect()
    }

    /// Moves rows to the published ones. Rows that somebody else has moved already are left alone.
    pub(super) async fn mark(&self, ids: &[i64]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        Ok(self.marking(ids).await?.commit().await?)
    }

    /// Whether rows could be moved to the published ones, which stay where they are.
    pub(super) async fn try_marking(&self, ids: &[i64]) -> Result<(), Error> {
        Ok(self.marking(ids).await?.rollback().await?)
    }

    /// A transaction that has moved rows.
    async fn marking(&self, ids: &[i64]) -> Result<Transaction, Error> {
        let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let statements: &[(&str, String)] = match self.database.dialect() {
            Dialect::Postgres => &[(POSTGRES_MARK, format!("{{{list}}}"))],
            Dialect::Mysql(_) => &[(MYSQL_PUBLISHED, format!("[{list}]")), (MYSQL_REMOVE, format!("[{list}]"))],
            Dialect::Sqlite => &[(SQLITE_PUBLISHED, format!("[{list}]")), (SQLITE_REMOVE, format!("[{list}]"))],
        };
        let mut transaction = self.database.begin(self.database.deadline(None)).await?;
        for (text, list) in statements {
            transaction.execute(Statement::with_binds(self.sql(text), vec![Bind::from(list.as_str())])).await?;
        }
        Ok(transaction)
    }

    /// Which ids can still turn up; none where nothing that was removed is in the way.
    pub(super) async fn horizon(&self) -> Result<Option<Horizon>, Error> {
        if self.database.dialect() != Dialect::Postgres {
            return Ok(None);
        }
        let mut transaction = self.database.begin(self.database.deadline(None)).await?;
        let mut numbers = [None; 3];
        // The latest id first: whoever has it has a number lower than the one that is drawn after.
        for (text, count) in [(POSTGRES_LATEST, 1), (POSTGRES_TRANSACTIONS, 2)] {
            let statement = Statement { numbers: count, ..Statement::new(self.sql(text)) };
            let fetched = transaction.fetch(statement).await?.numbers;
            let start = count - 1;
            numbers[start..start + count].copy_from_slice(&fetched[..count]);
        }
        transaction.commit().await?;
        let [latest, oldest, next] = numbers;
        Ok(latest.zip(oldest).zip(next).map(|((latest, oldest), next)| Horizon { latest, oldest, next }))
    }

    /// Forgets what was published longer ago, but for the latest, by which the database is known again; `false` says that
    /// there is more to forget.
    pub(super) async fn forget(&self, kept: Duration) -> Result<bool, Error> {
        let text = match self.database.dialect() {
            Dialect::Postgres => POSTGRES_FORGET,
            Dialect::Mysql(_) => MYSQL_FORGET,
            Dialect::Sqlite => SQLITE_FORGET,
        };
        let text = self.sql(&text.replace("{rows}", &FORGET_ROWS.to_string()));
        let mut transaction = self.database.begin(self.database.deadline(None)).await?;
        let statement = Statement::with_binds(text, vec![Bind::from(kept.as_secs().to_string())]);
        let forgotten = transaction.execute(statement).await?.rows;
        transaction.commit().await?;
        Ok(forgotten < u64::from(FORGET_ROWS))
    }

    /// Which rows a snapshot sees, of those that wait and those that were published lately.
    ///
    /// Whoever has read rows in the same snapshot, and has followed the bus from before it began, must leave out the
    /// changes of these rows and no others. It must have begun to follow less than a relay's `kept` ago.
    pub async fn seen(&self, snapshot: &mut Transaction) -> Result<Seen, Error> {
        let fetched = snapshot.fetch(Statement::new(self.sql(match self.database.dialect() {
            Dialect::Postgres => POSTGRES_SEEN,
            Dialect::Mysql(_) => MYSQL_SEEN,
            Dialect::Sqlite => SQLITE_SEEN,
        })));
        let wrapped = [b"[".as_slice(), &fetched.await?.rows.joined, b"]"].concat();
        Ok(serde_json::from_slice(&wrapped)?)
    }

    /// Whether it goes on after the latest change that was told: it has had the row that the change was made of, which waits here
    /// as it was told or is among the published. A database that has lost its end, or is another one, does not know it, or has
    /// another row under its id.
    pub(super) async fn standing(&self, latest: Option<&Change>) -> Result<Standing, Error> {
        let text = match self.database.dialect() {
            Dialect::Postgres => POSTGRES_KNOWN,
            Dialect::Mysql(_) => MYSQL_KNOWN,
            Dialect::Sqlite => SQLITE_KNOWN,
        };
        let told = latest.and_then(|change| Some((outbox_id(&change.id)?, &change.occurred_at)));
        let text = text.replace("{id}", &told.map_or(-1, |(id, _)| id).to_string());
        let rows = self.database.fetch_texts(Statement::new(self.sql(&text))).await?;
        let (published, waiting, given_up): (u64, Option<String>, u64) =
            serde_json::from_str(rows.first().map_or("null", String::as_str))?;
        Ok(match told {
            _ if given_up > 0 => Standing::GivenUp,
            None => Standing::GoesOn,
            Some(_) if published > 0 => Standing::GoesOn,
            Some((_, occurred_at)) if waiting.as_ref() == Some(occurred_at) => Standing::Waits,
            Some(_) => Standing::Lost,
        })
    }

    /// Gives up everything that waits, once it is written down that somebody has to be told so.
    pub(super) async fn give_up(&self) -> Result<(), Error> {
        let (given_up, give_up) = match self.database.dialect() {
            Dialect::Postgres => (POSTGRES_GIVEN_UP, POSTGRES_GIVE_UP),
            Dialect::Mysql(_) => (MYSQL_GIVEN_UP, MYSQL_GIVE_UP),
            Dialect::Sqlite => (SQLITE_GIVEN_UP, SQLITE_GIVE_UP),
        };
        let latest = Statement { numbers: 1, ..Statement::new(self.sql(LATEST)) };
        let Some(latest) = self.database.fetch(latest, self.database.deadline(None)).await?.numbers[0] else { return Ok(()) };
        self.execute(given_up).await?;
        let give_up = give_up.replace("{id}", &latest.to_string()).replace("{rows}", &FORGET_ROWS.to_string());
        while self.execute(&give_up).await? > 0 {}
        Ok(())
    }

    /// Everybody starts anew, and so nobody has to be told of what was given up.
    pub(super) async fn told_of_giving_up(&self) -> Result<(), Error> {
        self.execute(TOLD).await.map(|_| ())
    }

    /// Runs a statement by itself; how many rows it has changed.
    async fn execute(&self, text: &str) -> Result<u64, Error> {
        let mut transaction = self.database.begin(self.database.deadline(None)).await?;
        let rows = transaction.execute(Statement::new(self.sql(text))).await?.rows;
        transaction.commit().await?;
        Ok(rows)
    }

    /// How full it is.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let text = match self.database.dialect() {
            Dialect::Postgres => POSTGRES_BACKLOG,
            Dialect::Mysql(_) => MYSQL_BACKLOG,
            Dialect::Sqlite => SQLITE_BACKLOG,
        };
        let text = self.sql(&text.replace("{rows}", &COUNT_ROWS.to_string()));
        let rows = self.database.fetch_texts(Statement::new(text)).await?;
        Ok(serde_json::from_str(rows.first().map_or("null", String::as_str))?)
    }

    fn sql(&self, text: &str) -> String {
        let mut home = String::new();
        crate::catalog::ident::quote(&self.home, self.database.dialect(), &mut home);
        text.replace("{home}", &home)
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn ranges_hold_their_ends() {
        let seen = Seen(vec![(2, 2), (5, 9)]);
        let held: Vec<i64> = (0..12).filter(|id| seen.contains(*id)).collect();
        assert_eq!(held, [2, 5, 6, 7, 8, 9]);
        assert!(!Seen(Vec::new()).contains(1));
        assert!(Seen(Vec::new()).is_before(1) && seen.is_before(10) && !seen.is_before(9) && !seen.is_before(4));
    }
}
