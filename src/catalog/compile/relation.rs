//! The relations that a manifest declares, completed by the database's foreign keys.

use super::Draft;
use super::columns::check_name;
use super::keys::{Pair, can_be_equal, choose};
use super::near::advice;
use super::through;
use crate::catalog::entity::ColumnId;
use crate::catalog::facts::{Facts, ForeignKey};
use crate::catalog::kind::Kind;
use crate::catalog::relation::{Relation, RelationKind};
use crate::manifest::entity::{RelationKindSpec, RelationSpec};
use crate::manifest::problem::Cause;
use crate::manifest::{self, Declared, Problem};

/// What a relation is resolved against.
pub(super) struct Resolver<'a> {
    pub(super) this: &'a Draft<'a>,
    pub(super) drafts: &'a [Draft<'a>],
    pub(super) facts: &'a Facts,
    /// Entities whose own manifest has a problem; relations to them are not told about as well.
    pub(super) missing: &'a [String],
}

/// One relation and its place in the manifest.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) spec: &'a RelationSpec,
    pub(super) path: &'a str,
    pub(super) target: &'a Draft<'a>,
}

/// What is wrong with the name of a relation, whatever columns there are.
pub(super) fn check_alone(declared: &Declared<manifest::Entity>, place: usize) -> Option<Problem> {
    let specs = declared.resource.spec.relations.as_deref().unwrap_or_default();
    let name = specs[place].name.as_str();
    let path = format!("spec.relations[{place}].name");
    let other = match () {
        () if declared.resource.spec.computed.iter().any(|computed| computed.name == name) => "a computed column",
        () if specs[..place].iter().any(|earlier| earlier.name == name) => "another relation",
        () => return check_name(declared, &path, name).map(|problem| problem.because(cause(place))),
    };
    Some(taken(declared, &path, name, other).because(cause(place)))
}

fn taken(declared: &Declared<manifest::Entity>, path: &str, name: &str, other: &str) -> Problem {
    declared.problem(path, format!("'{name}' is also the name of {other}")).advise("give the relation another name")
}

fn cause(place: usize) -> Cause {
    Cause::Relation(u32::try_from(place).unwrap_or(u32::MAX))
}

impl Resolver<'_> {
    pub(super) fn relations(&self, problems: &mut Vec<Problem>) -> Vec<Relation> {
        let specs = self.this.declared.resource.spec.relations.as_deref().unwrap_or_default();
        let mut relations = Vec::new();
        for (place, spec) in specs.iter().enumerate() {
            let path = format!("spec.relations[{place}]");
            problems.extend(self.check_name(spec, place, &path));
            match self.relation(spec, &path) {
                Ok(relation) => relations.extend(relation),
                Err(problem) => problems.push(problem.because(cause(place))),
            }
        }
        relations
    }

    /// A problem at a field of a relation.
    pub(super) fn problem(&self, asked: Asked<'_>, field: &str, reason: impl Into<String>) -> Problem {
        self.this.declared.problem(&format!("{}.{field}", asked.path), reason)
    }

    fn check_name(&self, spec: &RelationSpec, place: usize, path: &str) -> Option<Problem> {
        let (declared, name) = (self.this.declared, spec.name.as_str());
        if self.this.entity.columns.iter().any(|column| column.name == name) {
            return Some(taken(declared, &format!("{path}.name"), name, "a column").because(cause(place)));
        }
        check_alone(declared, place)
    }

    fn relation(&self, spec: &RelationSpec, path: &str) -> Result<Option<Relation>, Problem> {
        let Some(target) = self.target(spec, path)? else { return Ok(None) };
        let asked = Asked { spec, path, target };
        let (pair, kind) = match spec.kind {
            RelationKindSpec::ManyToMany => {
                let (pair, link) = through::resolve(self, asked)?;
                (pair, RelationKind::ManyToMany(link))
            }
            kind => {
                if spec.through.is_some() {
                    let problem = self.problem(asked, "through", "only a manyToMany relation goes through a table");
                    return Err(problem.advise("remove `through` or change `kind`"));
                }
                self.direct(asked, kind)?
            }
        };
        let named = |draft: &Draft<'_>, names: &[String]| draft.ids(names).unwrap_or_default();
        Ok(Some(Relation {
            name: spec.name.clone(),
            target: target.entity.id,
            target_name: target.entity.name.clone(),
            kind,
            columns: named(self.this, &pair.near),
            target_columns: named(target, &pair.far),
        }))
    }

    /// The entity that a relation leads to; none if its own manifest has a problem.
    fn target(&self, spec: &RelationSpec, path: &str) -> Result<Option<&Draft<'_>>, Problem> {
        let is_named = |draft: &&Draft<'_>| {
            let own = &draft.entity;
            let bare = spec.target.strip_prefix(own.schema.as_str()).and_then(|rest| rest.strip_prefix('.'));
            own.name == spec.target || bare == Some(own.name.as_str())
        };
        let here = |draft: &&Draft<'_>| draft.entity.source == self.this.entity.source;
        let beside = |draft: &&&Draft<'_>| draft.entity.schema == self.this.entity.schema;
        let candidates: Vec<&Draft<'_>> = self.drafts.iter().filter(is_named).filter(here).collect();
        if let Some(found) = candidates.iter().find(beside).or(candidates.first().filter(|_| candidates.len() == 1)) {
            return Ok(Some(found));
        }
        let problem = |reason: String| self.this.declared.problem(&format!("{path}.target"), reason);
        if !candidates.is_empty() {
            let names: Vec<String> = candidates.iter().map(|draft| draft.entity.full_name()).collect();
            let reason = format!("'{}' is the name of {}", spec.target, names.join(" and of "));
            return Err(problem(reason).advise("name the schema too"));
        }
        if self.missing.iter().any(|name| spec.target.ends_with(name.as_str())) {
            return Ok(None);
        }
        if let Some(elsewhere) = self.drafts.iter().find(is_named) {
            let reason = format!("'{}' is in the source '{}'", spec.target, elsewhere.entity.source);
            return Err(problem(reason).advise(format!("a relation can lead only to entities of '{}'", self.this.entity.source)));
        }
        let names = self.drafts.iter().filter(here).map(|draft| draft.entity.name.as_str());
        Err(problem(format!("there is no entity '{}'", spec.target)).advise(advice(&spec.target, names)))
    }

    /// A relation without a link table: its columns, and whether the database agrees to its kind.
    fn direct(&self, asked: Asked<'_>, kind: RelationKindSpec) -> Result<(Pair, RelationKind), Problem> {
        let (this, target) = (self.this, asked.target);
        let outward = kind == RelationKindSpec::BelongsTo;
        let (candidates, fallback): (Vec<Pair>, Pair) = if outward {
            let pair = |key: &ForeignKey| Pair { near: key.columns.clone(), far: key.target_columns.clone() };
            (foreign_keys(this, target).map(pair).collect(), Pair { near: Vec::new(), far: key_of(target) })
        } else {
            let pair = |key: &ForeignKey| Pair { near: key.target_columns.clone(), far: key.columns.clone() };
            (foreign_keys(target, this).map(pair).collect(), Pair { near: key_of(this), far: Vec::new() })
        };
        let given = Pair {
            near: self.named(asked, this, "columns", &asked.spec.columns)?,
            far: self.named(asked, target, "targetColumns", &asked.spec.target_columns)?,
        };
        let between = format!("'{}' and '{}'", this.table.full_name(), target.table.full_name());
        let field = if outward { "columns" } else { "targetColumns" };
        let pair = choose(candidates, &given, &fallback, &between, ["columns", "targetColumns"])
            .map_err(|(reason, advice)| self.problem(asked, field, reason).advise(advice))?;
        self.check_kinds(asked, &pair)?;
        let kind = match kind {
            RelationKindSpec::BelongsTo => RelationKind::BelongsTo,
            RelationKindSpec::HasOne => RelationKind::HasOne,
            RelationKindSpec::HasMany | RelationKindSpec::ManyToMany => return Ok((pair, RelationKind::HasMany)),
        };
        self.check_unique(asked, &pair.far)?;
        Ok((pair, kind))
    }

    /// Where one row at most is promised, the database must keep it so; of views it can't be known.
    fn check_unique(&self, asked: Asked<'_>, columns: &[String]) -> Result<(), Problem> {
        let target = asked.target;
        if target.table.is_view || target.table.is_unique(columns) || is_declared_key(target, columns) {
            return Ok(());
        }
        let reason = format!("nothing in the database keeps ({}) unique in '{}'", columns.join(", "), target.table.full_name());
        Err(if asked.spec.kind == RelationKindSpec::HasOne {
            self.problem(asked, "kind", reason).advise("use `kind: hasMany`, or add a unique index")
        } else {
            self.problem(asked, "targetColumns", reason).advise("a belongsTo relation must lead to a key")
        })
    }

    /// The database's names of columns that a manifest names.
    pub(super) fn named(
        &self,
        asked: Asked<'_>,
        side: &Draft<'_>,
        field: &str,
        names: &[String],
    ) -> Result<Vec<String>, Problem> {
        let ident = |(place, name): (usize, &String)| {
            side.column_named(name).map(|id| side.ident(id).to_owned()).ok_or_else(|| {
                let reason = format!("'{}' has no column '{name}'", side.entity.full_name());
                let columns = side.entity.columns.iter().map(|column| column.name.as_str());
                self.problem(asked, &format!("{field}[{place}]"), reason).advise(advice(name, columns))
            })
        };
        names.iter().enumerate().map(ident).collect()
    }

    fn check_kinds(&self, asked: Asked<'_>, pair: &Pair) -> Result<(), Problem> {
        let (this, target) = (&self.this.entity, &asked.target.entity);
        for (near, far) in pair.near.iter().zip(&pair.far) {
            let found = self.this.column_named(near).zip(asked.target.column_named(far));
            let Some((near, far)) = found.map(|(near, far)| (this.column(near), target.column(far))) else { continue };
            if !can_be_equal(&near.kind, &far.kind, this.dialect) {
                let said = |entity: &str, name: &str, kind: &Kind| format!("'{entity}.{name}' is {}", kind.as_str());
                let near = said(&this.name, &near.name, &near.kind);
                let reason = format!("{near}, but {}", said(&target.name, &far.name, &far.kind));
                return Err(self.problem(asked, "columns", reason).advise("a relation needs columns of one type"));
            }
        }
        Ok(())
    }
}

/// The foreign keys from one entity's table to another's.
fn foreign_keys<'a>(from: &'a Draft<'_>, to: &'a Draft<'_>) -> impl Iterator<Item = &'a ForeignKey> {
    from.table.foreign_keys.iter().filter(|key| to.table.schema == key.target_schema && to.table.name == key.target_table)
}

/// The database's names of an entity's key.
pub(super) fn key_of(draft: &Draft<'_>) -> Vec<String> {
    draft.entity.primary_key.iter().map(|id| draft.ident(*id).to_owned()).collect()
}

fn is_declared_key(draft: &Draft<'_>, columns: &[String]) -> bool {
    let columns: Option<Vec<ColumnId>> = draft.ids(columns);
    let key = &draft.entity.primary_key;
    !key.is_empty() && columns.is_some_and(|columns| key.iter().all(|id| columns.contains(id)))
}
