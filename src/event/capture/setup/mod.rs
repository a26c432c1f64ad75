//! Installing, surveying and removing what captures changes.
//!
//! `outbox` is for the modes that have one: triggers, each of whose names holds a hash of all that made it, so that its name
//! alone says whether it is up to date; or the outbox alone, where the engine writes to it. `wal` is for PostgreSQL's log.
//! Identifiers come from the catalog or from the database itself.

mod mysql;
mod outbox;
mod postgres;
mod sqlite;
mod trigger;
mod wal;

use super::wal::slot;
use crate::catalog::{Capture, Catalog, Entity, TableName};
use crate::database::{self, Database, Dialect};
use std::collections::BTreeMap;

/// Where our triggers' names begin. Triggers of an event run in the order of their names on PostgreSQL, and ours must be
/// the first: the trigger of somebody else may change the same row once more, which must be told after.
const PREFIX: &str = "0_resolvespec_";

/// What is there of what a source's tables need, and what is to be done.
pub struct Survey {
    tables: Vec<Table>,
    statements: Vec<String>,
    way: Way,
    /// Why tables can't be captured in this mode, and what helps.
    unfit: Vec<String>,
    /// What can't be seen on this database's tables, and what else there is to know, for whoever installs it.
    pub warnings: Vec<String>,
}

/// How statements are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All in one transaction, which MySQL ends at each that changes a schema: what captures must be there after each of them.
    Together,
    /// As a script with transactions of its own: a slot can't be made where anything was written.
    Script,
}

/// A table that is captured.
pub struct Table {
    /// Its name in the database.
    pub name: TableName,
    /// How far it is.
    pub state: State,
}

/// How far a table is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything is what it must be.
    Installed,
    /// There is nothing.
    Missing,
    /// Something is missing, is another one, or does not run as it must.
    Outdated,
    /// It can't be captured in this mode.
    Unfit,
}

/// What removing takes away.
pub struct Removal {
    /// What is to be run, in one transaction.
    pub statements: Vec<String>,
    /// Changes that nobody has been told and nobody will be, counted up to a bound where the log has them.
    pub untold: u64,
    /// What stays as it is.
    pub warnings: Vec<String>,
}

/// Why capture can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refuses or can't be reached.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The outbox can't be asked.
    #[error(transparent)]
    Outbox(#[from] super::outbox::Error),
    /// What the database says of itself can't be read.
    #[error("what the database says of its tables can't be understood: {0}")]
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
    /// The server, the role or a table is not fit for this mode; what is wrong, and what helps.
    #[error("{}", .0.join("\n"))]
    Unfit(Vec<String>),
}

impl From<slot::Error> for Error {
    fn from(error: slot::Error) -> Self {
        match error {
            slot::Error::Database(error) => Error::Database(error),
            slot::Error::Unclear(error) => Error::Unclear(error),
            // Nothing is published and no slot is made here.
            error @ (slot::Error::Bus(_) | slot::Error::Full) => Error::Unfit(vec![error.to_string()]),
        }
    }
}

/// Holds what a source's entities need against what its database has.
pub async fn survey(database: &Database, catalog: &Catalog, source: &str) -> Result<Survey, Error> {
    let tables = captured(catalog, source)?;
    match catalog.capture(source) {
        Capture::Wal(_) => wal::survey(database, &tables).await,
        mode @ (Capture::Trigger | Capture::Api | Capture::Off) => outbox::survey(database, &tables, mode).await,
    }
}

/// What takes everything away again, whoever's entities and whichever mode it was for.
pub async fn removal(database: &Database) -> Result<Removal, Error> {
    let mut removal = outbox::removal(database).await?;
    if database.dialect() == Dialect::Postgres {
        wal::add_removal(database, &mut removal).await?;
    }
    Ok(removal)
}

impl Survey {
    /// The tables in the order of their names.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What is to be run so that every table is captured that can be; nothing if it is so already.
    #[must_use]
    pub fn install(&self) -> &[String] {
        &self.statements
    }

    /// Refuses tables that can't be captured. The others can be all the same.
    pub fn fit(&self) -> Result<(), Error> {
        if self.unfit.is_empty() { Ok(()) } else { Err(Error::Unfit(self.unfit.clone())) }
    }

    /// Runs it.
    pub async fn run(&self, database: &Database) -> Result<(), database::Error> {
        match self.way {
            _ if self.statements.is_empty() => Ok(()),
            Way::Together => database.run_all(&self.statements).await,
            Way::Script => database.run_script(&self.statements.join(";\n")).await,
        }
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
