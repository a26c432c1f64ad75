//! Which changes a snapshot has seen, so that rows and the changes after them leave no gap and do not overlap.
//!
//! Whoever reads rows in a snapshot, and has followed the bus from before it began, leaves out the changes that it has seen
//! and no others. An outbox tells them by its rows, PostgreSQL's log by its transactions.

use super::change::outbox_id;
use super::outbox::{Error, Outbox, Seen};
use crate::catalog::Capture;
use crate::database::{self, Database, Statement, Transaction};
use crate::protocol::Change;
use serde::{Deserialize, Serialize};

/// What a snapshot sees of the changes that are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    /// Rows of the outbox.
    Rows(Seen),
    /// Transactions of PostgreSQL.
    Transactions(Transactions),
}

const SNAPSHOT: &str = "select to_json(pg_current_snapshot()::text)";

/// The transactions that a snapshot of PostgreSQL sees: those below `next` that were not running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transactions {
    next: i64,
    /// In order.
    running: Vec<i64>,
}

/// What a change was made of, by which a snapshot tells whether it has seen it: a row of the outbox, or a transaction.
#[must_use]
pub fn origin(change: &Change) -> Option<i64> {
    outbox_id(&change.id).or_else(|| change.transaction.as_deref()?.parse().ok())
}

/// Who asks what a snapshot sees, made before it begins, since that may need a connection of its own.
pub struct Sighting<'d> {
    /// None where PostgreSQL's log is read.
    outbox: Option<Outbox<'d>>,
}

impl<'d> Sighting<'d> {
    /// Of a database that is captured in some way.
    pub async fn of(database: &'d Database, capture: Capture) -> Result<Self, Error> {
        let outbox = if capture.has_outbox() { Some(Outbox::of(database).await?) } else { None };
        Ok(Self { outbox })
    }

    /// Asks it. The bus must have been followed from before the snapshot began, and where there is an outbox for less than a
    /// relay's `kept`.
    pub async fn take(&self, snapshot: &mut Transaction) -> Result<Sight, Error> {
        if let Some(outbox) = &self.outbox {
            return Ok(Sight::Rows(outbox.seen(snapshot).await?));
        }
        let fetched = snapshot.fetch(Statement::new(SNAPSHOT)).await?;
        let text: String = serde_json::from_slice(&fetched.rows.joined)?;
        Ok(Sight::Transactions(Transactions::read(&text)))
    }
}

impl Sight {
    /// Whether the rows that were read in it have a change already that was made of this.
    #[must_use]
    pub fn has(&self, origin: i64) -> bool {
        match self {
            Sight::Rows(seen) => seen.contains(origin),
            Sight::Transactions(seen) => seen.contains(origin),
        }
    }

    /// Whether everything that it has is told when a change is that was made of this.
    ///
    /// A relay tells rows in the order of their ids. A transaction that began after the snapshot has ended after all that the
    /// snapshot sees; of those that were running, nobody knows.
    #[must_use]
    pub fn is_before(&self, origin: i64) -> bool {
        match self {
            Sight::Rows(seen) => seen.is_before(origin),
            Sight::Transactions(seen) => seen.next <= origin,
        }
    }
}

impl Transactions {
    /// Those that whoever reads now sees.
    pub(super) async fn now(database: &Database) -> Result<Self, database::Error> {
        let texts = database.fetch_texts(Statement::new(SNAPSHOT)).await?;
        Ok(Self::read(texts.first().map_or("", |text| text.trim_matches('"'))))
    }

    /// Reads `oldest:next:running,running`.
    fn read(text: &str) -> Self {
        let mut parts = text.split(':').skip(1);
        let next = parts.next().and_then(|next| next.parse().ok()).unwrap_or_default();
        let mut running: Vec<i64> = parts.next().unwrap_or_default().split(',').filter_map(|one| one.parse().ok()).collect();
        running.sort_unstable();
        Self { next, running }
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        number < self.next && self.running.binary_search(&number).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::Transactions;

    #[test]
    fn a_snapshot_sees_what_had_ended_when_it_began() {
        let seen = Transactions::read("10:20:10,14,15");
        let held: Vec<i64> = (8..22).filter(|number| seen.contains(*number)).collect();
        assert_eq!(held, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!(Transactions::read("5:5:").contains(4));
    }
}
