//! What MySQL or MariaDB has, from `information_schema`: five statements, in SQL that both servers take.
//!
//! The servers differ in how they tell defaults and CHECK constraints; only that is asked of each in its own way.

use super::check::named_columns;
use super::collation;
use super::mysql_kind::kind;
use super::{Schemas, decode, rows};
use crate::catalog::facts::{Check, ColumnFacts, Facts, ForeignKey, Index, TableFacts, Writable};
use crate::catalog::kind::Kind;
use crate::database::{Database, Dialect, Error, Flavour, Statement};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};

/// The database of the connection.
pub(super) async fn current_schema(database: &Database) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Current {
        name: Option<String>,
    }
    let found: Vec<Current> = rows(database, Statement::new("select json_object('name', database())")).await?;
    let name = found.into_iter().next().and_then(|current| current.name);
    name.ok_or_else(|| Error::Configuration("the database URL names no database; end it with /name".to_owned()))
}

pub(super) async fn introspect(database: &Database, flavour: Flavour, current: &str, schemas: &Schemas) -> Result<Facts, Error> {
    let dialect = Dialect::Mysql(flavour);
    // What else is on the server is somebody else's, and may be gone in a moment.
    let every = "t.table_schema = database()";
    let statement = |sql| schemas.statement(sql, dialect, "t.table_schema", every);
    let checks = match flavour {
        Flavour::Mariadb => MARIADB_CHECKS,
        Flavour::Mysql => MYSQL_CHECKS,
    };
    let tables: Vec<Table> = rows(database, statement(TABLES)).await?;
    let mut parts = Parts {
        flavour,
        columns: by_table(database, statement(COLUMNS)).await?,
        indexes: by_table(database, statement(INDEXES)).await?,
        foreign_keys: by_table(database, statement(FOREIGN_KEYS)).await?,
        checks: by_table(database, statement(checks)).await?,
    };
    Ok(Facts::new(dialect, current, tables.into_iter().map(|table| parts.table(table))))
}

const TABLES: &str = "
select json_object('schema', t.table_schema, 'name', t.table_name, 'type', t.table_type, 'comment', t.table_comment,
  'updatable', v.is_updatable)
from information_schema.tables t
left join information_schema.views v on v.table_schema = t.table_schema and v.table_name = t.table_name
where t.table_type in ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') and ({schemas})";

const COLUMNS: &str = "
select json_object('schema', t.table_schema, 'table', t.table_name, 'name', t.column_name, 'type', t.data_type,
  'declared_type', t.column_type, 'nullable', t.is_nullable, 'default', t.column_default, 'extra', t.extra,
  'generation', t.generation_expression, 'comment', t.column_comment, 'collation', t.collation_name)
from information_schema.columns t
where {schemas}
order by t.table_schema, t.table_name, t.ordinal_position";

const INDEXES: &str = "
select json_object('schema', t.table_schema, 'table', t.table_name, 'name', t.index_name, 'duplicates', t.non_unique,
  'column', t.column_name, 'part', t.sub_part)
from information_schema.statistics t
where {schemas}
order by t.table_schema, t.table_name, t.index_name, t.seq_in_index";

const FOREIGN_KEYS: &str = "
select json_object('schema', t.table_schema, 'table', t.table_name, 'name', t.constraint_name, 'column', t.column_name,
  'target_schema', t.referenced_table_schema, 'target_table', t.referenced_table_name,
  'target_column', t.referenced_column_name)
from information_schema.key_column_usage t
where t.referenced_table_name is not null and ({schemas})
order by t.table_schema, t.table_name, t.constraint_name, t.ordinal_position";

const MARIADB_CHECKS: &str = "
select json_object('schema', t.table_schema, 'table', t.table_name, 'name', c.constraint_name, 'clause', c.check_clause,
  'level', c.level)
from information_schema.tables t
join information_schema.check_constraints c on c.constraint_schema = t.table_schema and c.table_name = t.table_name
where {schemas}";

const MYSQL_CHECKS: &str = "
select json_object('schema', t.table_schema, 'table', t.table_name, 'name', c.constraint_name, 'clause', c.check_clause,
  'level', 'Table')
from information_schema.table_constraints t
join information_schema.check_constraints c
  on c.constraint_schema = t.constraint_schema and c.constraint_name = t.constraint_name
where t.constraint_type = 'CHECK' and ({schemas})";

#[derive(Deserialize)]
struct Table {
    schema: String,
    name: String,
    #[serde(rename = "type")]
    sort: String,
    comment: String,
    updatable: Option<String>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    declared_type: String,
    nullable: String,
    default: Option<String>,
    extra: String,
    generation: Option<String>,
    comment: String,
    collation: Option<String>,
}

#[derive(Deserialize)]
struct IndexPart {
    name: String,
    duplicates: i64,
    column: Option<String>,
    part: Option<i64>,
}

#[derive(Deserialize)]
struct ForeignKeyPart {
    name: String,
    column: String,
    target_schema: String,
    target_table: String,
    target_column: String,
}

#[derive(Deserialize)]
struct CheckPart {
    name: String,
    clause: String,
    level: String,
}

type ByTable<T> = HashMap<(String, String), Vec<T>>;

struct Parts {
    flavour: Flavour,
    columns: ByTable<Column>,
    indexes: ByTable<IndexPart>,
    foreign_keys: ByTable<ForeignKeyPart>,
    checks: ByTable<CheckPart>,
}

/// Decodes the rows of all tables and keeps each with its table.
async fn by_table<T: DeserializeOwned>(database: &Database, statement: Statement) -> Result<ByTable<T>, Error> {
    #[derive(Deserialize)]
    struct Owner {
        schema: String,
        table: String,
    }
    let mut grouped: ByTable<T> = HashMap::new();
    for text in database.fetch_texts(statement).await? {
        let owner: Owner = decode(&text)?;
        grouped.entry((owner.schema, owner.table)).or_default().push(decode(&text)?);
    }
    Ok(grouped)
}

impl Parts {
    fn table(&mut self, table: Table) -> TableFacts {
        let key = (table.schema, table.name);
        let is_view = table.sort == "VIEW";
        let checks = self.checks.remove(&key).unwrap_or_default();
        let columns = self.columns.remove(&key).unwrap_or_default();
        let columns: Vec<ColumnFacts> = columns.into_iter().map(|column| column.facts(self.flavour, &checks)).collect();
        let indexes = indexes(self.indexes.remove(&key).unwrap_or_default());
        let primary_key = indexes.iter().find(|index| index.name == "PRIMARY").map(|index| index.columns.clone());
        let can_write = !is_view || table.updatable.as_deref() == Some("YES");
        TableFacts {
            is_view,
            // A view's comment is the word VIEW.
            comment: Some(table.comment).filter(|comment| !comment.is_empty() && !is_view),
            checks: checks.iter().flat_map(|check| check.facts(&key.1, &columns)).collect(),
            columns,
            primary_key: primary_key.unwrap_or_default(),
            indexes,
            foreign_keys: foreign_keys(self.foreign_keys.remove(&key).unwrap_or_default()),
            writable: Writable { insert: can_write, update: can_write, delete: can_write },
            schema: key.0,
            name: key.1,
        }
    }
}

impl Column {
    fn facts(self, flavour: Flavour, checks: &[CheckPart]) -> ColumnFacts {
        let extra = self.extra.to_ascii_lowercase();
        let auto_increment = extra.contains("auto_increment");
        let generated = self.generation.is_some_and(|expression| !expression.is_empty());
        // MariaDB tells a default as an expression, in which the word NULL is none.
        let is_null = |default: &String| flavour == Flavour::Mariadb && default.eq_ignore_ascii_case("null");
        let has_default = self.default.is_some_and(|default| !is_null(&default));
        let is_json = checks.iter().any(|check| check.is_json_of(&self.name));
        ColumnFacts {
            kind: if is_json { Kind::Json } else { kind(&self.data_type, &self.declared_type) },
            name: self.name,
            declared_type: self.declared_type,
            nullable: self.nullable == "YES",
            has_default: has_default || auto_increment,
            auto_increment,
            generated,
            collation: collation::mysql(self.collation.as_deref()),
            comment: Some(self.comment).filter(|comment| !comment.is_empty()),
        }
    }
}

impl CheckPart {
    /// MariaDB's JSON is a text with this check.
    fn is_json_of(&self, column: &str) -> bool {
        let clause = self.clause.to_lowercase().replace([' ', '(', ')'], "");
        clause == format!("json_valid`{}`", column.to_lowercase())
    }

    /// MariaDB's errors put the table before the name of a check that belongs to one column.
    fn facts(&self, table: &str, columns: &[ColumnFacts]) -> Vec<Check> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let columns = named_columns(&self.clause, &names, Dialect::Mysql(Flavour::Mysql));
        let own = Check { name: self.name.clone(), columns };
        let qualified = Check { name: format!("{table}.{}", self.name), columns: own.columns.clone() };
        if self.level == "Column" { vec![own, qualified] } else { vec![own] }
    }
}

fn indexes(parts: Vec<IndexPart>) -> Vec<Index> {
    let mut indexes: BTreeMap<String, Index> = BTreeMap::new();
    for part in parts {
        let unique = part.duplicates == 0;
        let empty = || Index { name: part.name.clone(), columns: Vec::new(), unique, plain: true };
        let index = indexes.entry(part.name.clone()).or_insert_with(empty);
        // A key over the first characters of a column is unique in these, which is unique enough in the whole.
        index.plain &= part.column.is_some() && (unique || part.part.is_none());
        index.columns.extend(part.column);
    }
    indexes.into_values().collect()
}

fn foreign_keys(parts: Vec<ForeignKeyPart>) -> Vec<ForeignKey> {
    let mut keys: BTreeMap<String, ForeignKey> = BTreeMap::new();
    for part in parts {
        let key = keys.entry(part.name.clone()).or_insert_with(|| ForeignKey {
            name: Some(part.name),
            columns: Vec::new(),
            target_schema: part.target_schema,
            target_table: part.target_table,
            target_columns: Vec::new(),
        });
        key.columns.push(part.column);
        key.target_columns.push(part.target_column);
    }
    keys.into_values().collect()
}
