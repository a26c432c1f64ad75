//! Rows of link tables. That a link is there already is no fault; whatever else the database has against one is told.
//!
//! A link table may have more than the keys of both sides: other unique keys, checks, references, columns that need a value.

use super::run::Writer;
use crate::catalog::Relation;
use crate::catalog::relation::Link;
use crate::database::{Dialect, Statement};
use crate::engine::observe::Verb;
use crate::engine::plan::Value;
use crate::engine::sql::write as statements;
use crate::protocol::{Code, Error};

/// Links two rows, unless they are linked.
pub(super) async fn add_link(
    writer: &mut Writer<'_>,
    relation: &Relation,
    link: &Link,
    here: &[Value],
    there: &[Value],
) -> Result<(), Error> {
    let dialect = writer.catalog.entity(relation.target).dialect;
    let find = || statements::find_link(dialect, link, here, there);
    // A statement that fails ends a transaction of PostgreSQL, so that nothing could be looked up after it.
    if dialect == Dialect::Postgres {
        let careful = statements::insert_link_or_nothing(dialect, link, here, there);
        if is_there(writer, relation, find()).await?
            || insert(writer, relation, careful).await? > 0
            || is_there(writer, relation, find()).await?
        {
            return Ok(());
        }
    }
    match insert(writer, relation, statements::insert_link(dialect, link, here, there)).await {
        Err(error) if dialect != Dialect::Postgres && reason(error.code).is_some() => {
            if is_there(writer, relation, find()).await? { Ok(()) } else { Err(error) }
        }
        outcome => outcome.map(|_| ()),
    }
}

async fn is_there(writer: &mut Writer<'_>, relation: &Relation, statement: Statement) -> Result<bool, Error> {
    let entity = writer.catalog.entity(relation.target);
    Ok(writer.select(entity, statement).await?.rows.count > 0)
}

/// Runs an insert; says how many rows it added. A refusal is told in words about the relation, since the link table may be
/// nobody's entity.
async fn insert(writer: &mut Writer<'_>, relation: &Relation, statement: Statement) -> Result<u64, Error> {
    let entity = writer.catalog.entity(relation.target);
    let executed = writer.execute(Verb::Insert, entity, statement).await;
    executed.map(|executed| executed.rows).map_err(|error| {
        let Some(reason) = reason(error.code) else { return error };
        let message = format!("the rows can't be linked through {}: {reason}", relation.name);
        Error::new(error.code, message).with_detail(relation.name.clone())
    })
}

/// What a link table has against a row, by the code of its refusal.
fn reason(code: Code) -> Option<&'static str> {
    match code {
        Code::Conflict => Some("another link has a value that only one may have"),
        Code::ForeignKeyViolation => Some("a row that the link would refer to does not exist"),
        Code::NotNullViolation => Some("a link needs a value that this one would not have"),
        Code::CheckViolation => Some("a check or trigger of the database refuses the link"),
        _ => None,
    }
}
