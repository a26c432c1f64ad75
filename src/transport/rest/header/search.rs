//! Filters in parameter names: `X-FieldFilter-{column}`, `X-SearchFilter-{column}`, `X-SearchOp-{operator}-{column}` and
//! their OR form.

use super::decode::refused;
use crate::protocol::filter::{Grouping, Logic};
use crate::protocol::{Code, Condition, Error, Leaf, Operator};
use serde_json::Value;

/// Filters in the order of the parameters' names.
#[derive(Default)]
pub(super) struct Filters(Vec<(Logic, Condition)>);

impl Filters {
    /// One condition, by the header style's grouping.
    pub(super) fn grouped(self) -> Condition {
        Condition::grouped(self.0, Grouping::OrsOnly)
    }

    fn push(&mut self, logic: Logic, column: &str, operator: Operator, value: &str) {
        let value = if operator.takes_no_value() { Value::Null } else { Value::String(value.to_owned()) };
        self.0.push((logic, Condition::Leaf(Leaf { column: column.to_owned(), operator, value })));
    }
}

/// Reads one parameter; says whether it is a filter.
pub(super) fn read(name: &str, value: &str, filters: &mut Filters) -> Result<bool, Error> {
    if let Some(column) = name.strip_prefix("x-fieldfilter-") {
        filters.push(Logic::And, column, Operator::Eq, value);
        return Ok(true);
    }
    if let Some(column) = name.strip_prefix("x-searchfilter-") {
        filters.push(Logic::And, column, Operator::Contains, value);
        return Ok(true);
    }
    let families = [("x-searchop-", Logic::And), ("x-searchand-", Logic::And), ("x-searchor-", Logic::Or)];
    let Some((rest, logic)) = families.into_iter().find_map(|(prefix, logic)| Some((name.strip_prefix(prefix)?, logic))) else {
        return Ok(false);
    };
    let (word, column) =
        rest.split_once('-').ok_or_else(|| refused(Code::InvalidOption, name, "is x-searchop-{operator}-{column}"))?;
    let operator = operator(word).ok_or_else(|| {
        let short: String = word.chars().take(40).collect();
        Error::new(Code::InvalidOperator, format!("unknown operator '{short}'")).with_detail(short)
    })?;
    filters.push(logic, column, operator, value);
    Ok(true)
}

/// The header style's words: `like` looks for a part, and the null words take the empty text for NULL.
fn operator(word: &str) -> Option<Operator> {
    match word {
        "like" => Some(Operator::Contains),
        "empty" | "isnull" | "null" => Some(Operator::Empty),
        "notempty" | "isnotnull" | "notnull" => Some(Operator::NotEmpty),
        other => Operator::parse(other),
    }
}
