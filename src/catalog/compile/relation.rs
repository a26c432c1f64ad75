//! The relations that a manifest declares, completed by the database's foreign keys.

use super::Draft;
use super::columns::check_name;
use super::near::advice;
use super::through;
use crate::catalog::entity::ColumnId;
use crate::catalog::facts::{Facts, ForeignKey};
use crate::catalog::kind::Kind;
use crate::catalog::relation::{Relation, RelationKind};
use crate::database::Dialect;
use crate::manifest::Problem;
use crate::manifest::entity::{RelationKindSpec, RelationSpec};

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

/// Columns of both sides that hold the same key, by the database's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) near: Vec<String>,
    pub(super) far: Vec<String>,
}

impl Resolver<'_> {
    pub(super) fn relations(&self, problems: &mut Vec<Problem>) -> Vec<Relation> {
        let specs = self.this.declared.resource.spec.relations.as_deref().unwrap_or_default();
        let mut relations = Vec::new();
        for (place, spec) in specs.iter().enumerate() {
            let path = format!("spec.relations[{place}]");
            problems.extend(self.check_name(spec, &specs[..place], &path));
            match self.relation(spec, &path) {
                Ok(relation) => relations.extend(relation),
                Err(problem) => problems.push(problem),
            }
        }
        relations
    }

    /// A problem at a field of a relation.
    pub(super) fn problem(&self, asked: Asked<'_>, field: &str, reason: impl Into<String>) -> Problem {
        self.this.declared.problem(&format!("{}.{field}", asked.path), reason)
    }

    fn check_name(&self, spec: &RelationSpec, earlier: &[RelationSpec], path: &str) -> Option<Problem> {
        let entity = &self.this.entity;
        let (path, name) = (format!("{path}.name"), spec.name.as_str());
        let other = match () {
            () if entity.columns.iter().any(|column| column.name == name) => "a column",
            () if entity.find_computed(name).is_some() => "a computed column",
            () if earlier.iter().any(|earlier| earlier.name == name) => "another relation",
            () => return check_name(self.this.declared, &path, name),
        };
        let reason = format!("'{name}' is also the name of {other}");
        Some(self.this.declared.problem(&path, reason).advise("give the relation another name"))
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
        let named = |draft: &&Draft<'_>| draft.entity.name == spec.target || draft.entity.full_name() == spec.target;
        let here = |draft: &&Draft<'_>| draft.entity.source == self.this.entity.source;
        let candidates: Vec<&Draft<'_>> = self.drafts.iter().filter(named).filter(here).collect();
        let problem = |reason: String| self.this.declared.problem(&format!("{path}.target"), reason);
        let beside = |draft: &&&Draft<'_>| draft.entity.schema == self.this.entity.schema;
        match candidates.as_slice() {
            [only] => Ok(Some(only)),
            [] if self.missing.iter().any(|name| spec.target.ends_with(name.as_str())) => Ok(None),
            [] => match self.drafts.iter().find(named) {
                Some(elsewhere) => {
                    let reason = format!("'{}' is in the source '{}'", spec.target, elsewhere.entity.source);
                    Err(problem(reason).advise(format!("a relation can lead only to entities of '{}'", self.this.entity.source)))
                }
                None => {
                    let names = self.drafts.iter().filter(here).map(|draft| draft.entity.name.as_str());
                    Err(problem(format!("there is no entity '{}'", spec.target)).advise(advice(&spec.target, names)))
                }
            },
            many => match many.iter().find(beside) {
                Some(beside) => Ok(Some(beside)),
                None => {
                    let names: Vec<String> = many.iter().map(|draft| draft.entity.full_name()).collect();
                    let reason = format!("'{}' is the name of {}", spec.target, names.join(" and of "));
                    Err(problem(reason).advise("name the schema too"))
                }
            },
        }
    }

    /// A relation without a link table: its columns, and whether the database agrees to its kind.
    fn direct(&self, asked: Asked<'_>, kind: RelationKindSpec) -> Result<(Pair, RelationKind), Problem> {
        let (this, target) = (self.this, asked.target);
        let outward = kind == RelationKindSpec::BelongsTo;
        let keys = if outward { foreign_keys(this, target) } else { foreign_keys(target, this) };
        let candidates: Vec<Pair> = keys
            .map(|key| match outward {
                true => Pair { near: key.columns.clone(), far: key.target_columns.clone() },
                false => Pair { near: key.target_columns.clone(), far: key.columns.clone() },
            })
            .collect();
        let given = Pair {
            near: self.named(asked, this, "columns", &asked.spec.columns)?,
            far: self.named(asked, target, "targetColumns", &asked.spec.target_columns)?,
        };
        let fallback =
            if outward { Pair { near: Vec::new(), far: key_of(target) } } else { Pair { near: key_of(this), far: Vec::new() } };
        let (between, names) =
            (format!("'{}' and '{}'", this.table.full_name(), target.table.full_name()), ["columns", "targetColumns"]);
        let pair = choose(candidates, &given, &fallback, &between, names).map_err(|(reason, advice)| {
            self.problem(asked, if outward { "columns" } else { "targetColumns" }, reason).advise(advice)
        })?;
        self.check_kinds(asked, &pair)?;
        let single_side = if outward { (target, &pair.far, "targetColumns") } else { (target, &pair.far, "kind") };
        let unique = target.table.is_view || target.table.is_unique(single_side.1) || is_declared_key(target, single_side.1);
        if kind != RelationKindSpec::HasMany && !unique {
            let reason =
                format!("nothing in the database keeps ({}) unique in '{}'", pair.far.join(", "), target.table.full_name());
            let advice = match kind {
                RelationKindSpec::HasOne => "use `kind: hasMany`, or add a unique index",
                _ => "a belongsTo relation must lead to a key",
            };
            return Err(self.problem(asked, single_side.2, reason).advise(advice));
        }
        let kind = match kind {
            RelationKindSpec::BelongsTo => RelationKind::BelongsTo,
            RelationKindSpec::HasOne => RelationKind::HasOne,
            RelationKindSpec::HasMany | RelationKindSpec::ManyToMany => RelationKind::HasMany,
        };
        Ok((pair, kind))
    }

    /// The database's names of columns that a manifest names.
    pub(super) fn named(
        &self,
        asked: Asked<'_>,
        side: &Draft<'_>,
        field: &str,
        names: &[String],
    ) -> Result<Vec<String>, Problem> {
        let ident = |(place, name): (usize, &String)| match side.column_named(name) {
            Some(id) => Ok(side.ident(id).to_owned()),
            None => {
                let reason = format!("'{}' has no column '{name}'", side.entity.full_name());
                let names = side.entity.columns.iter().map(|column| column.name.as_str());
                Err(self.problem(asked, &format!("{field}[{place}]"), reason).advise(advice(name, names)))
            }
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

/// Chooses the columns: those given, else the one foreign key that fits them, else what is given with the key.
/// `between` and `names` are for the error.
pub(super) fn choose(
    candidates: Vec<Pair>,
    given: &Pair,
    fallback: &Pair,
    between: &str,
    names: [&str; 2],
) -> Result<Pair, (String, String)> {
    if !given.near.is_empty() && !given.far.is_empty() {
        if given.near.len() == given.far.len() {
            return Ok(given.clone());
        }
        let reason = format!("({}) and ({}) differ in number", given.near.join(", "), given.far.join(", "));
        return Err((reason, format!("`{}` and `{}` must pair up", names[0], names[1])));
    }
    let mut fitting: Vec<Pair> = Vec::new();
    for pair in candidates {
        let fits = |given: &[String], has: &[String]| given.is_empty() || same_set(given, has);
        if fits(&given.near, &pair.near) && fits(&given.far, &pair.far) && !fitting.contains(&pair) {
            fitting.push(pair);
        }
    }
    let completed = Pair {
        near: if given.near.is_empty() { fallback.near.clone() } else { given.near.clone() },
        far: if given.far.is_empty() { fallback.far.clone() } else { given.far.clone() },
    };
    let is_given = !given.near.is_empty() || !given.far.is_empty();
    match fitting.as_slice() {
        [only] => Ok(only.clone()),
        [] if is_given && !completed.near.is_empty() && completed.near.len() == completed.far.len() => Ok(completed),
        [] => Err((format!("no foreign key is between {between}"), format!("name both `{}` and `{}`", names[0], names[1]))),
        many => {
            let said = |pair: &Pair| format!("({}) with ({})", pair.near.join(", "), pair.far.join(", "));
            let said: Vec<String> = many.iter().map(said).collect();
            let reason = format!("several foreign keys are between {between}: {}", said.join(", "));
            Err((reason, format!("name the columns of one under `{}` or `{}`", names[0], names[1])))
        }
    }
}

fn same_set(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|name| right.contains(name))
}

/// Whether the database compares values of both kinds without a cast.
pub(super) fn can_be_equal(left: &Kind, right: &Kind, dialect: Dialect) -> bool {
    use Kind::{Decimal, Enum, Integer, Other, Text, Uuid};
    std::mem::discriminant(left) == std::mem::discriminant(right)
        || matches!((left, right), (Integer | Decimal, Integer | Decimal) | (Other, _) | (_, Other))
        || (dialect != Dialect::Postgres && matches!((left, right), (Text | Enum(_) | Uuid, Text | Enum(_) | Uuid)))
}
