//! The rows of a subscription as they are at one moment, and which changes they show already.
//!
//! It has to be taken within the time for which a relay keeps the ids of what it has published.

use super::Shared;
use crate::database;
use crate::engine::error::from_database;
use crate::engine::{Current, SubscriptionPlan};
use crate::event::capture::{Sight, Sighting, outbox};
use crate::protocol::{Code, Error, Page};
use tokio::time::{Instant, timeout};

/// Reads the rows, and what of the captured changes the same view of the database has.
pub(super) async fn take(
    hub: &Shared,
    current: &Current,
    plan: &SubscriptionPlan<'_>,
    whole: bool,
) -> Result<(Page, Sight), Error> {
    let entity = plan.entity();
    let database = current.served().databases.get(&entity.source).ok_or_else(Error::internal)?;
    let time = hub.parts.settings.snapshot_time;
    let deadline = database.deadline(Some(Instant::now() + time));
    let refuse = |error: database::Error| from_database(error, entity);
    let taken = async {
        // Before the transaction, since it may need a connection of its own.
        let capture = current.served().catalog.capture(&entity.source);
        let sighting = Sighting::of(database, capture).await.map_err(|error| of_outbox(error, plan))?;
        let mut transaction = database.begin_snapshot(deadline).await.map_err(refuse)?;
        let page = hub.parts.engine.read_snapshot(current, plan, &mut transaction).await?;
        let seen = sighting.take(&mut transaction).await.map_err(|error| of_outbox(error, plan))?;
        transaction.rollback().await.map_err(refuse)?;
        Ok::<_, Error>((page, seen))
    };
    let (page, seen) = timeout(time, taken).await.map_err(|_| refuse(database::Error::Deadline))??;
    let more = page.counts.filtered.and_then(|filtered| u64::try_from(filtered).ok()).unwrap_or(page.rows.count);
    let count = page.rows.count;
    if whole && more > count.saturating_add(page.offset) {
        let message = format!(
            "{more} rows meet the filters, and a snapshot has {count} at most; narrow the filters, or take a part by limit"
        );
        return Err(Error::new(Code::LimitExceeded, message));
    }
    Ok((page, seen))
}

/// Refuses rows that no answer has room for.
pub(super) fn check_size(page: &Page, most: Option<usize>) -> Result<(), Error> {
    if most.is_none_or(|most| page.rows.joined.len() <= most) {
        return Ok(());
    }
    let message = "the snapshot is larger than a message may be; narrow the filters or the columns, or take a part by limit";
    Err(Error::new(Code::LimitExceeded, message))
}

fn of_outbox(error: outbox::Error, plan: &SubscriptionPlan<'_>) -> Error {
    match error {
        outbox::Error::Database(error) => from_database(error, plan.entity()),
        outbox::Error::Unreadable(error) => {
            tracing::error!(%error, "the outbox can't be read");
            Error::internal()
        }
    }
}
