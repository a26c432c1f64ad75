//! `X-Files`: one JSON object with the options of a read and its nested relations.
//!
//! Its values join those of the plain parameters. Names are not resolved here, and no SQL is taken.

use super::decode::{declared_names, is_name, refused};
use super::sort::sort_keys;
use crate::protocol::filter::{Grouping, Logic};
use crate::protocol::options::Fragment;
use crate::protocol::{Code, Condition, Error, KeyInput, Leaf, Operator, Options, Preload};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Node {
    #[serde(deserialize_with = "given")]
    tablename: String,
    schema: Option<String>,
    #[serde(deserialize_with = "given")]
    prefix: String,
    editable: Option<bool>,
    expand: Option<bool>,
    rownumber: Option<bool>,
    primarykey: Option<String>,
    foreignkey: Option<String>,
    relatedkey: Option<String>,
    #[serde(deserialize_with = "given")]
    columns: Vec<String>,
    #[serde(deserialize_with = "given")]
    omit_columns: Vec<String>,
    #[serde(deserialize_with = "given")]
    sort: Vec<String>,
    limit: Value,
    offset: Value,
    #[serde(deserialize_with = "given")]
    filter_fields: Vec<FieldFilter>,
    #[serde(deserialize_with = "given")]
    sql_and: Vec<String>,
    #[serde(deserialize_with = "given")]
    sql_or: Vec<String>,
    #[serde(deserialize_with = "given")]
    sql_joins: Vec<String>,
    #[serde(deserialize_with = "given")]
    cql_columns: Vec<String>,
    skipcount: Option<bool>,
    cursor_forward: Option<String>,
    cursor_backward: Option<String>,
    #[serde(deserialize_with = "given")]
    recursive: bool,
    #[serde(deserialize_with = "given")]
    parenttables: Vec<Node>,
    #[serde(deserialize_with = "given")]
    childtables: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFilter {
    field: String,
    #[serde(default)]
    value: Value,
    operator: String,
}

/// Merges the object into the options.
pub(super) fn read(value: &str, options: &mut Options) -> Result<(), Error> {
    if value.trim().is_empty() {
        return Ok(());
    }
    let unreadable = |text: String| Error::new(Code::InvalidOption, format!("x-files: {text}")).with_detail("x-files");
    // A list would be read as the object's values in order.
    if !value.trim_start().starts_with('{') {
        return Err(unreadable("takes one JSON object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(value);
    let root: Node = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| unreadable(format!("{}: {}", error.path(), error.inner())))?;
    json.end().map_err(|error| unreadable(error.to_string()))?;
    root.refuse_sql()?;
    options.columns.extend(root.columns.iter().cloned());
    options.omit_columns.extend(root.omit_columns.iter().cloned());
    options.sort.extend(root.sort_keys()?);
    let filters = std::mem::take(&mut options.filters);
    options.filters = filters.and(root.condition()?);
    options.custom_operators.extend(root.declared()?);
    options.computed_columns.extend(root.computed()?);
    options.limit = count("limit", &root.limit)?.or(options.limit);
    options.offset = count("offset", &root.offset)?.or(options.offset);
    options.skip_count |= root.skipcount.unwrap_or(false);
    let key = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(KeyInput::Text);
    options.cursor_forward = key(&root.cursor_forward).or(options.cursor_forward.take());
    options.cursor_backward = key(&root.cursor_backward).or(options.cursor_backward.take());
    for node in root.parenttables.iter().chain(&root.childtables) {
        options.preload.push(node.preload()?);
    }
    Ok(())
}

impl Node {
    fn preload(&self) -> Result<Preload, Error> {
        self.refuse_sql()?;
        if self.tablename.is_empty() {
            return Err(refused(Code::InvalidPreload, "x-files", "has a nested table without tablename"));
        }
        if [&self.cursor_forward, &self.cursor_backward].into_iter().flatten().any(|key| !key.is_empty()) {
            return Err(refused(
                Code::InvalidPreload,
                "x-files",
                "has a cursor in a nested table; page the relation's own entity",
            ));
        }
        // A prefix names the relation, and the table must fit it; without one the table has to do.
        let (relation, table_name) = match self.prefix.as_str() {
            "" => (&self.tablename, None),
            _ => (&self.prefix, Some(self.tablename.clone())),
        };
        let conditions = self.declared()?;
        let condition = match conditions.as_slice() {
            [] => None,
            [only] => Some(only.name.clone()),
            _ => return Err(refused(Code::InvalidPreload, "x-files", "has more than one sql_and in a nested table")),
        };
        let nested = self.parenttables.iter().chain(&self.childtables).map(Node::preload);
        Ok(Preload {
            table_name,
            columns: self.columns.clone(),
            omit_columns: self.omit_columns.clone(),
            sort: self.sort_keys()?,
            filters: self.condition()?,
            condition,
            limit: count("limit", &self.limit)?,
            offset: count("offset", &self.offset)?,
            preload: nested.collect::<Result<_, _>>()?,
            computed_ql: self.computed()?,
            recursive: self.recursive,
            primary_key: self.primarykey.clone(),
            related_key: self.relatedkey.clone(),
            foreign_key: self.foreignkey.clone(),
            ..Preload::of(relation.as_str())
        })
    }

    /// `schema`, `editable`, `expand` and `rownumber` have no effect in the reference either; SQL is refused.
    fn refuse_sql(&self) -> Result<(), Error> {
        let Node { schema: _, editable: _, expand: _, rownumber: _, sql_or, sql_joins, .. } = self;
        if sql_or.iter().chain(sql_joins).any(|text| !text.trim().is_empty()) {
            return Err(refused(
                Code::RawSqlRefused,
                "x-files",
                "carries SQL in sql_or or sql_joins; declare operators and relations in the Entity",
            ));
        }
        Ok(())
    }

    fn sort_keys(&self) -> Result<Vec<crate::protocol::Sort>, Error> {
        sort_keys(&self.sort.join(","))
    }

    fn condition(&self) -> Result<Condition, Error> {
        let filters = self.filter_fields.iter().map(|filter| {
            let word = filter.operator.as_str();
            let operator =
                Operator::parse(word).ok_or_else(|| Error::new(Code::InvalidOperator, format!("unknown operator '{word}'")))?;
            let leaf = Leaf { column: filter.field.clone(), operator, value: filter.value.clone() };
            Ok((Logic::And, Condition::Leaf(leaf)))
        });
        Ok(Condition::grouped(filters.collect::<Result<_, Error>>()?, Grouping::OrsOnly))
    }

    fn declared(&self) -> Result<Vec<Fragment>, Error> {
        let names = self.sql_and.iter().map(|text| declared_names("x-files", text));
        Ok(names.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn computed(&self) -> Result<Vec<Fragment>, Error> {
        let names = self.cql_columns.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        names
            .map(|name| {
                let reason = "carries SQL in cql_columns; declare a computed column in the Entity and send its name";
                let fragment = Fragment { name: name.to_owned(), sql: None };
                is_name(name).then_some(fragment).ok_or_else(|| refused(Code::RawSqlRefused, "x-files", reason))
            })
            .collect()
    }
}

/// Reads null as what is not there, as programs that write every key send it.
fn given<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A number, or the text of one.
fn count(name: &str, value: &Value) -> Result<Option<u64>, Error> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    let number = number.ok_or_else(|| {
        refused(Code::InvalidOption, "x-files", &format!("takes a whole number that is not negative as {name}"))
    })?;
    Ok((number > 0).then_some(number))
}
