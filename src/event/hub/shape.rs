//! What makes subscriptions the same: which rows, and what of them is told. Equal ones are matched and encoded once.

use crate::catalog::EntityId;
use crate::engine::SubscriptionPlan;
use crate::event::matcher::{Error as Unclear, Filter, Image, Projection};
use crate::protocol::Error;

/// Which rows of which entity, and what of them is told.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) filter: Filter,
    projection: Projection,
    /// The columns of the key that may be seen; none if none may.
    key: Option<Projection>,
}

impl Shape {
    /// Compiles a plan. What can't be followed without the database is refused.
    pub(super) fn compile(plan: &SubscriptionPlan<'_>) -> Result<Self, Error> {
        let entity = plan.entity();
        let key = if plan.key.is_empty() { None } else { Some(Projection::compile(entity, &plan.key)?) };
        Ok(Self {
            filter: Filter::compile(entity, &plan.rows())?,
            projection: Projection::compile(entity, &plan.read.node.fields)?,
            key,
        })
    }

    pub(super) fn entity(&self) -> EntityId {
        self.filter.entity()
    }

    /// The row as it is told.
    pub(super) fn row(&self, image: &Image<'_>) -> Result<String, Unclear> {
        self.projection.write(image)
    }

    /// Whether anything of the key may be seen.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The row's key as it is told.
    pub(super) fn key(&self, image: &Image<'_>) -> Result<String, Unclear> {
        self.key.as_ref().map_or_else(|| Ok("{}".to_owned()), |key| key.write(image))
    }
}
