//! What SQLite has, from its pragmas as tables: one statement.
//!
//! SQLite types values, not columns; the declared type is taken at its word as far as the usual words go, and by
//! SQLite's own affinity rules beyond.

use super::check::{checks_of, indexed_columns};
use super::collation;
use super::{Schemas, rows};
use crate::catalog::collation::Collation;
use crate::catalog::facts::{ColumnFacts, Facts, ForeignKey, Index, TableFacts, Writable};
use crate::catalog::kind::Kind;
use crate::database::{Database, Dialect, Error};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) async fn introspect(database: &Database, schemas: &Schemas) -> Result<Facts, Error> {
    let statement = schemas.statement(TABLES, Dialect::Sqlite, "t.schema", "t.schema <> 'temp'");
    let tables: Vec<Table> = rows(database, statement).await?;
    let facts: Vec<TableFacts> = tables.iter().map(|table| table.facts(&tables)).collect();
    Ok(Facts::new(Dialect::Sqlite, "main", facts))
}

// A sub-select's JSON is a text to the functions around it, unless `json` says otherwise.
const TABLES: &str = r#"
select json_object('encoding', (select e.encoding from pragma_encoding e), 'schema', t.schema, 'name', t.name, 'type', t.type, 'without_rowid', t.wr,
  'sql', (select m.sql from sqlite_schema m where t.schema = 'main' and m.name = t.name and m.type in ('table', 'view')),
  'triggers', json((select json_group_array(m.sql) from sqlite_schema m
    where t.schema = 'main' and t.type = 'view' and m.type = 'trigger' and m.tbl_name = t.name collate nocase)),
  'columns', json((select json_group_array(json_object('name', c.name, 'type', c.type, 'not_null', c."notnull",
      'default', c.dflt_value, 'key', c.pk, 'hidden', c.hidden))
    from pragma_table_xinfo(t.name, t.schema) c)),
  'indexes', json((select json_group_array(json_object('name', i.name, 'unique', i."unique", 'partial', i.partial,
      'sql', (select m.sql from sqlite_schema m where t.schema = 'main' and m.type = 'index' and m.name = i.name),
      'columns', json((select json_group_array(k.name) from pragma_index_info(i.name, t.schema) k))))
    from pragma_index_list(t.name, t.schema) i)),
  'foreign_keys', json((select json_group_array(json_object('id', f.id, 'table', f."table", 'from', f."from", 'to', f."to"))
    from pragma_foreign_key_list(t.name, t.schema) f)))
from pragma_table_list t
where t.type in ('table', 'view', 'virtual') and t.name not like 'sqlite\_%' escape '\' and ({schemas})"#;

#[derive(Deserialize)]
struct Table {
    encoding: String,
    schema: String,
    name: String,
    #[serde(rename = "type")]
    sort: String,
    without_rowid: i64,
    sql: Option<String>,
    triggers: Vec<String>,
    columns: Vec<Column>,
    indexes: Vec<TableIndex>,
    foreign_keys: Vec<ForeignKeyPart>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    declared_type: String,
    not_null: i64,
    default: Option<String>,
    key: i64,
    hidden: i64,
}

#[derive(Deserialize)]
struct TableIndex {
    name: String,
    unique: i64,
    partial: i64,
    sql: Option<String>,
    columns: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct ForeignKeyPart {
    id: i64,
    table: String,
    from: String,
    to: Option<String>,
}

impl Table {
    fn facts(&self, all: &[Table]) -> TableFacts {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let is_view = self.sort == "view";
        TableFacts {
            schema: self.schema.clone(),
            name: self.name.clone(),
            is_view,
            comment: None,
            // A virtual table's hidden columns are arguments, not data.
            columns: self.columns.iter().filter(|column| column.hidden != 1).map(|column| self.column(column)).collect(),
            primary_key: self.primary_key(),
            indexes: self.indexes.iter().map(|index| index.facts(&names)).collect(),
            foreign_keys: self.foreign_keys(all),
            checks: self.sql.as_deref().filter(|_| !is_view).map(|sql| checks_of(sql, &names)).unwrap_or_default(),
            writable: if is_view { self.view_writable() } else { Writable::FULLY },
        }
    }

    fn primary_key(&self) -> Vec<String> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|column| column.key > 0).collect();
        key.sort_by_key(|column| column.key);
        key.into_iter().map(|column| column.name.clone()).collect()
    }

    fn column(&self, column: &Column) -> ColumnFacts {
        let keys = self.columns.iter().filter(|column| column.key > 0).count();
        // The one case in which a column is the row's number.
        let is_row_number =
            column.key == 1 && keys == 1 && self.without_rowid == 0 && column.declared_type.eq_ignore_ascii_case("integer");
        let default = column.default.as_deref().is_some_and(|default| !default.eq_ignore_ascii_case("null"));
        ColumnFacts {
            name: column.name.clone(),
            declared_type: column.declared_type.clone(),
            kind: kind(&column.declared_type),
            nullable: column.not_null == 0 && column.key == 0,
            has_default: default || is_row_number,
            auto_increment: is_row_number,
            generated: column.hidden > 1,
            collation: self.collation(&column.name),
            comment: None,
        }
    }

    /// Only a table of the main schema says how its columns are compared.
    fn collation(&self, column: &str) -> Collation {
        let create = self.sql.as_deref().filter(|_| self.sort == "table");
        create.map_or_else(Collation::default, |create| collation::sqlite(create, column, self.encoding == "UTF-8"))
    }

    /// Keys whose columns were left out lead to the primary key; SQLite takes names in any case.
    fn foreign_keys(&self, all: &[Table]) -> Vec<ForeignKey> {
        let mut parts: BTreeMap<i64, Vec<&ForeignKeyPart>> = BTreeMap::new();
        for part in &self.foreign_keys {
            parts.entry(part.id).or_default().push(part);
        }
        let key = |parts: Vec<&ForeignKeyPart>| {
            let named = &parts.first()?.table;
            let same = |table: &&Table| table.schema == self.schema && table.name.eq_ignore_ascii_case(named);
            let target = all.iter().find(same)?;
            let columns: Option<Vec<String>> = parts.iter().map(|part| self.spelled(&part.from)).collect();
            let named: Option<Vec<&String>> = parts.iter().map(|part| part.to.as_ref()).collect();
            let target_columns = match named {
                Some(named) => named.into_iter().map(|name| target.spelled(name)).collect(),
                None => Some(target.primary_key()),
            };
            Some(ForeignKey {
                name: None,
                columns: columns?,
                target_schema: target.schema.clone(),
                target_table: target.name.clone(),
                target_columns: target_columns?,
            })
        };
        let keys = parts.into_values().filter_map(key);
        keys.filter(|key| key.columns.len() == key.target_columns.len()).collect()
    }

    /// The column's name as its table spells it.
    fn spelled(&self, name: &str) -> Option<String> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).map(|column| column.name.clone())
    }

    /// A view takes the writes that it has triggers for.
    fn view_writable(&self) -> Writable {
        let normal = |sql: &String| sql.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_uppercase();
        let triggers: Vec<String> = self.triggers.iter().map(normal).collect();
        let has = |event: &str| triggers.iter().any(|sql| sql.contains(&format!("INSTEAD OF {event}")));
        Writable { insert: has("INSERT"), update: has("UPDATE"), delete: has("DELETE") }
    }
}

impl TableIndex {
    fn facts(&self, table_columns: &[&str]) -> Index {
        let is_bare = self.columns.iter().all(Option::is_some);
        let columns = match &self.sql {
            Some(sql) if !is_bare => indexed_columns(sql, table_columns),
            _ => self.columns.iter().flatten().cloned().collect(),
        };
        Index { name: self.name.clone(), columns, unique: self.unique != 0, plain: self.partial == 0 && is_bare }
    }
}

fn kind(declared: &str) -> Kind {
    let upper = declared.to_ascii_uppercase();
    let base = upper.split('(').next().unwrap_or_default().trim();
    match base {
        "BOOLEAN" | "BOOL" => Kind::Boolean,
        "DATE" => Kind::Date,
        "TIME" => Kind::Time,
        "DATETIME" | "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => Kind::Timestamp { zoned: false },
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" | "DATETIMEOFFSET" => Kind::Timestamp { zoned: true },
        "JSON" | "JSONB" => Kind::Json,
        "UUID" | "GUID" => Kind::Uuid,
        "DECIMAL" | "NUMERIC" | "DEC" => Kind::Decimal,
        "BINARY" | "VARBINARY" | "BYTEA" => Kind::Bytes,
        _ if base.contains("INT") => Kind::Integer,
        _ if ["CHAR", "CLOB", "TEXT"].iter().any(|word| base.contains(word)) => Kind::Text,
        _ if base.contains("BLOB") => Kind::Bytes,
        _ if ["REAL", "FLOA", "DOUB"].iter().any(|word| base.contains(word)) => Kind::Float,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::kind;
    use crate::catalog::kind::Kind;

    #[test]
    fn declared_types_have_their_usual_meaning() {
        let cases = [
            ("INTEGER", Kind::Integer),
            ("unsigned big int", Kind::Integer),
            ("VARCHAR(255)", Kind::Text),
            ("nvarchar(100)", Kind::Text),
            ("double precision", Kind::Float),
            ("DECIMAL(10,5)", Kind::Decimal),
            ("numeric", Kind::Decimal),
            ("boolean", Kind::Boolean),
            ("datetime", Kind::Timestamp { zoned: false }),
            ("Timestamp with time zone", Kind::Timestamp { zoned: true }),
            ("DATE", Kind::Date),
            ("jsonb", Kind::Json),
            ("uuid", Kind::Uuid),
            ("BLOB", Kind::Bytes),
            ("varbinary(16)", Kind::Bytes),
            ("", Kind::Other),
            ("ANY", Kind::Other),
        ];
        for (declared, expected) in cases {
            assert_eq!(kind(declared), expected, "{declared}");
        }
    }
}
