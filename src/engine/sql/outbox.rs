//! Rows of the outbox that the engine writes itself, for sources whose capture mode is `api`.
//!
//! The outbox and the images are those of the triggers, so that whoever reads them can't tell the difference.

use super::image::{self, Side};
use super::predicate::key_equals;
use super::writer::Sql;
use crate::catalog::relation::Link;
use crate::catalog::{Entity, Ident};
use crate::database::watch::REST_KEY;
use crate::database::{Bind, Dialect, Statement};
use crate::engine::plan::{Key, Value};
use crate::protocol::ChangeOperation;

/// Whether a row is read before its change or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nobody else may change it until the transaction ends.
    Before,
    /// It is this transaction's already, which not even who may only insert has to ask for.
    After,
}

/// The image of a row.
pub(crate) fn image_of(entity: &Entity, key: &Key, when: When) -> Statement {
    let mut sql = Sql::new(entity.dialect);
    select_image(&mut sql, entity, when, &|sql| key_equals(sql, entity, Sql::UNNAMED, key));
    sql.finish(0)
}

/// The images of the rows of a link table that hold these values.
pub(crate) fn images_of_link(entity: &Entity, link: &Link, here: &[Value], there: &[Value], when: When) -> Statement {
    let mut sql = Sql::new(entity.dialect);
    let pairs: Vec<(&Ident, &Value)> = link.columns.iter().zip(here).chain(link.target_columns.iter().zip(there)).collect();
    select_image(&mut sql, entity, when, &|sql| {
        sql.separated(" and ", &pairs, |sql, (name, value)| {
            sql.ident(name).push(" = ").value(value);
        });
    });
    sql.finish(0)
}

fn select_image(sql: &mut Sql, entity: &Entity, when: When, condition: &dyn Fn(&mut Sql)) {
    sql.push("select ");
    image::write(sql, entity, Side::Stored);
    sql.push(" from ").table(&entity.table);
    if sql.dialect == Dialect::Postgres {
        sql.push(" as resolvespec_stored");
    }
    sql.push(" where ");
    condition(sql);
    if sql.dialect != Dialect::Sqlite && when == When::Before {
        sql.push(" for update");
    }
}

/// A row of the outbox, whose images are those that were read.
pub(crate) fn record(entity: &Entity, operation: ChangeOperation, before: Option<&str>, after: Option<&str>) -> Statement {
    let mut sql = begin(entity);
    sql.push("values (");
    head(&mut sql, entity, operation);
    for image in [before, after] {
        sql.push(", ").bind(image.map_or(Bind::Null, Bind::from));
    }
    end(&mut sql, ")");
    sql.finish(0)
}

fn begin(entity: &Entity) -> Sql {
    let mut sql = Sql::new(entity.dialect);
    sql.push("insert into ");
    sql.push(match entity.dialect {
        Dialect::Postgres => "public.resolvespec_outbox (table_schema, table_name, operation, before_image, after_image) ",
        Dialect::Mysql(_) => {
            "resolvespec_outbox (changed_by, occurred_at, table_schema, table_name, operation, before_image, after_image) "
        }
        Dialect::Sqlite => "resolvespec_outbox (table_name, operation, before_image, after_image) ",
    });
    sql
}

fn head(sql: &mut Sql, entity: &Entity, operation: ChangeOperation) {
    if sql.is_mysql() {
        sql.push("@resolvespec_subject, utc_timestamp(6), ");
    }
    if sql.dialect != Dialect::Sqlite {
        sql.literal(entity.table.schema.as_str()).push(", ");
    }
    sql.literal(entity.table.name.as_str()).push(", ").literal(operation.as_str());
}

/// On PostgreSQL the relay is woken as a trigger wakes it: only if it sleeps.
fn end(sql: &mut Sql, close: &str) {
    sql.push(close);
    if sql.dialect == Dialect::Postgres {
        sql.push(&format!(
            " returning case when pg_try_advisory_xact_lock_shared({REST_KEY}) then null \
             else pg_notify('resolvespec_outbox', '')::text end"
        ));
    }
}
