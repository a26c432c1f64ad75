//! A database and its transactions, whose statements are observed.
//!
//! The service's own statements, those of idempotency keys, are about no entity and go past this.

use super::journal::Journal;
use super::signature;
use crate::catalog::{Catalog, Entity};
use crate::database::{Database, Error, Executed, Fetched, Statement, Transaction};
use crate::engine::error::from_database;
use crate::engine::hook::Context;
use crate::engine::observe::{Running, Tallies, Verb};
use crate::protocol::{self, RowText};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::Instant;

/// A database whose statements are observed.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Runner<'s> {
    pub(in crate::engine) database: &'s Database,
    pub(in crate::engine) tallies: &'s Tallies,
}

impl<'s> Runner<'s> {
    /// Reads rows of an entity; the statement of a large page ends with its last row.
    pub(super) async fn select(&self, entity: &Entity, statement: Statement, deadline: Instant) -> Result<Fetched, Error> {
        let running = self.tallies.begin(Verb::Select, entity);
        match self.database.fetch(statement, deadline).await {
            Ok(Fetched { rows, numbers, more: Some(more) }) => {
                let more = Some(self.database.paced(to_its_end(more, running)));
                Ok(Fetched { rows, numbers, more })
            }
            outcome => {
                running.ended(&outcome);
                outcome
            }
        }
    }

    /// Begins the transaction of a write, and says whose it is where that is written down.
    pub(super) async fn begin<'c: 's>(&self, context: Context<'c>, deadline: Instant) -> Result<Writer<'s>, Error> {
        let source = context.entity.source.as_str();
        let subject = context.principal.subject.as_deref();
        let opening = signature::opening(self.database.dialect(), context.catalog.capture(source), subject);
        let transaction = self.database.begin_with(opening, deadline).await?;
        let journal = Journal::of(context.catalog, source);
        Ok(Writer { transaction, tallies: self.tallies, catalog: context.catalog, journal, outrun: false })
    }
}

/// Hands rows on; the statement has ended when they have.
fn to_its_end(more: BoxStream<'static, Result<RowText, Error>>, running: Running) -> BoxStream<'static, Result<RowText, Error>> {
    let rows = stream::unfold((more, Some(running)), |(mut more, running)| async move {
        let running = running?;
        match more.next().await {
            Some(Ok(rows)) => Some((Ok(rows), (more, Some(running)))),
            Some(Err(error)) => {
                running.failed(&error);
                Some((Err(error), (more, None)))
            }
            None => {
                running.succeeded();
                None
            }
        }
    });
    rows.boxed()
}

/// A transaction whose statements are observed, and whose failures are told as the client hears them.
pub(super) struct Writer<'s> {
    /// For statements about no entity.
    pub(super) transaction: Transaction,
    tallies: &'s Tallies,
    pub(super) catalog: &'s Catalog,
    /// Where the engine tells what it does.
    pub(super) journal: Option<Journal<'s>>,
    /// Whether it failed since another write was quicker than an upsert, which would find that one's row if it began again.
    pub(super) outrun: bool,
}

impl Writer<'_> {
    /// Reads rows.
    pub(super) async fn select(&mut self, entity: &Entity, statement: Statement) -> Result<Fetched, protocol::Error> {
        self.fetch(Verb::Select, entity, statement).await
    }

    /// Runs a statement that answers rows.
    pub(super) async fn fetch(&mut self, verb: Verb, entity: &Entity, statement: Statement) -> Result<Fetched, protocol::Error> {
        let running = self.tallies.begin(verb, entity);
        let outcome = self.transaction.fetch(statement).await;
        running.ended(&outcome);
        outcome.map_err(|error| from_database(error, entity))
    }

    /// Runs a statement that answers none.
    pub(super) async fn execute(
        &mut self,
        verb: Verb,
        entity: &Entity,
        statement: Statement,
    ) -> Result<Executed, protocol::Error> {
        let running = self.tallies.begin(verb, entity);
        let outcome = self.transaction.execute(statement).await;
        running.ended(&outcome);
        outcome.map_err(|error| from_database(error, entity))
    }

    /// Makes the changes last.
    pub(super) async fn commit(self, entity: &Entity) -> Result<(), protocol::Error> {
        let running = self.tallies.begin(Verb::Commit, entity);
        let outcome = self.transaction.commit().await;
        running.ended(&outcome);
        outcome.map_err(|error| from_database(error, entity))
    }
}
