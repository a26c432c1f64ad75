//! What PostgreSQL has, from `pg_catalog`: three statements: types, tables, and how texts are compared.
//!
//! Partitions are left out: their parent stands for them.

use super::collation::{self, Default, Locale};
use super::{Schemas, rows};
use crate::catalog::facts::{Check, ColumnFacts, Facts, ForeignKey, Index, TableFacts, Writable};
use crate::catalog::kind::Kind;
use crate::database::{Database, Dialect, Error, Statement};
use serde::Deserialize;
use std::collections::HashMap;

pub(super) async fn introspect(database: &Database, schemas: &Schemas) -> Result<Facts, Error> {
    let every = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";
    let statement = |sql| schemas.statement(sql, Dialect::Postgres, "n.nspname", every);
    let types: Vec<Type> = rows(database, statement(TYPES)).await?;
    let tables: Vec<Table> = rows(database, statement(TABLES)).await?;
    let usual: Vec<Default> = rows(database, Statement::new(DEFAULT)).await?;
    let unclear = || Error::Statement("the database does not say how it compares texts".to_owned());
    let usual = usual.into_iter().next().ok_or_else(unclear)?;
    let types: Types = types.into_iter().map(|one| (one.id, one)).collect();
    Ok(Facts::new(Dialect::Postgres, "public", tables.into_iter().map(|table| table.into_facts(&types, &usual))))
}

// Newer versions have columns that older ones lack.
const DEFAULT: &str = "
select json_build_object('encoding', pg_encoding_to_char(d.encoding), 'locale', json_build_object(
  'provider', coalesce(j ->> 'datlocprovider', 'c'), 'deterministic', true, 'collate', d.datcollate, 'ctype', d.datctype,
  'locale', j ->> 'datlocale'))
from pg_database d, to_jsonb(d) j where d.datname = current_database()";

const TYPES: &str = "
with recursive used(id) as (
  select a.atttypid
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f') and ({schemas})
  union
  select case t.typtype when 'd' then t.typbasetype else t.typelem end
  from used join pg_type t on t.oid = used.id
  where t.typtype = 'd' or (t.typcategory = 'A' and t.typelem <> 0)
)
select row_to_json(t) from (
  select t.oid::int8 as id, t.typname as name, t.typtype as sort, t.typbasetype::int8 as base,
    case when t.typcategory = 'A' then t.typelem::int8 else 0 end as element,
    t.typnotnull as not_null, t.typdefault is not null as has_default,
    (select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]') from pg_enum e where e.enumtypid = t.oid) as labels
  from used join pg_type t on t.oid = used.id
) t";

const TABLES: &str = "
select row_to_json(t) from (
  select n.nspname as schema, c.relname as name, c.relkind in ('v', 'm') as is_view,
    case when c.relkind = 'm' then 0 else pg_relation_is_updatable(c.oid, true) end as events,
    obj_description(c.oid, 'pg_class') as comment,
    (select coalesce(json_agg(row_to_json(a) order by a.number), '[]') from (
      select a.attnum as number, a.attname as name, a.atttypid::int8 as type_id,
        format_type(a.atttypid, a.atttypmod) as declared_type, a.attnotnull as not_null,
        a.attidentity as identity, a.attgenerated <> '' as generated,
        case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end as default,
        col_description(a.attrelid, a.attnum) as comment,
        (select json_build_object('provider', k.collprovider, 'deterministic', k.collisdeterministic, 'collate', k.collcollate,
            'ctype', k.collctype, 'locale', to_jsonb(k) ->> 'colllocale')
          from pg_collation k where k.oid = a.attcollation) as collation
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) a) as columns,
    (select coalesce(json_agg(row_to_json(i) order by i.name), '[]') from (
      select x.relname as name, i.indisunique as unique, i.indisprimary as primary,
        i.indpred is null and i.indexprs is null as plain,
        (select coalesce(json_agg(a.attname order by k.place), '[]')
          from unnest(i.indkey) with ordinality as k(number, place)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
          where k.place <= i.indnkeyatts) as columns,
        (select coalesce(json_agg(distinct a.attname), '[]')
          from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
          where i.indexprs is not null and d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
            and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.refobjsubid > 0) as expression_columns
      from pg_index i join pg_class x on x.oid = i.indexrelid
      where i.indrelid = c.oid and i.indisvalid
    ) i) as indexes,
    (select coalesce(json_agg(row_to_json(k) order by k.name), '[]') from (
      select k.conname as name, k.contype as sort, tn.nspname as target_schema, tc.relname as target_table,
        (select coalesce(json_agg(a.attname order by u.place), '[]')
          from unnest(k.conkey) with ordinality as u(number, place)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number) as columns,
        (select coalesce(json_agg(a.attname order by u.place), '[]')
          from unnest(k.confkey) with ordinality as u(number, place)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.number) as target_columns
      from pg_constraint k
      left join pg_class tc on tc.oid = k.confrelid left join pg_namespace tn on tn.oid = tc.relnamespace
      where k.conrelid = c.oid and k.contype in ('f', 'c') and k.conparentid = 0
    ) k) as constraints
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and ({schemas})
) t";

type Types = HashMap<i64, Type>;

#[derive(Deserialize)]
struct Type {
    id: i64,
    name: String,
    sort: String,
    base: i64,
    element: i64,
    not_null: bool,
    has_default: bool,
    labels: Vec<String>,
}

#[derive(Deserialize)]
struct Table {
    schema: String,
    name: String,
    is_view: bool,
    events: i64,
    comment: Option<String>,
    columns: Vec<Column>,
    indexes: Vec<TableIndex>,
    constraints: Vec<Constraint>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    type_id: i64,
    declared_type: String,
    not_null: bool,
    identity: String,
    generated: bool,
    default: Option<String>,
    comment: Option<String>,
    collation: Option<Locale>,
}

#[derive(Deserialize)]
struct TableIndex {
    name: String,
    unique: bool,
    primary: bool,
    plain: bool,
    columns: Vec<String>,
    expression_columns: Vec<String>,
}

#[derive(Deserialize)]
struct Constraint {
    name: String,
    sort: String,
    target_schema: Option<String>,
    target_table: Option<String>,
    columns: Vec<String>,
    target_columns: Vec<String>,
}

impl Table {
    fn into_facts(self, types: &Types, usual: &Default) -> TableFacts {
        let primary_key = self.indexes.iter().find(|index| index.primary).map(|index| index.columns.clone());
        let (foreign_keys, checks): (Vec<_>, Vec<_>) = self.constraints.into_iter().partition(|one| one.sort == "f");
        TableFacts {
            schema: self.schema,
            name: self.name,
            is_view: self.is_view,
            comment: self.comment,
            columns: self.columns.into_iter().map(|column| column.into_facts(types, usual)).collect(),
            primary_key: primary_key.unwrap_or_default(),
            indexes: self.indexes.into_iter().map(TableIndex::into_facts).collect(),
            foreign_keys: foreign_keys.into_iter().filter_map(Constraint::into_foreign_key).collect(),
            checks: checks.into_iter().map(|one| Check { name: one.name, columns: one.columns }).collect(),
            writable: writable(self.events),
        }
    }
}

impl Column {
    fn into_facts(self, types: &Types, usual: &Default) -> ColumnFacts {
        let domain = types.get(&self.type_id).filter(|one| one.sort == "d");
        let is_identity = !self.identity.is_empty();
        ColumnFacts {
            name: self.name,
            declared_type: self.declared_type,
            kind: kind(self.type_id, types),
            nullable: !self.not_null && !domain.is_some_and(|domain| domain.not_null),
            has_default: is_identity || self.default.is_some() || domain.is_some_and(|domain| domain.has_default),
            auto_increment: is_identity || self.default.is_some_and(|default| default.starts_with("nextval(")),
            // An identity that is always generated refuses values, as a generated column does.
            generated: self.generated || self.identity == "a",
            collation: collation::postgres(base_name(self.type_id, types), self.collation.as_ref(), usual),
            comment: self.comment,
        }
    }
}

impl TableIndex {
    fn into_facts(self) -> Index {
        let mut columns = self.columns;
        columns.extend(self.expression_columns);
        columns.dedup();
        Index { name: self.name, columns, unique: self.unique, plain: self.plain }
    }
}

impl Constraint {
    fn into_foreign_key(self) -> Option<ForeignKey> {
        Some(ForeignKey {
            name: Some(self.name),
            columns: self.columns,
            target_schema: self.target_schema?,
            target_table: self.target_table?,
            target_columns: self.target_columns,
        })
    }
}

/// `pg_relation_is_updatable` answers one bit an event, numbered as PostgreSQL numbers its commands.
fn writable(events: i64) -> Writable {
    Writable { insert: events & (1 << 3) != 0, update: events & (1 << 2) != 0, delete: events & (1 << 4) != 0 }
}

fn kind(id: i64, types: &Types) -> Kind {
    let Some(one) = types.get(&id) else { return Kind::Other };
    match one.sort.as_str() {
        "d" => kind(one.base, types),
        "e" => Kind::Enum(one.labels.clone()),
        "b" if one.element != 0 => Kind::Array(Box::new(kind(one.element, types))),
        "b" => base_kind(&one.name),
        _ => Kind::Other,
    }
}

/// The type's name, a domain's by what it is made of.
fn base_name(id: i64, types: &Types) -> &str {
    match types.get(&id) {
        Some(one) if one.sort == "d" => base_name(one.base, types),
        Some(one) => &one.name,
        None => "",
    }
}

fn base_kind(name: &str) -> Kind {
    match name {
        "bool" => Kind::Boolean,
        "int2" | "int4" | "int8" | "oid" => Kind::Integer,
        "numeric" => Kind::Decimal,
        "float4" | "float8" => Kind::Float,
        "text" | "varchar" | "bpchar" | "name" | "char" | "citext" => Kind::Text,
        "uuid" => Kind::Uuid,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "timestamp" => Kind::Timestamp { zoned: false },
        "timestamptz" => Kind::Timestamp { zoned: true },
        "bytea" => Kind::Bytes,
        "json" | "jsonb" => Kind::Json,
        _ => Kind::Other,
    }
}
