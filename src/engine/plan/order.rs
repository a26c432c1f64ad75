//! The order of rows: the client's keys, or the entity's default, and the primary key last.

use super::operand::{Operand, OperandSource};
use crate::catalog::{Entity, Kind};
use crate::protocol::options::{Direction, Nulls};
use crate::protocol::{Code, Error, Sort};

/// One sort key.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderKey {
    /// What is sorted by.
    pub operand: Operand,
    /// Which way.
    pub direction: Direction,
    /// Where NULLs go; the same on every database.
    pub nulls: Nulls,
}

impl OrderKey {
    pub(in crate::engine) fn new(operand: Operand, direction: Direction, nulls: Option<Nulls>) -> Self {
        let default = if direction == Direction::Ascending { Nulls::Last } else { Nulls::First };
        Self { operand, direction, nulls: nulls.unwrap_or(default) }
    }

    /// The same key the other way round, NULLs too.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let direction = if self.direction == Direction::Ascending { Direction::Descending } else { Direction::Ascending };
        let nulls = if self.nulls == Nulls::First { Nulls::Last } else { Nulls::First };
        Self { operand: self.operand.clone(), direction, nulls }
    }
}

/// Sort keys that a request may have.
const MAX_KEYS: usize = 16;

/// Resolves the order; the primary key is always the last key, so that pages are stable.
pub(super) fn resolve_order(entity: &Entity, sort: &[Sort]) -> Result<Vec<OrderKey>, Error> {
    if sort.len() > MAX_KEYS {
        return Err(Error::new(Code::LimitExceeded, format!("the request sorts by {} keys; {MAX_KEYS} are allowed", sort.len())));
    }
    let mut keys = Vec::with_capacity(sort.len() + entity.primary_key.len());
    for key in sort {
        let operand = Operand::resolve(entity, &key.column)?;
        if matches!(operand.kind, Kind::Json | Kind::Bytes | Kind::Array(_)) {
            let message = format!("{} can't be sorted by: {} values have no order", key.column, operand.kind.as_str());
            return Err(Error::new(Code::InvalidColumn, message).with_detail(key.column.clone()));
        }
        if operand.is_opaque(entity) {
            let message = format!("{} can't be sorted by: the database has no order for its type", key.column);
            return Err(Error::new(Code::InvalidColumn, message).with_detail(key.column.clone()));
        }
        keys.push(OrderKey::new(operand, key.direction, key.nulls));
    }
    if sort.is_empty() {
        let default = entity.default_sort.iter();
        keys.extend(default.map(|key| OrderKey::new(Operand::column(entity, key.column), key.direction, key.nulls)));
    }
    for id in &entity.primary_key {
        let source = OperandSource::Column(*id);
        if !keys.iter().any(|key| key.operand.source == source) {
            keys.push(OrderKey::new(Operand::column(entity, *id), Direction::Ascending, None));
        }
    }
    Ok(keys)
}
