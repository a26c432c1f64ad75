//! The removal of idempotency keys whose time is over, in small transactions and away from requests.
//!
//! Every replica does it by itself. Two that meet take different rows where the database can skip locked ones, and else one
//! finds nothing left. Only keys that may be used again already are removed, so no request can tell.

use super::{index, oldest, statement};
use crate::database::{Bind, Database, Dialect, Error, Statement};
use std::time::Duration;

/// Rows that are removed in one transaction; nobody waits for so few.
const BATCH: u64 = 500;

/// The pause between two transactions, in which others get the database.
const PAUSE: Duration = Duration::from_millis(50);

/// How often keys are removed: several times in their life, and neither all the time nor hardly ever.
pub(in crate::engine) fn interval(lifetime: Duration) -> Duration {
    (lifetime / 24).clamp(Duration::from_secs(1), Duration::from_hours(1))
}

/// Makes what the table of an earlier version lacks, if there is one.
pub(in crate::engine) async fn prepare(database: &Database) -> Result<(), Error> {
    if has_table(database).await? { index::ensure(database).await } else { Ok(()) }
}

/// Removes all keys of a database whose time is over; says how many.
pub(in crate::engine) async fn purge(database: &Database) -> Result<u64, Error> {
    if !has_table(database).await? {
        return Ok(0);
    }
    // Without the index removals are slow, and no reason to leave the rows there.
    if let Err(error) = index::ensure(database).await {
        tracing::warn!(%error, "the index resolvespec_idempotency_age is missing and can't be made");
    }
    let mut removed = 0;
    loop {
        let (found, gone) = batch(database).await?;
        removed += gone;
        if found < BATCH {
            return Ok(removed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asked first, since a database would log the error of each try.
async fn has_table(database: &Database) -> Result<bool, Error> {
    let text = match database.dialect() {
        Dialect::Postgres => "select '1' where to_regclass('resolvespec_idempotency') is not null",
        Dialect::Mysql(_) => {
            "select '1' from information_schema.tables where table_schema = database() and table_name = 'resolvespec_idempotency'"
        }
        Dialect::Sqlite => "select '1' from sqlite_schema where type = 'table' and name = 'resolvespec_idempotency'",
    };
    Ok(database.fetch(Statement::new(text), database.deadline(None)).await?.rows.count > 0)
}

/// Removes some; says how many were found, and how many of those nobody else had removed.
async fn batch(database: &Database) -> Result<(u64, u64), Error> {
    let oldest = Bind::Integer(oldest(database));
    let mut transaction = database.begin(database.deadline(None)).await?;
    let skip = if database.dialect() == Dialect::Postgres { " for update skip locked" } else { "" };
    // Ids are hashes, and so their own JSON text between quotes.
    let find = format!(
        "select {} from resolvespec_idempotency where created_at < ? order by created_at limit {BATCH}{skip}",
        if matches!(database.dialect(), Dialect::Mysql(_)) { "concat('\"', id, '\"')" } else { "'\"' || id || '\"'" }
    );
    let found = transaction.fetch(statement(database.dialect(), &find, vec![oldest.clone()])).await?.rows;
    let ids: Vec<String> = serde_json::from_slice(&[b"[", &found.joined[..], b"]"].concat())
        .map_err(|error| Error::Statement(format!("an id is no text: {error}")))?;
    if ids.is_empty() {
        transaction.rollback().await?;
        return Ok((0, 0));
    }
    // By their keys: a range would have MySQL lock the gaps that new keys go into.
    let places = vec!["?"; ids.len()].join(",");
    let remove = format!("delete from resolvespec_idempotency where id in ({places}) and created_at < ?");
    let binds = ids.iter().map(|id| id.clone().into()).chain([oldest]).collect();
    let removed = transaction.execute(statement(database.dialect(), &remove, binds)).await?.rows;
    transaction.commit().await?;
    Ok((found.count, removed))
}
