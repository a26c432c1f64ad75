//! Random queries in plain SQL, written without a look at how the engine writes them.

use super::filter::{Column, Filter, Key, Operand, Test};
use crate::support::database::Kind;

pub(super) fn integer(number: Option<i64>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}

/// A text as a literal.
pub(crate) fn text(kind: Kind, text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if kind == Kind::Mariadb { format!("'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

pub(super) fn moment(kind: Kind, text: &str) -> String {
    if kind == Kind::Postgres { format!("timestamptz '{text}+00'") } else { format!("'{text}'") }
}

/// The flat list: a filter that is joined by OR goes into the group of the one before it.
pub(super) fn condition(kind: Kind, filters: &[(bool, Filter)]) -> String {
    let mut groups: Vec<Vec<String>> = Vec::new();
    for (or, part) in filters {
        match groups.last_mut() {
            Some(group) if *or => group.push(filter(kind, part)),
            _ => groups.push(vec![filter(kind, part)]),
        }
    }
    let groups: Vec<String> = groups.into_iter().map(|group| format!("({})", group.join(" or "))).collect();
    if groups.is_empty() { "1 = 1".to_owned() } else { groups.join(" and ") }
}

/// NULLs come last in an ascending order and first in a descending one unless said otherwise.
pub(super) fn order(keys: &[Key]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for key in keys {
        let first = key.nulls_first.unwrap_or(key.descending);
        let (null, other) = if first { (0, 1) } else { (1, 0) };
        let direction = if key.descending { "desc" } else { "asc" };
        parts.push(format!("case when {0} is null then {null} else {other} end, {0} {direction}", key.column));
    }
    parts.push("id".to_owned());
    parts.join(", ")
}

fn filter(kind: Kind, target: &Filter) -> String {
    let each = |parts: &[Filter], word: &str| parts.iter().map(|part| filter(kind, part)).collect::<Vec<_>>().join(word);
    match target {
        Filter::One(one) => format!("({})", test(kind, one)),
        Filter::All(parts) => format!("({})", each(parts, " and ")),
        Filter::Any(parts) => format!("({})", each(parts, " or ")),
        Filter::Not(part) => format!("(not {})", filter(kind, part)),
    }
}

fn operand(kind: Kind, value: &Operand) -> String {
    match value {
        Operand::Integer(number) => number.to_string(),
        Operand::Decimal(digits) => digits.clone(),
        Operand::Text(value) => text(kind, value),
        Operand::Moment(value) => moment(kind, value),
        Operand::Truth(truth) => truth.to_string(),
    }
}

fn test(kind: Kind, test: &Test) -> String {
    match test {
        Test::Compare(column, operator, value) => format!("{} {operator} {}", column.name(), operand(kind, value)),
        Test::In(_, values) if values.is_empty() => "1 = 0".to_owned(),
        Test::In(column, values) => {
            let alternatives = values.iter().map(|value| format!("{} = {}", column.name(), operand(kind, value)));
            alternatives.collect::<Vec<_>>().join(" or ")
        }
        Test::Between(column, low, high, inclusive) => {
            let (name, equal) = (column.name(), if *inclusive { "=" } else { "" });
            format!("{name} >{equal} {} and {name} <{equal} {}", operand(kind, low), operand(kind, high))
        }
        Test::Absent(column, operator) => absent(*column, operator),
        Test::Text(_, "like", pattern) => like(kind, pattern),
        Test::Text(column, operator, part) => part_of(kind, *column, operator, part),
    }
}

fn absent(column: Column, operator: &str) -> String {
    let name = column.name();
    match (operator, column) {
        ("empty", Column::T) => "t is null or t = ''".to_owned(),
        ("notempty", Column::T) => "t is not null and t <> ''".to_owned(),
        ("is_null" | "empty", _) => format!("{name} is null"),
        _ => format!("{name} is not null"),
    }
}

/// SQLite's GLOB regards the case without being told to.
fn like(kind: Kind, pattern: &str) -> String {
    match kind {
        Kind::Postgres => format!("t like {} escape '\\'", text(kind, pattern)),
        Kind::Mariadb => format!("t collate utf8mb4_bin like {} escape '\\\\'", text(kind, pattern)),
        Kind::Sqlite => {
            let mut glob = String::new();
            let mut characters = pattern.chars();
            while let Some(character) = characters.next() {
                match character {
                    '%' => glob.push('*'),
                    '_' => glob.push('?'),
                    '\\' => literal(&mut glob, characters.next().expect("a pattern does not end within an escape")),
                    other => literal(&mut glob, other),
                }
            }
            format!("t glob {}", text(kind, &glob))
        }
    }
}

fn literal(glob: &mut String, character: char) {
    if matches!(character, '*' | '?' | '[') {
        glob.push('[');
        glob.push(character);
        glob.push(']');
    } else {
        glob.push(character);
    }
}

/// A part of a text without regard to case, by its place and length and not by a pattern.
fn part_of(kind: Kind, column: Column, operator: &str, part: &str) -> String {
    let name = column.name();
    let whole = match (column, kind) {
        (Column::T, _) => name.to_owned(),
        (_, Kind::Mariadb) => format!("cast({name} as char)"),
        _ => format!("cast({name} as text)"),
    };
    let (whole, part) = (lower(kind, &whole), lower(kind, &text(kind, part)));
    let (whole, part) = match kind {
        Kind::Mariadb => (format!("cast({whole} as binary)"), format!("cast({part} as binary)")),
        _ => (whole, part),
    };
    match (operator, kind) {
        ("contains", Kind::Postgres) => format!("strpos({whole}, {part}) > 0"),
        ("contains", _) => format!("instr({whole}, {part}) > 0"),
        ("startswith", _) => format!("substr({whole}, 1, length({part})) = {part}"),
        _ => format!("length({whole}) >= length({part}) and substr({whole}, length({whole}) - length({part}) + 1) = {part}"),
    }
}

/// SQLite knows only the letters of ASCII.
fn lower(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Sqlite => format!("replace(replace(lower({text}), 'É', 'é'), 'Ñ', 'ñ')"),
        _ => format!("lower({text})"),
    }
}
