//! Records of what was changed as changes: one for each entity that serves the table.
//!
//! Pure: no connection needed. A table that nothing serves here may be served by another replica, whose catalog is older or
//! newer: its changes are told without images under its own name, so that whoever follows it there reads again.

use super::image::{Image, Values};
use crate::catalog::{Catalog, Entity};
use crate::protocol::{Change, ChangeOperation};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The row of the outbox that a change was made of, by the change's id; none for what PostgreSQL's log told. Several
/// changes can be of one row.
#[must_use]
pub fn outbox_id(change: &str) -> Option<i64> {
    change.split(':').nth(1)?.parse().ok()
}

/// The entities of a source by their tables.
pub(super) struct Tables<'c> {
    source: &'c str,
    served: HashMap<(&'c str, &'c str), Served<'c>>,
}

/// A table that entities serve.
struct Served<'c> {
    name: String,
    /// How it is served.
    digest: &'c str,
    entities: Vec<&'c Entity>,
}

/// What was written down of one changed row.
pub(super) struct Record<'r> {
    /// Unique within the source, without a colon.
    pub(super) id: String,
    pub(super) schema: &'r str,
    pub(super) table: &'r str,
    pub(super) what: What<'r>,
    pub(super) transaction: Option<&'r str>,
    pub(super) user: Option<&'r str>,
    pub(super) occurred_at: &'r str,
}

/// What happened to the row.
pub(super) enum What<'r> {
    Created(Image<'r>),
    Updated(Image<'r>, Image<'r>),
    Deleted(Image<'r>),
    /// It is known that something happened, and at most to which row: told without images.
    Unknown(ChangeOperation, Option<Image<'r>>),
}

impl What<'_> {
    pub(super) fn operation(&self) -> ChangeOperation {
        match self {
            What::Created(_) => ChangeOperation::Create,
            What::Updated(..) => ChangeOperation::Update,
            What::Deleted(_) => ChangeOperation::Delete,
            What::Unknown(operation, _) => *operation,
        }
    }
}

impl<'c> Tables<'c> {
    /// Gathers the entities of a source.
    pub(super) fn of(catalog: &'c Catalog, source: &'c str) -> Self {
        let mut served: HashMap<_, Served<'_>> = HashMap::new();
        for entity in catalog.entities().iter().filter(|entity| entity.source == source && !entity.is_view) {
            let key = (entity.table.schema.as_str(), entity.table.name.as_str());
            let table = served.entry(key).or_insert_with(|| {
                let name = entity.table.to_string();
                let digest = catalog.serving(source, &name).map_or("", |serving| serving.digest.as_str());
                Served { name, digest, entities: Vec::new() }
            });
            table.entities.push(entity);
        }
        Self { source, served }
    }

    /// Appends what is told of a row.
    pub(super) fn tell(&self, record: &Record<'_>, told: &mut Vec<Arc<Change>>) -> Result<(), serde_json::Error> {
        let Some(table) = self.served.get(&(record.schema, record.table)) else {
            self.tell_unserved(record, told);
            return Ok(());
        };
        for entity in &table.entities {
            let mut id = format!("{}:{}", self.source, record.id);
            if table.entities.len() > 1 {
                id = format!("{id}:{}", entity.full_name());
            }
            let telling = Telling { source: self.source, table, entity, record };
            telling.changes(id, told)?;
        }
        Ok(())
    }

    /// Appends that something happened to a table that nothing serves here; once for rows that follow each other in one
    /// transaction, which nobody sees apart.
    fn tell_unserved(&self, record: &Record<'_>, told: &mut Vec<Arc<Change>>) {
        let table = format!("{}.{}", record.schema, record.table);
        let is_same = |last: &Arc<Change>| {
            let is_unserved = last.serving.is_empty() && last.table == table;
            is_unserved && last.transaction.is_some() && last.transaction.as_deref() == record.transaction
        };
        if told.last().is_some_and(is_same) {
            return;
        }
        told.push(Arc::new(Change {
            id: format!("{}:{}", self.source, record.id),
            source: self.source.to_owned(),
            schema: record.schema.to_owned(),
            entity: record.table.to_owned(),
            table,
            serving: String::new(),
            operation: record.what.operation(),
            key: Map::new(),
            before: None,
            after: None,
            changed: Vec::new(),
            transaction: record.transaction.map(ToOwned::to_owned),
            user: None,
            tenant: None,
            occurred_at: record.occurred_at.to_owned(),
        }));
    }
}

/// One row for one entity.
struct Telling<'r> {
    source: &'r str,
    table: &'r Served<'r>,
    entity: &'r Entity,
    record: &'r Record<'r>,
}

/// What a change says of the row.
#[derive(Default)]
struct Said<'v, 'r> {
    key: Option<&'v Values<'r>>,
    before: Option<&'v Values<'r>>,
    after: Option<&'v Values<'r>>,
}

impl Telling<'_> {
    fn changes(&self, id: String, told: &mut Vec<Arc<Change>>) -> Result<(), serde_json::Error> {
        use ChangeOperation::{Create, Delete, Update};
        match &self.record.what {
            What::Created(image) => {
                let after = image.values(self.entity);
                told.push(self.change(id, Create, &Said { key: Some(&after), after: Some(&after), ..Said::default() })?);
            }
            What::Deleted(image) => {
                let before = image.values(self.entity);
                told.push(self.change(id, Delete, &Said { key: Some(&before), before: Some(&before), ..Said::default() })?);
            }
            What::Updated(before, after) => {
                let (before, after) = (before.values(self.entity), after.values(self.entity));
                // Another key is another record: whoever keeps records by their keys must forget the old one.
                if self.key_differs(&before, &after) {
                    let left = Said { key: Some(&before), before: Some(&before), ..Said::default() };
                    told.push(self.change(format!("{id}:left"), Delete, &left)?);
                    told.push(self.change(id, Create, &Said { key: Some(&after), after: Some(&after), ..Said::default() })?);
                } else {
                    let both = Said { key: Some(&after), before: Some(&before), after: Some(&after) };
                    told.push(self.change(id, Update, &both)?);
                }
            }
            What::Unknown(operation, key) => {
                let key = key.as_ref().map(|image| image.values(self.entity));
                told.push(self.change(id, *operation, &Said { key: key.as_ref(), ..Said::default() })?);
            }
        }
        Ok(())
    }

    fn change(&self, id: String, operation: ChangeOperation, said: &Said<'_, '_>) -> Result<Arc<Change>, serde_json::Error> {
        let row = |values: Option<&Values<'_>>| -> Result<Option<Box<RawValue>>, serde_json::Error> {
            values.map(|values| values.row(self.entity)).transpose()
        };
        Ok(Arc::new(Change {
            id,
            source: self.source.to_owned(),
            schema: self.entity.schema.clone(),
            entity: self.entity.name.clone(),
            table: self.table.name.clone(),
            serving: self.table.digest.to_owned(),
            operation,
            key: said.key.map(|values| self.key(values)).transpose()?.unwrap_or_default(),
            changed: said.before.zip(said.after).map(|(before, after)| self.changed(before, after)).unwrap_or_default(),
            before: row(said.before)?,
            after: row(said.after)?,
            transaction: self.record.transaction.map(ToOwned::to_owned),
            user: self.record.user.map(ToOwned::to_owned),
            tenant: None,
            occurred_at: self.record.occurred_at.to_owned(),
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
        for id in ["", "shop", "shop:", "shop:x", "shop:16B3748.2f0c-3", "shop:16.20-3"] {
            assert_eq!(outbox_id(id), None, "{id}");
        }
    }
}
