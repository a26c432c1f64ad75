//! Floating-point numbers as the SQLite of this process writes them in JSON, which is `%!0.17g` of its own `printf`.
//!
//! Those are not the shortest digits that read the same: SQLite approximates eighteen digits, rounds them to seventeen, and
//! drops what follows a run of nines or zeros if the number stays the same. Rows that it writes itself and rows that are
//! encoded here must not differ, so its rules are followed to the last digit, and tested against it: a new version of it may
//! have others.

mod binary;

use binary::{from_decimal, to_decimal};
use std::fmt::Write;

/// Digits that are kept.
const DIGITS: usize = 17;

/// A positive number's digits, and where its point is: `0.digits * 10^point`.
struct Decimal {
    digits: Vec<u8>,
    point: i32,
}

/// The text of a number.
#[must_use]
pub fn text(number: f64) -> String {
    let mut text = String::with_capacity(24);
    if number.is_nan() {
        // SQLite stores none, and takes it for NULL.
        return "null".to_owned();
    }
    if number == 0.0 {
        return "0.0".to_owned();
    }
    if number < 0.0 {
        text.push('-');
    }
    if number.is_infinite() {
        return text + "9.0e+999";
    }
    write(&decimal(number.abs()), &mut text);
    text
}

fn decimal(number: f64) -> Decimal {
    let bits = number.to_bits();
    let (biased, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if biased == 0 {
        let zeros = fraction.leading_zeros();
        (fraction << zeros, -1074 - zeros.cast_signed())
    } else {
        ((fraction << 11) | (1 << 63), i32::try_from(biased).unwrap_or_default() - 1086)
    };
    let (value, power) = to_decimal(mantissa, exponent);
    let digits = value.to_string().into_bytes();
    let length = i32::try_from(digits.len()).unwrap_or_default();
    let mut decimal = Decimal { digits, point: length + power };
    let kept = kept(&decimal, power, number);
    decimal.round(kept);
    decimal
}

/// How many digits are kept: fewer than seventeen where a run of nines or zeros begins and the number stays the same.
fn kept(decimal: &Decimal, power: i32, number: f64) -> usize {
    let digits = &decimal.digits;
    let length = digits.len();
    let value = |count: usize| digits[..count].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    let dropped = |count: usize| power + i32::try_from(length - count).unwrap_or_default();
    if digits[14..16] == *b"99" {
        let before = 14 - digits[..14].iter().rev().take_while(|digit| **digit == b'9').count();
        if from_decimal(value(before) + 1, dropped(before)).to_bits() == number.to_bits() {
            return before + 1;
        }
    } else if decimal.point >= i32::try_from(length).unwrap_or_default() || digits[13..16] == *b"000" {
        let before = 13 - digits[..13].iter().rev().take_while(|digit| **digit == b'0').count();
        if from_decimal(value(before), dropped(before)).to_bits() == number.to_bits() {
            return before + 1;
        }
    }
    DIGITS
}

impl Decimal {
    fn round(&mut self, kept: usize) {
        let up = self.digits[kept] >= b'5';
        self.digits.truncate(kept);
        if up {
            if let Some(place) = self.digits.iter().rposition(|digit| *digit != b'9') {
                self.digits[place] += 1;
                self.digits[place + 1..].fill(b'0');
            } else {
                self.digits.fill(b'0');
                self.digits.insert(0, b'1');
                self.point += 1;
            }
        }
        let length = self.digits.iter().rposition(|digit| *digit != b'0').map_or(1, |place| place + 1);
        self.digits.truncate(length);
    }
}

fn write(decimal: &Decimal, text: &mut String) {
    let exponent = decimal.point - 1;
    let scientific = !(-4..=16).contains(&exponent);
    let point = if scientific { 1 } else { decimal.point };
    let characters = |digits: &'_ [u8], text: &mut String| text.extend(digits.iter().map(|digit| char::from(*digit)));
    let zeros = |count: i32, text: &mut String| text.extend(std::iter::repeat_n('0', usize::try_from(count).unwrap_or_default()));
    if point <= 0 {
        text.push_str("0.");
        zeros(-point, text);
        characters(&decimal.digits, text);
    } else {
        let length = decimal.digits.len();
        let (whole, rest) = decimal.digits.split_at(length.min(usize::try_from(point).unwrap_or_default()));
        characters(whole, text);
        zeros(point - i32::try_from(length).unwrap_or_default(), text);
        text.push('.');
        characters(if rest.is_empty() { b"0" } else { rest }, text);
    }
    if scientific {
        let sign = if exponent < 0 { '-' } else { '+' };
        _ = write!(text, "e{sign}{:02}", exponent.unsigned_abs());
    }
}

#[cfg(test)]
mod tests;
