//! A value in the form in which it is compared.

use super::instant::Instant;
use super::number::Number;
use super::text;
use crate::catalog::TextComparison;
use compact_str::CompactString;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A value that is not NULL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Datum {
    Boolean(bool),
    Number(Number),
    Real(Real),
    /// Short ones, as keys are, without a place of their own: each would be one more to reach when a change is matched.
    Text(CompactString),
    Uuid([u8; 16]),
    Instant(Instant),
    Bytes(Box<[u8]>),
}

/// A floating-point number: both zeros are one, and what is no number is equal to itself and above all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Real(u64);

impl Real {
    pub(super) fn new(number: f64) -> Self {
        let number = if number == 0.0 { 0.0 } else { number };
        Self(if number.is_nan() { f64::NAN } else { number }.to_bits())
    }

    pub(super) fn is_finite(self) -> bool {
        self.value().is_finite()
    }

    pub(super) fn is_zero(self) -> bool {
        self.value() == 0.0
    }

    fn value(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// The whole number that it is, if it is one of 64 bits.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and a whole number loses nothing")]
    fn whole(self) -> Option<i64> {
        let number = self.value();
        (number.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&number)).then_some(number as i64)
    }

    /// Compares without rounding the integer.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and the fraction is compared by itself")]
    fn compare_to_integer(self, integer: i64) -> Ordering {
        let number = self.value();
        if number.is_nan() || number >= TWO_TO_63 {
            return Ordering::Greater;
        }
        if number < -TWO_TO_63 {
            return Ordering::Less;
        }
        (number.trunc() as i64).cmp(&integer).then_with(|| number.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal))
    }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value().total_cmp(&other.value())
    }
}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Datum {
    /// Compares two values of one place. SQLite's places hold values of several kinds: numbers come before texts.
    pub(super) fn compare(&self, other: &Self, comparison: TextComparison) -> Ordering {
        match (self, other) {
            (Datum::Boolean(left), Datum::Boolean(right)) => left.cmp(right),
            (Datum::Number(left), Datum::Number(right)) => left.cmp(right),
            (Datum::Real(left), Datum::Real(right)) => left.cmp(right),
            (Datum::Real(left), Datum::Number(Number::Integer(right))) => left.compare_to_integer(*right),
            (Datum::Number(Number::Integer(left)), Datum::Real(right)) => right.compare_to_integer(*left).reverse(),
            (Datum::Text(left), Datum::Text(right)) => text::compare(comparison, left, right),
            (Datum::Uuid(left), Datum::Uuid(right)) => left.cmp(right),
            (Datum::Instant(left), Datum::Instant(right)) => left.cmp(right),
            (Datum::Bytes(left), Datum::Bytes(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Whether two values of one place are equal.
    pub(super) fn equals(&self, other: &Self, comparison: TextComparison) -> bool {
        self.compare(other, comparison).is_eq()
    }

    /// Feeds a hasher; equal values feed it the same.
    pub(super) fn feed(&self, comparison: TextComparison, hasher: &mut impl Hasher) {
        match self {
            Datum::Text(text) => text::canonical(comparison, text).hash(hasher),
            Datum::Real(real) => match real.whole() {
                Some(integer) => Number::Integer(integer).hash(hasher),
                None => real.hash(hasher),
            },
            Datum::Number(number) => number.hash(hasher),
            Datum::Boolean(truth) => truth.hash(hasher),
            Datum::Uuid(bytes) => bytes.hash(hasher),
            Datum::Instant(instant) => instant.hash(hasher),
            Datum::Bytes(bytes) => bytes.hash(hasher),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::Boolean(_) => 0,
            Datum::Number(_) | Datum::Real(_) => 1,
            Datum::Text(_) => 2,
            Datum::Uuid(_) => 3,
            Datum::Instant(_) => 4,
            Datum::Bytes(_) => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Datum, Real};
    use crate::catalog::TextComparison;
    use crate::event::matcher::number::Number;
    use std::cmp::Ordering;

    #[test]
    fn integers_and_reals_are_compared_without_rounding() {
        let cases = [
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (0, -0.0, Ordering::Equal),
            (-1, -1.5, Ordering::Greater),
            (1, 1.5, Ordering::Less),
            (1, f64::NEG_INFINITY, Ordering::Greater),
        ];
        for (integer, real, expected) in cases {
            let (left, right) = (Datum::Number(Number::Integer(integer)), Datum::Real(Real::new(real)));
            assert_eq!(left.compare(&right, TextComparison::Bytes), expected, "{integer} {real}");
            assert_eq!(right.compare(&left, TextComparison::Bytes), expected.reverse(), "{real} {integer}");
        }
    }
}
