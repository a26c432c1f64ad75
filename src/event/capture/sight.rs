//! Which changes a snapshot has seen, so that rows and the changes after them leave no gap and do not overlap.
//!
//! Whoever reads rows in a snapshot, and has followed the bus from before it began, leaves out the changes that it has seen
//! and no others. An outbox tells them by its rows, PostgreSQL's log by its transactions.

use super::change::outbox_id;
use super::outbox::{Error, Outbox, Seen};
use crate::catalog::Capture;
use crate::database::{Database, Statement, Transaction};
use crate::protocol::Change;

/// What a snapshot sees of the changes that are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Rows of the outbox.
    Rows(Seen),
    /// Transactions of PostgreSQL.
    Transactions(Transactions),
}

/// The transactions that a snapshot of PostgreSQL sees: those below `next` that were not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transactions {
    next: u64,
    /// In order.
    running: Vec<u64>,
}

impl Sight {
    /// Asks what a snapshot sees. It must have been followed from less than a relay's `kept` ago where there is an outbox.
    pub async fn of(database: &Database, capture: Capture, snapshot: &mut Transaction) -> Result<Self, Error> {
        if capture.has_outbox() {
            return Ok(Sight::Rows(Outbox::of(database).await?.seen(snapshot).await?));
        }
        let fetched = snapshot.fetch(Statement::new("select to_json(pg_current_snapshot()::text)")).await?;
        let text: String = serde_json::from_slice(&fetched.rows.joined)?;
        Ok(Sight::Transactions(Transactions::read(&text)))
    }

    /// Whether the rows that were read in it have this change already.
    #[must_use]
    pub fn has(&self, change: &Change) -> bool {
        match self {
            Sight::Rows(seen) => outbox_id(&change.id).is_some_and(|id| seen.contains(id)),
            Sight::Transactions(seen) => {
                let number = change.transaction.as_deref().and_then(|number| number.parse().ok());
                number.is_some_and(|number| seen.contains(number))
            }
        }
    }
}

impl Transactions {
    /// Reads `oldest:next:running,running`.
    fn read(text: &str) -> Self {
        let mut parts = text.split(':').skip(1);
        let next = parts.next().and_then(|next| next.parse().ok()).unwrap_or_default();
        let mut running: Vec<u64> = parts.next().unwrap_or_default().split(',').filter_map(|one| one.parse().ok()).collect();
        running.sort_unstable();
        Self { next, running }
    }

    fn contains(&self, number: u64) -> bool {
        number < self.next && self.running.binary_search(&number).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::Transactions;

    #[test]
    fn a_snapshot_sees_what_had_ended_when_it_began() {
        let seen = Transactions::read("10:20:10,14,15");
        let held: Vec<u64> = (8..22).filter(|number| seen.contains(*number)).collect();
        assert_eq!(held, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!(Transactions::read("5:5:").contains(4));
    }
}
