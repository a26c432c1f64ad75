//! Leave to use a link table where it is an entity itself: reading through it reads its rows, linking adds one, unlinking
//! removes one. A link table that nobody exposes belongs to its relation alone. Pure, no IO.

use super::Scope;
use crate::catalog::{Entity, Relation, RelationKind};
use crate::engine::authorize::{Grant, authorize};
use crate::protocol::{Error, Operation};

/// Leave to do something with the link rows of a relation; `None` where there are none or no entity has them.
pub(super) fn authorize_link<'c>(
    scope: &Scope<'c, '_>,
    entity: &Entity,
    relation: &Relation,
    operation: Operation,
) -> Result<Option<Grant<'c>>, Error> {
    let RelationKind::ManyToMany(link) = &relation.kind else { return Ok(None) };
    let mut refused = None;
    for linking in scope.catalog.of_table(&entity.source, &link.table) {
        match authorize(scope.principal, linking, operation) {
            Ok(grant) => return Ok(Some(grant)),
            // Another entity may show the same table to this caller.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}
