//! `LIKE`: `%` for any characters, `_` for one, a backslash before what is meant as it stands.
//!
//! A text is read once, whatever the pattern: what is between two `%` is looked for behind what was found before, and never
//! again before that. A subscriber chooses the pattern and another one writes the text, and the hub has no time for their product.

/// A pattern, cut at each `%`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// What a text begins with.
    start: Box<[Wanted]>,
    /// What comes somewhere behind it, each after the one before.
    middle: Box<[Step]>,
    /// What it ends with; none where there is no `%`, and the text is over with its start.
    end: Option<Box<[Wanted]>>,
}

/// What is wanted of one character; nothing where it may be any.
type Wanted = Option<char>;

/// Something to be found in the middle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// So many characters, whichever.
    Skip(usize),
    Plain(Box<str>),
    Gapped(Gapped),
}

/// Characters with gaps between them. Bit by bit it is known which of its beginnings the text read so far ends with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Gapped {
    /// Where each character may be, gaps among it; in the order of the characters.
    places: Box<[(char, u128)]>,
    /// Where any other may be.
    gaps: u128,
    /// The last place.
    last: u128,
}

/// How many characters there may be between two `%` with `_` among them: as many as a number has bits.
pub(super) const MOST_GAPPED: usize = 128;

/// Between two `%` are more than [`MOST_GAPPED`] characters with `_` among them.
#[derive(Debug)]
pub(super) struct TooLong;

impl Pattern {
    /// Reads a pattern that does not end in a lone backslash.
    pub(super) fn new(text: &str) -> Result<Self, TooLong> {
        let mut segments = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let wanted = match character {
                '%' => {
                    segments.push(Vec::new());
                    continue;
                }
                '_' => None,
                '\\' => Some(characters.next().unwrap_or('\\')),
                other => Some(other),
            };
            if let Some(segment) = segments.last_mut() {
                segment.push(wanted);
            }
        }
        let mut segments = segments.into_iter();
        let start = segments.next().unwrap_or_default().into();
        let end = segments.next_back().map(Vec::into);
        let mut middle = Vec::new();
        for segment in segments {
            add_steps(&segment, &mut middle)?;
        }
        Ok(Self { start, middle: middle.into(), end })
    }

    /// Whether the whole text is as the pattern says.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(rest) = after_start(&self.start, text) else { return false };
        let Some(end) = &self.end else { return rest.is_empty() };
        // The first place where something is found leaves the most to the others.
        let rest = self.middle.iter().try_fold(rest, |rest, step| step.after(rest));
        rest.is_some_and(|rest| has_end(end, rest))
    }
}

/// Adds what is between two `%`. Gaps at its ends are so many characters more, wherever they are.
fn add_steps(segment: &[Wanted], steps: &mut Vec<Step>) -> Result<(), TooLong> {
    let is_gap = |place: &&Wanted| place.is_none();
    let leading = segment.iter().take_while(is_gap).count();
    let trailing = segment[leading..].iter().rev().take_while(is_gap).count();
    let core = &segment[leading..segment.len() - trailing];
    if leading > 0 {
        steps.push(Step::Skip(leading));
    }
    if !core.is_empty() {
        let plain: Option<String> = core.iter().copied().collect();
        steps.push(match plain {
            Some(plain) => Step::Plain(plain.into()),
            None => Step::Gapped(Gapped::new(core)?),
        });
    }
    if trailing > 0 {
        steps.push(Step::Skip(trailing));
    }
    Ok(())
}

fn after_start<'t>(start: &[Wanted], text: &'t str) -> Option<&'t str> {
    let mut rest = text.chars();
    let is_so = start.iter().all(|place| rest.next().is_some_and(|found| fits(*place, found)));
    is_so.then_some(rest.as_str())
}

fn has_end(end: &[Wanted], text: &str) -> bool {
    let mut rest = text.chars();
    end.iter().rev().all(|place| rest.next_back().is_some_and(|found| fits(*place, found)))
}

fn fits(place: Wanted, found: char) -> bool {
    place.is_none_or(|expected| expected == found)
}

impl Step {
    /// What is left of a text behind the first place where this is found.
    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Step::Skip(count) => {
                let mut rest = text.chars();
                rest.nth(count - 1).map(|_| rest.as_str())
            }
            Step::Plain(plain) => text.find(&**plain).map(|place| &text[place + plain.len()..]),
            Step::Gapped(gapped) => gapped.after(text),
        }
    }
}

impl Gapped {
    fn new(places: &[Wanted]) -> Result<Self, TooLong> {
        if places.len() > MOST_GAPPED {
            return Err(TooLong);
        }
        let bits = |wanted: Wanted| {
            let is_there = places.iter().enumerate().filter(move |(_, place)| place.is_none() || **place == wanted);
            is_there.fold(0, |bits, (number, _)| bits | 1 << number)
        };
        let mut characters: Vec<char> = places.iter().copied().flatten().collect();
        characters.sort_unstable();
        characters.dedup();
        let found = characters.into_iter().map(|character| (character, bits(Some(character)))).collect();
        Ok(Self { places: found, gaps: bits(None), last: 1 << (places.len() - 1) })
    }

    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut ends = 0;
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            ends = (ends << 1 | 1) & self.places_of(character);
            if ends & self.last != 0 {
                return Some(rest.as_str());
            }
        }
        None
    }

    fn places_of(&self, character: char) -> u128 {
        self.places.binary_search_by_key(&character, |(known, _)| *known).map_or(self.gaps, |place| self.places[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_GAPPED, Pattern};

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("it is short enough")
    }

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
            ("a%a", "a", false),
            ("%a_c%", "xabaacx", true),
            ("%a_c%", "xabacbx", false),
            ("%_a_%", "a", false),
            ("%_a_%", "日a日", true),
            ("%__%", "a", false),
            ("%a\\_c%", "xabc", false),
            ("%a\\_c%", "xa_c", true),
        ];
        for (text, found, expected) in cases {
            assert_eq!(pattern(text).matches(found), expected, "{text} {found}");
        }
    }

    /// Every short pattern and text of two letters, against what `LIKE` means, word by word.
    #[test]
    fn it_is_what_like_means() {
        fn means(pattern: &[char], text: &[char]) -> bool {
            match pattern {
                [] => text.is_empty(),
                ['%', rest @ ..] => (0..=text.len()).any(|skipped| means(rest, &text[skipped..])),
                [one, rest @ ..] => {
                    text.split_first().is_some_and(|(found, text)| (*one == '_' || one == found) && means(rest, text))
                }
            }
        }
        fn words(letters: &[char], most: usize) -> Vec<Vec<char>> {
            let mut all = vec![Vec::new()];
            let mut from = 0;
            for _ in 0..most {
                let until = all.len();
                for place in from..until {
                    all.extend(letters.iter().map(|letter| [all[place].as_slice(), &[*letter]].concat()).collect::<Vec<_>>());
                }
                from = until;
            }
            all
        }
        let texts = words(&['a', 'é'], 6);
        for word in words(&['a', 'é', '_', '%'], 5) {
            let compiled = pattern(&word.iter().collect::<String>());
            for text in &texts {
                let found: String = text.iter().collect();
                assert_eq!(compiled.matches(&found), means(&word, text), "{word:?} {found}");
            }
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_more_than_its_product_with_the_text() {
        let hostile = "%a".repeat(200) + "b";
        assert!(!pattern(&hostile).matches(&"a".repeat(20_000)));
    }

    /// Each of these would take for minutes if a text was read anew from each of its places.
    #[test]
    fn a_long_text_is_read_once() {
        let text = "a".repeat(1 << 20);
        let many = "a".repeat(60_000);
        let gapped = "a_".repeat(MOST_GAPPED / 2 - 1);
        for hostile in
            [format!("%{many}b%"), format!("%{many}b"), format!("%{gapped}b%"), format!("%a{}%b%", "%a_a".repeat(15_000))]
        {
            assert!(!pattern(&hostile).matches(&text));
        }
        assert!(pattern(&format!("%{}%", "_".repeat(60_000))).matches(&text), "gaps alone are a length");
        assert!(pattern(&"_".repeat(1 << 20)).matches(&text));
        assert!(pattern(&format!("{}%", "a_".repeat(30_000))).matches(&text), "nothing is looked for at the start");
    }

    #[test]
    fn what_could_not_be_read_in_one_go_is_refused() {
        let of = |count: usize| format!("%a{}b%", "_".repeat(count));
        assert!(Pattern::new(&of(MOST_GAPPED - 2)).is_ok());
        assert!(Pattern::new(&of(MOST_GAPPED - 1)).is_err());
        assert!(pattern(&of(MOST_GAPPED - 2)).matches(&format!("aa{}b", "x".repeat(MOST_GAPPED - 2))));
    }
}
