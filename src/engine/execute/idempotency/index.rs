//! The index by age, without which old keys are found by reading all of them.
//!
//! It is made with the table, and where a table of an earlier version has none, before keys are first removed; requests never ask.

use crate::database::{Database, Dialect, Error, Statement, Transaction};

/// For databases that know these words; MySQL has the index in its table's definition.
pub(super) const CREATE_IF_MISSING: &str =
    "create index if not exists resolvespec_idempotency_age on resolvespec_idempotency (created_at)";

const CREATE: &str = "create index resolvespec_idempotency_age on resolvespec_idempotency (created_at)";

/// Has others wait who make the same. On PostgreSQL they would get in each other's way in spite of `if not exists`.
pub(super) async fn alone(transaction: &mut Transaction, dialect: Dialect) -> Result<(), Error> {
    if dialect == Dialect::Postgres {
        transaction.execute(Statement::new("select pg_advisory_xact_lock(hashtext('resolvespec_idempotency'))")).await?;
    }
    Ok(())
}

/// Makes the index if it is missing. The table is there.
pub(super) async fn ensure(database: &Database) -> Result<(), Error> {
    if is_there(database).await? {
        return Ok(());
    }
    if let Err(error) = make(database).await {
        // Another replica may have made it meanwhile.
        return if is_there(database).await? { Ok(()) } else { Err(error) };
    }
    tracing::info!("the index resolvespec_idempotency_age was made");
    Ok(())
}

async fn is_there(database: &Database) -> Result<bool, Error> {
    let text = match database.dialect() {
        Dialect::Postgres => "select '1' where to_regclass('resolvespec_idempotency_age') is not null",
        Dialect::Mysql(_) => {
            "select '1' from information_schema.statistics where table_schema = database() \
             and table_name = 'resolvespec_idempotency' and index_name = 'resolvespec_idempotency_age'"
        }
        Dialect::Sqlite => "select '1' from sqlite_schema where type = 'index' and name = 'resolvespec_idempotency_age'",
    };
    Ok(database.fetch(Statement::new(text), database.deadline(None)).await?.rows.count > 0)
}

async fn make(database: &Database) -> Result<(), Error> {
    let mut transaction = database.begin(database.deadline(None)).await?;
    alone(&mut transaction, database.dialect()).await?;
    let mysql = matches!(database.dialect(), Dialect::Mysql(_));
    transaction.execute(Statement::new(if mysql { CREATE } else { CREATE_IF_MISSING })).await?;
    transaction.commit().await
}
