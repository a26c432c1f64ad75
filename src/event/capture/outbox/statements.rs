//! What an outbox is asked in each database's SQL. `{home}` is the schema that has it; nothing here runs anything.

pub(super) const POSTGRES_ROWS: &str = "
select {row} from (
  select id, transaction_id::text as transaction, table_schema as schema, table_name as table, operation,
    before_image as before, after_image as after, changed_by as user, occurred_at
  from {home}.resolvespec_outbox where id > $1 order by id
) o";

pub(super) const POSTGRES_ROW: &str = "row_to_json(o)";

// Whatever a text holds, its digits are JSON.
pub(super) const POSTGRES_BARE: &str = "
json_build_array(o.id, json_build_array(encode(convert_to(o.schema, 'UTF8'), 'hex'),
  encode(convert_to(o.table, 'UTF8'), 'hex'), encode(convert_to(o.operation, 'UTF8'), 'hex'),
  encode(convert_to(to_json(o.occurred_at)#>>'{}', 'UTF8'), 'hex'), encode(convert_to(row_to_json(o)::text, 'UTF8'), 'hex')))";

pub(super) const MYSQL_ROWS: &str = "select {row} from {home}.resolvespec_outbox where id > ? order by id";

pub(super) const MYSQL_ROW: &str = r#"
concat('{"id":',id,',"schema":',json_quote(table_schema),',"table":',json_quote(table_name),
  ',"operation":"',operation,'","before":',ifnull(before_image,'null'),',"after":',ifnull(after_image,'null'),
  ',"user":',ifnull(json_quote(changed_by),'null'),
  ',"occurred_at":"',date_format(occurred_at,'%Y-%m-%dT%H:%i:%s.%f+00:00'),'"}')"#;

pub(super) const MYSQL_BARE: &str = "
json_array(id, json_array(hex(table_schema), hex(table_name), hex(operation),
  hex(date_format(occurred_at,'%Y-%m-%dT%H:%i:%s.%f+00:00')), hex({row})))";

pub(super) const SQLITE_ROWS: &str = "select {row} from {home}.resolvespec_outbox where id > ? order by id";

pub(super) const SQLITE_ROW: &str = r#"
'{"id":'||id||',"schema":"main","table":'||json_quote(table_name)||',"operation":"'||operation||
  '","before":'||ifnull(before_image,'null')||',"after":'||ifnull(after_image,'null')||
  ',"user":'||ifnull(json_quote(changed_by),'null')||',"occurred_at":"'||occurred_at||'"}'"#;

pub(super) const SQLITE_BARE: &str = "
json_array(id, json_array(hex('main'), hex(table_name), hex(operation), hex(occurred_at), hex({row})))";

pub(super) const POSTGRES_MARK: &str = "
with moved as (delete from {home}.resolvespec_outbox where id = any($1::bigint[]) returning id)
insert into {home}.resolvespec_published (id) select id from moved";

// Of an id that is not in the outbox nothing is known: the server can be another one than was read from.
pub(super) const MYSQL_PUBLISHED: &str = "
insert ignore into {home}.resolvespec_published (id, published_at)
select o.id, utc_timestamp(6) from json_table(?, '$[*]' columns (id bigint path '$')) j
straight_join {home}.resolvespec_outbox o force index (primary) on o.id = j.id";

// Each row must be found by its key: to look at others would be to wait for the transactions that have just written them.
pub(super) const MYSQL_REMOVE: &str = "
delete o from json_table(?, '$[*]' columns (id bigint path '$')) j
straight_join {home}.resolvespec_outbox o force index (primary) on o.id = j.id";

pub(super) const SQLITE_PUBLISHED: &str = "
insert or ignore into {home}.resolvespec_published (id)
select id from {home}.resolvespec_outbox where id in (select value from json_each(?))";

pub(super) const SQLITE_REMOVE: &str = "delete from {home}.resolvespec_outbox where id in (select value from json_each(?))";

pub(super) const POSTGRES_LATEST: &str = "
select 'null', coalesce(pg_sequence_last_value(pg_get_serial_sequence('{home}.resolvespec_outbox', 'id')::regclass), 0)";

pub(super) const POSTGRES_TRANSACTIONS: &str = "
select 'null', pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint";

pub(super) const POSTGRES_FORGET: &str = "
delete from {home}.resolvespec_published where id = any(array(
  select id from {home}.resolvespec_published
  where id <> 0 and published_at < now() - make_interval(secs => $1::float8)
    and published_at < (select max(published_at) from {home}.resolvespec_published) order by published_at limit {rows}))";

pub(super) const MYSQL_FORGET: &str = "
delete from {home}.resolvespec_published
where id <> 0 and published_at < utc_timestamp(6) - interval ? second and published_at < (
  select latest from (select max(published_at) as latest from {home}.resolvespec_published) l)
order by published_at limit {rows}";

pub(super) const SQLITE_FORGET: &str = "
delete from {home}.resolvespec_published where id in (
  select id from {home}.resolvespec_published
  where id <> 0 and published_at < julianday('now') - cast(? as real) / 86400
    and published_at < (select max(published_at) from {home}.resolvespec_published) order by published_at limit {rows})";

// No row has the id 0: it says that changes were given up, and nobody was told yet.
pub(super) const POSTGRES_KNOWN: &str = "
select json_build_array((select count(*) from {home}.resolvespec_published where id = {id}),
  (select to_json(occurred_at)#>>'{}' from {home}.resolvespec_outbox where id = {id}),
  (select count(*) from {home}.resolvespec_published where id = 0))";

pub(super) const MYSQL_KNOWN: &str = "
select json_array((select count(*) from {home}.resolvespec_published where id = {id}),
  (select date_format(occurred_at,'%Y-%m-%dT%H:%i:%s.%f+00:00') from {home}.resolvespec_outbox where id = {id}),
  (select count(*) from {home}.resolvespec_published where id = 0))";

pub(super) const SQLITE_KNOWN: &str = "
select json_array((select count(*) from {home}.resolvespec_published where id = {id}),
  (select occurred_at from {home}.resolvespec_outbox where id = {id}),
  (select count(*) from {home}.resolvespec_published where id = 0))";

// Ids whose distance to their place is the same follow each other without a gap.
pub(super) const POSTGRES_SEEN: &str = "
select json_build_array(min(id), max(id)) from (
  select id, id - row_number() over (order by id) as gap from (
    select id from {home}.resolvespec_outbox union all select id from {home}.resolvespec_published) a
) b group by gap order by gap";

pub(super) const MYSQL_SEEN: &str = "
select json_array(min(id), max(id)) from (
  select id, id - cast(row_number() over (order by id) as signed) as gap from (
    select id from {home}.resolvespec_outbox union all select id from {home}.resolvespec_published) a
) b group by gap order by gap";

pub(super) const SQLITE_SEEN: &str = "
select json_array(min(id), max(id)) from (
  select id, id - row_number() over (order by id) as gap from (
    select id from {home}.resolvespec_outbox union all select id from {home}.resolvespec_published) a
) b group by gap order by gap";

pub(super) const POSTGRES_BACKLOG: &str = "
select row_to_json(b) from (
  select (select count(*) from (select 1 from {home}.resolvespec_outbox limit {rows}) o) as rows,
    coalesce((select greatest(0, floor(extract(epoch from clock_timestamp() - occurred_at)))::bigint
      from {home}.resolvespec_outbox order by id limit 1), 0) as oldest_seconds,
    coalesce((select max(id) - min(id) + 1 from {home}.resolvespec_outbox), 0) as span,
    (select greatest(0, floor(extract(epoch from clock_timestamp() - published_at)))::bigint
      from {home}.resolvespec_published where id <> 0 order by published_at desc limit 1) as told_seconds
) b";

pub(super) const MYSQL_BACKLOG: &str = "
select json_object('rows', (select count(*) from (select 1 from {home}.resolvespec_outbox limit {rows}) o),
  'oldest_seconds', ifnull((select greatest(0, timestampdiff(second, occurred_at, utc_timestamp(6)))
    from {home}.resolvespec_outbox order by id limit 1), 0),
  'span', ifnull((select max(id) - min(id) + 1 from {home}.resolvespec_outbox), 0),
  'told_seconds', (select greatest(0, timestampdiff(second, published_at, utc_timestamp(6)))
    from {home}.resolvespec_published where id <> 0 order by published_at desc limit 1))";

pub(super) const SQLITE_BACKLOG: &str = "
select json_object('rows', (select count(*) from (select 1 from {home}.resolvespec_outbox limit {rows})),
  'oldest_seconds', ifnull((select max(0, cast((julianday('now') - julianday(occurred_at)) * 86400 as integer))
    from {home}.resolvespec_outbox order by id limit 1), 0),
  'span', ifnull((select max(id) - min(id) + 1 from {home}.resolvespec_outbox), 0),
  'told_seconds', (select max(0, cast((julianday('now') - published_at) * 86400 as integer))
    from {home}.resolvespec_published where id <> 0 order by published_at desc limit 1))";

pub(super) const POSTGRES_GIVE_UP: &str = "
delete from {home}.resolvespec_outbox where id = any(array(
  select id from {home}.resolvespec_outbox where id <= {id} order by id limit {rows}))";

pub(super) const MYSQL_GIVE_UP: &str = "delete from {home}.resolvespec_outbox where id <= {id} order by id limit {rows}";

pub(super) const SQLITE_GIVE_UP: &str = "
delete from {home}.resolvespec_outbox where id in (
  select id from {home}.resolvespec_outbox where id <= {id} order by id limit {rows})";

pub(super) const POSTGRES_GIVEN_UP: &str = "insert into {home}.resolvespec_published (id) values (0) on conflict do nothing";

pub(super) const MYSQL_GIVEN_UP: &str = "
insert ignore into {home}.resolvespec_published (id, published_at) values (0, utc_timestamp(6))";

pub(super) const SQLITE_GIVEN_UP: &str = "insert or ignore into {home}.resolvespec_published (id) values (0)";

pub(super) const LATEST: &str = "select 'null', (select max(id) from {home}.resolvespec_outbox)";

pub(super) const TOLD: &str = "delete from {home}.resolvespec_published where id = 0";
