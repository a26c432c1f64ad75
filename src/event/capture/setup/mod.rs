//! Installing, surveying and removing the outbox and its triggers.
//!
//! A trigger's name holds a hash of all that made it, so that its name alone says whether it is up to date. Each database
//! has a file with its SQL; identifiers come from the catalog or from the database itself.

mod mysql;
mod postgres;
mod sqlite;
mod trigger;

use super::outbox::{self, Outbox};
use crate::catalog::{Catalog, Entity, TableName};
use crate::database::{self, Database, Dialect, Statement};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use trigger::{Trigger, drop_trigger};

/// Where our triggers' names begin. Triggers of an event run in the order of their names on PostgreSQL, and ours must be
/// the first: the trigger of somebody else may change the same row once more, which must be told after.
const PREFIX: &str = "0_resolvespec_";

/// What is there of what a source's tables need, and what is to be done.
pub struct Survey {
    dialect: Dialect,
    home: String,
    outbox: bool,
    tables: Vec<Table>,
    existing: Vec<Existing>,
    /// What triggers can't see on this database's tables, in words for whoever installs them.
    pub warnings: Vec<String>,
}

/// A table that is captured.
pub struct Table {
    /// Its name in the database.
    pub name: TableName,
    /// How far its triggers are.
    pub state: State,
    triggers: Vec<Trigger>,
}

/// How far a table's triggers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They are what they must be.
    Installed,
    /// There are none.
    Missing,
    /// They are others, or not all, or do not run as they must.
    Outdated,
}

/// What removing takes away.
pub struct Removal {
    /// What is to be run.
    pub statements: Vec<String>,
    /// Changes that nobody has been told and nobody will be.
    pub untold: u64,
}

/// A trigger of ours that the database has.
#[derive(Debug, Clone, Deserialize)]
struct Existing {
    schema: String,
    table: String,
    name: String,
    /// Whether it runs whenever it must, and first; MySQL's always do.
    #[serde(default = "always")]
    effective: bool,
}

fn always() -> bool {
    true
}

/// Why capture can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses or can't be reached.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The outbox can't be asked.
    #[error(transparent)]
    Outbox(#[from] outbox::Error),
    /// What the database says of its triggers can't be read.
    #[error("what the database says of its triggers can't be understood: {0}")]
    Unclear(#[from] serde_json::Error),
    /// Two entities of one table want different images of a column.
    #[error("{first} and {second} declare different types for the column {column} of {table}, and a trigger can tell one only")]
    Contradiction {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// An entity.
        first: String,
        /// Another one.
        second: String,
    },
}

/// Holds what a source's entities need against what its database has.
pub async fn survey(database: &Database, catalog: &Catalog, source: &str) -> Result<Survey, Error> {
    let dialect = database.dialect();
    let home = Outbox::of(database).await?.home().to_owned();
    let existing = existing(database).await?;
    let outbox = has_outbox(database).await?;
    let mut tables = Vec::new();
    for (name, entity) in captured(catalog, source)? {
        let triggers = match dialect {
            Dialect::Postgres => postgres::triggers(&name),
            Dialect::Mysql(_) => mysql::triggers(entity, &home),
            Dialect::Sqlite => sqlite::triggers(entity),
        };
        tables.push(Table { state: state(&name, &triggers, &existing), name, triggers });
    }
    let warnings = match dialect {
        Dialect::Mysql(_) => mysql::warnings(database, &tables).await?,
        Dialect::Postgres | Dialect::Sqlite => Vec::new(),
    };
    Ok(Survey { dialect, home, outbox, tables, existing, warnings })
}

/// What takes everything away again, whoever's entities it was for.
pub async fn removal(database: &Database) -> Result<Removal, Error> {
    let dialect = database.dialect();
    let triggers = existing(database).await?;
    let mut statements: Vec<String> = triggers.iter().map(|trigger| trigger.drop(dialect)).collect();
    let untold = if has_outbox(database).await? {
        statements.extend(match dialect {
            Dialect::Postgres => postgres::remove(),
            Dialect::Mysql(_) => mysql::remove(Outbox::of(database).await?.home()),
            Dialect::Sqlite => sqlite::remove(),
        });
        Outbox::of(database).await?.count().await?
    } else {
        0
    };
    Ok(Removal { statements, untold })
}

impl Survey {
    /// The tables in the order of their names.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What is to be run so that every table is captured; nothing if it is so already.
    #[must_use]
    pub fn install(&self) -> Vec<String> {
        let stale: Vec<&Table> = self.tables.iter().filter(|table| table.state != State::Installed).collect();
        if self.outbox && stale.is_empty() {
            return Vec::new();
        }
        let mut statements = match self.dialect {
            Dialect::Postgres => postgres::outbox(first_id()),
            Dialect::Mysql(_) => mysql::outbox(&self.home, first_id()),
            Dialect::Sqlite => sqlite::outbox(first_id()),
        };
        for table in stale {
            let old = self.existing.iter().filter(|existing| existing.is_on(&table.name));
            statements.extend(old.map(|existing| existing.drop(self.dialect)));
            statements.extend(table.triggers.iter().flat_map(|trigger| trigger.statements.iter().cloned()));
        }
        statements
    }
}

impl Existing {
    fn is_on(&self, table: &TableName) -> bool {
        self.schema == table.schema.as_str() && self.table == table.name.as_str()
    }

    fn drop(&self, dialect: Dialect) -> String {
        drop_trigger(dialect, &self.schema, &self.table, &self.name)
    }
}

/// The tables of a source's entities, each with an entity that has its columns.
fn captured<'c>(catalog: &'c Catalog, source: &str) -> Result<BTreeMap<TableName, &'c Entity>, Error> {
    let mut tables: BTreeMap<TableName, &Entity> = BTreeMap::new();
    let served = |entity: &&Entity| entity.source == source && !entity.is_view;
    for entity in catalog.entities().iter().filter(served) {
        match tables.get(&entity.table) {
            Some(first) => agree(first, entity)?,
            None => _ = tables.insert(entity.table.clone(), entity),
        }
    }
    Ok(tables)
}

/// MySQL's images are made for the types that the entities declare; elsewhere an image serves all of them.
fn agree(first: &Entity, second: &Entity) -> Result<(), Error> {
    let differs = first.columns.iter().zip(&second.columns).find(|(one, other)| one.kind != other.kind);
    match (first.dialect, differs) {
        (Dialect::Mysql(_), Some((column, _))) => Err(Error::Contradiction {
            table: first.table.to_string(),
            column: column.ident.as_str().to_owned(),
            first: first.full_name(),
            second: second.full_name(),
        }),
        _ => Ok(()),
    }
}

fn state(table: &TableName, wanted: &[Trigger], existing: &[Existing]) -> State {
    let found: Vec<&Existing> = existing.iter().filter(|existing| existing.is_on(table)).collect();
    let has = |trigger: &Trigger| found.iter().any(|existing| existing.name == trigger.name && existing.effective);
    match found.len() {
        0 => State::Missing,
        count if count == wanted.len() && wanted.iter().all(has) => State::Installed,
        _ => State::Outdated,
    }
}

async fn existing(database: &Database) -> Result<Vec<Existing>, Error> {
    let text = match database.dialect() {
        Dialect::Postgres => postgres::EXISTING,
        Dialect::Mysql(_) => mysql::EXISTING,
        Dialect::Sqlite => sqlite::EXISTING,
    };
    let rows = database.fetch_texts(Statement::new(text)).await?;
    rows.iter().map(|row| serde_json::from_str(row).map_err(Error::from)).collect()
}

async fn has_outbox(database: &Database) -> Result<bool, Error> {
    let text = match database.dialect() {
        Dialect::Postgres => postgres::HAS_OUTBOX,
        Dialect::Mysql(_) => mysql::HAS_OUTBOX,
        Dialect::Sqlite => sqlite::HAS_OUTBOX,
    };
    Ok(!database.fetch_texts(Statement::new(text)).await?.is_empty())
}

/// Ids begin at the microseconds of now, so that an outbox that was removed and made again counts on where it was: an id
/// is never used twice, and fits into a double for another two hundred years.
fn first_id() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}
