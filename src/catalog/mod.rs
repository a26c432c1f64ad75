//! What is exposed: entities, columns, relations and sources, resolved against the live databases.
//!
//! A catalog is immutable; a change of the manifests makes a new one. Only this module makes [`Ident`]s, and so only
//! names that a manifest or the database declared ever reach SQL.

pub mod collation;
pub mod compile;
mod derive;
pub mod entity;
pub mod facts;
pub mod ident;
pub mod introspect;
pub mod kind;
mod lexer;
pub mod lookup;
pub mod metadata;
mod opaque;
pub mod policy;
pub mod relation;
mod serving;
pub mod source;

#[cfg(test)]
pub(crate) mod test_shop;

pub use collation::{Collation, Lowering, TextComparison};
pub use compile::compile;
pub use entity::{Column, ColumnId, Computed, CustomOperator, Entity, EntityId, Limits, Operations, Rule, SortDefault};
pub use facts::Facts;
pub use ident::{Ident, TableName};
pub use introspect::{Scope, introspect};
pub use kind::Kind;
pub use lookup::Catalog;
pub use relation::{Link, Relation, RelationKind};
pub use serving::Serving;
pub use source::{Capture, Retained, capture, scope};
