//! What exactly will happen: requests resolved against the catalog, under a grant. Pure, no IO.
//!
//! Every name is a column or relation of the catalog from here on, and every value has its column's type.

mod key;
mod link;
mod operand;
mod order;
mod page;
mod predicate;
mod preload;
mod read;
mod select;
pub(in crate::engine) mod turn;
mod value;
pub mod write;
mod write_options;

pub use key::Key;
pub use operand::{Operand, OperandSource, PathStep};
pub use order::OrderKey;
pub use page::{Cursor, Paging};
pub use predicate::{Comparison, Match, Predicate, TextMatch};
pub use preload::PreloadPlan;
pub use read::{ReadPlan, Shape, plan_read};
pub use select::{Field, Node};
pub use value::Value;

use crate::auth::Principal;
use crate::catalog::{Catalog, Entity, Limits};
use crate::protocol::{Code, Error};

/// What planning needs beside the request: names, the caller, and the request's budget.
pub struct Scope<'c, 'p> {
    /// The names.
    pub catalog: &'c Catalog,
    /// The caller.
    pub principal: &'p Principal,
    limits: Limits,
    filters: usize,
    preloads: usize,
}

impl<'c, 'p> Scope<'c, 'p> {
    /// A scope with the budget of the request's entity.
    #[must_use]
    pub fn new(catalog: &'c Catalog, principal: &'p Principal, entity: &Entity) -> Self {
        Self { catalog, principal, limits: entity.limits, filters: 0, preloads: 0 }
    }

    fn spend_filters(&mut self, count: usize) -> Result<(), Error> {
        self.filters += count;
        within(self.filters, self.limits.max_filters, "comparisons in filters")
    }

    fn spend_preload(&mut self) -> Result<(), Error> {
        self.preloads += 1;
        within(self.preloads, self.limits.max_preloads, "preloads")
    }
}

/// Refuses more than a limit allows.
fn within(count: usize, limit: usize, what: &str) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    Err(Error::new(Code::LimitExceeded, format!("the request has {count} {what}; this entity allows {limit}")))
}
