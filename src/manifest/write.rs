//! From the facts of a database to manifests: a DataSource, then an Entity for every table and view.
//!
//! Only what can't be left out is written, and the relations, so that they can be seen, renamed and removed. A password
//! never is. Pure but for the working directory, which a relative path of a SQLite file stands on.

use super::connection::has_password;
use super::data_source::{Capture, Connection, DataSource, DataSourceSpec, Engine, Pool};
use super::declared::Declared;
use super::entity::{Entity, EntitySpec, RelationKindSpec, RelationSpec, ThroughSpec};
use super::read::Manifests;
use crate::catalog::facts::{Facts, TableFacts};
use crate::catalog::{self, Catalog, ColumnId, Ident, Relation, RelationKind, compile};
use crate::database::Dialect;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use url::Url;

/// The environment variable that holds the URL where a manifest must not.
const URL_VARIABLE: &str = "RESOLVESPEC_DATABASE_URL";

/// The tables of the service itself begin with this.
const OWN_PREFIX: &str = "resolvespec_";

/// The manifests as one YAML stream. `name` is the DataSource's; the database's unless given.
#[must_use]
pub fn manifests(facts: &Facts, url: &str, name: Option<&str>) -> String {
    let source = DataSource::new(&dns_name(name.unwrap_or(database_name(url))), data_source(facts.dialect, url));
    let source = Declared::without_lines(source, "introspection");
    let tables: Vec<&TableFacts> = facts.tables().filter(|table| !table.name.starts_with(OWN_PREFIX)).collect();
    let names = resource_names(&tables, &facts.default_schema);
    let entity = |(table, name): (&&TableFacts, String)| {
        Declared::without_lines(Entity::new(&name, entity(table, &name, source.name(), facts)), "introspection")
    };
    let entities = tables.iter().zip(names).map(entity).collect();
    let mut manifests = Manifests { sources: vec![source], entities, policies: Vec::new() };
    write_out_relations(&mut manifests, facts, &tables);
    let mut yaml = head(&manifests, url) + &document(&manifests.sources[0].resource);
    for (declared, table) in manifests.entities.iter().zip(tables) {
        yaml += "---\n";
        yaml += note(table);
        yaml += &document(&declared.resource);
    }
    yaml
}

fn document<T: Serialize>(resource: &T) -> String {
    // Serialising these types can't fail; a reader would miss what an empty text lacks.
    serde_saphyr::to_string(resource).unwrap_or_default()
}

fn head(manifests: &Manifests, url: &str) -> String {
    let place = shown(url).map_or(String::new(), |shown| format!(" of {shown}"));
    let needs_variable = manifests.sources[0].resource.spec.connection.env.is_some();
    let variable = if needs_variable { format!("# First set {URL_VARIABLE} to the database's URL.\n") } else { String::new() };
    format!(
        "# The tables and views{place}\n# as they were found by `resolvespec introspect`.\n#\n\
         # Remove the entities that clients must not use, hide or rename columns under `columns`,\n\
         # limit who may do what under `operations`, and rename or remove relations.\n\
         # What is left out is taken from the database.\n#\n{variable}\
         # `resolvespec check <this file>` tells what does not fit, `resolvespec dev <this file>` serves it.\n"
    )
}

fn note(table: &TableFacts) -> &'static str {
    match (table.is_view, table.primary_key.is_empty()) {
        (true, true) => "# A view: to read single rows of it, name the columns that are unique under `primaryKey`.\n",
        (false, true) => {
            "# No primary key: to change single rows of it, name columns that have a unique index under `primaryKey`.\n"
        }
        (_, false) => "",
    }
}

fn data_source(dialect: Dialect, url: &str) -> DataSourceSpec {
    let engine = match dialect {
        Dialect::Postgres => Engine::Postgres,
        Dialect::Mysql(_) => Engine::Mysql,
        Dialect::Sqlite => Engine::Sqlite,
    };
    let connection = match url.strip_prefix("sqlite:") {
        Some(rest) => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            // A manifest's path is relative to the manifest, and nobody knows where this one goes.
            let path = std::path::absolute(path).map_or(path.to_owned(), |path| path.display().to_string());
            Connection { url: Some(format!("sqlite:{path}")), ..Connection::default() }
        }
        None if Url::parse(url).is_err() || has_password(url) => {
            Connection { env: Some(URL_VARIABLE.to_owned()), ..Connection::default() }
        }
        None => Connection { url: Some(url.to_owned()), ..Connection::default() },
    };
    let (pool, capture) = (Pool::default(), Capture::default());
    DataSourceSpec {
        engine,
        connection,
        pool,
        statement_timeout: None,
        stall_timeout: None,
        idempotency_lifetime: None,
        seed: Vec::new(),
        capture,
    }
}

fn entity(table: &TableFacts, name: &str, source: &str, facts: &Facts) -> EntitySpec {
    EntitySpec {
        source: source.to_owned(),
        schema: (table.schema != facts.default_schema).then(|| table.schema.clone()),
        table: (table.name != name).then(|| table.name.clone()),
        ..EntitySpec::default()
    }
}

/// Fills in the relations that are derived where nothing is said.
fn write_out_relations(manifests: &mut Manifests, facts: &Facts, tables: &[&TableFacts]) {
    let by_source = HashMap::from([(manifests.sources[0].key(), facts.clone())]);
    // Nothing is said that could contradict the database.
    let Ok(catalog) = compile::compile(manifests, &by_source, &compile::Settings::default()) else { return };
    for ((declared, entity), table) in manifests.entities.iter_mut().zip(catalog.entities()).zip(tables) {
        let relation = |relation| relation_spec(&catalog, entity, relation, table, tables);
        declared.resource.spec.relations = Some(entity.relations.iter().map(relation).collect());
    }
}

fn relation_spec(
    catalog: &Catalog,
    entity: &catalog::Entity,
    relation: &Relation,
    table: &TableFacts,
    tables: &[&TableFacts],
) -> RelationSpec {
    let target = catalog.entity(relation.target);
    let names = |entity: &catalog::Entity, ids: &[ColumnId]| -> Vec<String> {
        ids.iter().map(|id| entity.column(*id).ident.as_str().to_owned()).collect()
    };
    let (columns, target_columns) = (names(entity, &relation.columns), names(target, &relation.target_columns));
    let holder = |table: &TableFacts, key: &[String]| table.foreign_keys.iter().filter(|one| one.columns == key).count() == 1;
    let target_table = tables.iter().find(|table| is_of(table, target));
    // The side that holds the foreign key tells the other one, unless it holds several.
    let (columns, target_columns) = match relation.kind {
        RelationKind::BelongsTo if holder(table, &columns) => (columns, Vec::new()),
        RelationKind::HasMany | RelationKind::HasOne if target_table.is_some_and(|table| holder(table, &target_columns)) => {
            (Vec::new(), target_columns)
        }
        RelationKind::BelongsTo | RelationKind::HasMany | RelationKind::HasOne => (columns, target_columns),
        RelationKind::ManyToMany(_) => (Vec::new(), Vec::new()),
    };
    let (kind, through) = match &relation.kind {
        RelationKind::BelongsTo => (RelationKindSpec::BelongsTo, None),
        RelationKind::HasMany => (RelationKindSpec::HasMany, None),
        RelationKind::HasOne => (RelationKindSpec::HasOne, None),
        RelationKind::ManyToMany(link) => {
            let idents = |idents: &[Ident]| idents.iter().map(|ident| ident.as_str().to_owned()).collect();
            let schema = link.table.schema.as_str();
            let through = ThroughSpec {
                table: link.table.name.as_str().to_owned(),
                schema: (schema != table.schema).then(|| schema.to_owned()),
                columns: idents(&link.columns),
                target_columns: idents(&link.target_columns),
            };
            (RelationKindSpec::ManyToMany, Some(through))
        }
    };
    let target = if target.schema == entity.schema { target.name.clone() } else { target.full_name() };
    RelationSpec { name: relation.name.clone(), kind, target, columns, target_columns, through }
}

fn is_of(table: &TableFacts, entity: &catalog::Entity) -> bool {
    table.schema == entity.table.schema.as_str() && table.name == entity.table.name.as_str()
}

/// Unique names that Kubernetes takes; tables of the default schema have the first choice.
fn resource_names(tables: &[&TableFacts], default_schema: &str) -> Vec<String> {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|place| tables[*place].schema != default_schema);
    let mut taken = HashSet::new();
    let mut names = vec![String::new(); tables.len()];
    for place in order {
        let table = tables[place];
        let longer = dns_name(&format!("{}-{}", table.schema, table.name));
        let numbered = (2..).map(|number| format!("{longer}-{number}"));
        let mut choices = [dns_name(&table.name), longer.clone()].into_iter().chain(numbered);
        names[place] = choices.find(|name| taken.insert(name.clone())).unwrap_or_default();
    }
    names
}

/// Lower-case letters, digits and dashes.
fn dns_name(name: &str) -> String {
    let mut dns = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            dns.push(character.to_ascii_lowercase());
        } else if !dns.is_empty() && !dns.ends_with('-') {
            dns.push('-');
        }
    }
    // 63 is what Kubernetes allows in labels, and leaves room for a number.
    dns.truncate(63);
    let dns = dns.trim_end_matches('-');
    if dns.is_empty() { "unnamed".to_owned() } else { dns.to_owned() }
}

/// The last part of the URL's path, without a file's ending.
fn database_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once(':').map_or(path, |(_, path)| path);
    let is_host_only = path.strip_prefix("//").is_some_and(|rest| !rest.contains('/'));
    let last = path.rsplit('/').next().unwrap_or_default();
    let stem = if url.starts_with("sqlite:") { last.split('.').next().unwrap_or(last) } else { last };
    if stem.is_empty() || is_host_only { "database" } else { stem }
}

/// The URL as it can be shown to anyone: without password and parameters.
fn shown(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    if url.password().is_some() {
        url.set_password(None).ok()?;
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.to_string())
}

#[cfg(test)]
mod tests;
