//! Asks a database what it has.
//!
//! A few statements for all schemas together, never one a table; each row of an answer is one JSON object. The drivers
//! stay in `database`: here are only SQL and what its answers mean.

mod check;
mod collation;
mod mysql;
mod mysql_kind;
mod postgres;
mod sqlite;

use super::facts::Facts;
use crate::database::{Bind, Database, Dialect, Error, Statement};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// Which schemas are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every schema of the database that the URL names, but for those of its server. On MySQL and MariaDB that is one.
    Everything,
    /// Some schemas.
    Schemas {
        /// The default schema too.
        default: bool,
        /// Schemas by name.
        named: BTreeSet<String>,
    },
}

/// Asks a database what it has.
pub async fn introspect(database: &Database, scope: &Scope) -> Result<Facts, Error> {
    match database.dialect() {
        Dialect::Postgres => postgres::introspect(database, &scope.schemas("public")).await,
        Dialect::Sqlite => sqlite::introspect(database, &scope.schemas("main")).await,
        Dialect::Mysql(flavour) => {
            let current = mysql::current_schema(database).await?;
            mysql::introspect(database, flavour, &current, &scope.schemas(&current)).await
        }
    }
}

/// The schemas by name; none for every schema.
struct Schemas(Option<Vec<String>>);

impl Scope {
    fn schemas(&self, default_schema: &str) -> Schemas {
        match self {
            Scope::Everything => Schemas(None),
            Scope::Schemas { default, named } => {
                let default = default.then(|| default_schema.to_owned());
                Schemas(Some(default.into_iter().chain(named.iter().cloned()).collect()))
            }
        }
    }
}

impl Schemas {
    /// A statement in which `{schemas}` stands for a condition on `column`; `own` is the condition for every schema.
    fn statement(&self, sql: &str, dialect: Dialect, column: &str, own: &str) -> Statement {
        let Some(names) = &self.0 else { return Statement::new(sql.replace("{schemas}", own)) };
        let placeholder = |place: usize| match dialect {
            Dialect::Postgres => format!("${place}"),
            Dialect::Mysql(_) | Dialect::Sqlite => "?".to_owned(),
        };
        let condition = match names.len() {
            0 => "1 = 0".to_owned(),
            count => format!("{column} in ({})", (1..=count).map(placeholder).collect::<Vec<_>>().join(", ")),
        };
        Statement::with_binds(sql.replace("{schemas}", &condition), names.iter().cloned().map(Bind::Text).collect())
    }
}

/// Runs a statement and decodes its rows.
async fn rows<T: DeserializeOwned>(database: &Database, statement: Statement) -> Result<Vec<T>, Error> {
    database.fetch_texts(statement).await?.iter().map(|text| decode(text)).collect()
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let unclear = |error| Error::Statement(format!("what the database says of its tables can't be understood: {error}"));
    serde_json::from_str(text).map_err(unclear)
}
