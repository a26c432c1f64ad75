//! How the values of a place are read from an image and compared: one of a few domains.

use super::Error;
use super::datum::{Datum, Real};
use super::instant::Instant;
use super::json::{Token, token};
use super::number::Number;
use crate::catalog::TextComparison;
use base64::Engine as _;

/// How values are read and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Domain {
    Boolean,
    /// Exact numbers.
    Number,
    /// Floating point of 32 bits.
    Single,
    /// Floating point of 64 bits.
    Double,
    Text(TextComparison),
    /// UUIDs; whether their order is that of their bytes.
    Uuid {
        ordered: bool,
    },
    Day,
    Time,
    Moment,
    Bytes,
    /// SQLite's own: whatever is stored, numbers before texts.
    Stored(TextComparison),
}

impl Domain {
    /// Reads a value as reads answer it; none for NULL.
    pub(super) fn read(self, raw: &str) -> Result<Option<Datum>, Error> {
        let token = token(raw)?;
        let datum = match (self, &token) {
            (_, Token::Null) => return Ok(None),
            (Domain::Boolean, Token::Boolean(truth)) => Some(Datum::Boolean(*truth)),
            (Domain::Number, Token::Number(digits)) => Number::parse(digits).map(Datum::Number),
            (Domain::Number, Token::Text(word)) => special(word).map(Datum::Number),
            (Domain::Single, Token::Number(digits)) => single(digits).map(Datum::Real),
            (Domain::Single, Token::Text(word)) if special(word).is_some() => single(word).map(Datum::Real),
            (Domain::Double, Token::Number(digits)) => double(digits).map(Datum::Real),
            (Domain::Double, Token::Text(word)) if special(word).is_some() => double(word).map(Datum::Real),
            (Domain::Stored(_), Token::Number(digits)) => stored(digits),
            (Domain::Text(_) | Domain::Stored(_), Token::Text(text)) => Some(Datum::Text(text.as_ref().into())),
            (Domain::Uuid { .. }, Token::Text(text)) => {
                uuid::Uuid::try_parse(text).ok().map(|uuid| Datum::Uuid(uuid.into_bytes()))
            }
            (Domain::Day, Token::Text(text)) => Instant::day(text).map(Datum::Instant),
            (Domain::Time, Token::Text(text)) => Instant::time(text).map(Datum::Instant),
            (Domain::Moment, Token::Text(text)) => Instant::moment(text).map(Datum::Instant),
            (Domain::Bytes, Token::Text(text)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).ok();
                bytes.map(|bytes| Datum::Bytes(bytes.into()))
            }
            _ => None,
        };
        let short: String = raw.chars().take(60).collect();
        datum.map(Some).ok_or_else(|| Error::Malformed(format!("{short} is no {}", self.word())))
    }

    /// How its texts are compared.
    pub(super) fn comparison(self) -> TextComparison {
        match self {
            Domain::Text(comparison) | Domain::Stored(comparison) => comparison,
            _ => TextComparison::Bytes,
        }
    }

    /// Whether it is known what comes first.
    pub(super) fn tells_order(self) -> bool {
        match self {
            Domain::Text(comparison) | Domain::Stored(comparison) => comparison.tells_order(),
            Domain::Uuid { ordered } => ordered,
            Domain::Bytes => false,
            Domain::Boolean | Domain::Number | Domain::Single | Domain::Double | Domain::Day | Domain::Time | Domain::Moment => {
                true
            }
        }
    }

    fn word(self) -> &'static str {
        match self {
            Domain::Boolean => "truth value",
            Domain::Number | Domain::Single | Domain::Double => "number",
            Domain::Text(_) => "text",
            Domain::Uuid { .. } => "UUID",
            Domain::Day => "day",
            Domain::Time => "time",
            Domain::Moment => "moment",
            Domain::Bytes => "base64 text",
            Domain::Stored(_) => "number or text",
        }
    }
}

/// PostgreSQL's numbers that JSON can't write.
fn special(word: &str) -> Option<Number> {
    match word {
        "NaN" => Some(Number::Undefined),
        "Infinity" => Some(Number::Infinity),
        "-Infinity" => Some(Number::NegativeInfinity),
        _ => None,
    }
}

/// A number of 64 bits, by the nearest to its digits.
pub(super) fn double(digits: &str) -> Option<Real> {
    digits.parse().ok().map(Real::new)
}

/// A number of 32 bits, by the nearest to its digits.
pub(super) fn single(digits: &str) -> Option<Real> {
    digits.parse::<f32>().ok().map(|number| Real::new(number.into()))
}

/// SQLite writes a floating-point number with a point or an exponent, and an integer without.
pub(super) fn stored(digits: &str) -> Option<Datum> {
    if digits.contains(['.', 'e', 'E']) {
        return double(digits).map(Datum::Real);
    }
    digits.parse().ok().map(|integer| Datum::Number(Number::Integer(integer)))
}
