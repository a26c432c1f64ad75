//! From a predicate to a filter, or to the reason why only the database can evaluate it.

use super::column::{affinity, domain, tells_null, tells_text};
use super::datum::{Datum, Real};
use super::domain::{Domain, single};
use super::filter::{Check, Filter, Node, Source, Test, TextPattern};
use super::instant::Instant;
use super::number::Number;
use super::pattern::Pattern;
use super::place::{MYSQL_PLACES, SQLITE_DIGITS};
use super::text::lower;
use crate::catalog::{Column, Entity, Kind, Lowering, TextComparison};
use crate::database::Dialect;
use crate::engine::plan::{Comparison, Key, Match, Operand, OperandSource, Predicate, TextMatch, Value};
use crate::protocol::{Code, Error};

impl Filter {
    /// Compiles a predicate over an entity. What can't be mirrored exactly is refused.
    pub fn compile(entity: &Entity, predicate: &Predicate) -> Result<Self, Error> {
        Ok(Self { entity: entity.id, dialect: entity.dialect, root: node(entity, predicate)? })
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
        OperandSource::Json(id, path) => (*id, Source::Place(*id, path.as_slice().into())),
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
                let values = values.iter().map(|value| self.datum(domain, value)).collect::<Result<_, _>>()?;
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
        Ok(self.test(Check::Value(domain, how, self.datum(domain, value)?)))
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
        let bounds = Box::new((self.datum(domain, low)?, self.datum(domain, high)?));
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
            self.datum(domain, &Value::Text(label.clone())).map(|datum| (datum, holds))
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
        Ok(self.test(Check::Pattern(Box::new(TextPattern { pattern: Pattern::new(&pattern), lowering }))))
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

    /// A value as the database takes it beside this operand.
    fn datum(&self, domain: Domain, value: &Value) -> Result<Datum, String> {
        let fine = self.entity.dialect == Dialect::Sqlite;
        match (domain, value) {
            (Domain::Boolean, Value::Boolean(truth)) => Ok(Datum::Boolean(*truth)),
            (Domain::Number, Value::Integer(integer)) => Ok(Datum::Number(Number::Integer(*integer))),
            (Domain::Number, Value::Decimal(digits)) => self.number(digits),
            (Domain::Double, Value::Float(number)) => Ok(Datum::Real(Real::new(*number))),
            (Domain::Single, Value::Float(number)) => {
                let real = single(&number.to_string()).filter(|real| real.is_finite() && real.is_zero() == (*number == 0.0));
                real.map(Datum::Real).ok_or_else(|| "it is compared with a number that its type can't hold".to_owned())
            }
            (Domain::Uuid { .. }, Value::Uuid(uuid)) => Ok(Datum::Uuid(uuid.into_bytes())),
            (Domain::Day, Value::Date(date)) if date.year() > 0 => Ok(Datum::Instant(Instant::from_date(*date))),
            (Domain::Time, Value::Time(time)) if time.subsec_nanosecond() % 1000 == 0 => {
                Ok(Datum::Instant(Instant::from_time(*time)))
            }
            (Domain::Moment, Value::Timestamp(moment))
                if is_usual(*moment) && (fine || moment.subsec_nanosecond() % 1000 == 0) =>
            {
                Ok(Datum::Instant(Instant::from_timestamp(*moment)))
            }
            (Domain::Day | Domain::Time | Domain::Moment, _) => {
                Err("it is compared with a time before year 1 or finer than a microsecond".to_owned())
            }
            (Domain::Bytes, Value::Bytes(bytes)) => Ok(Datum::Bytes(bytes.as_slice().into())),
            (Domain::Text(_), value) => text_form(value).map(|text| Datum::Text(text.into())),
            (Domain::Stored(_), value) => self.stored(value),
            _ => Err("it is compared with a value of another kind".to_owned()),
        }
    }

    fn number(&self, digits: &str) -> Result<Datum, String> {
        let number = Number::parse(digits).ok_or_else(|| format!("{digits} is no number"))?;
        let (after, before) = number.places();
        if matches!(self.entity.dialect, Dialect::Mysql(_)) && (before > MYSQL_PLACES.0 || after > MYSQL_PLACES.1) {
            return Err("it is compared with a number of more than 35 digits before or 30 behind the point".to_owned());
        }
        Ok(Datum::Number(number))
    }

    fn stored(&self, value: &Value) -> Result<Datum, String> {
        match value {
            Value::Integer(integer) => Ok(Datum::Number(Number::Integer(*integer))),
            Value::Float(number) => Ok(Datum::Real(Real::new(*number))),
            Value::Decimal(digits) => match Number::parse(digits) {
                Some(whole @ Number::Integer(_)) => Ok(Datum::Number(whole)),
                Some(number) if number.significant_digits() <= SQLITE_DIGITS => {
                    super::domain::double(digits).map(Datum::Real).ok_or_else(|| format!("{digits} is no number"))
                }
                _ => Err("it is compared with a number of more than 17 digits, which SQLite rounds".to_owned()),
            },
            value => {
                let text = text_form(value)?;
                // SQLite would take such a text for a number beside a column of numbers.
                if affinity(self.column).is_numeric() && looks_like_a_number(&text) {
                    return Err(format!("SQLite takes '{text}' for a number beside {}", self.column.declared_type));
                }
                Ok(Datum::Text(text.into()))
            }
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

fn is_usual(moment: jiff::Timestamp) -> bool {
    (1..=9999).contains(&moment.to_zoned(jiff::tz::TimeZone::UTC).year())
}

/// What texts are compared with where a manifest takes them for something else.
fn text_form(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Uuid(uuid) => Ok(uuid.to_string()),
        Value::Date(date) => Ok(date.to_string()),
        Value::Time(time) => Ok(time.to_string()),
        _ => Err("it is compared with a value of another kind".to_owned()),
    }
}

fn looks_like_a_number(text: &str) -> bool {
    let signless = |text: &'_ str| text.strip_prefix(['+', '-']).unwrap_or(text).to_owned();
    let trimmed = text.trim_matches(|character: char| character.is_ascii_whitespace() || character == '\u{b}');
    let digits = signless(trimmed);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((&digits, "0"));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    mantissa.contains(|character: char| character.is_ascii_digit())
        && is_digits(&mantissa.replacen('.', "", 1))
        && is_digits(&signless(exponent))
}

#[cfg(test)]
mod tests;
