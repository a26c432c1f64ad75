//! Which columns of two tables hold the same key: what a manifest names, completed by foreign keys.

use crate::catalog::kind::Kind;
use crate::database::Dialect;

/// Columns of both sides that hold the same key, by the database's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) near: Vec<String>,
    pub(super) far: Vec<String>,
}

/// Chooses the columns: those given, else the one foreign key that fits them, else what is given with the key.
/// `between` and `names` are for the error.
pub(super) fn choose(
    candidates: Vec<Pair>,
    given: &Pair,
    fallback: &Pair,
    between: &str,
    names: [&str; 2],
) -> Result<Pair, (String, String)> {
    if !given.near.is_empty() && !given.far.is_empty() {
        if given.near.len() == given.far.len() {
            return Ok(given.clone());
        }
        let reason = format!("({}) and ({}) differ in number", given.near.join(", "), given.far.join(", "));
        return Err((reason, format!("`{}` and `{}` must pair up", names[0], names[1])));
    }
    let mut fitting: Vec<Pair> = Vec::new();
    for pair in candidates {
        let fits = |given: &[String], has: &[String]| given.is_empty() || same_set(given, has);
        if fits(&given.near, &pair.near) && fits(&given.far, &pair.far) && !fitting.contains(&pair) {
            fitting.push(pair);
        }
    }
    let completed = Pair {
        near: if given.near.is_empty() { fallback.near.clone() } else { given.near.clone() },
        far: if given.far.is_empty() { fallback.far.clone() } else { given.far.clone() },
    };
    let is_given = !given.near.is_empty() || !given.far.is_empty();
    match fitting.as_slice() {
        [only] => Ok(only.clone()),
        [] if is_given && !completed.near.is_empty() && completed.near.len() == completed.far.len() => Ok(completed),
        [] => Err((format!("no foreign key is between {between}"), format!("name both `{}` and `{}`", names[0], names[1]))),
        many => {
            let said = |pair: &Pair| format!("({}) with ({})", pair.near.join(", "), pair.far.join(", "));
            let said: Vec<String> = many.iter().map(said).collect();
            let reason = format!("several foreign keys are between {between}: {}", said.join(", "));
            Err((reason, format!("name the columns of one under `{}` or `{}`", names[0], names[1])))
        }
    }
}

fn same_set(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|name| right.contains(name))
}

/// Whether the database compares values of both kinds without a cast.
pub(super) fn can_be_equal(left: &Kind, right: &Kind, dialect: Dialect) -> bool {
    use Kind::{Decimal, Enum, Integer, Other, Text, Uuid};
    std::mem::discriminant(left) == std::mem::discriminant(right)
        || matches!((left, right), (Integer | Decimal, Integer | Decimal) | (Other, _) | (_, Other))
        || (dialect != Dialect::Postgres && matches!((left, right), (Text | Enum(_) | Uuid, Text | Enum(_) | Uuid)))
}
