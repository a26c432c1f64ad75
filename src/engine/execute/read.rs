//! A read carried out: one statement, and a second one only where an empty page leaves something open.

use super::run::{Runner, Writer};
use crate::database::Error;
use crate::engine::plan::{ReadPlan, Shape};
use crate::engine::sql;
use crate::protocol;
use crate::protocol::Page;
use crate::protocol::response::{Counts, Record};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::Instant;

/// What a read found.
pub(in crate::engine) enum Found {
    /// A list.
    Page(Page),
    /// One row.
    Record(Record),
    /// No row has the key.
    Nothing,
    /// The cursor's row does not exist.
    NoCursor,
}

/// Runs a read.
pub(in crate::engine) async fn read(runner: Runner<'_>, plan: &ReadPlan<'_>, deadline: Instant) -> Result<Found, Error> {
    let entity = plan.node.entity();
    if plan.shape != Shape::List {
        let fetched = runner.select(entity, sql::record(plan), deadline).await?;
        return Ok(one(fetched.rows.joined, fetched.rows.count, fetched.numbers[0]));
    }
    let fetched = runner.select(entity, sql::page(plan), deadline).await?;
    let mut counts = Counts { total: fetched.numbers[0], filtered: fetched.numbers[1] };
    let paging = &plan.paging;
    let open = plan.counted || paging.cursor.is_some();
    if fetched.rows.count == 0 && open {
        let summary = runner.select(entity, sql::summary(plan), deadline).await?;
        if paging.cursor.is_some() && summary.numbers[2] == Some(0) {
            return Ok(Found::NoCursor);
        }
        if plan.counted {
            counts = Counts { total: summary.numbers[0], filtered: summary.numbers[1] };
        }
    }
    let more = fetched.more.map(|rows| rows.map_err(|error| broken_off(&error)).boxed());
    Ok(Found::Page(Page { rows: fetched.rows, more, counts, limit: paging.limit, offset: paging.offset }))
}

/// Reads one row by key inside a transaction.
pub(super) async fn reread(writer: &mut Writer<'_>, plan: &ReadPlan<'_>) -> Result<Option<bytes::Bytes>, protocol::Error> {
    let fetched = writer.select(plan.node.entity(), sql::record(plan)).await?;
    Ok((fetched.rows.count > 0).then_some(fetched.rows.joined))
}

/// A page that breaks off after its beginning was sent; the client sees a body that does not end.
fn broken_off(error: &Error) -> protocol::Error {
    tracing::warn!(%error, "a streamed page broke off");
    protocol::Error::internal()
}

fn one(row: bytes::Bytes, count: u64, row_number: Option<i64>) -> Found {
    if count == 0 { Found::Nothing } else { Found::Record(Record { row, row_number }) }
}
