//! The catalog as a whole: entities by name and by place.

use super::entity::{Entity, EntityId};
use super::ident::TableName;
use super::serving::{Serving, Servings, servings};
use super::source::{Capture, Captured};
use crate::protocol::Target;
use std::collections::HashMap;

/// Every exposed entity. Immutable; a change makes a new one.
#[derive(Debug, Default)]
pub struct Catalog {
    entities: Vec<Entity>,
    by_schema: HashMap<String, HashMap<String, EntityId>>,
    by_name: HashMap<String, Vec<EntityId>>,
    by_table: HashMap<String, HashMap<TableName, Vec<EntityId>>>,
    servings: Servings,
    default_schemas: Vec<String>,
    captures: HashMap<String, Captured>,
}

impl Catalog {
    /// Indexes entities, whose ids must be their places.
    pub(in crate::catalog) fn new(
        entities: Vec<Entity>,
        default_schemas: Vec<String>,
        captures: HashMap<String, Captured>,
    ) -> Self {
        let mut by_schema: HashMap<String, HashMap<String, EntityId>> = HashMap::new();
        let mut by_name: HashMap<String, Vec<EntityId>> = HashMap::new();
        let mut by_table: HashMap<String, HashMap<TableName, Vec<EntityId>>> = HashMap::new();
        for entity in &entities {
            by_schema.entry(entity.schema.clone()).or_default().insert(entity.name.clone(), entity.id);
            by_name.entry(entity.name.clone()).or_default().push(entity.id);
            by_table.entry(entity.source.clone()).or_default().entry(entity.table.clone()).or_default().push(entity.id);
        }
        let servings = servings(&entities);
        Self { entities, by_schema, by_name, by_table, servings, default_schemas, captures }
    }

    /// Finds an entity. Without a schema, a default schema's entity comes first, else the name must be unique.
    #[must_use]
    pub fn find(&self, target: &Target) -> Option<&Entity> {
        let id = if let Some(schema) = target.schema.as_deref() {
            self.by_schema.get(schema)?.get(target.entity.as_str()).copied()
        } else {
            let candidates = self.by_name.get(&target.entity)?;
            let in_default = |id: &&EntityId| self.default_schemas.contains(&self.entity(**id).schema);
            match candidates.as_slice() {
                [only] => Some(*only),
                many => many.iter().find(in_default).copied(),
            }
        }?;
        Some(self.entity(id))
    }

    /// The entity with exactly these public names.
    #[must_use]
    pub fn named(&self, schema: &str, entity: &str) -> Option<&Entity> {
        self.by_schema.get(schema)?.get(entity).map(|id| self.entity(*id))
    }

    /// The entities of a table.
    pub fn of_table(&self, source: &str, table: &TableName) -> impl Iterator<Item = &Entity> {
        let ids = self.by_table.get(source).and_then(|tables| tables.get(table));
        ids.into_iter().flatten().map(|id| self.entity(*id))
    }

    /// How a table is served, named by the database's names with a dot between them; none if no entity serves it.
    #[must_use]
    pub fn serving(&self, source: &str, table: &str) -> Option<&Serving> {
        self.servings.get(source)?.get(table)
    }

    /// The entity at a place.
    #[must_use]
    pub fn entity(&self, id: EntityId) -> &Entity {
        &self.entities[id.0]
    }

    /// Every entity, in the order of the manifests.
    #[must_use]
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// How the changes of a source are captured.
    #[must_use]
    pub fn capture(&self, source: &str) -> Capture {
        self.captures.get(source).map(|captured| captured.how).unwrap_or_default()
    }

    /// How many changes of a source may wait in its outbox, if it says so.
    #[must_use]
    pub fn most_waiting(&self, source: &str) -> Option<u64> {
        self.captures.get(source)?.most_waiting
    }
}
