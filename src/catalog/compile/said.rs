//! What a manifest says about one column, held against what the database has.

use super::columns::check_name;
use crate::catalog::entity::Column;
use crate::catalog::facts::{ColumnFacts, TableFacts};
use crate::catalog::kind::Kind;
use crate::manifest::entity::{ColumnSpec, ColumnType};
use crate::manifest::{self, Declared, Problem};

/// Where something is said about a column.
pub(super) struct Said<'a> {
    pub(super) declared: &'a Declared<manifest::Entity>,
    pub(super) table: &'a TableFacts,
    pub(super) facts: &'a ColumnFacts,
    pub(super) path: &'a str,
}

/// What is wrong with what is said about a column, whatever the database has.
pub(super) fn alone(declared: &Declared<manifest::Entity>, spec: &ColumnSpec, path: &str, problems: &mut Vec<Problem>) {
    problems.extend(spec.alias.as_ref().and_then(|alias| check_name(declared, &format!("{path}.alias"), alias)));
    if spec.kind != Some(ColumnType::Enum) && !spec.values.is_empty() {
        problems.push(declared.problem(&format!("{path}.values"), "`values` need `type: enum`"));
    }
    if spec.write_only && spec.read_only {
        problems.push(unreachable(declared, spec, path));
    }
}

fn unreachable(declared: &Declared<manifest::Entity>, spec: &ColumnSpec, path: &str) -> Problem {
    let reason = format!("'{}' can neither be read nor written", spec.name);
    declared.problem(&format!("{path}.writeOnly"), reason).advise("use `hidden: true` instead")
}

/// Changes a column as the manifest says.
pub(super) fn apply(column: &mut Column, spec: &ColumnSpec, said: &Said<'_>, problems: &mut Vec<Problem>) {
    if let Some(alias) = &spec.alias {
        column.name.clone_from(alias);
    }
    let kind = declared_kind(spec, said).map_err(|problem| problems.push(problem));
    if let Ok(Some(kind)) = kind {
        column.kind = kind;
    }
    if let Some(nullable) = spec.nullable {
        if !said.table.is_view && nullable != said.facts.nullable {
            let fact = if said.facts.nullable { "can be NULL" } else { "is NOT NULL" };
            let reason = format!("the column '{}' {fact} in the database", spec.name);
            problems.push(said.problem("nullable", reason).advise("remove `nullable`, which is for views"));
        }
        column.nullable = nullable;
    }
    if spec.write_only && !spec.read_only && said.facts.generated {
        problems.push(unreachable(said.declared, spec, said.path));
    }
    column.hidden = spec.hidden;
    column.read_only |= spec.read_only;
    column.write_only = spec.write_only;
}

impl Said<'_> {
    fn problem(&self, field: &str, reason: String) -> Problem {
        self.declared.problem(&format!("{}.{field}", self.path), reason)
    }
}

/// The kind that a manifest gives a column, if the database's can be taken for it.
fn declared_kind(spec: &ColumnSpec, said: &Said<'_>) -> Result<Option<Kind>, Problem> {
    let actual = &said.facts.kind;
    let Some(word) = spec.kind else { return Ok(None) };
    let kind = kind_of(word, &spec.values);
    if !kind.may_stand_for(actual) {
        let (table, facts) = (said.table.full_name(), said.facts);
        let reason = format!(
            "'{table}' has '{}' as {} ({}), which can't be {}",
            spec.name,
            facts.declared_type,
            actual.as_str(),
            kind.as_str()
        );
        return Err(said.problem("type", reason).advise("leave `type` out to use the database's"));
    }
    match (&kind, actual) {
        (Kind::Enum(values), Kind::Enum(known)) if !values.is_empty() => {
            let unknown = values.iter().find(|value| !known.contains(value));
            unknown.map_or(Ok(Some(kind.clone())), |value| {
                let reason = format!("'{value}' is not a value of '{}' in the database", spec.name);
                Err(said.problem("values", reason).advise(format!("it has {}", known.join(", "))))
            })
        }
        (Kind::Enum(values), actual) if values.is_empty() && !matches!(actual, Kind::Enum(_)) => {
            Err(said.problem("values", format!("the values of '{}' are not told", spec.name)).advise("list them under `values`"))
        }
        // The database knows more of it, such as whether a time has a zone.
        (kind, actual) if std::mem::discriminant(kind) == std::mem::discriminant(actual) => Ok(Some(actual.clone())),
        _ => Ok(Some(kind)),
    }
}

/// What a declared type means; texts where the values are not told.
pub(super) fn kind_of(kind: ColumnType, values: &[String]) -> Kind {
    match kind {
        ColumnType::Boolean => Kind::Boolean,
        ColumnType::Integer => Kind::Integer,
        ColumnType::Decimal => Kind::Decimal,
        ColumnType::Float => Kind::Float,
        ColumnType::Text => Kind::Text,
        ColumnType::Uuid => Kind::Uuid,
        ColumnType::Date => Kind::Date,
        ColumnType::Time => Kind::Time,
        ColumnType::Timestamp => Kind::Timestamp { zoned: false },
        ColumnType::Bytes => Kind::Bytes,
        ColumnType::Json => Kind::Json,
        ColumnType::Enum => Kind::Enum(values.to_vec()),
    }
}
