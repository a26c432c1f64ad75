//! What the documents of all transports have in common: what the caller may see, and the JSON schemas of rows, options,
//! metadata and errors.
//!
//! The schemas stay within what JSON Schema's draft 7 and its draft 2020-12 both read the same way, since OpenAPI takes the
//! one and AsyncAPI the other.

pub(super) mod answers;
pub(super) mod kinds;
pub(super) mod options;
pub(super) mod rows;
pub(super) mod visible;

use crate::catalog::Entity;

/// An entity's description.
pub(super) fn entity(entity: &Entity) -> String {
    entity.description.clone().unwrap_or_else(|| format!("Rows of {}.", entity.full_name()))
}
