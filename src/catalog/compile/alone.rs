//! What is wrong with an Entity by itself, whatever its database and the other entities are.
//!
//! The compiler tells the same of every entity that it holds against a table, by the same functions, so that whoever is told of
//! it before, when a manifest is handed in, is told what would be said of it afterwards. No facts, no IO.

use super::{columns, fragment, operations, relation};
use crate::database::{Dialect, Flavour};
use crate::manifest::{self, Declared, Problem};

/// Every SQL that a source may speak.
pub(super) const DIALECTS: [Dialect; 4] =
    [Dialect::Postgres, Dialect::Mysql(Flavour::Mysql), Dialect::Mysql(Flavour::Mariadb), Dialect::Sqlite];

/// Everything that is wrong with an entity whose database nobody has asked. Which SQL it speaks is not known here, so that of
/// declared SQL only that is told which is wrong in all of them. A relation with a fault is left out of an entity that is served.
#[must_use]
pub fn alone(declared: &Declared<manifest::Entity>) -> Vec<Problem> {
    let mut found = Vec::new();
    problems(declared, &DIALECTS, &mut found);
    let relations = declared.resource.spec.relations.as_ref().map_or(0, Vec::len);
    found.extend((0..relations).filter_map(|place| relation::check_alone(declared, place)));
    found
}

/// The same without relations, for a database that speaks one of these dialects.
pub(super) fn problems(declared: &Declared<manifest::Entity>, dialects: &[Dialect], problems: &mut Vec<Problem>) {
    let spec = &declared.resource.spec;
    columns::alone(declared, problems);
    operations::alone(declared, problems);
    fragment::alone(declared, dialects, problems);
    for (path, name) in [("spec.name", &spec.name), ("spec.apiSchema", &spec.api_schema)] {
        problems.extend(name.as_ref().and_then(|name| columns::check_name(declared, path, name)));
    }
}
