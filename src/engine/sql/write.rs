//! Writes as SQL: one statement a row, its key in the answer where the database can tell it.

use super::json;
use super::predicate::{key_equals, predicate};
use super::writer::{Alias, Sql};
use crate::catalog::relation::Link;
use crate::catalog::{ColumnId, Entity, TableName};
use crate::database::{Dialect, Flavour, Statement};
use crate::engine::authorize::Grant;
use crate::engine::plan::{Key, Predicate, Value};

/// An insert; with `told`, it answers the key's columns as one JSON object.
pub(crate) fn insert(entity: &Entity, values: &[(ColumnId, Value)], told: bool) -> Statement {
    let mut sql = Sql::new(entity.dialect);
    sql.push("insert into ").table(&entity.table);
    if values.is_empty() {
        sql.push(if sql.is_mysql() { " () values ()" } else { " default values" });
    } else {
        sql.push(" (");
        sql.separated(", ", values, |sql, (id, _)| _ = sql.ident(&entity.column(*id).ident));
        sql.push(") values (");
        sql.separated(", ", values, |sql, (_, value)| _ = sql.value(value));
        sql.push(")");
    }
    if told {
        sql.push(" returning ");
        key_text(&mut sql, entity);
    }
    sql.finish(0)
}

/// Whether an insert can answer the key.
pub(crate) fn can_tell_key(dialect: Dialect) -> bool {
    dialect != Dialect::Mysql(Flavour::Mysql)
}

/// Writes the key's columns as one JSON object, over the row that was written.
fn key_text(sql: &mut Sql, entity: &Entity) {
    if sql.dialect == Dialect::Postgres {
        sql.push("json_build_object(");
        sql.separated(", ", &entity.primary_key, |sql, id| {
            sql.literal(&entity.column(*id).name).push(", ");
            json::column(sql, entity, Sql::UNNAMED, *id);
        });
        sql.push(")");
        return;
    }
    let (open, join, close) = if sql.is_mysql() { ("concat(", ",", ")") } else { ("(", "||", ")") };
    sql.push(open);
    for (place, id) in entity.primary_key.iter().enumerate() {
        let name = serde_json::Value::from(entity.column(*id).name.as_str());
        sql.literal(&format!("{}{name}:", if place == 0 { '{' } else { ',' })).push(join);
        json::column(sql, entity, Sql::UNNAMED, *id);
        sql.push(join);
    }
    sql.push("'}'").push(close);
}

/// An update of one row.
pub(crate) fn update(grant: &Grant<'_>, key: &Key, values: &[(ColumnId, Value)]) -> Statement {
    let entity = grant.entity();
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    sql.push("update ").table(&entity.table).push(" as ").name(alias).push(" set ");
    sql.separated(", ", values, |sql, (id, value)| {
        sql.ident(&entity.column(*id).ident).push(" = ").value(value);
    });
    one_row(&mut sql, grant, alias, key, None);
    sql.finish(0)
}

/// A delete of one row, if it also meets `also`.
pub(crate) fn delete(grant: &Grant<'_>, key: &Key, also: Option<&Predicate>) -> Statement {
    let entity = grant.entity();
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    delete_from(&mut sql, &entity.table, alias);
    one_row(&mut sql, grant, alias, key, also);
    sql.finish(0)
}

fn delete_from(sql: &mut Sql, table: &TableName, alias: Alias) {
    if sql.is_mysql() {
        // MariaDB takes an alias in this form only.
        sql.push("delete ").name(alias).push(" from ");
    } else {
        sql.push("delete from ");
    }
    sql.table(table).push(" as ").name(alias);
}

/// Finds one row, and keeps others from changing it until the transaction ends.
pub(crate) fn lock(grant: &Grant<'_>, key: &Key) -> Statement {
    let entity = grant.entity();
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    sql.push("select '1' from ").table_as(&entity.table, alias);
    one_row(&mut sql, grant, alias, key, None);
    if sql.dialect != Dialect::Sqlite {
        sql.push(" for update");
    }
    sql.finish(0)
}

fn one_row(sql: &mut Sql, grant: &Grant<'_>, alias: Alias, key: &Key, also: Option<&Predicate>) {
    sql.push(" where ");
    key_equals(sql, grant.entity(), alias, key);
    for part in [Some(grant.rows()), also].into_iter().flatten().filter(|part| !part.is_always()) {
        sql.push(" and ");
        predicate(sql, grant.entity(), alias, part);
    }
}

/// The rows that hold these values.
pub(crate) fn holding(entity: &Entity, columns: &[ColumnId], values: &[&Value]) -> Statement {
    let mut sql = Sql::new(entity.dialect);
    let alias = sql.alias();
    sql.push("select '1' from ").table_as(&entity.table, alias).push(" where ");
    sql.separated(" and ", columns.iter().zip(values), |sql, (id, value)| {
        sql.column(alias, entity, *id).push(" = ").value(value);
    });
    sql.push(" limit 1");
    sql.finish(0)
}

/// A row of a link table.
pub(crate) fn insert_link(dialect: Dialect, link: &Link, here: &[Value], there: &[Value]) -> Statement {
    link_row(dialect, link, here, there).finish(0)
}

/// A row of a link table, or none where a unique key of it is taken. MySQL has no words for that: its `insert ignore` lets every
/// other fault of the row pass as well.
pub(crate) fn insert_link_or_nothing(dialect: Dialect, link: &Link, here: &[Value], there: &[Value]) -> Statement {
    let mut sql = link_row(dialect, link, here, there);
    sql.push(" on conflict do nothing");
    sql.finish(0)
}

fn link_row(dialect: Dialect, link: &Link, here: &[Value], there: &[Value]) -> Sql {
    let mut sql = Sql::new(dialect);
    sql.push("insert into ").table(&link.table).push(" (");
    sql.separated(", ", link.columns.iter().chain(&link.target_columns), |sql, name| _ = sql.ident(name));
    sql.push(") values (");
    sql.separated(", ", here.iter().chain(there), |sql, value| _ = sql.value(value));
    sql.push(")");
    sql
}

/// Finds a row of a link table. On MySQL a plain read would not see one that another transaction has just added.
pub(crate) fn find_link(dialect: Dialect, link: &Link, here: &[Value], there: &[Value]) -> Statement {
    let mut sql = Sql::new(dialect);
    let alias = sql.alias();
    sql.push("select '1' from ").table_as(&link.table, alias).push(" where ");
    link_equals(&mut sql, alias, link, here, there);
    sql.push(" limit 1");
    if sql.is_mysql() {
        sql.push(" lock in share mode");
    }
    sql.finish(0)
}

fn link_equals(sql: &mut Sql, alias: Alias, link: &Link, here: &[Value], there: &[Value]) {
    let pairs = link.columns.iter().zip(here).chain(link.target_columns.iter().zip(there));
    sql.separated(" and ", pairs, |sql, (name, value)| {
        sql.name(alias).push(".").ident(name).push(" = ").value(value);
    });
}

/// The removal of a row of a link table, under the grant of the entity that has it.
pub(crate) fn delete_link(
    dialect: Dialect,
    link: &Link,
    here: &[Value],
    there: &[Value],
    grant: Option<&Grant<'_>>,
) -> Statement {
    let mut sql = Sql::new(dialect);
    let alias = sql.alias();
    delete_from(&mut sql, &link.table, alias);
    sql.push(" where ");
    link_equals(&mut sql, alias, link, here, there);
    if let Some(grant) = grant.filter(|grant| !grant.rows().is_always()) {
        sql.push(" and ");
        predicate(&mut sql, grant.entity(), alias, grant.rows());
    }
    sql.finish(0)
}
