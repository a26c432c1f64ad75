//! The relations of an entity whose manifest says nothing about relations: from foreign keys between exposed entities.
//!
//! Deterministic, and never wider than what is exposed: a key of hidden columns, or a link table that is no entity itself,
//! makes no relation.

use super::compile::{Draft, is_name_character};
use super::entity::ColumnId;
use super::facts::ForeignKey;
use super::relation::{Link, Relation, RelationKind};
use std::collections::HashSet;

/// The relations of one entity.
pub(in crate::catalog) fn derive(this: &Draft<'_>, drafts: &[Draft<'_>]) -> Vec<Relation> {
    let candidates = belongs_to(this, drafts).into_iter().chain(has_many(this, drafts)).chain(many_to_many(this, drafts));
    named(this, candidates.collect())
}

/// A relation that has no final name yet.
struct Candidate {
    name: String,
    /// What tells it from others of the same name.
    columns: Vec<String>,
    relation: Relation,
}

fn belongs_to(this: &Draft<'_>, drafts: &[Draft<'_>]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (key, columns) in visible_keys(this) {
        let Some(target) = entity_of(this, key, drafts) else { continue };
        let Some(target_columns) = target.ids(&key.target_columns) else { continue };
        let names = public_names(this, &columns);
        let stem = match names.as_slice() {
            [only] => stem(only),
            _ => None,
        };
        let name = stem.unwrap_or(&target.entity.name).to_owned();
        let relation = relation(target, RelationKind::BelongsTo, columns, target_columns);
        candidates.push(Candidate { name, columns: names, relation });
    }
    candidates
}

fn has_many(this: &Draft<'_>, drafts: &[Draft<'_>]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for child in drafts.iter().filter(|child| represents(child, drafts)) {
        for (key, target_columns) in visible_keys(child) {
            if !this.is_of(&child.entity.source, &key.target_schema, &key.target_table) {
                continue;
            }
            let Some(columns) = this.ids(&key.target_columns) else { continue };
            let is_single = child.table.is_unique(&key.columns);
            let is_self = child.table.full_name() == this.table.full_name();
            let name = if is_self && !is_single { "children" } else { &child.entity.name }.to_owned();
            let kind = if is_single { RelationKind::HasOne } else { RelationKind::HasMany };
            let names = public_names(child, &target_columns);
            candidates.push(Candidate { name, columns: names, relation: relation(child, kind, columns, target_columns) });
        }
    }
    candidates
}

fn many_to_many(this: &Draft<'_>, drafts: &[Draft<'_>]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for link in drafts.iter().filter(|link| represents(link, drafts)) {
        let Some([first, second]) = link_keys(link) else { continue };
        for (near, far) in [(first, second), (second, first)] {
            if !this.is_of(&link.entity.source, &near.target_schema, &near.target_table) {
                continue;
            }
            let Some(target) = entity_of(link, far, drafts) else { continue };
            let ids = this.ids(&near.target_columns).zip(target.ids(&far.target_columns));
            let links = link.ids(&near.columns).zip(link.ids(&far.columns));
            let Some(((columns, target_columns), (near, far))) = ids.zip(links) else { continue };
            let idents = |ids: &[ColumnId]| ids.iter().map(|id| link.entity.column(*id).ident.clone()).collect();
            let names = public_names(link, &far);
            let kind = RelationKind::ManyToMany(Link {
                table: link.entity.table.clone(),
                columns: idents(&near),
                target_columns: idents(&far),
            });
            let relation = relation(target, kind, columns, target_columns);
            candidates.push(Candidate { name: target.entity.name.clone(), columns: names, relation });
        }
    }
    candidates
}

/// The two foreign keys that together are exactly a table's primary key.
fn link_keys<'a>(link: &'a Draft<'_>) -> Option<[&'a ForeignKey; 2]> {
    let key = &link.table.primary_key;
    let within = |columns: &[String]| columns.iter().all(|column| key.contains(column));
    let keys: Vec<&ForeignKey> = visible_keys(link).map(|(key, _)| key).filter(|key| within(&key.columns)).collect();
    let [first, second] = keys.as_slice() else { return None };
    let disjoint = !first.columns.iter().any(|column| second.columns.contains(column));
    (disjoint && first.columns.len() + second.columns.len() == key.len()).then_some([first, second])
}

/// Foreign keys of columns that clients can see, each set of columns once for each target, in the order of the columns.
fn visible_keys<'a>(draft: &'a Draft<'_>) -> impl Iterator<Item = (&'a ForeignKey, Vec<ColumnId>)> {
    let mut keys: Vec<(&ForeignKey, Vec<ColumnId>)> = Vec::new();
    for key in &draft.table.foreign_keys {
        let same = |other: &ForeignKey| {
            (&other.columns, &other.target_schema, &other.target_table) == (&key.columns, &key.target_schema, &key.target_table)
        };
        let Some(columns) = draft.ids(&key.columns) else { continue };
        let visible = columns.iter().all(|id| draft.entity.column(*id).readable());
        if visible && !keys.iter().any(|(other, _)| same(other)) {
            keys.push((key, columns));
        }
    }
    keys.sort_by(|(left, left_columns), (right, right_columns)| {
        (left_columns, &left.target_schema, &left.target_table).cmp(&(right_columns, &right.target_schema, &right.target_table))
    });
    keys.into_iter()
}

/// The entity that stands for the table that a key leads to.
fn entity_of<'d, 'a>(from: &Draft<'_>, key: &ForeignKey, drafts: &'d [Draft<'a>]) -> Option<&'d Draft<'a>> {
    let of_table = |draft: &&Draft<'_>| draft.is_of(&from.entity.source, &key.target_schema, &key.target_table);
    drafts.iter().filter(of_table).find(|draft| represents(draft, drafts))
}

/// Of several entities of one table, the one that has the table's name represents it, or else the first.
fn represents(draft: &Draft<'_>, drafts: &[Draft<'_>]) -> bool {
    let same = |other: &&Draft<'_>| other.is_of(&draft.entity.source, &draft.table.schema, &draft.table.name);
    let has_name = |other: &Draft<'_>| other.entity.name == other.table.name;
    let by_name = drafts.iter().filter(same).find(|other| has_name(other));
    by_name.or_else(|| drafts.iter().find(same)).is_some_and(|found| found.entity.id == draft.entity.id)
}

fn relation(target: &Draft<'_>, kind: RelationKind, columns: Vec<ColumnId>, target_columns: Vec<ColumnId>) -> Relation {
    let target_name = target.entity.name.clone();
    Relation { name: String::new(), target: target.entity.id, target_name, kind, columns, target_columns }
}

fn public_names(draft: &Draft<'_>, columns: &[ColumnId]) -> Vec<String> {
    columns.iter().map(|id| draft.entity.column(*id).name.clone()).collect()
}

/// `customer` of `customer_id` and `customerId`.
fn stem(column: &str) -> Option<&str> {
    let stem = column.strip_suffix("_id").or_else(|| column.strip_suffix("Id"))?;
    (!stem.is_empty()).then_some(stem)
}

/// Names that are taken, or that several relations would have, get `_by_` and their columns.
fn named(this: &Draft<'_>, candidates: Vec<Candidate>) -> Vec<Relation> {
    let columns = this.entity.columns.iter().map(|column| column.name.clone());
    let computed = this.entity.computed.iter().map(|computed| computed.name.clone());
    let mut taken: HashSet<String> = columns.chain(computed).collect();
    let candidates = candidates.into_iter().map(|candidate| Candidate { name: nameable(&candidate.name), ..candidate });
    let candidates: Vec<Candidate> = candidates.collect();
    let names: Vec<String> = candidates.iter().map(|candidate| candidate.name.clone()).collect();
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let mut relations = Vec::new();
    for candidate in candidates {
        let is_free = is_alone(&candidate.name) && !taken.contains(&candidate.name);
        let longer = || format!("{}_by_{}", candidate.name, nameable(&candidate.columns.join("_")));
        let base = if is_free { candidate.name.clone() } else { longer() };
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name));
        let name = free.unwrap_or(base);
        taken.insert(name.clone());
        relations.push(Relation { name, ..candidate.relation });
    }
    relations
}

/// The name as a manifest could declare it.
fn nameable(name: &str) -> String {
    name.chars().map(|character| if is_name_character(character) { character } else { '_' }).collect()
}
