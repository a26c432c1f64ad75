//! `LIKE`: `%` for any characters, `_` for one, a backslash before what is meant as it stands.

use std::iter;

/// A pattern, cut into its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern(Box<[Part]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Any,
    One,
    Character(char),
}

impl Pattern {
    /// Reads a pattern that does not end in a lone backslash.
    pub(super) fn new(text: &str) -> Self {
        let mut characters = text.chars();
        let part = move || {
            Some(match characters.next()? {
                '%' => Part::Any,
                '_' => Part::One,
                '\\' => Part::Character(characters.next()?),
                other => Part::Character(other),
            })
        };
        let mut parts: Vec<Part> = iter::from_fn(part).collect();
        parts.dedup_by(|next, last| *next == Part::Any && *last == Part::Any);
        Self(parts.into())
    }

    /// Whether the whole text is as the pattern says. Each `%` is tried again at most once a character.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (mut place, mut rest) = (0, text.chars());
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let mut ahead = rest.clone();
            let advanced = match (self.0.get(place), ahead.next()) {
                (Some(Part::Any), _) => {
                    retry = Some((place + 1, rest.clone()));
                    place += 1;
                    continue;
                }
                (None, None) => return true,
                (Some(Part::One), Some(_)) => true,
                (Some(Part::Character(expected)), Some(found)) => *expected == found,
                (_, None) => return false,
                (None, Some(_)) => false,
            };
            if advanced {
                place += 1;
                rest = ahead;
                continue;
            }
            let Some((after, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (place, rest) = (*after, from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%%", "abc", true),
            ("a%c", "abbc", true),
            ("a%c", "abcd", false),
            ("%b%", "abc", true),
            ("_", "日", true),
            ("_", "", false),
            ("__", "a", false),
            ("%_", "", false),
            ("a\\%", "a%", true),
            ("a\\%", "ab", false),
            ("\\\\", "\\", true),
            ("\\a", "a", true),
            ("%aab", "aaaab", true),
            ("%a%b%c", "xaybzc", true),
            ("%a%b%c", "xaybz", false),
            ("A", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_more_than_its_product_with_the_text() {
        let pattern = "%a".repeat(200) + "b";
        assert!(!Pattern::new(&pattern).matches(&"a".repeat(20_000)));
    }
}
