//! Names as tokens of subjects and as keys of buckets.
//!
//! Pure, and reversible: letters, digits, `-` and `_` stay as they are, every other byte becomes `=` and two hexadecimal
//! digits, and nothing at all becomes `=`. So no name can add a token or a wildcard.

use std::fmt::Write;

/// A name as one token.
#[must_use]
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            _ = write!(token, "={byte:02X}");
        }
    }
    token
}

/// The name that a token stands for; `None` if `escape` makes no such token.
#[must_use]
pub fn unescape(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'=' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    let name = String::from_utf8(bytes).ok()?;
    (!name.is_empty() && escape(&name) == token).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(escape("order_lines-2"), "order_lines-2");
        assert_eq!(escape("a.b *>"), "a=2Eb=20=2A=3E");
        assert_eq!(escape(""), "=");
    }

    #[test]
    fn what_no_name_becomes_is_refused() {
        for token in ["", "=2", "=41", "=2e", "a.b", "=FF", "=+1"] {
            assert_eq!(unescape(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in ".*") {
            let token = escape(&name);
            prop_assert!(!token.is_empty());
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=')), "{token}");
            prop_assert_eq!(unescape(&token), Some(name));
        }

        #[test]
        fn no_two_tokens_are_one_name(token in "[a-zA-Z0-9=_.-]{0,12}") {
            if let Some(name) = unescape(&token) {
                prop_assert_eq!(escape(&name), token);
            }
        }
    }
}
