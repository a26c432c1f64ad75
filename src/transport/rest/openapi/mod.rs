//! The OpenAPI 3.1 document, made from the catalog for one principal.
//!
//! It shows what the principal may see and do, by the same [`authorize`] that requests pass, and takes its codes,
//! operators and statuses from the types that serve the requests. It never shows a hidden column or SQL of a manifest,
//! and does no IO.

mod body_paths;
mod envelope;
mod header_parameters;
mod header_paths;
mod responses;
mod wording;

#[cfg(test)]
pub(in crate::transport) mod tests;

use crate::auth::Principal;
use crate::catalog::{Catalog, EntityId};
use crate::engine::authorize::authorize;
use crate::protocol::Code;
use crate::transport::describe::visible::Visible;
use crate::transport::describe::{self, answers, options, rows};
use serde_json::{Map, Value, json};

/// What the document says beside the catalog.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// Whether bearer tokens are read.
    pub takes_tokens: bool,
    /// Whether callers without a token get in.
    pub admits_anonymous: bool,
    /// The entity whose paths alone are shown; every entity's without it.
    pub only: Option<EntityId>,
}

/// The document for what a principal may see and do.
#[must_use]
pub fn document(catalog: &Catalog, principal: &Principal, base: &Base) -> Value {
    let visible = Visible::new(catalog, principal);
    let shown = || visible.entities().filter(|entity| base.only.is_none_or(|only| only == entity.id));
    let mut paths = Map::new();
    for entity in shown() {
        body_paths::add(&mut paths, &visible, entity);
        header_paths::add(&mut paths, &visible, entity);
    }
    let codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| !code.of_sessions()).collect();
    let mut schemas = answers::schemas(&codes);
    schemas.extend(envelope::schemas());
    schemas.extend(options::schemas());
    // Rows of other entities are referred to by relations.
    for entity in visible.entities() {
        rows::add(&mut schemas, &visible, entity);
    }
    let tags = shown().map(|entity| json!({"name": entity.full_name(), "description": describe::entity(entity)}));
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ResolveSpec API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": wording::INTRODUCTION,
        },
        "servers": [{"url": "/"}],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": header_parameters::shared(),
            "headers": responses::headers(),
            "responses": responses::shared(),
        },
    });
    if base.takes_tokens {
        document["components"]["securitySchemes"] =
            json!({"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}});
        document["security"] = if base.admits_anonymous { json!([{"bearer": []}, {}]) } else { json!([{"bearer": []}]) };
    }
    document
}

/// Refuses a principal that may do nothing with an entity.
pub(super) fn may_see(catalog: &Catalog, principal: &Principal, id: EntityId) -> Result<(), crate::protocol::Error> {
    if Visible::new(catalog, principal).contains(id) {
        return Ok(());
    }
    authorize(principal, catalog.entity(id), crate::protocol::Operation::Meta).map(|_| ())
}
