//! What a write did, written into the outbox in the write's own transaction where nobody else does: capture mode `api`.
//!
//! A row's image is read before and after its change, as the database has it then, so that defaults and triggers are in it.
//! Nothing is asked of sources that are captured in another way.

use super::run::Writer;
use crate::catalog::relation::Link;
use crate::catalog::{Capture, Catalog, Entity};
use crate::database::Statement;
use crate::engine::error::from_database;
use crate::engine::plan::{Key, Value};
use crate::engine::sql::outbox::{self, When};
use crate::protocol::{ChangeOperation, Error};
use serde_json::value::RawValue;

/// The names of what is told, where the engine tells it.
#[derive(Clone, Copy)]
pub(super) struct Journal<'s> {
    catalog: &'s Catalog,
}

impl<'s> Journal<'s> {
    /// The journal of a source, if it has one.
    pub(super) fn of(catalog: &'s Catalog, source: &str) -> Option<Self> {
        (catalog.capture(source) == Capture::Api).then_some(Self { catalog })
    }
}

/// A row as it was, where it is told.
pub(super) struct Before(Option<Box<RawValue>>);

/// Rows of a link table as they were, where they are told.
pub(super) struct LinksBefore<'s>(Option<(&'s Entity, Vec<Box<RawValue>>)>);

impl<'s> Writer<'s> {
    /// Remembers a row that is about to be changed.
    pub(super) async fn before(&mut self, entity: &Entity, key: &Key) -> Result<Before, Error> {
        if self.journal.is_none() {
            return Ok(Before(None));
        }
        Ok(Before(self.image(entity, key, When::Before).await?))
    }

    /// Tells that a row was added.
    pub(super) async fn created(&mut self, entity: &Entity, key: &Key) -> Result<(), Error> {
        if self.journal.is_none() {
            return Ok(());
        }
        let after = self.written(entity, key).await?;
        self.record(entity, ChangeOperation::Create, None, Some(&after)).await
    }

    /// Tells that a row was changed.
    pub(super) async fn updated(&mut self, entity: &Entity, before: &Before, key: &Key) -> Result<(), Error> {
        if self.journal.is_none() {
            return Ok(());
        }
        let after = self.written(entity, key).await?;
        self.record(entity, ChangeOperation::Update, before.0.as_deref(), Some(&after)).await
    }

    /// Tells that a row was removed.
    pub(super) async fn deleted(&mut self, entity: &Entity, before: &Before) -> Result<(), Error> {
        match &before.0 {
            Some(before) => self.record(entity, ChangeOperation::Delete, Some(before), None).await,
            None => Ok(()),
        }
    }

    /// Remembers the rows of a link table, which is told if an entity serves it.
    pub(super) async fn links_before(
        &mut self,
        source: &str,
        link: &Link,
        here: &[Value],
        there: &[Value],
    ) -> Result<LinksBefore<'s>, Error> {
        let Some(journal) = self.journal else { return Ok(LinksBefore(None)) };
        let serves = |entity: &&Entity| entity.source == source && entity.table == link.table && !entity.is_view;
        let Some(entity) = journal.catalog.entities().iter().find(serves) else { return Ok(LinksBefore(None)) };
        let rows = self.images(entity, outbox::images_of_link(entity, link, here, there, When::Before)).await?;
        Ok(LinksBefore(Some((entity, rows))))
    }

    /// Tells which rows a link table has now and had not, and the other way round.
    pub(super) async fn linked(
        &mut self,
        before: LinksBefore<'s>,
        link: &Link,
        here: &[Value],
        there: &[Value],
    ) -> Result<(), Error> {
        let Some((entity, mut gone)) = before.0 else { return Ok(()) };
        for row in self.images(entity, outbox::images_of_link(entity, link, here, there, When::After)).await? {
            match gone.iter().position(|old| old.get() == row.get()) {
                Some(place) => _ = gone.swap_remove(place),
                None => self.record(entity, ChangeOperation::Create, None, Some(&row)).await?,
            }
        }
        for row in gone {
            self.record(entity, ChangeOperation::Delete, Some(&row), None).await?;
        }
        Ok(())
    }

    async fn image(&mut self, entity: &Entity, key: &Key, when: When) -> Result<Option<Box<RawValue>>, Error> {
        Ok(self.images(entity, outbox::image_of(entity, key, when)).await?.into_iter().next())
    }

    /// The row after a write. One that can't be found was changed by the database itself, and would not be told.
    async fn written(&mut self, entity: &Entity, key: &Key) -> Result<Box<RawValue>, Error> {
        let image = self.image(entity, key, When::After).await?;
        image.ok_or_else(|| {
            tracing::error!(entity = entity.full_name(), "a row that was written can't be found by its key, so it can't be told");
            Error::internal()
        })
    }

    async fn images(&mut self, entity: &Entity, statement: Statement) -> Result<Vec<Box<RawValue>>, Error> {
        let fetched = self.transaction.fetch(statement).await.map_err(|error| from_database(error, entity))?;
        let wrapped = [b"[".as_slice(), &fetched.rows.joined, b"]"].concat();
        serde_json::from_slice(&wrapped).map_err(|error| {
            tracing::error!(%error, entity = entity.full_name(), "an image is not JSON");
            Error::internal()
        })
    }

    async fn record(
        &mut self,
        entity: &Entity,
        operation: ChangeOperation,
        before: Option<&RawValue>,
        after: Option<&RawValue>,
    ) -> Result<(), Error> {
        let statement = outbox::record(entity, operation, before.map(RawValue::get), after.map(RawValue::get));
        self.transaction.execute(statement).await.map(|_| ()).map_err(|error| from_database(error, entity))
    }
}
