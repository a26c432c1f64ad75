//! Related rows: dotted paths, nested preloads and recursive ones, each under a grant of its own.

use super::link::authorize_link;
use super::order::resolve_order;
use super::page::resolve_limit;
use super::predicate::Predicate;
use super::read::declared;
use super::select::{Field, Node, resolve_fields};
use super::{Scope, within};
use crate::catalog::{Entity, Relation};
use crate::engine::authorize::authorize;
use crate::protocol::options::Fragment;
use crate::protocol::{Code, Error, Operation, Preload};
use std::collections::VecDeque;

/// Related rows of each row of a parent.
#[derive(Debug, Clone)]
pub struct PreloadPlan<'c> {
    /// The relation.
    pub relation: &'c Relation,
    /// The rows of the link table that lead there, where it is an entity; nothing of them is answered.
    pub link: Option<Node<'c>>,
    /// The related rows.
    pub node: Node<'c>,
    /// At most so many for each parent.
    pub limit: Option<u64>,
    /// Skipped for each parent.
    pub offset: u64,
}

/// Resolves preloads of an entity into fields. Dotted paths that share a beginning share its level.
pub(super) fn resolve_preloads<'c>(
    scope: &mut Scope<'c, '_>,
    entity: &'c Entity,
    preloads: &[Preload],
    depth: usize,
) -> Result<Vec<Field<'c>>, Error> {
    let merged = merge(entity, preloads)?;
    let plans =
        merged.iter().map(|preload| resolve_preload(scope, entity, preload, depth).map(|plan| Field::Preload(Box::new(plan))));
    plans.collect()
}

fn resolve_preload<'c>(
    scope: &mut Scope<'c, '_>,
    entity: &'c Entity,
    preload: &Preload,
    depth: usize,
) -> Result<PreloadPlan<'c>, Error> {
    within(depth + 1, scope.limits.max_preload_depth, "levels of preloads")?;
    scope.spend_preload()?;
    let relation = entity.find_relation(&preload.relation).ok_or_else(|| unknown_relation(entity, &preload.relation))?;
    let target = scope.catalog.entity(relation.target);
    check_hints(entity, relation, target, preload)?;
    let levels = if preload.recursive { recursion(scope, entity, relation, target)? } else { 1 };
    let folded = if preload.recursive { Some(fold(entity, preload)?) } else { None };
    let preload = folded.as_ref().unwrap_or(preload);
    let mut plan = resolve_level(scope, entity, relation, target, preload, depth)?;
    // From the deepest level up: each holds the one below it.
    for _ in 1..levels {
        let mut upper = resolve_level(scope, entity, relation, target, preload, depth)?;
        upper.node.fields.push(Field::Preload(Box::new(plan)));
        plan = upper;
    }
    Ok(plan)
}

fn resolve_level<'c>(
    scope: &mut Scope<'c, '_>,
    entity: &Entity,
    relation: &'c Relation,
    target: &'c Entity,
    preload: &Preload,
    depth: usize,
) -> Result<PreloadPlan<'c>, Error> {
    let grant = authorize(scope.principal, target, Operation::Read)?;
    let link = authorize_link(scope, entity, relation, Operation::Read)?;
    let link = link.map(|grant| Node { grant, fields: Vec::new(), filter: Predicate::always(), order: Vec::new() });
    let mut fields = resolve_fields(target, &preload.columns, &preload.omit_columns, &preload.computed_ql)?;
    fields.extend(resolve_preloads(scope, target, &preload.preload, depth + 1)?);
    if fields.is_empty() {
        let message = format!("nothing is left to select of {}: every column is omitted", relation.name);
        return Err(Error::new(Code::InvalidPreload, message));
    }
    let mut filter = Predicate::resolve(scope, target, &preload.filters)?;
    if let Some(name) = preload.condition.as_deref().filter(|name| !name.trim().is_empty()) {
        let fragment = Fragment { name: name.trim().to_owned(), sql: None };
        filter = filter.and(declared(target, &fragment, &[])?);
    }
    let order = resolve_order(target, &preload.sort)?;
    let limit = preload.limit.map(|limit| resolve_limit(target, Some(limit))).transpose()?;
    let offset = preload.offset.unwrap_or(0);
    if relation.is_single() && (limit.is_some() || offset > 0) {
        let message = format!("{} leads to one row at most; limit and offset have no meaning there", relation.name);
        return Err(Error::new(Code::InvalidPreload, message));
    }
    if i64::try_from(offset).is_err() {
        return Err(Error::new(Code::InvalidOption, "offset is larger than any table"));
    }
    Ok(PreloadPlan { relation, link, node: Node { grant, fields, filter, order }, limit, offset })
}

/// How many levels a recursive preload has; only a relation of an entity to itself can recurse.
fn recursion(scope: &Scope<'_, '_>, entity: &Entity, relation: &Relation, target: &Entity) -> Result<usize, Error> {
    if target.id != entity.id {
        let message =
            format!("{} can't be recursive: it leads from {} to {}", relation.name, entity.full_name(), target.full_name());
        return Err(Error::new(Code::InvalidPreload, message));
    }
    Ok(scope.limits.max_recursion.max(1))
}

fn unknown_relation(entity: &Entity, name: &str) -> Error {
    let known: Vec<&str> = entity.relations.iter().map(|relation| relation.name.as_str()).collect();
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Error::new(Code::InvalidPreload, format!("{} has no relation '{name}'; {known}", entity.full_name())).with_detail(name)
}

/// Table and key names that clients of the reference send must fit the relation; they choose nothing.
fn check_hints(entity: &Entity, relation: &Relation, target: &Entity, preload: &Preload) -> Result<(), Error> {
    let refused = |what: &str, name: &str| {
        let message = format!("{what} '{name}' does not fit the relation {} of {}", relation.name, entity.full_name());
        Err(Error::new(Code::InvalidPreload, message).with_detail(name))
    };
    if let Some(table) = preload.table_name.as_deref().filter(|table| !table.is_empty()) {
        let bare = table.rsplit('.').next().unwrap_or(table);
        if !bare.eq_ignore_ascii_case(target.table.name.as_str()) && !bare.eq_ignore_ascii_case(&target.name) {
            return refused("table_name", table);
        }
    }
    let hints = [
        ("primary_key", &preload.primary_key),
        ("related_key", &preload.related_key),
        ("foreign_key", &preload.foreign_key),
        ("recursive_child_key", &preload.recursive_child_key),
    ];
    for (what, hint) in hints {
        let Some(name) = hint.as_deref().filter(|name| !name.is_empty()) else { continue };
        let here = entity.find_column(name).is_some_and(|id| relation.columns.contains(&id) || entity.primary_key.contains(&id));
        let there =
            target.find_column(name).is_some_and(|id| relation.target_columns.contains(&id) || target.primary_key.contains(&id));
        if !here && !there {
            return refused(what, name);
        }
    }
    Ok(())
}

/// Turns dotted paths into nested preloads, and joins those of one relation.
///
/// A path names its levels only to pass through them, so one preload may say more of a level; two that do contradict.
fn merge(entity: &Entity, preloads: &[Preload]) -> Result<Vec<Preload>, Error> {
    let mut merged: Vec<Preload> = Vec::new();
    for preload in preloads {
        let mut preload = match preload.relation.split_once('.') {
            None => preload.clone(),
            Some((first, rest)) => {
                let inner = Preload { relation: rest.to_owned(), ..preload.clone() };
                Preload { preload: vec![inner], ..Preload::of(first) }
            }
        };
        // A relation is found by several names, and answered under its own.
        if let Some(relation) = entity.find_relation(&preload.relation) {
            preload.relation.clone_from(&relation.name);
        }
        match merged.iter_mut().find(|known| known.relation == preload.relation) {
            None => merged.push(preload),
            Some(known) => join(known, preload)?,
        }
    }
    Ok(merged)
}

/// Joins a recursive preload with what is asked of its own relation below it: every level of a recursion is alike.
fn fold(entity: &Entity, preload: &Preload) -> Result<Preload, Error> {
    let mut folded = Preload { preload: Vec::new(), ..preload.clone() };
    let mut below = VecDeque::from(merge(entity, &preload.preload)?);
    while let Some(mut inner) = below.pop_front() {
        if inner.relation == folded.relation {
            below.extend(merge(entity, &std::mem::take(&mut inner.preload))?);
            join(&mut folded, inner)?;
        } else {
            folded.preload.push(inner);
        }
    }
    Ok(folded)
}

fn join(known: &mut Preload, mut other: Preload) -> Result<(), Error> {
    let mut inner = std::mem::take(&mut known.preload);
    inner.append(&mut other.preload);
    other.relation.clone_from(&known.relation);
    let plain = Preload::of(known.relation.clone());
    if *known == plain {
        *known = other;
    } else if other != plain && other != *known {
        let message = format!("the relation '{}' is asked for twice with different options; say it once", known.relation);
        return Err(Error::new(Code::InvalidPreload, message).with_detail(known.relation.clone()));
    }
    known.preload = inner;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::resolve_preloads;
    use crate::auth::Principal;
    use crate::catalog::test_shop::{catalog, entity};
    use crate::engine::plan::{Field, Scope};
    use crate::protocol::{Code, Preload};
    use serde_json::{Value, json};

    const MENTEES: &str = "  relations:\n    - {name: mentees, kind: hasMany, target: customers, targetColumns: [mentor_id]}\n  \
                           limits: {maxRecursion: 2}";

    fn names(fields: &[Field<'_>]) -> String {
        let names = fields.iter().filter_map(|field| match field {
            Field::Preload(plan) => Some(format!("{}({})", plan.relation.name, names(&plan.node.fields))),
            Field::Column(_) | Field::Computed(_) => None,
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn loaded(preloads: Value) -> Result<String, Code> {
        let catalog = catalog(&[entity("customers", MENTEES)]);
        let customers = &catalog.entities()[0];
        let principal = Principal::anonymous();
        let preloads: Vec<Preload> = serde_json::from_value(preloads).expect("preloads");
        let mut scope = Scope::new(&catalog, &principal, customers);
        let fields = resolve_preloads(&mut scope, customers, &preloads, 0).map_err(|error| error.code)?;
        Ok(names(&fields))
    }

    #[test]
    fn a_relation_is_loaded_once_whatever_it_is_called() {
        let cases = [
            (json!([{"relation": "mentees"}, {"relation": "customers"}, {"relation": "MENTEES"}]), Ok("mentees()")),
            (json!([{"relation": "customers.mentees"}, {"relation": "mentees", "columns": ["id"]}]), Ok("mentees(mentees())")),
            (
                json!([{"relation": "mentees", "columns": ["id"]}, {"relation": "customers", "columns": ["name"]}]),
                Err(Code::InvalidPreload),
            ),
            (json!([{"relation": "customers"}, {"relation": "nothing"}]), Err(Code::InvalidPreload)),
        ];
        for (preloads, expected) in cases {
            assert_eq!(loaded(preloads.clone()), expected.map(ToOwned::to_owned), "{preloads}");
        }
    }

    #[test]
    fn a_recursion_has_its_own_relation_once_at_each_level() {
        let below = |preload: Value| json!([{"relation": "customers", "recursive": true, "preload": preload}]);
        let cases = [
            (json!([]), Ok("mentees(mentees())")),
            (json!([{"relation": "mentees"}]), Ok("mentees(mentees())")),
            (json!([{"relation": "customers.mentees.customers"}]), Ok("mentees(mentees())")),
            (json!([{"relation": "mentees", "recursive": true}]), Ok("mentees(mentees())")),
            (json!([{"relation": "mentees", "columns": ["id"]}]), Err(Code::InvalidPreload)),
        ];
        for (preload, expected) in cases {
            assert_eq!(loaded(below(preload.clone())), expected.map(ToOwned::to_owned), "{preload}");
        }
    }
}
