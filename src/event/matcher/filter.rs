//! A compiled filter: the tests that a row must meet, in the three-valued logic of SQL.

use super::Error;
use super::datum::Datum;
use super::domain::Domain;
use super::image::Image;
use super::json::{Token, token};
use super::pattern::Pattern;
use super::place;
use super::text::{lower, until_nul};
use crate::catalog::{ColumnId, Entity, EntityId, Lowering};
use crate::database::Dialect;
use crate::engine::plan::{Match, PathStep};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

/// A filter on one entity. Filters that were made of the same predicate are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Filter {
    pub(super) root: Node,
    pub(super) entity: EntityId,
}

/// A part of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Test(Test),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Test {
    pub(super) source: Source,
    pub(super) check: Check,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Column(ColumnId),
    Place(Box<(ColumnId, Box<[PathStep]>)>),
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Check {
    Null(bool),
    Value(Domain, Match, Datum),
    In(Domain, Box<[Datum]>),
    Between {
        domain: Domain,
        bounds: Box<(Datum, Datum)>,
        inclusive: bool,
    },
    /// For each known value whether it meets the comparison; about others nothing is known.
    Ranked(Domain, Box<[(Datum, bool)]>),
    /// As [`Check::Ranked`], where all values that there can be are known.
    RankedAll(Domain, Box<[(Datum, bool)]>),
    Pattern(Box<TextPattern>),
}

/// A pattern, and what is done to a text before it is held against it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TextPattern {
    pub(super) pattern: Pattern,
    pub(super) lowering: Option<Lowering>,
}

/// True, false, or unknown because of a NULL.
type Truth = Option<bool>;

impl Filter {
    /// Whether a row matches: the comparison is true, and neither false nor unknown.
    pub fn matches(&self, image: &Image<'_>) -> Result<bool, Error> {
        self.root.truth(image).map(|truth| truth == Some(true))
    }

    /// The entity that it is about.
    #[must_use]
    pub fn entity(&self) -> EntityId {
        self.entity
    }

    /// Hashes what it asks. Its columns go by their names, since they may have other places under another catalog.
    pub fn hash_meaning(&self, entity: &Entity, state: &mut impl Hasher) {
        entity.dialect.hash(state);
        self.root.hash_meaning(entity, state);
    }
}

impl Node {
    fn hash_meaning(&self, entity: &Entity, state: &mut impl Hasher) {
        discriminant(self).hash(state);
        match self {
            Node::All(parts) | Node::Any(parts) => {
                parts.len().hash(state);
                for part in parts {
                    part.hash_meaning(entity, state);
                }
            }
            Node::Not(part) => part.hash_meaning(entity, state),
            Node::Test(Test { source, check }) => {
                let (id, path) = match source {
                    Source::Column(id) => (*id, None),
                    Source::Place(place) => (place.0, Some(&place.1)),
                };
                (&entity.column(id).ident, path, check).hash(state);
            }
        }
    }

    fn truth(&self, image: &Image<'_>) -> Result<Truth, Error> {
        match self {
            Node::All(parts) => joined(parts, image, false),
            Node::Any(parts) => joined(parts, image, true),
            Node::Not(part) => Ok(part.truth(image)?.map(|truth| !truth)),
            Node::Test(test) => test.truth(image),
        }
    }
}

/// One part that is `decisive` decides, also beside parts that can't be decided.
fn joined(parts: &[Node], image: &Image<'_>, decisive: bool) -> Result<Truth, Error> {
    let mut truth = Ok(Some(!decisive));
    for part in parts {
        match part.truth(image) {
            Ok(Some(found)) if found == decisive => return Ok(Some(decisive)),
            Ok(Some(_)) => {}
            Ok(None) => truth = truth.map(|_| None),
            Err(error) => truth = truth.and(Err(error)),
        }
    }
    truth
}

impl Test {
    fn truth(&self, image: &Image<'_>) -> Result<Truth, Error> {
        match &self.check {
            Check::Null(expected) => Ok(Some(self.is_null(image)? == *expected)),
            Check::Value(domain, how, value) => self.with(image, *domain, |datum| Ok(Some(holds(datum, *how, value, *domain)))),
            Check::In(_, values) if values.is_empty() => Ok(Some(false)),
            Check::In(domain, values) => {
                self.with(image, *domain, |datum| Ok(Some(values.iter().any(|value| datum.equals(value, domain.comparison())))))
            }
            Check::Between { domain, bounds, inclusive } => self.with(image, *domain, |datum| {
                let (low, high) = match inclusive {
                    true => (Match::GreaterOrEqual, Match::LessOrEqual),
                    false => (Match::Greater, Match::Less),
                };
                Ok(Some(holds(datum, low, &bounds.0, *domain) && holds(datum, high, &bounds.1, *domain)))
            }),
            Check::Ranked(domain, ranks) => self.with(image, *domain, |datum| Ok(ranked(datum, ranks, *domain))),
            Check::RankedAll(domain, ranks) => self.with(image, *domain, |datum| {
                let unknown =
                    || Error::Undecided("a value is not among those that the column had when it was looked at".to_owned());
                ranked(datum, ranks, *domain).ok_or_else(unknown).map(Some)
            }),
            Check::Pattern(pattern) => {
                let text = self.text(image)?;
                text.map(|text| pattern.holds(&text, image.dialect())).transpose()
            }
        }
    }

    /// Asks something of a value that is not NULL.
    fn with(&self, image: &Image<'_>, domain: Domain, ask: impl FnOnce(&Datum) -> Result<Truth, Error>) -> Result<Truth, Error> {
        match &self.source {
            Source::Column(id) => image.datum(*id, domain)?.map_or(Ok(None), ask),
            Source::Place(place) => {
                let (id, path) = &**place;
                let dialect = image.dialect();
                let datum = place::read(place::find(image.raw(*id)?, path, dialect)?, domain, dialect)?;
                datum.as_ref().map_or(Ok(None), ask)
            }
        }
    }

    fn is_null(&self, image: &Image<'_>) -> Result<bool, Error> {
        let raw = match &self.source {
            Source::Column(id) => Some(image.raw(*id)?),
            Source::Place(place) => place::find(image.raw(place.0)?, &place.1, image.dialect())?,
        };
        raw.map_or(Ok(true), |raw| Ok(token(raw)? == Token::Null))
    }

    /// The value as a text; none for NULL.
    fn text<'i>(&self, image: &Image<'i>) -> Result<Option<Cow<'i, str>>, Error> {
        let id = match &self.source {
            Source::Column(id) => *id,
            Source::Place(place) => {
                let found = place::find(image.raw(place.0)?, &place.1, image.dialect())?;
                return Ok(place::text(found, image.dialect())?.map(Cow::Owned));
            }
        };
        let raw = image.raw(id)?;
        match token(raw)? {
            Token::Null => Ok(None),
            Token::Text(text) => Ok(Some(text)),
            Token::Number(digits) if image.dialect() == Dialect::Sqlite && digits.contains(['.', 'e', 'E']) => {
                Err(Error::Undecided("a floating-point number is compared as a text".to_owned()))
            }
            Token::Number(digits) => Ok(Some(Cow::Borrowed(digits))),
            Token::Boolean(_) | Token::Array | Token::Object => Err(Error::Malformed(format!("{raw} has no text"))),
        }
    }
}

impl TextPattern {
    fn holds(&self, text: &str, dialect: Dialect) -> Result<bool, Error> {
        let lowered = match self.lowering {
            Some(lowering) => lower(lowering, text)?,
            None => Cow::Borrowed(text),
        };
        let seen = if dialect == Dialect::Sqlite { until_nul(&lowered) } else { &lowered };
        Ok(self.pattern.matches(seen))
    }
}

fn ranked(datum: &Datum, ranks: &[(Datum, bool)], domain: Domain) -> Truth {
    ranks.iter().find(|(known, _)| datum.equals(known, domain.comparison())).map(|(_, holds)| *holds)
}

fn holds(datum: &Datum, how: Match, value: &Datum, domain: Domain) -> bool {
    let order = datum.compare(value, domain.comparison());
    match how {
        Match::Equal => order == Ordering::Equal,
        Match::NotEqual => order != Ordering::Equal,
        Match::Less => order == Ordering::Less,
        Match::LessOrEqual => order != Ordering::Greater,
        Match::Greater => order == Ordering::Greater,
        Match::GreaterOrEqual => order != Ordering::Less,
    }
}
