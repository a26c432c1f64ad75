//! From a predicate to a filter, or to the reason why only the database can evaluate it.

use super::bound::datum;
use super::column::{domain, tells_null, tells_text};
use super::domain::Domain;
use super::filter::{Check, Filter, Node, Source, Test, TextPattern};
use super::pattern::{MOST_GAPPED, Pattern, TooLong};
use super::text::lower;
use crate::catalog::{Column, Entity, Kind, Lowering, TextComparison};
use crate::database::Dialect;
use crate::engine::plan::{Comparison, Key, Match, Operand, OperandSource, Predicate, TextMatch, Value};
use crate::protocol::{Code, Error};

impl Filter {
    /// Compiles a predicate over an entity. What can't be mirrored exactly is refused.
    pub fn compile(entity: &Entity, predicate: &Predicate) -> Result<Self, Error> {
        Ok(Self { root: node(entity, predicate)?, entity: entity.id })
    }
}

fn node(entity: &Entity, predicate: &Predicate) -> Result<Node, Error> {
    match predicate {
        Predicate::All(parts) => Ok(Node::All(nodes(entity, parts)?)),
        Predicate::Any(parts) => Ok(Node::Any(nodes(entity, parts)?)),
        Predicate::Not(part) => Ok(Node::Not(Box::new(node(entity, part)?))),
        Predicate::Compare(operand, comparison) => compare(entity, operand, comparison),
        Predicate::Keys(keys) => keyed(entity, keys),
        Predicate::Declared(place, _) => {
            let name = &entity.operators[*place].name;
            Err(refuse(name, "a declared operator is SQL, which only the database evaluates"))
        }
    }
}

fn nodes(entity: &Entity, parts: &[Predicate]) -> Result<Box<[Node]>, Error> {
    parts.iter().map(|part| node(entity, part)).collect()
}

fn refuse(name: &str, reason: &str) -> Error {
    let message = format!(
        "the filter on '{name}' can't be followed live: {reason}. Subscribe by other columns or operators, and check this when \
         the change arrives"
    );
    Error::new(Code::UnmatchableFilter, message).with_detail(name)
}

fn keyed(entity: &Entity, keys: &[Key]) -> Result<Node, Error> {
    let equal = |key: &Key| {
        let columns = entity.primary_key.iter().zip(&key.0);
        let parts = columns
            .map(|(id, value)| compare(entity, &Operand::column(entity, *id), &Comparison::Value(Match::Equal, value.clone())));
        parts.collect::<Result<_, _>>().map(Node::All)
    };
    match (entity.primary_key.as_slice(), keys) {
        ([id], [_, _, ..] | []) => {
            let values = keys.iter().flat_map(|key| key.0.iter().cloned()).collect();
            compare(entity, &Operand::column(entity, *id), &Comparison::In(values))
        }
        _ => keys.iter().map(equal).collect::<Result<_, _>>().map(Node::Any),
    }
}

/// What a comparison looks at.
struct Target<'a> {
    entity: &'a Entity,
    column: &'a Column,
    operand: &'a Operand,
    source: Source,
}

fn compare(entity: &Entity, operand: &Operand, comparison: &Comparison) -> Result<Node, Error> {
    let (id, source) = match &operand.source {
        OperandSource::Column(id) => (*id, Source::Column(*id)),
        OperandSource::Json(id, path) => (*id, Source::Place(Box::new((*id, path.as_slice().into())))),
        OperandSource::Computed(place) => {
            let name = &entity.computed[*place].name;
            return Err(refuse(name, "a computed column is SQL, which only the database evaluates"));
        }
    };
    let column = entity.column(id);
    let target = Target { entity, column, operand, source };
    target.node(comparison).map_err(|reason| refuse(&column.name, &reason))
}

impl Target<'_> {
    fn node(&self, comparison: &Comparison) -> Result<Node, String> {
        match comparison {
            Comparison::Empty(expected) if self.operand.kind == Kind::Text => {
                let how = if *expected { Match::Equal } else { Match::NotEqual };
                let parts = Box::new([self.null(*expected)?, self.value(how, &Value::Text(String::new()))?]);
                Ok(if *expected { Node::Any(parts) } else { Node::All(parts) })
            }
            Comparison::Null(expected) | Comparison::Empty(expected) => self.null(*expected),
            Comparison::Value(how, value) => self.value(*how, value),
            Comparison::In(values) => {
                let domain = self.domain()?;
                let values =
                    values.iter().map(|value| datum(self.entity, self.column, domain, value)).collect::<Result<_, _>>()?;
                Ok(self.test(Check::In(domain, values)))
            }
            Comparison::Between { low, high, inclusive } => self.between(low, high, *inclusive),
            Comparison::Text(how, text) => self.pattern(*how, text),
        }
    }

    fn test(&self, check: Check) -> Node {
        Node::Test(Test { source: self.source.clone(), check })
    }

    fn is_place(&self) -> bool {
        matches!(self.source, Source::Place(..))
    }

    fn null(&self, expected: bool) -> Result<Node, String> {
        if self.is_place() {
            self.place()?;
        } else {
            tells_null(self.entity, self.column)?;
        }
        Ok(self.test(Check::Null(expected)))
    }

    fn value(&self, how: Match, value: &Value) -> Result<Node, String> {
        let domain = self.domain()?;
        let is_order = !matches!(how, Match::Equal | Match::NotEqual);
        if is_order && let Kind::Enum(labels) = &self.operand.kind {
            return self.ranked(domain, labels, |rank| rank_of(labels, value).map(|bound| ordered(rank, how, bound)));
        }
        if is_order {
            Self::needs_order(domain)?;
        }
        Ok(self.test(Check::Value(domain, how, datum(self.entity, self.column, domain, value)?)))
    }

    fn between(&self, low: &Value, high: &Value, inclusive: bool) -> Result<Node, String> {
        let domain = self.domain()?;
        let (above, below) = if inclusive { (Match::GreaterOrEqual, Match::LessOrEqual) } else { (Match::Greater, Match::Less) };
        if let Kind::Enum(labels) = &self.operand.kind {
            return self.ranked(domain, labels, |rank| {
                let (low, high) = (rank_of(labels, low)?, rank_of(labels, high)?);
                Some(ordered(rank, above, low) && ordered(rank, below, high))
            });
        }
        Self::needs_order(domain)?;
        let bounds = Box::new((datum(self.entity, self.column, domain, low)?, datum(self.entity, self.column, domain, high)?));
        Ok(self.test(Check::Between { domain, bounds, inclusive }))
    }

    fn needs_order(domain: Domain) -> Result<(), String> {
        if domain.tells_order() {
            return Ok(());
        }
        let collated = matches!(domain, Domain::Text(_) | Domain::Stored(_));
        let reason = if collated { "the order of its texts is that of a locale" } else { "its order is the database's own" };
        Err(reason.to_owned())
    }

    /// An enum is in the order of its list. PostgreSQL's own is in the order that the database has it in.
    fn ranked(&self, domain: Domain, labels: &[String], holds: impl Fn(usize) -> Option<bool>) -> Result<Node, String> {
        let is_native = self.entity.dialect == Dialect::Postgres && matches!(self.column.native, Kind::Enum(_));
        if is_native && self.operand.kind != self.column.native {
            return Err(
                "its values are declared otherwise than the database has them, so their order is the database's".to_owned()
            );
        }
        let rank = |(rank, label): (usize, &String)| {
            let holds = holds(rank).ok_or_else(|| "it is compared with a value that it can't have".to_owned())?;
            datum(self.entity, self.column, domain, &Value::Text(label.clone())).map(|datum| (datum, holds))
        };
        let ranks = labels.iter().enumerate().map(rank).collect::<Result<_, _>>()?;
        Ok(self.test(if is_native { Check::RankedAll(domain, ranks) } else { Check::Ranked(domain, ranks) }))
    }

    fn pattern(&self, how: TextMatch, text: &str) -> Result<Node, String> {
        if self.is_place() {
            self.place()?;
        } else {
            tells_text(self.entity, self.column)?;
        }
        let mut pattern = how.pattern(text);
        let lowering = (!how.is_cased()).then_some(self.lowering());
        if let Some(lowering) = lowering {
            let unknown = |_| "what its lower case is depends on the database's locale or version; use like".to_owned();
            pattern = lower(lowering, &pattern).map_err(unknown)?.into_owned();
        }
        let too_long = |TooLong| format!("between two % it has more than {MOST_GAPPED} characters with _ among them");
        let pattern = Pattern::new(&pattern).map_err(too_long)?;
        Ok(self.test(Check::Pattern(Box::new(TextPattern { pattern, lowering }))))
    }

    fn lowering(&self) -> Lowering {
        if self.entity.dialect == Dialect::Sqlite { Lowering::Process } else { self.column.collation.lowering }
    }

    fn domain(&self) -> Result<Domain, String> {
        if self.is_place() { self.place() } else { domain(self.entity, self.column) }
    }

    /// A place in JSON is compared as what the value is that it is compared with.
    fn place(&self) -> Result<Domain, String> {
        let known = self.column.collation.comparison;
        let texts = match self.entity.dialect {
            Dialect::Postgres if self.column.native == Kind::Json => known,
            Dialect::Mysql(_) if self.column.native == Kind::Json && known == TextComparison::Padded => known,
            Dialect::Sqlite if matches!(known, TextComparison::Bytes | TextComparison::Trimmed | TextComparison::Nocase) => {
                TextComparison::Bytes
            }
            Dialect::Sqlite => TextComparison::BytesUnordered,
            Dialect::Postgres | Dialect::Mysql(_) => TextComparison::Unknown,
        };
        match (&self.operand.kind, self.entity.dialect) {
            _ if !texts.tells_equal() => Err(format!("{} is not the database's own JSON", self.column.declared_type)),
            (Kind::Decimal | Kind::Integer | Kind::Float, Dialect::Sqlite) => Ok(Domain::Stored(texts)),
            (Kind::Decimal | Kind::Integer | Kind::Float, _) => Ok(Domain::Number),
            (Kind::Boolean, _) => Ok(Domain::Boolean),
            _ => Ok(Domain::Text(texts)),
        }
    }
}

fn rank_of(labels: &[String], value: &Value) -> Option<usize> {
    labels.iter().position(|label| matches!(value, Value::Text(text) if text == label))
}

fn ordered(rank: usize, how: Match, bound: usize) -> bool {
    match how {
        Match::Equal => rank == bound,
        Match::NotEqual => rank != bound,
        Match::Less => rank < bound,
        Match::LessOrEqual => rank <= bound,
        Match::Greater => rank > bound,
        Match::GreaterOrEqual => rank >= bound,
    }
}

#[cfg(test)]
mod tests;
