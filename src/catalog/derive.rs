//! The relations of an entity whose manifest says nothing about relations: from foreign keys between exposed entities.
//!
//! Deterministic, and never wider than what is exposed: a key of hidden columns, or a link table that is no entity itself,
//! makes no relation.

use super::compile::{Draft, is_name_character};
use super::entity::ColumnId;
use super::facts::ForeignKey;
use super::relation::{Link, Relation, RelationKind};
use std::collections::{HashMap, HashSet};

/// The foreign keys between the exposed entities of every source.
pub(in crate::catalog) struct Graph<'d, 'a> {
    drafts: &'d [Draft<'a>],
    /// The one entity that stands for a table where it is led to.
    representatives: HashMap<Table<'d>, usize>,
    /// The foreign keys that lead to a table, by the entities that hold them.
    children: HashMap<Table<'d>, Vec<(usize, Key<'d>)>>,
    /// The links to a table: the entity between, its key to the table and its key to the other side.
    links: HashMap<Table<'d>, Vec<(usize, Key<'d>, Key<'d>)>>,
}

/// Source, schema and name.
type Table<'d> = (&'d str, &'d str, &'d str);

/// A foreign key of an entity that clients can see.
#[derive(Clone)]
struct Key<'d> {
    facts: &'d ForeignKey,
    columns: Vec<ColumnId>,
}

/// A relation that has no final name yet.
struct Candidate {
    name: String,
    /// What tells it from others of the same name.
    columns: Vec<String>,
    relation: Relation,
}

impl<'d, 'a> Graph<'d, 'a> {
    /// Gathers the keys.
    pub(in crate::catalog) fn new(drafts: &'d [Draft<'a>]) -> Self {
        let mut graph =
            Self { drafts, representatives: representatives(drafts), children: HashMap::new(), links: HashMap::new() };
        for (place, draft) in drafts.iter().enumerate() {
            if graph.representatives.get(&table_of(draft)) != Some(&place) {
                continue;
            }
            let keys = visible_keys(draft);
            if let Some([first, second]) = link_keys(draft, &keys) {
                for (near, far) in [(first, second), (second, first)] {
                    graph.links.entry(target_of(draft, near)).or_default().push((place, near.clone(), far.clone()));
                }
            }
            for key in keys {
                graph.children.entry(target_of(draft, &key)).or_default().push((place, key));
            }
        }
        graph
    }

    /// All entities.
    pub(in crate::catalog) fn drafts(&self) -> &'d [Draft<'a>] {
        self.drafts
    }

    /// The relations of one entity.
    pub(in crate::catalog) fn relations(&self, this: &Draft<'_>) -> Vec<Relation> {
        let candidates = self.belongs_to(this).into_iter().chain(self.has_many(this)).chain(self.many_to_many(this));
        named(this, candidates.collect())
    }

    fn belongs_to(&self, this: &Draft<'_>) -> Vec<Candidate> {
        let candidate = |key: Key<'_>| {
            let target = self.target(this, &key)?;
            let target_columns = target.ids(&key.facts.target_columns)?;
            let columns = public_names(this, &key.columns);
            let stem = if let [only] = columns.as_slice() { stem(only) } else { None };
            let name = stem.unwrap_or(&target.entity.name).to_owned();
            let relation = relation(target, RelationKind::BelongsTo, key.columns, target_columns);
            Some(Candidate { name, columns, relation })
        };
        visible_keys(this).into_iter().filter_map(candidate).collect()
    }

    fn has_many(&self, this: &Draft<'_>) -> Vec<Candidate> {
        let candidate = |(place, key): &(usize, Key<'_>)| {
            let child = &self.drafts[*place];
            let columns = this.ids(&key.facts.target_columns)?;
            let is_single = child.table.is_unique(&key.facts.columns);
            let is_self = child.table.full_name() == this.table.full_name();
            let name = if is_self && !is_single { "children" } else { &child.entity.name }.to_owned();
            let kind = if is_single { RelationKind::HasOne } else { RelationKind::HasMany };
            let relation = relation(child, kind, columns, key.columns.clone());
            Some(Candidate { name, columns: public_names(child, &key.columns), relation })
        };
        self.children.get(&table_of(this)).into_iter().flatten().filter_map(candidate).collect()
    }

    fn many_to_many(&self, this: &Draft<'_>) -> Vec<Candidate> {
        let candidate = |(place, near, far): &(usize, Key<'_>, Key<'_>)| {
            let between = &self.drafts[*place];
            let target = self.target(between, far)?;
            let (columns, target_columns) = (this.ids(&near.facts.target_columns)?, target.ids(&far.facts.target_columns)?);
            let idents = |key: &Key<'_>| key.columns.iter().map(|id| between.entity.column(*id).ident.clone()).collect();
            let link = Link { table: between.entity.table.clone(), columns: idents(near), target_columns: idents(far) };
            let relation = relation(target, RelationKind::ManyToMany(link), columns, target_columns);
            Some(Candidate { name: target.entity.name.clone(), columns: public_names(between, &far.columns), relation })
        };
        self.links.get(&table_of(this)).into_iter().flatten().filter_map(candidate).collect()
    }

    /// The entity that stands for the table that a key leads to.
    fn target(&self, from: &Draft<'_>, key: &Key<'_>) -> Option<&Draft<'a>> {
        self.representatives.get(&target_of(from, key)).map(|place| &self.drafts[*place])
    }
}

fn table_of<'d>(draft: &'d Draft<'_>) -> Table<'d> {
    (&draft.entity.source, &draft.table.schema, &draft.table.name)
}

fn target_of<'d>(from: &'d Draft<'_>, key: &Key<'d>) -> Table<'d> {
    (&from.entity.source, &key.facts.target_schema, &key.facts.target_table)
}

/// Of several entities of one table, the one that has the table's name represents it, or else the first.
fn representatives<'d>(drafts: &'d [Draft<'_>]) -> HashMap<Table<'d>, usize> {
    let mut representatives = HashMap::new();
    for (place, draft) in drafts.iter().enumerate() {
        let found = *representatives.entry(table_of(draft)).or_insert(place);
        let has_name = |place: usize| drafts[place].entity.name == drafts[place].table.name;
        if has_name(place) && !has_name(found) {
            representatives.insert(table_of(draft), place);
        }
    }
    representatives
}

/// The two foreign keys that together are exactly a table's primary key.
fn link_keys<'k, 'd>(link: &Draft<'_>, keys: &'k [Key<'d>]) -> Option<[&'k Key<'d>; 2]> {
    let primary = &link.table.primary_key;
    let within = |key: &&Key<'_>| key.facts.columns.iter().all(|column| primary.contains(column));
    let keys: Vec<&Key<'_>> = keys.iter().filter(within).collect();
    let [first, second] = keys.as_slice() else { return None };
    let disjoint = !first.columns.iter().any(|column| second.columns.contains(column));
    (disjoint && first.columns.len() + second.columns.len() == primary.len()).then_some([*first, *second])
}

/// Foreign keys of columns that clients can see, each set of columns once for each target, in the order of the columns.
fn visible_keys<'d>(draft: &'d Draft<'_>) -> Vec<Key<'d>> {
    let mut keys: Vec<Key<'_>> = Vec::new();
    for facts in &draft.table.foreign_keys {
        let same = |other: &ForeignKey| {
            (&other.columns, &other.target_schema, &other.target_table)
                == (&facts.columns, &facts.target_schema, &facts.target_table)
        };
        let Some(columns) = draft.ids(&facts.columns) else { continue };
        let visible = columns.iter().all(|id| draft.entity.column(*id).readable());
        if visible && !keys.iter().any(|other| same(other.facts)) {
            keys.push(Key { facts, columns });
        }
    }
    let order = |key: &Key<'d>| (key.columns.clone(), &key.facts.target_schema, &key.facts.target_table);
    keys.sort_by(|left, right| order(left).cmp(&order(right)));
    keys
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
