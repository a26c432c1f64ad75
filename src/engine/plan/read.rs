//! A read: rows of an entity with everything that hangs on them.

use super::Scope;
use super::key::Key;
use super::order::resolve_order;
use super::page::{Paging, resolve_paging};
use super::predicate::Predicate;
use super::preload::resolve_preloads;
use super::select::{Field, Node, resolve_fields};
use super::value::Value;
use super::within;
use crate::catalog::Entity;
use crate::engine::authorize::Grant;
use crate::protocol::options::{Fragment, Parameter};
use crate::protocol::{Code, Error, KeyInput, Options, Selector};

/// A read that can be rendered.
#[derive(Debug, Clone)]
pub struct ReadPlan<'c> {
    /// What is read.
    pub node: Node<'c>,
    /// Which rows by key, beside the filter.
    pub keys: Option<Vec<Key>>,
    /// Which part of it.
    pub paging: Paging,
    /// Whether rows beyond the page are counted.
    pub counted: bool,
    /// How it is answered.
    pub shape: Shape,
}

/// How a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A list.
    List,
    /// One row, by key.
    Record,
    /// One row, by key, with its position in the filtered and sorted set.
    RowNumber,
}

impl ReadPlan<'_> {
    /// Whether a database answers it at once: one row of a table by its key, without anything that has to be worked out.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let entity = self.node.entity();
        let plain = self.node.fields.iter().all(|field| matches!(field, Field::Column(_)));
        let one = self.keys.as_ref().is_some_and(|keys| keys.len() == 1) && self.shape == Shape::Record;
        plain && one && !entity.is_view && !self.node.filter.has_declared() && !self.node.grant.rows().has_declared()
    }
}

/// Plans a read under a grant.
pub fn plan_read<'c>(
    scope: &mut Scope<'c, '_>,
    grant: Grant<'c>,
    selector: &Selector,
    options: &Options,
) -> Result<ReadPlan<'c>, Error> {
    let entity = grant.entity();
    let mut fields = resolve_fields(entity, &options.columns, &options.omit_columns, &options.computed_columns)?;
    fields.extend(resolve_preloads(scope, entity, &options.preload, 0)?);
    if fields.is_empty() {
        return Err(Error::new(Code::InvalidOption, "nothing is left to select: every column is omitted"));
    }
    let mut filter = Predicate::resolve(scope, entity, &options.filters)?;
    for fragment in &options.custom_operators {
        filter = filter.and(declared(entity, fragment, &options.parameters)?);
    }
    let order = resolve_order(entity, &options.sort)?;
    let paging = resolve_paging(entity, options)?;
    let asked = options.fetch_row_number.as_ref().filter(|key| **key != KeyInput::Text(String::new()));
    let (shape, keys) = match (asked, selector) {
        (Some(_), Selector::One(_) | Selector::Many(_)) => {
            return Err(Error::new(Code::InvalidOption, "fetch_row_number names its row itself; leave out the id"));
        }
        (Some(key), Selector::None) => (Shape::RowNumber, Some(vec![Key::resolve(entity, key)?])),
        (None, Selector::One(key)) => (Shape::Record, Some(vec![Key::resolve(entity, key)?])),
        (None, Selector::Many(keys)) => {
            within(keys.len(), entity.limits.max_list, "ids")?;
            let keys = keys.iter().map(|key| Key::resolve(entity, key)).collect::<Result<_, _>>()?;
            (Shape::List, Some(keys))
        }
        (None, Selector::None) => (Shape::List, None),
    };
    Ok(ReadPlan { node: Node { grant, fields, filter, order }, keys, paging, counted: !options.skip_count, shape })
}

/// Resolves a declared condition with its parameters.
pub(super) fn declared(entity: &Entity, fragment: &Fragment, given: &[Parameter]) -> Result<Predicate, Error> {
    let name = fragment.declared_name()?;
    let place = entity.operators.iter().position(|operator| operator.name.eq_ignore_ascii_case(name));
    let Some(place) = place else {
        let message = format!("{} declares no operator '{name}'; clients can't send SQL", entity.full_name());
        return Err(Error::new(Code::InvalidOperator, message).with_detail(name));
    };
    let mut values = Vec::new();
    for parameter in &entity.operators[place].parameters {
        let value = given.iter().find(|value| value.name == parameter.name);
        let Some(value) = value else {
            let message = format!("operator '{name}' needs the parameter '{}'; send it in parameters", parameter.name);
            return Err(Error::new(Code::InvalidValue, message).with_detail(parameter.name.clone()));
        };
        values.push(Value::from_json(&value.value, &parameter.kind, &parameter.name)?);
    }
    Ok(Predicate::Declared(place, values))
}
