//! Who may do what with an entity, within what its table lets anyone do; and its limits.

use crate::catalog::entity::{Limits, Operations, Rule};
use crate::catalog::facts::TableFacts;
use crate::manifest::entity::RuleSpec;
use crate::manifest::{self, Declared, Problem};

/// What is wrong with rules and limits, whatever the table lets anyone do.
pub(super) fn alone(declared: &Declared<manifest::Entity>, problems: &mut Vec<Problem>) {
    let spec = &declared.resource.spec;
    let rules = spec.operations.iter().flat_map(|rules| {
        [("read", &rules.read), ("create", &rules.create), ("update", &rules.update), ("delete", &rules.delete)]
    });
    for (name, rule) in rules {
        if rule.as_ref().and_then(|rule| rule.roles.as_ref()).is_some_and(Vec::is_empty) {
            let problem = declared.problem(&format!("spec.operations.{name}.roles"), "no role is named");
            problems.push(problem.advise("name roles, or remove the operation"));
        }
    }
    let nothing = [
        ("maxRows", spec.limits.max_rows == Some(0)),
        ("maxWriteRows", spec.limits.max_write_rows == Some(0)),
        ("maxList", spec.limits.max_list == Some(0)),
    ];
    for (name, _) in nothing.iter().filter(|(_, is_nothing)| *is_nothing) {
        let problem = declared.problem(&format!("spec.limits.{name}"), "a limit of 0 leaves nothing");
        problems.push(problem.advise("use 1 or more, or remove the operation"));
    }
}

/// Unless the manifest says otherwise: everything that the database lets one do, but nothing beyond reading for views
/// and tables without a key.
pub(super) fn operations(
    declared: &Declared<manifest::Entity>,
    table: &TableFacts,
    has_key: bool,
    problems: &mut Vec<Problem>,
) -> Operations {
    let Some(spec) = &declared.resource.spec.operations else {
        let is_open = has_key && !table.is_view;
        let rule = |holds: bool| (is_open && holds).then_some(Rule::Everyone);
        return Operations {
            read: Some(Rule::Everyone),
            create: rule(table.writable.insert),
            update: rule(table.writable.update),
            delete: rule(table.writable.delete),
        };
    };
    let mut rule = |name: &str, spec: &Option<RuleSpec>, can: bool, needs_key: bool| {
        let spec = spec.as_ref()?;
        let path = format!("spec.operations.{name}");
        if !can {
            let sort = if table.is_view { "view" } else { "table" };
            let reason = format!("the database does not allow {name} on the {sort} '{}'", table.full_name());
            problems.push(declared.problem(&path, reason).advise("remove the operation"));
        }
        if needs_key && !has_key {
            let reason = format!("'{}' has no primary key, so that no row can be named to {name}", table.full_name());
            problems.push(declared.problem(&path, reason).advise("name the columns that are unique under `primaryKey`"));
        }
        match &spec.roles {
            None => Some(Rule::Everyone),
            Some(roles) => Some(Rule::Roles(roles.clone())),
        }
    };
    Operations {
        read: rule("read", &spec.read, true, false),
        create: rule("create", &spec.create, table.writable.insert, false),
        update: rule("update", &spec.update, table.writable.update, true),
        delete: rule("delete", &spec.delete, table.writable.delete, true),
    }
}

/// The manifest's limits, and the general ones for the rest.
pub(super) fn limits(declared: &Declared<manifest::Entity>, general: Limits) -> Limits {
    let spec = &declared.resource.spec.limits;
    Limits {
        max_rows: spec.max_rows.unwrap_or(general.max_rows),
        max_filters: spec.max_filters.unwrap_or(general.max_filters),
        max_preload_depth: spec.max_preload_depth.unwrap_or(general.max_preload_depth),
        max_preloads: spec.max_preloads.unwrap_or(general.max_preloads),
        max_recursion: spec.max_recursion.unwrap_or(general.max_recursion),
        max_write_rows: spec.max_write_rows.unwrap_or(general.max_write_rows),
        max_list: spec.max_list.unwrap_or(general.max_list),
    }
}
