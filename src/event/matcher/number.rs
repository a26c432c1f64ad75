//! Exact numbers: of any size, compared by their value and never rounded.

use std::cmp::Ordering;

/// A number. Equal numbers are the same value of this type, however they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Number {
    /// Below all others.
    NegativeInfinity,
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other finite number.
    Decimal(Box<Decimal>),
    /// Above all finite ones.
    Infinity,
    /// PostgreSQL's, which is equal to itself and above all others.
    Undefined,
}

/// `0.digits × 10^point`, with no zeros at either end of the digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    point: i64,
    digits: Box<[u8]>,
}

/// Digits of a 64-bit integer at most.
const INTEGER_DIGITS: usize = 19;

impl Number {
    /// Reads digits with an optional sign, point and exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(integer) = text.parse::<i64>() {
            return Some(Number::Integer(integer));
        }
        Decimal::parse(text).map(Decimal::into_number)
    }

    /// Places after the point, and before it, that it takes to write the number without exponent.
    pub(super) fn places(&self) -> (i64, i64) {
        match self {
            Number::Decimal(decimal) => (decimal.scale().max(0), decimal.point.max(0)),
            Number::Integer(integer) => (0, i64::from(integer.unsigned_abs().checked_ilog10().map_or(0, |log| log + 1))),
            Number::NegativeInfinity | Number::Infinity | Number::Undefined => (i64::MAX, i64::MAX),
        }
    }

    /// How many digits are between the first and the last that is not zero.
    pub(super) fn significant_digits(&self) -> usize {
        match self {
            Number::Integer(integer) => Decimal::of_integer(*integer).digits.len(),
            Number::Decimal(decimal) => decimal.digits.len(),
            Number::NegativeInfinity | Number::Infinity | Number::Undefined => 0,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Number::NegativeInfinity => 0,
            Number::Integer(_) | Number::Decimal(_) => 1,
            Number::Infinity => 2,
            Number::Undefined => 3,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => left.cmp(right),
            (Number::Decimal(left), Number::Decimal(right)) => left.compare(right),
            (Number::Decimal(left), Number::Integer(right)) => left.compare(&Decimal::of_integer(*right)),
            (Number::Integer(left), Number::Decimal(right)) => Decimal::of_integer(*left).compare(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = [whole.as_bytes(), fraction.as_bytes()].concat();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
        Some(Self::trimmed(negative, point, &mut digits))
    }

    fn of_integer(integer: i64) -> Self {
        let mut digits = integer.unsigned_abs().to_string().into_bytes();
        let point = i64::try_from(digits.len()).unwrap_or(0);
        Self::trimmed(integer < 0, point, &mut digits)
    }

    /// Takes zeros from both ends; zero itself has no digits and no sign.
    fn trimmed(negative: bool, point: i64, digits: &mut Vec<u8>) -> Self {
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        if digits.is_empty() {
            return Self { negative: false, point: 0, digits: Box::default() };
        }
        let point = point.saturating_sub(i64::try_from(leading).unwrap_or(i64::MAX));
        Self { negative, point, digits: digits.as_slice().into() }
    }

    /// Digits after the point; negative where zeros follow the digits.
    fn scale(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX).saturating_sub(self.point)
    }

    fn into_number(self) -> Number {
        if self.digits.is_empty() {
            return Number::Integer(0);
        }
        let whole = usize::try_from(self.point).ok().filter(|point| *point <= INTEGER_DIGITS && self.scale() <= 0);
        let integer = whole.and_then(|point| {
            let sign = if self.negative { "-" } else { "" };
            let digits = std::str::from_utf8(&self.digits).ok()?;
            format!("{sign}{digits:0<point$}").parse().ok()
        });
        integer.map_or_else(|| Number::Decimal(Box::new(self)), Number::Integer)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal {
            return by_sign;
        }
        let magnitude = self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        if self.negative { magnitude.reverse() } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::Number;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn spellings_of_a_number_are_one_number() {
        let alike = [
            &["0", "-0", "0.00", "-0e5", "+0"][..],
            &["1", "1.0", "0.1e1", "10e-1", "+1"],
            &["1500", "1.5e3", "1500.000"],
            &["-0.10", "-.1", "-1e-1"],
            &["9223372036854775808", "9223372036854775808.0", "9.223372036854775808e18"],
            &["-9223372036854775808", "-9223372036854775808.0"],
        ];
        for spellings in alike {
            for spelling in spellings {
                assert_eq!(number(spelling), number(spellings[0]), "{spelling}");
            }
        }
    }

    #[test]
    fn numbers_are_in_order() {
        let rising = [
            "-1e400",
            "-9223372036854775809",
            "-9223372036854775808",
            "-10",
            "-9.99",
            "-9",
            "-0.1",
            "-0.01",
            "0",
            "1e-400",
            "0.1",
            "0.11",
            "1",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.5",
            "9223372036854775807",
            "9223372036854775808",
            "1e400",
        ];
        for (place, left) in rising.iter().enumerate() {
            for (other, right) in rising.iter().enumerate() {
                assert_eq!(number(left).cmp(&number(right)), place.cmp(&other), "{left} and {right}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "e5", "1e", "1x", "0x1", "NaN", "1.2.3", "１"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_counted_without_exponent() {
        assert_eq!(number("12.50").places(), (1, 2));
        assert_eq!(number("0.001").places(), (3, 0));
        assert_eq!(number("1e30").places(), (0, 31));
        assert_eq!(number("100").places(), (0, 3));
        assert_eq!(number("120.50").significant_digits(), 4);
        assert_eq!(number("1200").significant_digits(), 2);
    }
}
