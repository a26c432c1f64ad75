//! Sort keys as the header style writes them: `+a,-b,c desc,d nulls first`.
//!
//! Names are not resolved here, and no expression is taken: a sort by SQL is refused.

use super::decode::{list, refused};
use crate::protocol::options::{Direction, Nulls, Sort};
use crate::protocol::{Code, Error};

/// Reads a comma list of sort keys.
pub(super) fn sort_keys(value: &str) -> Result<Vec<Sort>, Error> {
    list(value).iter().map(|key| sort_key(key)).collect()
}

fn sort_key(key: &str) -> Result<Sort, Error> {
    let (mut rest, mut direction, mut nulls) = (key.trim(), Direction::Ascending, None);
    if let Some(stripped) = rest.strip_prefix('-') {
        (rest, direction) = (stripped.trim(), Direction::Descending);
    } else if let Some(stripped) = rest.strip_prefix('+') {
        rest = stripped.trim();
    }
    if rest.starts_with('(') {
        return Err(refused(
            Code::RawSqlRefused,
            "x-sort",
            "carries an SQL expression; declare a computed column and sort by its name",
        ));
    }
    for (suffix, place) in [(" nulls first", Nulls::First), (" nulls last", Nulls::Last)] {
        if let Some(stripped) = strip_suffix(rest, suffix) {
            (rest, nulls) = (stripped.trim(), Some(place));
        }
    }
    for (suffix, way) in [(" desc", Direction::Descending), (" asc", Direction::Ascending)] {
        if let Some(stripped) = strip_suffix(rest, suffix) {
            (rest, direction) = (stripped.trim(), way);
        }
    }
    if rest.is_empty() {
        return Err(refused(Code::InvalidOption, "x-sort", "has a key without a column"));
    }
    Ok(Sort { column: rest.to_owned(), direction, nulls })
}

fn strip_suffix<'t>(text: &'t str, suffix: &str) -> Option<&'t str> {
    let cut = text.len().checked_sub(suffix.len())?;
    let (head, tail) = (text.get(..cut)?, text.get(cut..)?);
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}
