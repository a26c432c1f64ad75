//! How entities refer to each other.

use super::entity::{ColumnId, EntityId};
use super::ident::{Ident, TableName};

/// A named way from one entity's rows to another's.
#[derive(Debug, Clone)]
pub struct Relation {
    /// The name that clients use, and the key of the loaded rows.
    pub name: String,
    /// The other entity.
    pub target: EntityId,
    /// The other entity's public name.
    pub target_name: String,
    /// Which way the key points.
    pub kind: RelationKind,
    /// This side's columns.
    pub columns: Vec<ColumnId>,
    /// The other side's columns, in the same order.
    pub target_columns: Vec<ColumnId>,
}

/// Which way a relation's key points.
#[derive(Debug, Clone)]
pub enum RelationKind {
    /// This row holds the other's key; one row or none.
    BelongsTo,
    /// Other rows hold this row's key.
    HasMany,
    /// One other row holds this row's key.
    HasOne,
    /// A link table holds both keys.
    ManyToMany(Link),
}

/// The table between two entities.
#[derive(Debug, Clone)]
pub struct Link {
    /// The link table.
    pub table: TableName,
    /// Its columns that hold this side's key, in the order of the relation's columns.
    pub columns: Vec<Ident>,
    /// Its columns that hold the other side's key, in the order of the relation's target columns.
    pub target_columns: Vec<Ident>,
}

impl Relation {
    /// Whether it leads to one row at most.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.kind, RelationKind::BelongsTo | RelationKind::HasOne)
    }

    /// The kind's word in metadata and manifests.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            RelationKind::BelongsTo => "belongsTo",
            RelationKind::HasMany => "hasMany",
            RelationKind::HasOne => "hasOne",
            RelationKind::ManyToMany(_) => "manyToMany",
        }
    }
}
