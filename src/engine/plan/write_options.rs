//! Options of a read, as far as they say something about a write.
//!
//! Filters and declared operators are a condition that each row of an update or delete must meet beside its key; columns
//! and preloads say what is answered. Order, part and position choose among many rows: a write names its rows, so they
//! are refused here, never ignored. Pure, no IO.

use super::Scope;
use super::predicate::Predicate;
use super::read::declared;
use crate::catalog::Entity;
use crate::engine::authorize::authorize;
use crate::protocol::{Code, Error, KeyInput, Operation, Options};

/// The condition that a row must meet to be changed or removed.
pub(super) fn condition(
    scope: &mut Scope<'_, '_>,
    entity: &Entity,
    operation: Operation,
    options: &Options,
) -> Result<Predicate, Error> {
    check(options)?;
    let mut condition = Predicate::resolve(scope, entity, &options.filters)?;
    for fragment in &options.custom_operators {
        condition = condition.and(declared(entity, fragment, &options.parameters)?);
    }
    if condition.is_always() {
        return Ok(condition);
    }
    // Whether a row meets it tells of the row.
    authorize(scope.principal, entity, Operation::Read)?;
    if operation == Operation::Create {
        let message = "a create has no rows yet that a filter could be about; leave filters and customOperators out";
        return Err(Error::new(Code::InvalidOption, message));
    }
    Ok(condition)
}

/// What of the written rows is answered. They are chosen by what was written, whatever else the options say.
pub(super) fn projection(options: &Options) -> Options {
    Options {
        columns: options.columns.clone(),
        omit_columns: options.omit_columns.clone(),
        computed_columns: options.computed_columns.clone(),
        preload: options.preload.clone(),
        skip_count: true,
        ..Options::default()
    }
}

fn check(options: &Options) -> Result<(), Error> {
    let given = [
        ("sort", !options.sort.is_empty()),
        ("limit", options.limit.is_some()),
        ("offset", options.offset.is_some()),
        ("cursor_forward", names_a_row(options.cursor_forward.as_ref())),
        ("cursor_backward", names_a_row(options.cursor_backward.as_ref())),
        ("fetch_row_number", names_a_row(options.fetch_row_number.as_ref())),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => {
            let message = format!("{name} chooses among rows that are read, and a write names its rows; leave it out");
            Err(Error::new(Code::InvalidOption, message).with_detail(*name))
        }
    }
}

/// Clients send an empty text where they mean none.
fn names_a_row(key: Option<&KeyInput>) -> bool {
    key.is_some_and(|key| *key != KeyInput::Text(String::new()))
}
