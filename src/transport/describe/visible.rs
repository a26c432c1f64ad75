//! What a principal may see and do of each entity, decided once for a document.

use crate::auth::Principal;
use crate::catalog::{Catalog, Entity, EntityId};
use crate::engine::authorize::authorize;
use crate::protocol::Operation;

/// The rights of one principal over a catalog.
pub(in crate::transport) struct Visible<'c> {
    catalog: &'c Catalog,
    rights: Vec<Rights>,
}

/// What may be done with one entity.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer about one operation")]
pub(in crate::transport) struct Rights {
    /// Reading rows and metadata.
    pub read: bool,
    /// Adding rows.
    pub create: bool,
    /// Changing rows.
    pub update: bool,
    /// Removing rows.
    pub delete: bool,
}

impl Rights {
    /// Whether anything may be done.
    pub(in crate::transport) fn any(self) -> bool {
        self.read || self.writes()
    }

    /// Whether rows may be written in any way.
    pub(in crate::transport) fn writes(self) -> bool {
        self.create || self.update || self.delete
    }
}

impl<'c> Visible<'c> {
    /// Asks for every operation on every entity.
    pub(in crate::transport) fn new(catalog: &'c Catalog, principal: &Principal) -> Self {
        let rights = catalog.entities().iter().map(|entity| {
            let may = |operation| authorize(principal, entity, operation).is_ok();
            let keyed = !entity.primary_key.is_empty();
            Rights {
                read: may(Operation::Read),
                create: may(Operation::Create),
                update: keyed && may(Operation::Update),
                delete: keyed && may(Operation::Delete),
            }
        });
        Self { catalog, rights: rights.collect() }
    }

    /// The entities with which anything may be done.
    pub(in crate::transport) fn entities(&self) -> impl Iterator<Item = &'c Entity> {
        self.catalog.entities().iter().filter(|entity| self.contains(entity.id))
    }

    /// What may be done with an entity.
    pub(in crate::transport) fn rights(&self, id: EntityId) -> Rights {
        self.rights.get(id.index()).copied().unwrap_or_default()
    }

    /// Whether anything may be done with an entity.
    pub(in crate::transport) fn contains(&self, id: EntityId) -> bool {
        self.rights(id).any()
    }

    /// The entity at a place.
    pub(in crate::transport) fn entity(&self, id: EntityId) -> &'c Entity {
        self.catalog.entity(id)
    }
}

/// `prefix.schema.entity` as the name of a component, which has few characters to use.
///
/// Names with others get the entity's place behind them, so that no two entities share a component.
pub(in crate::transport) fn component(prefix: &str, entity: &Entity) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|one| if one.is_ascii_alphanumeric() || one == '-' || one == '_' { one } else { '_' }).collect()
    };
    let (schema, name) = (plain(&entity.schema), plain(&entity.name));
    if schema == entity.schema && name == entity.name {
        format!("{prefix}.{schema}.{name}")
    } else {
        format!("{prefix}.{schema}.{name}.{}", entity.id.index())
    }
}

/// A reference to a schema.
pub(in crate::transport) fn schema_ref(name: &str) -> serde_json::Value {
    serde_json::json!({"$ref": format!("#/components/schemas/{name}")})
}
