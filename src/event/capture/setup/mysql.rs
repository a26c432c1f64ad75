//! MySQL and MariaDB: three triggers a table, which list its columns with the expressions of reads.
//!
//! After a schema change they must be made again: a new column is not told until then, and a column that was dropped
//! makes every write of its table fail. Foreign keys that cascade change rows without firing a trigger, and TRUNCATE
//! fires none; the first is warned of.

use super::Error;
use super::trigger::{Trigger, literal, quoted};
use crate::catalog::{Entity, TableName};
use crate::database::{Database, Dialect, Statement};
use crate::engine::sql::{Side, image};
use serde::Deserialize;
use std::collections::BTreeMap;

// Other databases of the server have outboxes of their own, and triggers that write to those.
pub(super) const EXISTING: &str = r"
select json_object('schema', t.event_object_schema, 'table', t.event_object_table, 'name', t.trigger_name)
from information_schema.triggers t
where t.trigger_name like '0\_resolvespec\_%'
  and locate(concat('insert into `', replace(database(), '`', '``'), '`.resolvespec_outbox'), t.action_statement) > 0";

pub(super) const HAS_OUTBOX: &str =
    "select '1' from information_schema.tables where table_schema = database() and table_name = 'resolvespec_outbox'";

const CASCADES: &str = "
select json_object('schema', k.constraint_schema, 'table', k.table_name, 'name', k.constraint_name)
from information_schema.referential_constraints k
where k.delete_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT') or k.update_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT')
order by k.constraint_schema, k.table_name, k.constraint_name";

/// The outbox and the ids that were published lately.
pub(super) fn outbox(home: &str, first_id: u128) -> Vec<String> {
    let home = quoted(home, DIALECT);
    vec![
        format!(
            "create table if not exists {home}.resolvespec_outbox (
  id bigint auto_increment primary key,
  table_schema varchar(64) not null,
  table_name varchar(64) not null,
  operation varchar(10) not null,
  before_image longtext,
  after_image longtext,
  changed_by text,
  occurred_at datetime(6) not null,
  check ((operation = 'create') = (before_image is null) and (operation = 'delete') = (after_image is null))
) engine = innodb auto_increment = {first_id} character set utf8mb4 collate utf8mb4_bin"
        ),
        format!(
            "create table if not exists {home}.resolvespec_published (
  id bigint primary key,
  published_at datetime(6) not null,
  key resolvespec_published_at (published_at)
) engine = innodb"
        ),
    ]
}

/// Only quoting is asked of it, in which both servers are the same.
const DIALECT: Dialect = Dialect::Mysql(crate::database::Flavour::Mariadb);

/// A trigger for each event of the entity's table.
pub(super) fn triggers(entity: &Entity, home: &str) -> Vec<Trigger> {
    let home = quoted(home, DIALECT);
    let mut table = String::new();
    entity.table.quote_into(DIALECT, &mut table);
    let schema = quoted(entity.table.schema.as_str(), DIALECT);
    let named = [entity.table.schema.as_str(), entity.table.name.as_str()].map(|name| literal(name, DIALECT)).join(", ");
    let (old, new) = (image(entity, Side::Old), image(entity, Side::New));
    let none = "null".to_owned();
    let events = [("insert", "create", &none, &new), ("update", "update", &old, &new), ("delete", "delete", &old, &none)];
    events
        .map(|(event, operation, before, after)| {
            let body = format!(
                "after {event} on {table} for each row
insert into {home}.resolvespec_outbox
  (table_schema, table_name, operation, before_image, after_image, changed_by, occurred_at)
values ({named}, '{operation}', {before}, {after}, @resolvespec_subject, utc_timestamp(6))"
            );
            Trigger::new(&body, |name| vec![format!("create trigger {schema}.{} {body}", quoted(name, DIALECT))])
        })
        .into()
}

/// Foreign keys of captured tables whose changes no trigger sees.
pub(super) async fn warnings(database: &Database, tables: &BTreeMap<TableName, &Entity>) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Cascade {
        schema: String,
        table: String,
        name: String,
    }
    let mut warnings = Vec::new();
    for text in database.fetch_texts(Statement::new(CASCADES)).await? {
        let key: Cascade = serde_json::from_str(&text)?;
        let is_captured = |table: &TableName| table.schema.as_str() == key.schema && table.name.as_str() == key.table;
        if tables.keys().any(is_captured) {
            warnings.push(format!(
                "{}.{}: what the foreign key {} does to rows by itself (cascade, set null) is not told, since it fires no trigger",
                key.schema, key.table, key.name
            ));
        }
    }
    Ok(warnings)
}

pub(super) fn remove(home: &str) -> Vec<String> {
    let home = quoted(home, DIALECT);
    ["resolvespec_outbox", "resolvespec_published"].map(|table| format!("drop table if exists {home}.{table}")).into()
}
