//! `X-Preload: Relation:column,column|Other.Nested`, and the declared condition of `X-Preload…-Where`.

use super::decode::{list, refused};
use crate::protocol::{Code, Error, Preload};

/// Reads one parameter; `rest` is what its name has after `x-preload`.
pub(super) fn read(rest: &str, value: &str, preloads: &mut Vec<Preload>) -> Result<(), Error> {
    if rest.ends_with("-where") {
        return condition(value, preloads);
    }
    for part in value.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        let (relation, columns) = part.split_once(':').unwrap_or((part, ""));
        let relation = relation.trim();
        if preloads.iter().any(|known| known.relation.eq_ignore_ascii_case(relation)) {
            continue;
        }
        preloads.push(Preload { columns: list(columns), ..Preload::of(relation) });
    }
    Ok(())
}

/// The reference applies it to every relation of the header; names sort so that it comes after them.
fn condition(value: &str, preloads: &mut [Preload]) -> Result<(), Error> {
    let name = value.trim();
    if name.is_empty() {
        return Ok(());
    }
    if name.chars().any(|character| !(character.is_alphanumeric() || matches!(character, '_' | '-' | '.'))) {
        return Err(refused(
            Code::RawSqlRefused,
            "x-preload-where",
            "carries SQL; declare an operator in the related Entity and send its name",
        ));
    }
    for preload in preloads {
        preload.condition = Some(name.to_owned());
    }
    Ok(())
}
