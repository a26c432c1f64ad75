//! A filter's values as the database takes them beside a column or a place in JSON.

use super::column::affinity;
use super::datum::{Datum, Real};
use super::domain::{Domain, double, single};
use super::instant::Instant;
use super::number::Number;
use super::place::{MYSQL_PLACES, SQLITE_DIGITS};
use crate::catalog::{Column, Entity};
use crate::database::Dialect;
use crate::engine::plan::Value;

/// Takes a value as the database does, or says why it is not known how.
pub(super) fn datum(entity: &Entity, column: &Column, domain: Domain, value: &Value) -> Result<Datum, String> {
    let dialect = entity.dialect;
    match (domain, value) {
        (Domain::Boolean, Value::Boolean(truth)) => Ok(Datum::Boolean(*truth)),
        (Domain::Number, Value::Integer(integer)) => Ok(Datum::Number(Number::Integer(*integer))),
        (Domain::Number, Value::Decimal(digits)) => number(digits, dialect),
        (Domain::Double, Value::Float(number)) => Ok(Datum::Real(Real::new(*number))),
        (Domain::Single, Value::Float(number)) => {
            let real = single(&number.to_string()).filter(|real| real.is_finite() && real.is_zero() == (*number == 0.0));
            real.map(Datum::Real).ok_or_else(|| "it is compared with a number that its type can't hold".to_owned())
        }
        (Domain::Uuid { .. }, Value::Uuid(uuid)) => Ok(Datum::Uuid(uuid.into_bytes())),
        (Domain::Day | Domain::Time | Domain::Moment, value) => {
            let reason = || "it is compared with a time before year 1 or finer than a microsecond".to_owned();
            instant(domain, dialect, value).map(Datum::Instant).ok_or_else(reason)
        }
        (Domain::Bytes, Value::Bytes(bytes)) => Ok(Datum::Bytes(bytes.as_slice().into())),
        (Domain::Text(_), value) => text_form(value).map(|text| Datum::Text(text.into())),
        (Domain::Stored(_), value) => stored(column, value),
        _ => Err("it is compared with a value of another kind".to_owned()),
    }
}

fn number(digits: &str, dialect: Dialect) -> Result<Datum, String> {
    let number = Number::parse(digits).ok_or_else(|| format!("{digits} is no number"))?;
    let (after, before) = number.places();
    if matches!(dialect, Dialect::Mysql(_)) && (before > MYSQL_PLACES.0 || after > MYSQL_PLACES.1) {
        return Err("it is compared with a number of more than 35 digits before or 30 behind the point".to_owned());
    }
    Ok(Datum::Number(number))
}

/// A time that the database reads as it is: the servers round what is finer than a microsecond.
fn instant(domain: Domain, dialect: Dialect, value: &Value) -> Option<Instant> {
    let kept = |nanoseconds: i32| dialect == Dialect::Sqlite || nanoseconds % 1000 == 0;
    match (domain, value) {
        (Domain::Day, Value::Date(day)) if day.year() > 0 => Some(Instant::from_date(*day)),
        (Domain::Time, Value::Time(time)) if kept(time.subsec_nanosecond()) => Some(Instant::from_time(*time)),
        (Domain::Moment, Value::Timestamp(moment)) if is_usual(*moment) && kept(moment.subsec_nanosecond()) => {
            Some(Instant::from_timestamp(*moment))
        }
        _ => None,
    }
}

fn stored(column: &Column, value: &Value) -> Result<Datum, String> {
    match value {
        Value::Integer(integer) => Ok(Datum::Number(Number::Integer(*integer))),
        Value::Float(number) => Ok(Datum::Real(Real::new(*number))),
        Value::Decimal(digits) => match Number::parse(digits) {
            Some(whole @ Number::Integer(_)) => Ok(Datum::Number(whole)),
            Some(number) if number.significant_digits() <= SQLITE_DIGITS => {
                double(digits).map(Datum::Real).ok_or_else(|| format!("{digits} is no number"))
            }
            _ => Err("it is compared with a number of more than 17 digits, which SQLite rounds".to_owned()),
        },
        value => {
            let text = text_form(value)?;
            // SQLite would take such a text for a number beside a column of numbers.
            if affinity(column).is_numeric() && looks_like_a_number(&text) {
                return Err(format!("SQLite takes '{text}' for a number beside {}", column.declared_type));
            }
            Ok(Datum::Text(text.into()))
        }
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
mod tests {
    use super::looks_like_a_number;

    #[test]
    fn a_text_that_is_a_number_looks_like_one() {
        for (text, expected) in [
            ("5", true),
            (" -5.0e+3 ", true),
            (".5", true),
            ("5.", true),
            ("2024-01-01", false),
            ("1.2.3", false),
            ("e5", false),
            ("5x", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(looks_like_a_number(text), expected, "{text}");
        }
    }
}
