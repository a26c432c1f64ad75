//! The outbox and its triggers: what is there, what is missing, what takes it away.

use super::trigger::{Trigger, drop_trigger};
use super::{Error, Removal, State, Survey, Table, Way, mysql, postgres, sqlite, wal};
use crate::catalog::{Capture, Entity, TableName};
use crate::database::{Database, Dialect, Statement};
use crate::event::capture::outbox::Outbox;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// What a table needs, and how far it is.
struct Wanted<'t> {
    table: &'t TableName,
    triggers: Vec<Trigger>,
    state: State,
}

/// Holds what tables need against what the database has.
pub(super) async fn survey(database: &Database, tables: &BTreeMap<TableName, &Entity>, mode: Capture) -> Result<Survey, Error> {
    let dialect = database.dialect();
    let home = Outbox::of(database).await?.home().to_owned();
    let existing = existing(database).await?;
    let has_outbox = has_outbox(database).await?;
    let wanted = tables.iter().map(|(table, entity)| {
        let triggers = match (mode, dialect) {
            // The engine writes what it does, which triggers would tell once more.
            (Capture::Api, _) => Vec::new(),
            (_, Dialect::Postgres) => postgres::triggers(table),
            (_, Dialect::Mysql(_)) => mysql::triggers(entity, &home),
            (_, Dialect::Sqlite) => sqlite::triggers(entity),
        };
        let state = state(table, &triggers, &existing, has_outbox);
        Wanted { table, triggers, state }
    });
    let wanted: Vec<Wanted<'_>> = wanted.collect();
    let mut warnings = match (mode, dialect) {
        (Capture::Api, _) => vec!["what other programs change is not told, nor what the database changes by itself".to_owned()],
        (_, Dialect::Mysql(_)) => mysql::warnings(database, tables).await?,
        (_, Dialect::Postgres | Dialect::Sqlite) => Vec::new(),
    };
    if dialect == Dialect::Postgres {
        warnings.extend(wal::leftover(database).await?);
    }
    let statements = install(dialect, &home, has_outbox, &wanted, &existing);
    let tables = wanted.iter().map(|wanted| Table { name: wanted.table.clone(), state: wanted.state }).collect();
    Ok(Survey { tables, statements, way: Way::Together, unfit: Vec::new(), warnings })
}

fn install(dialect: Dialect, home: &str, has_outbox: bool, wanted: &[Wanted<'_>], existing: &[Existing]) -> Vec<String> {
    let stale: Vec<&Wanted<'_>> = wanted.iter().filter(|wanted| wanted.state != State::Installed).collect();
    if has_outbox && stale.is_empty() {
        return Vec::new();
    }
    let mut statements = match dialect {
        Dialect::Postgres => postgres::outbox(first_id()),
        Dialect::Mysql(_) => mysql::outbox(home, first_id()),
        Dialect::Sqlite => sqlite::outbox(first_id()),
    };
    if dialect == Dialect::Postgres && wanted.iter().any(|wanted| !wanted.triggers.is_empty()) {
        statements.extend(postgres::function());
    }
    for table in stale {
        statements.extend(table.replaced(dialect, existing));
    }
    statements
}

/// What takes outbox and triggers away.
pub(super) async fn removal(database: &Database) -> Result<Removal, Error> {
    let dialect = database.dialect();
    let triggers = existing(database).await?;
    let mut statements: Vec<String> = triggers.iter().map(|trigger| trigger.drop(dialect)).collect();
    let mut untold = 0;
    if has_outbox(database).await? {
        let outbox = Outbox::of(database).await?;
        statements.extend(match dialect {
            Dialect::Postgres => postgres::remove(),
            Dialect::Mysql(_) => mysql::remove(outbox.home()),
            Dialect::Sqlite => sqlite::remove(),
        });
        untold = outbox.count().await?;
    }
    Ok(Removal { statements, untold, warnings: Vec::new() })
}

impl Wanted<'_> {
    /// New triggers, and then the old ones away. MySQL commits at each statement, and a writer in between is to be told twice
    /// rather than not at all.
    fn replaced(&self, dialect: Dialect, existing: &[Existing]) -> Vec<String> {
        let found: Vec<&Existing> = existing.iter().filter(|existing| existing.is_on(self.table)).collect();
        let mut statements = Vec::new();
        for trigger in &self.triggers {
            if let Some(same) = found.iter().find(|existing| existing.name == trigger.name) {
                if same.effective {
                    continue;
                }
                // Two can't have one name. MySQL's are always effective, and the others run all of this as one transaction.
                statements.push(same.drop(dialect));
            }
            statements.extend(trigger.statements.iter().cloned());
        }
        let is_old = |existing: &&&Existing| self.triggers.iter().all(|trigger| trigger.name != existing.name);
        statements.extend(found.iter().filter(is_old).map(|existing| existing.drop(dialect)));
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

fn state(table: &TableName, wanted: &[Trigger], existing: &[Existing], has_outbox: bool) -> State {
    let found: Vec<&Existing> = existing.iter().filter(|existing| existing.is_on(table)).collect();
    let has = |trigger: &Trigger| found.iter().any(|existing| existing.name == trigger.name && existing.effective);
    match (found.len(), wanted.len()) {
        (0, 0) if has_outbox => State::Installed,
        (0, _) => State::Missing,
        (found, needed) if found == needed && wanted.iter().all(has) => State::Installed,
        _ => State::Outdated,
    }
}

/// Whether there is an outbox or one of our triggers.
pub(super) async fn is_there(database: &Database) -> Result<bool, Error> {
    Ok(has_outbox(database).await? || !existing(database).await?.is_empty())
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
