//! Advice for a name that is not there: the nearest that is, or what there is to choose from.

/// How many names are listed when none is near.
const LISTED: usize = 8;

/// What to say about `name`, which is none of `candidates`.
pub(in crate::catalog) fn advice<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let mut candidates: Vec<&str> = candidates.collect();
    candidates.sort_unstable();
    candidates.dedup();
    let wanted = name.to_lowercase();
    let near = candidates.iter().map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate)).min();
    match near {
        None => "there is none".to_owned(),
        Some((far, candidate)) if far <= wanted.chars().count().div_ceil(3) => format!("did you mean '{candidate}'?"),
        Some(_) => {
            let more = if candidates.len() > LISTED { ", …" } else { "" };
            candidates.truncate(LISTED);
            format!("there are {}{more}", candidates.join(", "))
        }
    }
}

/// How many characters must be added, removed or replaced.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{advice, distance};

    #[test]
    fn near_names_are_suggested() {
        let names = ["flights", "airports", "planes"];
        assert_eq!(advice("Flight", names.into_iter()), "did you mean 'flights'?");
        assert_eq!(advice("plane", names.into_iter()), "did you mean 'planes'?");
        assert_eq!(advice("weather", names.into_iter()), "there are airports, flights, planes");
        assert_eq!(advice("weather", std::iter::empty()), "there is none");
    }

    #[test]
    fn distances_count_edits() {
        for (left, right, expected) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("äb", "ab", 1)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
