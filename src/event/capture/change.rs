//! Rows of the outbox as changes: one for each entity that serves the table.
//!
//! Pure: no connection needed.

use super::image::{Image, Values};
use super::outbox::Row;
use crate::catalog::{Catalog, Entity};
use crate::protocol::{Change, ChangeOperation};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The row of the outbox that a change was made of, by the change's id. Several changes can be of one row.
#[must_use]
pub fn outbox_id(change: &str) -> Option<i64> {
    change.split(':').nth(1)?.parse().ok()
}

/// The entities of a source by their tables.
pub(super) struct Tables<'c> {
    source: &'c str,
    entities: HashMap<(&'c str, &'c str), Vec<&'c Entity>>,
}

/// A row that is no change.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("row {id} of the outbox can't be read: {reason}")]
    Image { id: i64, reason: serde_json::Error },
    #[error("row {id} of the outbox has the operation '{operation}' and not the images of it")]
    Operation { id: i64, operation: String },
}

impl<'c> Tables<'c> {
    /// Gathers the entities of a source.
    pub(super) fn of(catalog: &'c Catalog, source: &'c str) -> Self {
        let mut entities: HashMap<_, Vec<&Entity>> = HashMap::new();
        for entity in catalog.entities().iter().filter(|entity| entity.source == source && !entity.is_view) {
            entities.entry((entity.table.schema.as_str(), entity.table.name.as_str())).or_default().push(entity);
        }
        Self { source, entities }
    }

    /// Appends what is told of a row: nothing if no entity serves its table any more.
    pub(super) fn tell(&self, row: &Row<'_>, told: &mut Vec<Arc<Change>>) -> Result<(), Unreadable> {
        let Some(entities) = self.entities.get(&(&*row.schema, &*row.table)) else { return Ok(()) };
        let unreadable = |reason| Unreadable::Image { id: row.id, reason };
        let before = row.before.map(Image::read).transpose().map_err(unreadable)?;
        let after = row.after.map(Image::read).transpose().map_err(unreadable)?;
        for entity in entities {
            let before = before.as_ref().map(|image| image.values(entity));
            let after = after.as_ref().map(|image| image.values(entity));
            let mut id = format!("{}:{}", self.source, row.id);
            if entities.len() > 1 {
                id = format!("{id}:{}", entity.full_name());
            }
            let telling = Telling { source: self.source, entity, row };
            telling.changes(id, before, after, told)?;
        }
        Ok(())
    }
}

/// One row for one entity.
struct Telling<'r> {
    source: &'r str,
    entity: &'r Entity,
    row: &'r Row<'r>,
}

impl Telling<'_> {
    fn changes(
        &self,
        id: String,
        before: Option<Values<'_>>,
        after: Option<Values<'_>>,
        told: &mut Vec<Arc<Change>>,
    ) -> Result<(), Unreadable> {
        match (&*self.row.operation, before, after) {
            ("create", None, Some(after)) => told.push(self.change(id, ChangeOperation::Create, None, Some(&after))?),
            ("delete", Some(before), None) => told.push(self.change(id, ChangeOperation::Delete, Some(&before), None)?),
            // Another key is another record: whoever keeps records by their keys must forget the old one.
            ("update", Some(before), Some(after)) if self.key_differs(&before, &after) => {
                told.push(self.change(format!("{id}:left"), ChangeOperation::Delete, Some(&before), None)?);
                told.push(self.change(id, ChangeOperation::Create, None, Some(&after))?);
            }
            ("update", Some(before), Some(after)) => {
                told.push(self.change(id, ChangeOperation::Update, Some(&before), Some(&after))?);
            }
            (operation, _, _) => {
                return Err(Unreadable::Operation { id: self.row.id, operation: operation.to_owned() });
            }
        }
        Ok(())
    }

    fn change(
        &self,
        id: String,
        operation: ChangeOperation,
        before: Option<&Values<'_>>,
        after: Option<&Values<'_>>,
    ) -> Result<Arc<Change>, Unreadable> {
        let unreadable = |reason| Unreadable::Image { id: self.row.id, reason };
        let row = |values: Option<&Values<'_>>| -> Result<Option<Box<RawValue>>, Unreadable> {
            values.map(|values| values.row(self.entity)).transpose().map_err(unreadable)
        };
        let key = after.or(before).map(|values| self.key(values)).transpose().map_err(unreadable)?;
        Ok(Arc::new(Change {
            id,
            source: self.source.to_owned(),
            schema: self.entity.schema.clone(),
            entity: self.entity.name.clone(),
            operation,
            key: key.unwrap_or_default(),
            changed: before.zip(after).map(|(before, after)| self.changed(before, after)).unwrap_or_default(),
            before: row(before)?,
            after: row(after)?,
            transaction: self.row.transaction.clone(),
            user: self.row.user.clone(),
            tenant: None,
            occurred_at: self.row.occurred_at.clone(),
        }))
    }

    fn key(&self, values: &Values<'_>) -> Result<Map<String, Value>, serde_json::Error> {
        let columns = self.entity.columns().zip(&values.0).filter(|((id, _), _)| self.entity.primary_key.contains(id));
        columns
            .map(|((_, column), value)| {
                Ok((column.name.clone(), value.as_deref().map_or(Ok(Value::Null), serde_json::from_str)?))
            })
            .collect()
    }

    fn key_differs(&self, before: &Values<'_>, after: &Values<'_>) -> bool {
        let pairs = self.entity.columns().zip(before.0.iter().zip(&after.0));
        pairs.filter(|((id, _), _)| self.entity.primary_key.contains(id)).any(|(_, (before, after))| before != after)
    }

    fn changed(&self, before: &Values<'_>, after: &Values<'_>) -> Vec<String> {
        let pairs = self.entity.columns.iter().zip(before.0.iter().zip(&after.0));
        pairs.filter(|(_, (before, after))| before != after).map(|(column, _)| column.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::outbox_id;

    #[test]
    fn a_change_leads_to_its_row() {
        assert_eq!(outbox_id("team/shop:1764000000000001"), Some(1_764_000_000_000_001));
        assert_eq!(outbox_id("shop:7:public.orders:left"), Some(7));
        for id in ["", "shop", "shop:", "shop:x"] {
            assert_eq!(outbox_id(id), None, "{id}");
        }
    }
}
