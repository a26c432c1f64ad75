//! What hooks do to a planned write: every entity has a turn for each thing that is done to rows of it, in which all of those
//! rows are narrowed, set and unset, wherever in the graph they are. Pure, no IO.

use super::operand::unknown_column;
use super::predicate::Predicate;
use super::value::Value;
use super::write::{Action, RowWrite, WritePlan};
use crate::catalog::{ColumnId, Entity};
use crate::protocol::{Code, Error, Operation};
use serde_json::Value as Json;

/// The turn of an entity: what is done to rows of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Turn<'c> {
    pub(in crate::engine) entity: &'c Entity,
    pub(in crate::engine) operation: Operation,
}

impl Turn<'_> {
    /// Whether a row has this turn; of an upsert two are.
    pub(in crate::engine) fn has(self, entity: &Entity, action: Action) -> bool {
        entity.id == self.entity.id && action.is_in(self.operation)
    }
}

impl<'c> WritePlan<'c> {
    /// The turns, from above. A request without rows has that of what was asked for.
    pub(in crate::engine) fn turns(&self, asked: &'c Entity) -> Vec<Turn<'c>> {
        if self.rows.is_empty() {
            return vec![Turn { entity: asked, operation: self.operation }];
        }
        let mut rows = Vec::new();
        for row in &self.rows {
            gather(row, &mut rows);
        }
        let mut turns: Vec<Turn<'c>> = Vec::new();
        for (entity, _) in &rows {
            if turns.iter().any(|turn| turn.entity.id == entity.id) {
                continue;
            }
            for operation in [Operation::Create, Operation::Update, Operation::Delete] {
                let turn = Turn { entity, operation };
                if rows.iter().any(|(entity, action)| turn.has(entity, *action)) {
                    turns.push(turn);
                }
            }
        }
        turns
    }

    /// Adds a condition that each row of a turn must meet to be changed or removed.
    pub(in crate::engine) fn narrow(&mut self, turn: Turn<'_>, predicate: &Predicate) {
        for row in &mut self.rows {
            each(row, turn, &mut |row| row.grant.narrow(predicate.clone()));
        }
    }

    /// Sets a column of each row of a turn that is added or changed.
    pub(in crate::engine) fn set(&mut self, turn: Turn<'_>, column: &str, json: &Json) -> Result<(), Error> {
        let id = turn.entity.find_column(column).ok_or_else(|| unknown_column(turn.entity, column))?;
        let value = Value::from_json(json, &turn.entity.column(id).kind, column)?;
        for row in &mut self.rows {
            each(row, turn, &mut |row| {
                if row.action != Action::Delete {
                    row.decide(id, Some(value.clone()));
                }
            });
        }
        Ok(())
    }

    /// Leaves a column of each row of a turn unwritten.
    pub(in crate::engine) fn unset(&mut self, turn: Turn<'_>, column: &str) -> Result<(), Error> {
        let id = turn.entity.find_column(column).ok_or_else(|| unknown_column(turn.entity, column))?;
        for row in &mut self.rows {
            each(row, turn, &mut |row| row.decide(id, None));
        }
        Ok(())
    }
}

impl RowWrite<'_> {
    fn decide(&mut self, id: ColumnId, value: Option<Value>) {
        self.values.retain(|(other, _)| *other != id);
        self.decided.retain(|(other, _)| *other != id);
        self.values.extend(value.clone().map(|value| (id, value)));
        self.decided.push((id, value));
    }

    /// Whether a related row may put a value into a column, which it may not if a hook has decided otherwise.
    pub(in crate::engine) fn may_link(&self, id: ColumnId, value: &Value) -> Result<(), Error> {
        match self.decided.iter().find(|(other, _)| *other == id) {
            Some((_, decided)) if decided.as_ref() != Some(value) => {
                let entity = self.grant.entity();
                let name = entity.column(id).name.clone();
                let message =
                    format!("{name} of {} is not the related row's to decide; write the row by itself", entity.full_name());
                Err(Error::new(Code::HookError, message).with_detail(name))
            }
            _ => Ok(()),
        }
    }
}

/// A row and the rows below it, from above.
fn gather<'c>(row: &RowWrite<'c>, rows: &mut Vec<(&'c Entity, Action)>) {
    rows.push((row.grant.entity(), row.action));
    for child in row.referred.iter().chain(&row.referring).flat_map(|related| &related.rows) {
        gather(child, rows);
    }
}

/// Does something to a row and the rows below it, as far as they have the turn.
fn each(row: &mut RowWrite<'_>, turn: Turn<'_>, act: &mut dyn FnMut(&mut RowWrite<'_>)) {
    if turn.has(row.grant.entity(), row.action) {
        act(row);
    }
    for child in row.referred.iter_mut().chain(&mut row.referring).flat_map(|related| &mut related.rows) {
        each(child, turn, act);
    }
}
