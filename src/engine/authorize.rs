//! Who may do what: the only maker of grants, without which no plan can be built.
//!
//! Row and column policies will enter here: a grant already carries the rows that it holds for. No IO.

use super::plan::Predicate;
use crate::auth::Principal;
use crate::catalog::{Entity, Rule};
use crate::protocol::{Code, Error, Operation};

/// Leave to do one operation on one entity, on the rows that meet a predicate.
#[derive(Debug, Clone)]
pub struct Grant<'c> {
    entity: &'c Entity,
    operation: Operation,
    rows: Predicate,
}

impl<'c> Grant<'c> {
    /// The entity.
    #[must_use]
    pub fn entity(&self) -> &'c Entity {
        self.entity
    }

    /// The operation.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The rows that it holds for.
    #[must_use]
    pub fn rows(&self) -> &Predicate {
        &self.rows
    }

    /// Restricts the grant further; it never widens.
    pub(super) fn narrow(&mut self, predicate: Predicate) {
        let rows = std::mem::replace(&mut self.rows, Predicate::always());
        self.rows = rows.and(predicate);
    }
}

/// Grants an operation on an entity, or says why not.
pub fn authorize<'c>(principal: &Principal, entity: &'c Entity, operation: Operation) -> Result<Grant<'c>, Error> {
    let rule = match operation {
        Operation::Read | Operation::Meta => entity.operations.read.as_ref(),
        Operation::Create => entity.operations.create.as_ref(),
        Operation::Update => entity.operations.update.as_ref(),
        Operation::Delete => entity.operations.delete.as_ref(),
    };
    let allowed = match rule {
        None => false,
        Some(Rule::Everyone) => true,
        Some(Rule::Roles(roles)) => roles.iter().any(|role| principal.has_role(role)),
    };
    if allowed {
        return Ok(Grant { entity, operation, rows: Predicate::always() });
    }
    if entity.is_closed {
        let reason = "an AccessPolicy holds for it, which this version can't enforce, so that nobody may use it";
        return Err(Error::new(Code::Forbidden, format!("{} is closed: {reason}", entity.full_name())));
    }
    let code = if rule.is_some() && principal.is_anonymous() { Code::Unauthorized } else { Code::Forbidden };
    Err(Error::new(code, format!("{} is not allowed on {}", operation.as_str(), entity.full_name())))
}
