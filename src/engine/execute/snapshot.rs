//! A list read in a transaction that sees the database at one moment, for who tells of the changes after it.

use crate::database::{Error, Statement, Transaction};
use crate::engine::observe::{Tallies, Verb};
use crate::engine::plan::ReadPlan;
use crate::engine::sql;
use crate::protocol::Page;
use crate::protocol::response::Counts;

/// Reads a plan's rows, all of them into memory.
pub(in crate::engine) async fn snapshot(
    tallies: &Tallies,
    transaction: &mut Transaction,
    plan: &ReadPlan<'_>,
) -> Result<Page, Error> {
    let mut select = async |statement: Statement| {
        let running = tallies.begin(Verb::Select, plan.node.entity());
        let outcome = transaction.fetch(statement).await;
        running.ended(&outcome);
        outcome
    };
    let fetched = select(sql::page(plan)).await?;
    let mut counts = Counts { total: fetched.numbers[0], filtered: fetched.numbers[1] };
    if plan.counted && fetched.rows.count == 0 {
        let summary = select(sql::summary(plan)).await?;
        counts = Counts { total: summary.numbers[0], filtered: summary.numbers[1] };
    }
    Ok(Page { rows: fetched.rows, more: None, counts, limit: plan.paging.limit, offset: plan.paging.offset })
}
