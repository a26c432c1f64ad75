//! Filters with resolved columns and typed values: the one filter language.
//!
//! The same predicate is rendered to SQL and, for subscriptions, matched in memory.

use super::key::Key;
use super::operand::{Operand, OperandSource};
use super::value::{Value, has_nul};
use super::{Scope, within};
use crate::catalog::{Entity, Kind};
use crate::protocol::{Code, Condition, Error, Leaf, Operator};
use serde_json::Value as Json;

/// A typed filter.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// All hold; an empty list always holds.
    All(Vec<Predicate>),
    /// One holds; an empty list never holds.
    Any(Vec<Predicate>),
    /// It is false; where it is unknown because of a NULL, this is unknown too.
    Not(Box<Predicate>),
    /// One comparison.
    Compare(Operand, Comparison),
    /// A declared condition, by its place in the entity's list, with its parameters.
    Declared(usize, Vec<Value>),
    /// The row has one of these keys.
    Keys(Vec<Key>),
}

/// A comparison with typed values.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// NULL, or not.
    Null(bool),
    /// NULL or the empty text, or neither.
    Empty(bool),
    /// Against one value.
    Value(Match, Value),
    /// One of a list.
    In(Vec<Value>),
    /// Between two values.
    Between {
        /// The lower bound.
        low: Value,
        /// The upper bound.
        high: Value,
        /// Whether the bounds belong to it.
        inclusive: bool,
    },
    /// A text pattern.
    Text(TextMatch, String),
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Match {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextMatch {
    /// The caller's pattern, with regard to case.
    Like,
    /// The caller's pattern, without regard to case.
    ILike,
    /// Has the text, without regard to case.
    Contains,
    /// Begins with the text, without regard to case.
    StartsWith,
    /// Ends with the text, without regard to case.
    EndsWith,
}

impl TextMatch {
    /// The pattern for `LIKE`, in which a backslash takes the meaning from the next character.
    #[must_use]
    pub fn pattern(self, text: &str) -> String {
        match self {
            TextMatch::Like | TextMatch::ILike => text.to_owned(),
            TextMatch::Contains => format!("%{}%", escape(text)),
            TextMatch::StartsWith => format!("{}%", escape(text)),
            TextMatch::EndsWith => format!("%{}", escape(text)),
        }
    }

    /// Whether case counts.
    #[must_use]
    pub fn is_cased(self) -> bool {
        self == TextMatch::Like
    }
}

/// Takes the meaning from `%`, `_` and the backslash.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

impl Predicate {
    /// Holds for every row.
    #[must_use]
    pub fn always() -> Self {
        Predicate::All(Vec::new())
    }

    /// Whether it holds for every row because it says nothing.
    #[must_use]
    pub fn is_always(&self) -> bool {
        matches!(self, Predicate::All(parts) if parts.is_empty())
    }

    /// Whether it has a declared condition or column in it, which may do anything that SQL can.
    #[must_use]
    pub fn has_declared(&self) -> bool {
        match self {
            Predicate::All(parts) | Predicate::Any(parts) => parts.iter().any(Predicate::has_declared),
            Predicate::Not(part) => part.has_declared(),
            Predicate::Compare(operand, _) => matches!(operand.source, OperandSource::Computed(_)),
            Predicate::Declared(..) => true,
            Predicate::Keys(_) => false,
        }
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Predicate) -> Self {
        match (self, other) {
            (left, right) if right.is_always() => left,
            (left, right) if left.is_always() => right,
            (Predicate::All(mut parts), right) => {
                parts.push(right);
                Predicate::All(parts)
            }
            (left, right) => Predicate::All(vec![left, right]),
        }
    }

    /// Resolves and types a client's condition.
    pub fn resolve(scope: &mut Scope<'_, '_>, entity: &Entity, condition: &Condition) -> Result<Self, Error> {
        scope.spend_filters(condition.leaves())?;
        resolve(entity, condition, 0)
    }
}

/// How deep groups can be nested; each level is a level of recursion here and in the database.
const MAX_DEPTH: usize = 32;

fn resolve(entity: &Entity, condition: &Condition, depth: usize) -> Result<Predicate, Error> {
    within(depth, MAX_DEPTH, "nested filter groups")?;
    let each = |parts: &[Condition]| parts.iter().map(|part| resolve(entity, part, depth + 1)).collect::<Result<Vec<_>, _>>();
    match condition {
        Condition::All(parts) => Ok(Predicate::All(each(parts)?)),
        Condition::Any(parts) => Ok(Predicate::Any(each(parts)?)),
        Condition::Not(part) => Ok(Predicate::Not(Box::new(resolve(entity, part, depth + 1)?))),
        Condition::Leaf(leaf) if leaf.column == "all" && entity.find_column("all").is_none() => any_column(entity, leaf),
        Condition::Leaf(leaf) => {
            let mut operand = Operand::resolve(entity, &leaf.column)?;
            let comparison = compare(entity, &mut operand, leaf)?;
            Ok(Predicate::Compare(operand, comparison))
        }
    }
}

/// `all`: some readable column meets the comparison; columns that can't be compared so are left out.
fn any_column(entity: &Entity, leaf: &Leaf) -> Result<Predicate, Error> {
    check_value(entity, leaf)?;
    let readable = entity.columns().filter(|(_, column)| column.readable());
    let comparisons = readable.filter_map(|(id, _)| {
        let mut operand = Operand::column(entity, id);
        compare(entity, &mut operand, leaf).ok().map(|comparison| Predicate::Compare(operand, comparison))
    });
    Ok(Predicate::Any(comparisons.collect()))
}

/// Refuses a value that the operator takes beside no column, whatever its type.
fn check_value(entity: &Entity, leaf: &Leaf) -> Result<(), Error> {
    match leaf.operator {
        Operator::IsNull | Operator::IsNotNull | Operator::Empty | Operator::NotEmpty => Ok(()),
        Operator::Like | Operator::ILike | Operator::Contains | Operator::StartsWith | Operator::EndsWith => {
            text_match(leaf).map(drop)
        }
        _ if has_nul(&leaf.value) => Err(invalid(leaf, "takes a text without NUL")),
        Operator::Eq | Operator::Neq if leaf.value.is_object() => Err(invalid(leaf, "takes no object")),
        Operator::Eq | Operator::Neq => Ok(()),
        Operator::In => list(entity, leaf).map(drop),
        Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => bound(leaf, &leaf.value).map(drop),
        Operator::Between | Operator::BetweenInclusive => bounds(leaf).map(drop),
    }
}

fn compare(entity: &Entity, operand: &mut Operand, leaf: &Leaf) -> Result<Comparison, Error> {
    let refused = |reason: &str| {
        let message = format!("operator {} can't be used on {}: {reason}", leaf.operator.as_str(), leaf.column);
        Err(Error::new(Code::InvalidOperator, message).with_detail(leaf.column.clone()))
    };
    let negated = leaf.operator == Operator::Neq;
    match leaf.operator {
        Operator::IsNull => Ok(Comparison::Null(true)),
        Operator::IsNotNull => Ok(Comparison::Null(false)),
        Operator::Empty => Ok(Comparison::Empty(true)),
        Operator::NotEmpty => Ok(Comparison::Empty(false)),
        Operator::Eq | Operator::Neq if leaf.value.is_null() => Ok(Comparison::Null(!negated)),
        Operator::Like | Operator::ILike | Operator::Contains | Operator::StartsWith | Operator::EndsWith => {
            if !has_text_form(operand) {
                return refused(&format!("it is a {} column", operand.kind.as_str()));
            }
            text_match(leaf)
        }
        _ if operand.is_opaque(entity) => refused("the database has no comparison for its type"),
        _ if operand.kind == Kind::Json => refused("compare a place in it, such as column->>key"),
        Operator::Eq => Ok(Comparison::Value(Match::Equal, one_value(operand, leaf)?)),
        Operator::Neq => Ok(Comparison::Value(Match::NotEqual, one_value(operand, leaf)?)),
        Operator::In => Ok(Comparison::In(typed_alike(operand, &list(entity, leaf)?, leaf)?)),
        _ if !operand.kind.is_ordered() => refused(&format!("{} values have no order", operand.kind.as_str())),
        Operator::Gt => Ok(Comparison::Value(Match::Greater, ordered_value(operand, leaf)?)),
        Operator::Gte => Ok(Comparison::Value(Match::GreaterOrEqual, ordered_value(operand, leaf)?)),
        Operator::Lt => Ok(Comparison::Value(Match::Less, ordered_value(operand, leaf)?)),
        Operator::Lte => Ok(Comparison::Value(Match::LessOrEqual, ordered_value(operand, leaf)?)),
        Operator::Between | Operator::BetweenInclusive => {
            let [low, high] = <[Value; 2]>::try_from(typed_alike(operand, &bounds(leaf)?, leaf)?)
                .map_err(|_| invalid(leaf, "takes exactly two values"))?;
            Ok(Comparison::Between { low, high, inclusive: leaf.operator == Operator::BetweenInclusive })
        }
    }
}

/// Whether the column's values have one text form on every database.
fn has_text_form(operand: &Operand) -> bool {
    matches!(operand.source, OperandSource::Json(..))
        || matches!(
            operand.kind,
            Kind::Text | Kind::Enum(_) | Kind::Uuid | Kind::Integer | Kind::Decimal | Kind::Date | Kind::Other
        )
}

fn text_match(leaf: &Leaf) -> Result<Comparison, Error> {
    let text = match &leaf.value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return Err(invalid(leaf, "takes a text")),
    };
    if text.contains('\0') {
        return Err(invalid(leaf, "takes a text without NUL"));
    }
    let kind = match leaf.operator {
        Operator::Like => TextMatch::Like,
        Operator::ILike => TextMatch::ILike,
        Operator::StartsWith => TextMatch::StartsWith,
        Operator::EndsWith => TextMatch::EndsWith,
        _ => TextMatch::Contains,
    };
    let trailing = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if matches!(kind, TextMatch::Like | TextMatch::ILike) && trailing % 2 == 1 {
        return Err(invalid(leaf, "takes a pattern that does not end in a lone backslash"));
    }
    Ok(Comparison::Text(kind, text))
}

/// The values of which a row has one.
fn list(entity: &Entity, leaf: &Leaf) -> Result<Vec<Json>, Error> {
    let items = list_items(&leaf.value);
    within(items.len(), entity.limits.max_list, "values in a list")?;
    if items.contains(&Json::Null) {
        return Err(invalid(leaf, "takes values that are not null; use is_null beside it"));
    }
    if items.iter().any(Json::is_object) {
        return Err(invalid(leaf, "takes no objects"));
    }
    Ok(items)
}

/// The two values between which a row lies.
fn bounds(leaf: &Leaf) -> Result<[Json; 2], Error> {
    let bounds = <[Json; 2]>::try_from(list_items(&leaf.value)).map_err(|_| invalid(leaf, "takes exactly two values"))?;
    for value in &bounds {
        bound(leaf, value)?;
    }
    Ok(bounds)
}

/// A value before or after which a row lies.
fn bound<'v>(leaf: &Leaf, value: &'v Json) -> Result<&'v Json, Error> {
    match value {
        Json::Null => Err(invalid(leaf, "takes no null")),
        Json::Array(_) | Json::Object(_) => Err(invalid(leaf, "takes a text, a number or a truth value")),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(value),
    }
}

/// A JSON list, or the comma list that headers carry.
fn list_items(value: &Json) -> Vec<Json> {
    match value {
        Json::Array(items) => items.clone(),
        Json::String(text) if text.is_empty() => Vec::new(),
        Json::String(text) => text.split(',').map(|item| Json::String(item.to_owned())).collect(),
        Json::Null => Vec::new(),
        other => vec![other.clone()],
    }
}

fn one_value(operand: &mut Operand, leaf: &Leaf) -> Result<Value, Error> {
    typed(operand, &leaf.value, leaf)
}

fn ordered_value(operand: &mut Operand, leaf: &Leaf) -> Result<Value, Error> {
    typed(operand, bound(leaf, &leaf.value)?, leaf)
}

/// Reads values that are compared together; those for a place in JSON must be of one type.
fn typed_alike(operand: &mut Operand, items: &[Json], leaf: &Leaf) -> Result<Vec<Value>, Error> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let before = operand.kind.clone();
        values.push(typed(operand, item, leaf)?);
        if values.len() > 1 && operand.kind != before {
            return Err(invalid(leaf, "takes values of one type"));
        }
    }
    Ok(values)
}

/// Reads a value as the operand's kind. A place in JSON takes the kind of the value itself.
fn typed(operand: &mut Operand, value: &Json, leaf: &Leaf) -> Result<Value, Error> {
    if matches!(operand.source, OperandSource::Json(..)) {
        operand.kind = match value {
            Json::Number(_) => Kind::Decimal,
            Json::Bool(_) => Kind::Boolean,
            Json::String(_) | Json::Null => Kind::Text,
            Json::Array(_) | Json::Object(_) => return Err(invalid(leaf, "takes a text, a number or a truth value")),
        };
    }
    Value::from_json(value, &operand.kind, &leaf.column)
}

fn invalid(leaf: &Leaf, what: &str) -> Error {
    Error::new(Code::InvalidValue, format!("operator {} on {} {what}", leaf.operator.as_str(), leaf.column))
        .with_detail(leaf.column.clone())
}
