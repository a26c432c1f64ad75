//! SQLite: three triggers a table, made of built-in functions only, since any program that writes runs them.
//!
//! SQLite runs the youngest trigger of an event first, so ours must be the youngest: a trigger of somebody else that
//! changes the same row once more must be told after. A REPLACE deletes rows without firing a trigger, unless the program
//! that does it has set `recursive_triggers`: of such a row only the new one is told. SQLite refuses to drop a column that
//! a trigger names.

use super::trigger::{Trigger, literal, quoted};
use crate::catalog::Entity;
use crate::database::Dialect;
use crate::engine::sql::{Side, image};

const DIALECT: Dialect = Dialect::Sqlite;

pub(super) const EXISTING: &str = r"
select json_object('schema', 'main', 'table', t.name, 'name', m.name, 'effective', json(iif(exists (
    select 1 from sqlite_schema o
    where o.type = 'trigger' and o.tbl_name = m.tbl_name collate nocase and o.rowid > m.rowid and o.name not like '0\_resolvespec\_%' escape '\'
  ), 'false', 'true')))
from sqlite_schema m join sqlite_schema t on t.type = 'table' and t.name = m.tbl_name collate nocase
where m.type = 'trigger' and m.name like '0\_resolvespec\_%' escape '\'";

pub(super) const HAS_OUTBOX: &str = "select '1' from sqlite_schema where type = 'table' and name = 'resolvespec_outbox'";

/// The outbox and the ids that were published lately.
pub(super) fn outbox(first_id: u128) -> Vec<String> {
    vec![
        "create table if not exists resolvespec_outbox (
  id integer primary key autoincrement,
  table_name text not null,
  operation text not null,
  before_image text,
  after_image text,
  changed_by text,
  occurred_at text not null default (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
  check ((operation = 'create') = (before_image is null) and (operation = 'delete') = (after_image is null))
)"
        .to_owned(),
        format!(
            "insert into sqlite_sequence (name, seq)
select 'resolvespec_outbox', {first_id} where not exists (select 1 from sqlite_sequence where name = 'resolvespec_outbox')"
        ),
        "create table if not exists resolvespec_published (
  id integer primary key,
  published_at real not null default (julianday('now'))
)"
        .to_owned(),
        "create index if not exists resolvespec_published_at on resolvespec_published (published_at)".to_owned(),
    ]
}

/// A trigger for each event of the entity's table.
pub(super) fn triggers(entity: &Entity) -> Vec<Trigger> {
    let table = entity.table.name.as_str();
    let (old, new) = (image(entity, Side::Old), image(entity, Side::New));
    let none = "null".to_owned();
    let events = [("insert", "create", &none, &new), ("update", "update", &old, &new), ("delete", "delete", &old, &none)];
    events
        .map(|(event, operation, before, after)| {
            let body = format!(
                "after {event} on {} for each row begin
insert into resolvespec_outbox (table_name, operation, before_image, after_image)
values ({}, '{operation}', {before}, {after});
end",
                quoted(table, DIALECT),
                literal(table, DIALECT)
            );
            Trigger::new(&body, |name| vec![format!("create trigger {} {body}", quoted(name, DIALECT))])
        })
        .into()
}

pub(super) fn remove() -> Vec<String> {
    ["drop table if exists resolvespec_outbox", "drop table if exists resolvespec_published"].map(str::to_owned).into()
}
