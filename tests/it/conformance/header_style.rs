//! Cases in the header style, said as the TypeScript client says them; what it can't say goes through `X-Files`.

use super::body_style::{path_key, segment};
use super::case::Wanted;
use super::compare::Seen;
use crate::support::client::{Answer, Call};
use axum::http::{HeaderName, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The request, or why headers can't say it.
pub(crate) fn encode(wanted: &Wanted) -> Result<Call, String> {
    if !wanted.envelope.is_empty() {
        return Err("it has keys of the body style's envelope".to_owned());
    }
    let base = format!("/rest/{}/{}", segment(&wanted.schema), segment(&wanted.entity));
    let key = path_key(&wanted.id);
    if key.is_none() && !wanted.id.is_null() {
        return Err("ids in a list or by column have no place in a path".to_owned());
    }
    let path = key.as_ref().map_or_else(|| base.clone(), |key| format!("{base}/{}", segment(key)));
    let many = wanted.data.as_ref().is_some_and(Value::is_array);
    let call = match (wanted.operation.as_str(), &key) {
        ("read", _) => Call::new(Method::GET, path),
        ("create", None) => Call::new(Method::POST, path),
        ("update", Some(_)) if !many => Call::new(Method::PUT, path),
        ("delete", _) => Call::new(Method::DELETE, path),
        ("meta", None) => Call::new(Method::GET, format!("{base}/metadata")),
        _ => return Err(format!("there is no verb for {} of this form", wanted.operation)),
    };
    let mut call = match &wanted.data {
        Some(data) => call.body(data),
        None => call,
    };
    if many {
        call = call.header("X-Single-Record-As-Object", "false");
    }
    let mut headers = Headers::default();
    if let Some(options) = &wanted.options {
        headers.options(options)?;
    }
    let mut query = Vec::from_iter(wanted.query.clone());
    for (name, value) in headers.0 {
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(_) => call = call.header(name, wrap(&value)),
            // A name that a header can't have goes into the query.
            Err(_) => query.push(format!("{}={}", segment(&name), segment(&value))),
        }
    }
    if !query.is_empty() {
        call.path = format!("{}?{}", call.path, query.join("&"));
    }
    Ok(wanted.headers.iter().fold(call, |call, (name, value)| call.header(name, value.as_str().unwrap_or_default())))
}

/// Values that a header can't carry as they are go as base64.
fn wrap(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    if plain && !value.starts_with("__") && !value.starts_with("ZIP_") {
        return value.to_owned();
    }
    format!("ZIP_{}", STANDARD.encode(value))
}

#[derive(Default)]
struct Headers(BTreeMap<String, String>);

impl Headers {
    fn put(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<(), String> {
        let name = name.into();
        match self.0.insert(name.clone(), value.into()) {
            None => Ok(()),
            Some(_) => Err(format!("{name} would be said twice")),
        }
    }

    fn options(&mut self, options: &Value) -> Result<(), String> {
        for (key, value) in object(options)? {
            match key.as_str() {
                "columns" => self.put("X-Select-Fields", strings(value)?.join(","))?,
                "omit_columns" => self.put("X-Not-Select-Fields", strings(value)?.join(","))?,
                "filters" => self.filters(value)?,
                "sort" => self.put("X-Sort", sort_keys(value)?.join(","))?,
                "limit" => self.put("X-Limit", value.to_string())?,
                "offset" => self.put("X-Offset", value.to_string())?,
                "preload" => self.preloads(value)?,
                "customOperators" => self.put("X-Custom-SQL-W", names(value)?.join(" AND "))?,
                "computedColumns" => {
                    for name in names(value)? {
                        self.put(format!("X-CQL-SEL-{name}"), name)?;
                    }
                }
                "cursor_forward" => self.put("X-Cursor-Forward", scalar(value)?)?,
                "cursor_backward" => self.put("X-Cursor-Backward", scalar(value)?)?,
                "fetch_row_number" => self.put("X-Fetch-RowNumber", scalar(value)?)?,
                "skip_count" => self.put("X-SkipCount", value.to_string())?,
                other => return Err(format!("there is no header for {other}")),
            }
        }
        Ok(())
    }

    fn filters(&mut self, filters: &Value) -> Result<(), String> {
        for filter in array(filters)? {
            let (column, operator, value) = leaf(filter)?;
            let logic = filter["logic_operator"].as_str().unwrap_or("AND");
            let value = match value {
                Value::Array(items) => items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(","),
                Value::Null => String::new(),
                other => scalar(other)?,
            };
            match (operator, logic.eq_ignore_ascii_case("or")) {
                ("eq", false) => self.put(format!("X-FieldFilter-{column}"), value)?,
                (operator, or) => {
                    let family = if or { "SearchOr" } else { "SearchOp" };
                    self.put(format!("X-{family}-{}-{column}", word(operator)), value)?;
                }
            }
        }
        Ok(())
    }

    fn preloads(&mut self, preloads: &Value) -> Result<(), String> {
        let preloads = array(preloads)?;
        let plain = |preload: &Value| {
            preload.as_object().is_some_and(|keys| keys.keys().all(|key| key == "relation" || key == "columns"))
        };
        if preloads.iter().all(plain) {
            let mut parts = Vec::new();
            for preload in preloads {
                let columns = preload.get("columns").map(strings).transpose()?.unwrap_or_default();
                let relation = preload["relation"].as_str().unwrap_or_default();
                parts.push(if columns.is_empty() { relation.to_owned() } else { format!("{relation}:{}", columns.join(",")) });
            }
            return self.put("X-Preload", parts.join("|"));
        }
        let nodes = preloads.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        self.put("X-Files", json!({"childtables": nodes}).to_string())
    }
}

/// The table that a relation of the conformance schema leads to.
fn table(relation: String) -> String {
    match relation.as_str() {
        "manager" | "reports" | "members" | "employee" => "employees".to_owned(),
        "department" | "profile" | "project" => format!("{relation}s"),
        "country" => "countries".to_owned(),
        _ => relation,
    }
}

/// A preload as a nested table of `X-Files`.
fn node(preload: &Value) -> Result<Value, String> {
    let mut node = Map::new();
    for (key, value) in object(preload)? {
        match key.as_str() {
            "relation" => {
                node.insert("tablename".to_owned(), json!(table(scalar(value)?)));
                node.insert("prefix".to_owned(), value.clone());
            }
            "columns" | "omit_columns" | "limit" | "offset" | "recursive" => _ = node.insert(key.clone(), value.clone()),
            "sort" => _ = node.insert(key.clone(), json!(sort_keys(value)?)),
            "where" => _ = node.insert("sql_and".to_owned(), json!([value])),
            "computed_ql" => _ = node.insert("cql_columns".to_owned(), json!(object(value)?.keys().collect::<Vec<_>>())),
            "filters" => {
                let mut fields = Vec::new();
                for filter in array(value)? {
                    let (field, operator, value) = leaf(filter)?;
                    if filter.get("logic_operator").is_some() {
                        return Err("nested tables have no OR".to_owned());
                    }
                    fields.push(json!({"field": field, "operator": operator, "value": value}));
                }
                node.insert("filter_fields".to_owned(), Value::Array(fields));
            }
            "preload" => {
                let nested = array(value)?.iter().map(self::node).collect::<Result<Vec<_>, _>>()?;
                node.insert("childtables".to_owned(), Value::Array(nested));
            }
            other => return Err(format!("nested tables have no {other}")),
        }
    }
    Ok(Value::Object(node))
}

/// The header's word for an operator, as the TypeScript client has it.
fn word(operator: &str) -> &str {
    match operator {
        "eq" => "equals",
        "neq" => "notequals",
        "gt" => "greaterthan",
        "gte" => "greaterthanorequal",
        "lt" => "lessthan",
        "lte" => "lessthanorequal",
        "like" | "ilike" => "contains",
        "startswith" => "beginswith",
        "between_inclusive" => "betweeninclusive",
        "is_null" => "empty",
        "is_not_null" => "notempty",
        other => other,
    }
}

fn leaf(filter: &Value) -> Result<(&str, &str, &Value), String> {
    let column = filter["column"].as_str().ok_or("headers have no nested groups")?;
    let operator = filter["operator"].as_str().ok_or("the filter has no operator")?;
    Ok((column, operator, &filter["value"]))
}

fn sort_keys(value: &Value) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    for key in array(value)? {
        let descending = key["direction"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("desc"));
        let nulls = key["nulls"].as_str().map(|place| format!(" nulls {place}")).unwrap_or_default();
        keys.push(format!("{}{}{nulls}", if descending { '-' } else { '+' }, scalar(&key["column"])?));
    }
    Ok(keys)
}

fn names(value: &Value) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for fragment in array(value)? {
        let keys = object(fragment)?;
        if keys.len() != 1 {
            return Err("a fragment is said in headers by its name alone".to_owned());
        }
        names.push(scalar(&fragment["name"])?);
    }
    Ok(names)
}

fn strings(value: &Value) -> Result<Vec<String>, String> {
    array(value)?.iter().map(scalar).collect()
}

fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("{value} is no list"))
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{value} is no object"))
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(format!("{other} is no text")),
    }
}

/// What is looked at of the bare body and the range headers.
pub(crate) fn seen(answer: &Answer) -> Seen {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let mut metadata = Map::new();
    let names = [
        ("filtered", "x-api-range-total"),
        ("count", "x-api-range-size"),
        ("offset", "x-offset"),
        ("limit", "x-limit"),
        ("row_number", "x-row-number"),
    ];
    for (key, header) in names {
        if let Ok(number) = answer.header(header).parse::<i64>() {
            metadata.insert(key.to_owned(), json!(number));
        }
    }
    Seen {
        status: answer.status.as_u16(),
        code: text(&answer.body["error"]["code"]),
        detail: text(&answer.body["error"]["detail"]),
        data: answer.body.clone(),
        metadata,
    }
}
