//! A write carried out: every row of the request in one transaction, answered as the database has it afterwards.
//!
//! A failure anywhere leaves nothing behind.

use super::graph::{Done, Told, answer, removed, write_row};
use super::idempotency::{self, Claim};
use super::run::{Runner, Writer};
use crate::engine::error::from_database;
use crate::engine::hook::{Context, Hook};
use crate::engine::plan::turn::Turn;
use crate::engine::plan::write::{RowWrite, WritePlan};
use crate::engine::plan::{Paging, ReadPlan, Shape};
use crate::engine::sql;
use crate::protocol::response::{Deleted, Removed, Written, is_tag_of};
use crate::protocol::{Code, Error, Operation, Request, Response, RowText};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Before a write that was in another's way begins again, for each time that it has begun.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs a write. One whose upsert was outrun by another write begins again, as if it had come later.
pub(in crate::engine) async fn write<'c>(
    runner: Runner<'c>,
    plan: &WritePlan<'_>,
    context: Context<'c>,
    hooks: &[Arc<dyn Hook>],
    request: &Request,
    deadline: Instant,
) -> Result<Response, Error> {
    let mut claim = match &request.idempotency_key {
        None => None,
        Some(key) => Some(Claim::new(context, key, request)?),
    };
    if let Some(claim) = &mut claim
        && let Some(answer) = idempotency::earlier(runner.database, claim, deadline).await?
    {
        return Ok(answer);
    }
    let mut begun = 0;
    let error = loop {
        let mut writer = runner.begin(context, deadline).await.map_err(|error| from_database(error, context.entity))?;
        let outcome = in_transaction(&mut writer, plan, context, hooks, request, claim.as_ref()).await;
        let error = match outcome {
            Ok(response) => {
                writer.commit(context.entity).await?;
                return Ok(response);
            }
            Err(error) => error,
        };
        begun += 1;
        let begins_again = writer.outrun && begun <= repetitions(error.code);
        if let Err(error) = writer.transaction.rollback().await {
            tracing::debug!(%error, "a rollback failed; the connection is given up");
        }
        if !begins_again {
            break error;
        }
        if error.code == Code::SerializationFailure {
            // Those who stand in each other's way would do so again at once.
            tokio::time::sleep(PAUSE * begun).await;
        }
    };
    // Another request with the same key may have finished in between.
    match (&mut claim, error.code) {
        (Some(claim), Code::Conflict) => match idempotency::earlier(runner.database, claim, deadline).await? {
            Some(answer) => Ok(answer),
            None => Err(error),
        },
        _ => Err(error),
    }
}

/// How often a write begins again for an error by which another write was quicker. Who added the row has committed it, so that
/// it is found the next time, unless hooks leave it out. Those who only stood in each other's way may do so once more.
fn repetitions(code: Code) -> u32 {
    if code == Code::Conflict { 1 } else { 5 }
}

async fn in_transaction(
    writer: &mut Writer<'_>,
    plan: &WritePlan<'_>,
    context: Context<'_>,
    hooks: &[Arc<dyn Hook>],
    request: &Request,
    claim: Option<&Claim>,
) -> Result<Response, Error> {
    if let Some(claim) = claim {
        idempotency::claim(&mut writer.transaction, claim, context.entity).await?;
    }
    let (capture, subject) = (context.catalog.capture(&context.entity.source), context.principal.subject.as_deref());
    let unsigned = writer.unsigned(context.entity, capture, subject).await?;
    if let Some(expected) = &request.if_match {
        check_entity_tag(writer, plan, expected).await?;
    }
    let mut told = if hooks.is_empty() { None } else { Some(removed(writer, plan).await?) };
    let response = match plan.operation {
        Operation::Delete => delete(writer, plan, told.as_mut()).await?,
        _ => create_or_update(writer, plan, told.as_mut()).await?,
    };
    if let Some(told) = told {
        after(plan, context, hooks, &told).await?;
    }
    writer.sign(context.entity, unsigned).await?;
    let stored = idempotency::stored(&response)?;
    if let (Some(claim), Some(answer)) = (claim, stored) {
        idempotency::store(&mut writer.transaction, claim, answer, context.entity).await?;
    }
    Ok(response)
}

/// Tells the hooks what was done, each turn its rows.
async fn after(plan: &WritePlan<'_>, context: Context<'_>, hooks: &[Arc<dyn Hook>], told: &[Told<'_>]) -> Result<(), Error> {
    let rows_of = |turn: &Turn<'_>| -> Vec<u8> {
        let rows = told.iter().filter(|told| turn.has(told.entity, told.action));
        rows.map(|told| &told.text[..]).collect::<Vec<_>>().join(&b","[..])
    };
    let turns = plan.turns(context.entity).into_iter().map(|turn| (turn, rows_of(&turn)));
    let turns: Vec<(Turn<'_>, Vec<u8>)> = turns.collect();
    for hook in hooks {
        for (Turn { entity, operation }, rows) in &turns {
            let context = Context { entity, operation: *operation, ..context };
            match operation {
                Operation::Create => hook.after_create(context, rows).await?,
                Operation::Update => hook.after_update(context, rows).await?,
                _ => hook.after_delete(context, rows).await?,
            }
        }
    }
    Ok(())
}

async fn create_or_update<'p>(
    writer: &mut Writer<'_>,
    plan: &'p WritePlan<'_>,
    mut told: Option<&mut Vec<Told<'p>>>,
) -> Result<Response, Error> {
    let mut done: Vec<Done<'_>> = Vec::with_capacity(plan.rows.len());
    for row in &plan.rows {
        done.push(write_row(writer, row, Vec::new()).await?);
    }
    let mut texts = Vec::with_capacity(done.len());
    for row in &done {
        let text = answer(writer, row, plan.answer.as_ref(), &plan.related, told.as_deref_mut()).await?;
        if let Some(told) = &mut told {
            told.push(row.told(text.clone()));
        }
        texts.push(text);
    }
    let rows = RowText { joined: Bytes::from(texts.join(&b","[..])), count: texts.len() as u64 };
    Ok(Response::Written(Written { rows, many: plan.many, replayed: false }))
}

/// Removes rows: one must exist, of a list those that exist are counted.
async fn delete<'p>(
    writer: &mut Writer<'_>,
    plan: &'p WritePlan<'_>,
    told: Option<&mut Vec<Told<'p>>>,
) -> Result<Response, Error> {
    let mut count = 0;
    let mut before = Vec::new();
    for row in &plan.rows {
        let text = row_before(writer, plan, row).await?;
        match write_row(writer, row, Vec::new()).await {
            Ok(_) => {
                count += 1;
                before.extend(text.map(|text| Told { entity: row.grant.entity(), action: row.action, text }));
            }
            Err(error) if plan.many && error.code == Code::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let removed = if plan.many {
        Removed::Count(count)
    } else {
        Removed::Record(before.first().map_or(Bytes::from_static(b"{}"), |told| told.text.clone()))
    };
    if let Some(told) = told {
        told.extend(before);
    }
    Ok(Response::Deleted(Deleted { removed, replayed: false }))
}

/// The row as it is before its removal.
async fn row_before(writer: &mut Writer<'_>, plan: &WritePlan<'_>, row: &RowWrite<'_>) -> Result<Option<Bytes>, Error> {
    let (Some(answer), Some(key)) = (&plan.answer, &row.key) else { return Ok(None) };
    let read = ReadPlan { keys: Some(vec![key.clone()]), shape: Shape::Record, ..answer.clone() };
    super::read::reread(writer, &read).await
}

/// Compares the row's tag with the one that the client has seen, and keeps the row from changing.
async fn check_entity_tag(writer: &mut Writer<'_>, plan: &WritePlan<'_>, expected: &str) -> Result<(), Error> {
    let ([row], Some(answer)) = (plan.rows.as_slice(), &plan.answer) else {
        return Err(Error::new(Code::InvalidRequest, "If-Match goes with one row that the caller may read"));
    };
    let Some(key) = &row.key else { return Err(Error::new(Code::MissingId, "If-Match needs the row's id")) };
    let entity = row.grant.entity();
    let found = writer.select(entity, sql::write::lock(&row.grant, key)).await?;
    if found.rows.count == 0 {
        return Err(Error::new(Code::NotFound, format!("{} has no row with this key", entity.full_name())));
    }
    if expected.trim() == "*" {
        return Ok(());
    }
    let paging = Paging { limit: 1, offset: 0, cursor: None };
    let read = ReadPlan { keys: Some(vec![key.clone()]), shape: Shape::Record, paging, ..answer.clone() };
    let current = super::read::reread(writer, &read).await?.unwrap_or_default();
    if expected.split(',').any(|tag| is_tag_of(tag, &current)) {
        return Ok(());
    }
    Err(Error::new(Code::PreconditionFailed, "the row has changed since it was read; read it again and repeat the change"))
}
