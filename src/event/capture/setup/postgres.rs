//! PostgreSQL: one function for all tables, whose image is `row_to_json` of the whole row, so that a column that is
//! added or dropped never gets in the way of a write.
//!
//! The function runs with its owner's rights and settings, so that whoever writes needs no right on the outbox and the
//! session's own formats do not matter. A truncate is told as the delete of every row. The triggers fire for replicated
//! changes too. What they can't see: a partition that is truncated by itself or detached. `lastval()` answers the
//! outbox's id after a write, as with every trigger that inserts into a table with a sequence. A transaction that was
//! prepared for a two-phase commit is refused by PostgreSQL if it had to notify.

use super::trigger::{Trigger, literal, quoted};
use crate::catalog::TableName;
use crate::database::Dialect;
use crate::database::watch::REST_KEY;

const DIALECT: Dialect = Dialect::Postgres;

pub(super) const EXISTING: &str = r"
select row_to_json(t) from (
  select n.nspname as schema, c.relname as table, t.tgname as name, t.tgenabled = 'A' as effective
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
  where not t.tgisinternal and t.tgparentid = 0 and t.tgname like '0\_resolvespec\_%'
) t";

pub(super) const HAS_OUTBOX: &str = "select '1' where to_regclass('public.resolvespec_outbox') is not null";

const FUNCTION: &str = "create or replace function public.resolvespec_capture() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set row_security = off
as $resolvespec$
begin
  if tg_op = 'INSERT' then
    insert into public.resolvespec_outbox (table_schema, table_name, operation, after_image)
    values (tg_argv[0], tg_argv[1], 'create', row_to_json(new));
  elsif tg_op = 'UPDATE' then
    insert into public.resolvespec_outbox (table_schema, table_name, operation, before_image, after_image)
    values (tg_argv[0], tg_argv[1], 'update', row_to_json(old), row_to_json(new));
  elsif tg_op = 'DELETE' then
    insert into public.resolvespec_outbox (table_schema, table_name, operation, before_image)
    values (tg_argv[0], tg_argv[1], 'delete', row_to_json(old));
  else
    execute format('insert into public.resolvespec_outbox (table_schema, table_name, operation, before_image)
      select $1, $2, ''delete'', row_to_json(t.*) from %I.%I t', tg_table_schema, tg_table_name)
    using tg_argv[0], tg_argv[1];
  end if;
  -- Only who sleeps holds this lock alone, and wants to be woken.
  if not pg_try_advisory_xact_lock_shared({rest_key}) then
    notify resolvespec_outbox;
  end if;
  return null;
end
$resolvespec$";

/// The outbox and the ids that were published lately.
pub(super) fn outbox(first_id: u128) -> Vec<String> {
    vec![
        // Writers wait behind this transaction for the tables' locks; it must not wait for long itself.
        "set local lock_timeout = '5s'".to_owned(),
        format!(
            "create table if not exists public.resolvespec_outbox (
  id bigint generated always as identity (start with {first_id}) primary key,
  transaction_id xid8 not null default pg_current_xact_id(),
  table_schema text not null,
  table_name text not null,
  operation text not null,
  before_image json,
  after_image json,
  changed_by text default nullif(current_setting('resolvespec.subject', true), ''),
  occurred_at timestamptz not null default clock_timestamp(),
  check ((operation = 'create') = (before_image is null) and (operation = 'delete') = (after_image is null))
)"
        ),
        "create table if not exists public.resolvespec_published (
  id bigint primary key,
  published_at timestamptz not null default now()
)"
        .to_owned(),
        "create index if not exists resolvespec_published_at on public.resolvespec_published (published_at)".to_owned(),
    ]
}

/// The function that every trigger calls.
pub(super) fn function() -> Vec<String> {
    vec![
        FUNCTION.replace("{rest_key}", &REST_KEY.to_string()),
        "revoke all on function public.resolvespec_capture() from public".to_owned(),
    ]
}

/// Triggers on a table: for each row, and for a truncate.
pub(super) fn triggers(table: &TableName) -> Vec<Trigger> {
    let mut full_name = String::new();
    table.quote_into(DIALECT, &mut full_name);
    let arguments = [table.schema.as_str(), table.name.as_str()].map(|name| literal(name, DIALECT)).join(", ");
    let trigger = |events: &str| {
        let basis = format!("{FUNCTION}\n{full_name} {events}");
        Trigger::new(&basis, |name| {
            let name = quoted(name, DIALECT);
            vec![
                format!(
                    "create trigger {name} {events} execute function public.resolvespec_capture({arguments})",
                    events = events.replace("{table}", &full_name)
                ),
                // A subscription's changes are changes too, and would fire no ordinary trigger.
                format!("alter table {full_name} enable always trigger {name}"),
            ]
        })
    };
    vec![
        trigger("after insert or update or delete on {table} for each row"),
        trigger("before truncate on {table} for each statement"),
    ]
}

pub(super) fn remove() -> Vec<String> {
    [
        "drop function if exists public.resolvespec_capture()",
        "drop table if exists public.resolvespec_outbox",
        "drop table if exists public.resolvespec_published",
    ]
    .map(str::to_owned)
    .to_vec()
}
