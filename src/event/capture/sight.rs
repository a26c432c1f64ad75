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

/// What a change was made of, by which a snapshot tells whether it has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A row of the outbox, by its id.
    Row(i64),
    /// A transaction of PostgreSQL, by its number.
    Transaction(i64),
}

/// What a change was made of, if it says so.
#[must_use]
pub fn origin(change: &Change) -> Option<Origin> {
    let row = outbox_id(&change.id).map(Origin::Row);
    row.or_else(|| Some(Origin::Transaction(change.transaction.as_deref()?.parse().ok()?)))
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
    pub fn has(&self, origin: Origin) -> bool {
        match (self, origin) {
            (Sight::Rows(seen), Origin::Row(id)) => seen.contains(id),
            (Sight::Transactions(seen), Origin::Transaction(number)) => seen.contains(number),
            (Sight::Rows(_), Origin::Transaction(_)) | (Sight::Transactions(_), Origin::Row(_)) => false,
        }
    }

    /// Whether everything that it has is told when a change is that was made of this.
    ///
    /// A relay tells rows in the order of their ids. A transaction that began after the snapshot has ended after all that the
    /// snapshot sees; of those that were running, nobody knows. Where changes are made of something else by now they are captured
    /// in another way since, and the numbers of both say nothing of each other.
    #[must_use]
    pub fn is_before(&self, origin: Origin) -> bool {
        match (self, origin) {
            (Sight::Rows(seen), Origin::Row(id)) => seen.is_before(id),
            (Sight::Transactions(seen), Origin::Transaction(number)) => seen.next <= number,
            (Sight::Rows(_), Origin::Transaction(_)) | (Sight::Transactions(_), Origin::Row(_)) => true,
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
    use super::{Origin, Sight, Transactions};

    #[test]
    fn a_snapshot_sees_what_had_ended_when_it_began() {
        let seen = Transactions::read("10:20:10,14,15");
        let held: Vec<i64> = (8..22).filter(|number| seen.contains(*number)).collect();
        assert_eq!(held, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!(Transactions::read("5:5:").contains(4));
    }

    #[test]
    fn numbers_of_another_kind_say_nothing() {
        let transactions = Sight::Transactions(Transactions::read("10:20:10"));
        assert!(transactions.has(Origin::Transaction(15)) && !transactions.is_before(Origin::Transaction(15)));
        assert!(!transactions.has(Origin::Row(15)) && transactions.is_before(Origin::Row(15)));
        let rows = Sight::Rows(serde_json::from_str("[[1,20]]").unwrap());
        assert!(rows.has(Origin::Row(15)) && !rows.is_before(Origin::Row(15)));
        assert!(!rows.has(Origin::Transaction(15)) && rows.is_before(Origin::Transaction(15)));
    }
}
