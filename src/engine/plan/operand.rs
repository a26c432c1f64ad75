//! What a comparison or a sort key looks at: a column, a declared column, or a place in a JSON column.

use crate::catalog::{ColumnId, Entity, Kind};
use crate::database::{Dialect, Flavour};
use crate::protocol::{Code, Error};

/// What is compared or sorted by.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// Where the value comes from.
    pub source: OperandSource,
    /// What its values are; of a JSON place, what the comparison takes them for.
    pub kind: Kind,
    /// Whether it can be NULL.
    pub nullable: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum OperandSource {
    /// A column.
    Column(ColumnId),
    /// A declared column, by its place in the entity's list.
    Computed(usize),
    /// A place in a JSON column.
    Json(ColumnId, Vec<PathStep>),
}

/// One step into JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// An object's key.
    Key(String),
    /// An array's item.
    Item(u32),
}

/// Steps into JSON that a path may have.
const MAX_STEPS: usize = 32;

impl Operand {
    /// Finds what a client's column name stands for: `column`, a declared column, or `column->key->0->>leaf`.
    pub fn resolve(entity: &Entity, name: &str) -> Result<Self, Error> {
        if let Some((column, path)) = name.split_once("->") {
            return resolve_path(entity, name, column.trim(), path);
        }
        if let Some(id) = entity.find_column(name) {
            let column = entity.column(id);
            if column.readable() {
                return Ok(Self { source: OperandSource::Column(id), kind: column.kind.clone(), nullable: column.nullable });
            }
        }
        let computed = entity.computed.iter().position(|computed| computed.name.eq_ignore_ascii_case(name));
        match computed {
            Some(place) => {
                let kind = entity.computed[place].kind.clone();
                Ok(Self { source: OperandSource::Computed(place), kind, nullable: true })
            }
            None => Err(unknown_column(entity, name)),
        }
    }

    /// Whether the database can neither compare nor sort its values.
    pub(in crate::engine) fn is_opaque(&self, entity: &Entity) -> bool {
        matches!(self.source, OperandSource::Column(id) if entity.column(id).is_opaque(entity.dialect))
    }

    /// A column of the catalog.
    #[must_use]
    pub fn column(entity: &Entity, id: ColumnId) -> Self {
        let column = entity.column(id);
        Self { source: OperandSource::Column(id), kind: column.kind.clone(), nullable: column.nullable }
    }
}

/// The error for a name that is no column, with the nearest one as advice.
pub(super) fn unknown_column(entity: &Entity, name: &str) -> Error {
    let short: String = name.chars().take(80).collect();
    let mut message = format!("{} has no column '{short}'", entity.full_name());
    let near = entity.columns().filter(|(_, column)| column.readable()).find(|(_, column)| {
        let (left, right) = (column.name.to_lowercase(), name.to_lowercase());
        // A short name is a part of many that it has nothing to do with.
        left.contains(&right) || (left.len() > 2 && right.contains(&left))
    });
    if let Some((_, column)) = near.filter(|_| !name.is_empty()) {
        message.push_str("; did you mean '");
        message.push_str(&column.name);
        message.push_str("'?");
    }
    Error::new(Code::InvalidColumn, message).with_detail(short)
}

fn resolve_path(entity: &Entity, name: &str, column: &str, path: &str) -> Result<Operand, Error> {
    let id =
        entity.find_column(column).filter(|id| entity.column(*id).readable()).ok_or_else(|| unknown_column(entity, column))?;
    let bad = |reason: &str| Error::new(Code::InvalidColumn, format!("'{name}' is no JSON path: {reason}"));
    if entity.column(id).kind != Kind::Json {
        return Err(bad(&format!("{column} is not a JSON column")));
    }
    let steps: Vec<PathStep> = path.split("->").map(read_step).collect::<Result<_, _>>().map_err(bad)?;
    if entity.dialect == Dialect::Mysql(Flavour::Mariadb)
        && steps.iter().any(|step| matches!(step, PathStep::Key(key) if key.starts_with('-')))
    {
        return Err(bad("MariaDB finds no keys that begin with a minus sign"));
    }
    if steps.len() > MAX_STEPS {
        return Err(bad("it has too many steps"));
    }
    Ok(Operand { source: OperandSource::Json(id, steps), kind: Kind::Text, nullable: true })
}

/// Reads `key`, `'key'`, `>key` (of `->>`) or an item's number.
fn read_step(step: &str) -> Result<PathStep, &'static str> {
    let step = step.strip_prefix('>').unwrap_or(step).trim();
    if step.contains('\0') {
        return Err("a step has a NUL in it");
    }
    if let Some(quoted) = step.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Ok(PathStep::Key(quoted.replace("''", "'")));
    }
    if step.is_empty() {
        return Err("a step is empty");
    }
    if step.strip_prefix('-').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("items are counted from the first, which is 0; a key that looks like a number is written in quotes");
    }
    Ok(step.parse().map_or_else(|_| PathStep::Key(step.to_owned()), PathStep::Item))
}

#[cfg(test)]
mod tests {
    use super::unknown_column;
    use crate::catalog::test_shop::{catalog, entity};

    #[test]
    fn only_a_name_that_is_near_is_proposed() {
        let catalog = catalog(&[entity("customers", "")]);
        let customers = &catalog.entities()[0];
        let message = |name: &str| unknown_column(customers, name).message;
        assert_eq!(message("nam"), "main.customers has no column 'nam'; did you mean 'name'?");
        assert_eq!(message("customers.name"), "main.customers has no column 'customers.name'; did you mean 'name'?");
        assert_eq!(message("idle"), "main.customers has no column 'idle'", "it has 'id' in it");
    }
}
