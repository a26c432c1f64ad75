//! Texts compared and lowered as the databases do it.

use super::Error;
use crate::catalog::{Lowering, TextComparison};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Compares two texts. Only whether they are equal counts where the comparison does not tell an order.
pub(super) fn compare(comparison: TextComparison, left: &str, right: &str) -> Ordering {
    match comparison {
        TextComparison::Bytes | TextComparison::BytesUnordered | TextComparison::Unknown => left.cmp(right),
        TextComparison::Padded => padded(left.as_bytes(), right.as_bytes()),
        TextComparison::Trimmed | TextComparison::TrimmedUnordered => trimmed(left).cmp(trimmed(right)),
        TextComparison::Nocase => nocase(left.as_bytes(), right.as_bytes()),
    }
}

/// The same for equal texts.
pub(super) fn canonical(comparison: TextComparison, text: &str) -> Cow<'_, str> {
    match comparison {
        TextComparison::Bytes | TextComparison::BytesUnordered | TextComparison::Unknown => Cow::Borrowed(text),
        TextComparison::Padded | TextComparison::Trimmed | TextComparison::TrimmedUnordered => Cow::Borrowed(trimmed(text)),
        TextComparison::Nocase => Cow::Owned(until_nul(text).to_ascii_lowercase()),
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_end_matches(' ')
}

/// What SQLite's functions for texts of C see.
pub(super) fn until_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// The rest of the longer text is held against spaces.
fn padded(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.len().min(right.len());
    let against_spaces = |rest: &[u8]| rest.iter().map(|byte| byte.cmp(&b' ')).find(|order| order.is_ne());
    let rest = || {
        let left = against_spaces(&left[common..]).unwrap_or(Ordering::Equal);
        left.then_with(|| against_spaces(&right[common..]).unwrap_or(Ordering::Equal).reverse())
    };
    left[..common].cmp(&right[..common]).then_with(rest)
}

/// SQLite's NOCASE: bytes up to a NUL with the letters of ASCII in lower case, then the lengths.
fn nocase(left: &[u8], right: &[u8]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let order = left.to_ascii_lowercase().cmp(&right.to_ascii_lowercase());
        if order.is_ne() {
            return order;
        }
        if *left == 0 {
            break;
        }
    }
    left.len().cmp(&right.len())
}

/// The lower case of a text; an error where it depends on a version of Unicode that is not known.
pub(super) fn lower(lowering: Lowering, text: &str) -> Result<Cow<'_, str>, Error> {
    match lowering {
        Lowering::Ascii => Ok(Cow::Owned(text.to_ascii_lowercase())),
        Lowering::Process => Ok(Cow::Owned(text.to_lowercase())),
        Lowering::Simple if text.is_ascii() => Ok(Cow::Owned(text.to_ascii_lowercase())),
        Lowering::Simple => text.chars().map(simple).collect::<Option<String>>().map(Cow::Owned).ok_or_else(|| undecided(text)),
        Lowering::Unknown => Err(undecided(text)),
    }
}

fn undecided(text: &str) -> Error {
    let short: String = text.chars().take(40).collect();
    Error::Undecided(format!("the lower case of '{short}' depends on the version of the database"))
}

/// The lower case of a character that has had it in every Unicode since the databases learned it.
fn simple(character: char) -> Option<char> {
    let mut lower = character.to_lowercase();
    let is_settled =
        matches!(character, '\0'..='\u{12f}' | '\u{131}'..='\u{21f}' | '\u{386}'..='\u{3ce}' | '\u{400}'..='\u{482}');
    match (lower.next(), lower.next()) {
        (Some(lower), None) if lower == character || is_settled => Some(lower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{compare, lower};
    use crate::catalog::{Lowering, TextComparison};
    use std::cmp::Ordering;

    #[test]
    fn padding_is_spaces_without_end() {
        let cases = [
            ("a", "a  ", Ordering::Equal),
            ("", " ", Ordering::Equal),
            ("a", "a\t", Ordering::Greater),
            ("a", "a!", Ordering::Less),
            ("a  \t", "a", Ordering::Less),
            ("a b", "a", Ordering::Greater),
        ];
        for (left, right, expected) in cases {
            assert_eq!(compare(TextComparison::Padded, left, right), expected, "{left:?} {right:?}");
            assert_eq!(compare(TextComparison::Padded, right, left), expected.reverse(), "{right:?} {left:?}");
        }
    }

    #[test]
    fn nocase_knows_the_letters_of_ascii() {
        assert_eq!(compare(TextComparison::Nocase, "aBc", "AbC"), Ordering::Equal);
        assert_eq!(compare(TextComparison::Nocase, "é", "É"), Ordering::Greater);
        assert_eq!(compare(TextComparison::Nocase, "a_", "AB"), Ordering::Less);
        assert_eq!(compare(TextComparison::Nocase, "a", "Ab"), Ordering::Less);
    }

    #[test]
    fn letters_that_came_late_are_undecided() {
        assert_eq!(lower(Lowering::Simple, "ÀÉÑ ŞΣЖ日💡").expect("settled letters"), "àéñ şσж日💡");
        for late in ["İ", "ẞ", "Ⱥ", "Ა", "Ꭰ"] {
            assert!(lower(Lowering::Simple, late).is_err(), "{late}");
        }
        assert_eq!(lower(Lowering::Ascii, "AÉ").expect("ASCII"), "aÉ");
    }
}
