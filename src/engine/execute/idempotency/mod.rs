//! Idempotency keys: a write is claimed, done and its answer stored in one transaction, so a retry gets that answer.
//!
//! The table lies beside the data and is made at the first use. Claims are forgotten after the source's lifetime of keys: from
//! then on a key can be used again, and [`purge`] removes what nobody uses again, away from requests.

mod index;
pub(in crate::engine) mod purge;

use crate::auth::Principal;
use crate::catalog::Entity;
use crate::database::{self, Bind, Database, Dialect, Statement, Transaction};
use crate::engine::error::from_database;
use crate::engine::hook::Context;
use crate::protocol::response::{Deleted, Removed, Written};
use crate::protocol::{Code, Condition, Error, Options, Request, Response, RowText};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

/// The longest key that is taken.
const MAX_KEY_BYTES: usize = 255;

/// One use of a key by one caller.
pub(super) struct Claim {
    id: String,
    request: String,
    /// When the key was used by another request, if that is so long ago that it may be used again.
    outlived: Option<i64>,
}

impl Claim {
    /// Hashes the caller with the key, and the request.
    pub(super) fn new(context: Context<'_>, key: &str, request: &Request) -> Result<Self, Error> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Error::new(Code::InvalidRequest, format!("an idempotency key has 1 to {MAX_KEY_BYTES} bytes")));
        }
        let id = format!("{}\n{key}", caller(context.principal));
        let Options { filters, custom_operators, parameters, .. } = &*request.options;
        // What decides whether a row is written. Without it the hash is that of keys which are stored already.
        let is_conditional = *filters != Condition::default() || !custom_operators.is_empty();
        let condition = if is_conditional { format!(" {filters:?} {custom_operators:?} {parameters:?}") } else { String::new() };
        let what = format!(
            "{} {} {:?} {}{condition}",
            request.operation.as_str(),
            context.entity.full_name(),
            request.selector,
            request.data.as_ref().map(ToString::to_string).unwrap_or_default()
        );
        let hash = |text: &str| format!("{:032x}", xxh3_128(text.as_bytes()));
        Ok(Self { id: hash(&id), request: hash(&what), outlived: None })
    }
}

/// Whose key it is, on one line.
fn caller(principal: &Principal) -> String {
    if principal.is_anonymous() { String::new() } else { principal.identity().to_string() }
}

/// The stored form of an answer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Stored {
    Written { rows: String, count: u64, many: bool },
    DeletedRecord { row: String },
    DeletedCount { count: u64 },
}

/// The answer of an earlier request with the same key, if there was one.
pub(super) async fn earlier(database: &Database, claim: &mut Claim, deadline: Instant) -> Result<Option<Response>, Error> {
    let text = "select answer, (select count(*) from resolvespec_idempotency where id = ? and request = ?), created_at \
                from resolvespec_idempotency where id = ?";
    let binds = vec![claim.id.clone().into(), claim.request.clone().into(), claim.id.clone().into()];
    let mut statement = statement(database.dialect(), text, binds);
    statement.numbers = 2;
    let fetched = match database.fetch(statement, deadline).await {
        Err(database::Error::Schema(_)) => {
            create_table(database, deadline).await?;
            return Ok(None);
        }
        fetched => fetched.map_err(|error| plain(&error))?,
    };
    if fetched.rows.count == 0 {
        return Ok(None);
    }
    claim.outlived = fetched.numbers[1].filter(|created_at| *created_at < oldest(database));
    if claim.outlived.is_some() {
        return Ok(None);
    }
    if fetched.numbers[0] != Some(1) {
        return Err(Error::new(Code::IdempotencyKeyReused, "this idempotency key was used with another request; use a new one"));
    }
    let stored: Stored = serde_json::from_slice(&fetched.rows.joined).map_err(|_| Error::internal())?;
    Ok(Some(match stored {
        Stored::Written { rows, count, many } => {
            Response::Written(Written { rows: RowText { joined: Bytes::from(rows), count }, many, replayed: true })
        }
        Stored::DeletedRecord { row } => deleted_before(Removed::Record(Bytes::from(row))),
        Stored::DeletedCount { count } => deleted_before(Removed::Count(count)),
    }))
}

fn deleted_before(removed: Removed) -> Response {
    Response::Deleted(Deleted { removed, replayed: true })
}

/// Claims the key; a request with the same key waits here, and then finds a conflict.
pub(super) async fn claim(transaction: &mut Transaction, claim: &Claim, entity: &Entity) -> Result<(), Error> {
    let ours = |error| from_database(error, entity);
    if let Some(created_at) = claim.outlived {
        forget(transaction, claim, created_at, entity).await?;
    }
    let insert = "insert into resolvespec_idempotency (id, request, answer, created_at) values (?, ?, '', ?)";
    let binds = vec![claim.id.clone().into(), claim.request.clone().into(), Bind::Integer(now())];
    transaction.execute(statement(entity.dialect, insert, binds)).await.map_err(ours)?;
    Ok(())
}

/// Removes an outlived use of the key. Only of one that is there: where there is none, MySQL would lock the gap, and two
/// requests that add to it would lock each other out.
async fn forget(transaction: &mut Transaction, claim: &Claim, created_at: i64, entity: &Entity) -> Result<(), Error> {
    let forget = "delete from resolvespec_idempotency where id = ? and created_at = ?";
    let binds = vec![claim.id.clone().into(), Bind::Integer(created_at)];
    transaction.execute(statement(entity.dialect, forget, binds)).await.map_err(|error| from_database(error, entity))?;
    Ok(())
}

/// The text under which an answer is stored; none for answers that change nothing.
pub(super) fn stored(response: &Response) -> Result<Option<String>, Error> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let stored = match response {
        Response::Written(written) => {
            Stored::Written { rows: text(&written.rows.joined), count: written.rows.count, many: written.many }
        }
        Response::Deleted(Deleted { removed: Removed::Record(row), .. }) => Stored::DeletedRecord { row: text(row) },
        Response::Deleted(Deleted { removed: Removed::Count(count), .. }) => Stored::DeletedCount { count: *count },
        Response::Page(_) | Response::Record(_) | Response::Meta(_) => return Ok(None),
    };
    serde_json::to_string(&stored).map(Some).map_err(|_| Error::internal())
}

/// Stores the answer with the write itself.
pub(super) async fn store(transaction: &mut Transaction, claim: &Claim, answer: String, entity: &Entity) -> Result<(), Error> {
    let update = "update resolvespec_idempotency set answer = ? where id = ?";
    let binds = vec![answer.into(), claim.id.clone().into()];
    transaction.execute(statement(entity.dialect, update, binds)).await.map_err(|error| from_database(error, entity))?;
    Ok(())
}

async fn create_table(database: &Database, deadline: Instant) -> Result<(), Error> {
    let text = match database.dialect() {
        Dialect::Mysql(_) => {
            "create table if not exists resolvespec_idempotency (id char(32) primary key, request char(32) not null, \
             answer longtext not null, created_at bigint not null, key resolvespec_idempotency_age (created_at)) \
             character set utf8mb4"
        }
        Dialect::Postgres | Dialect::Sqlite => {
            "create table if not exists resolvespec_idempotency (id char(32) primary key, request char(32) not null, \
             answer text not null, created_at bigint not null)"
        }
    };
    let run = async {
        let mut transaction = database.begin(deadline).await?;
        index::alone(&mut transaction, database.dialect()).await?;
        transaction.execute(Statement::new(text)).await?;
        if !matches!(database.dialect(), Dialect::Mysql(_)) {
            transaction.execute(Statement::new(index::CREATE_IF_MISSING)).await?;
        }
        transaction.commit().await
    };
    run.await.map_err(|error| plain(&error))
}

fn plain(error: &database::Error) -> Error {
    tracing::error!(%error, "idempotency keys can't be kept");
    match error {
        database::Error::Unavailable(_) | database::Error::Unprepared(_) | database::Error::Busy => {
            Error::new(Code::Unavailable, "the database can't be reached; try again")
        }
        database::Error::Deadline => Error::new(Code::DeadlineExceeded, "the statement did not finish within its deadline"),
        database::Error::Serialization(_) => {
            Error::new(Code::SerializationFailure, "a concurrent write got in the way; send the request again")
        }
        database::Error::Permission(_) => Error::new(
            Code::InvalidRequest,
            "idempotency keys need the table resolvespec_idempotency, which the service's database user may not create",
        ),
        _ => Error::internal(),
    }
}

/// Our own statements are written with `?`.
fn statement(dialect: Dialect, text: &str, binds: Vec<Bind>) -> Statement {
    if dialect != Dialect::Postgres {
        return Statement::with_binds(text, binds);
    }
    let mut numbered = String::with_capacity(text.len() + 8);
    let mut count = 0;
    for character in text.chars() {
        if character == '?' {
            count += 1;
            numbered.push('$');
            numbered.push_str(&count.to_string());
        } else {
            numbered.push(character);
        }
    }
    Statement::with_binds(numbered, binds)
}

/// Keys that were used before this moment are forgotten.
fn oldest(database: &Database) -> i64 {
    let lifetime = database.settings().idempotency_lifetime.as_secs();
    now().saturating_sub(i64::try_from(lifetime).unwrap_or(i64::MAX))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::caller;
    use crate::auth::Principal;
    use serde_json::{Value, json};

    fn principal(claims: &Value) -> Principal {
        let claims = claims.as_object().cloned().unwrap_or_default();
        let subject = claims.get("sub").and_then(Value::as_str).map(ToOwned::to_owned);
        Principal { subject, claims, expires_at: Some(1), ..Principal::default() }
    }

    #[test]
    fn keys_belong_to_one_caller_and_outlive_its_token() {
        let callers = [
            Principal::anonymous(),
            principal(&json!({"exp": 1})),
            principal(&json!({"exp": 1, "roles": ["writer"]})),
            principal(&json!({"exp": 1, "roles": ["reader"]})),
            principal(&json!({"exp": 1, "sub": ""})),
            principal(&json!({"exp": 1, "sub": "ada"})),
            principal(&json!({"exp": 1, "sub": "ada\nkey"})),
            principal(&json!({"exp": 1, "sub": "ada", "iss": "elsewhere"})),
        ];
        let names: Vec<String> = callers.iter().map(caller).collect();
        for (place, name) in names.iter().enumerate() {
            assert!(!name.contains('\n'), "{name}");
            assert!(!names[..place].contains(name), "{name} is another's too");
        }
        let renewed = principal(&json!({"exp": 2, "iat": 1, "jti": "b", "roles": ["writer"]}));
        assert_eq!(caller(&renewed), names[2]);
    }
}
