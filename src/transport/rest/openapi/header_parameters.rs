//! The header style's parameters: those that every entity has, and those that carry a column's or a declared name.

use crate::catalog::Entity;
use serde_json::{Map, Value, json};

/// Parameters of every read, by their names among the components.
const READ: [(&str, &str, &str); 14] = [
    ("X-Select-Fields", "string", "Columns to answer, with commas between them."),
    ("X-Not-Select-Fields", "string", "Columns to leave out."),
    ("X-Sort", "string", "Sort keys such as `-id,+name`."),
    ("X-Preload", "string", "Relations to answer: `name:column,column|other.path`."),
    ("X-SkipCount", "boolean", "Leaves the total uncounted; it is -1 then."),
    ("X-Single-Record-As-Object", "boolean", "`false` answers one row as a list of one."),
    ("X-DetailAPI", "string", "Any value answers rows with counts and fields."),
    ("X-Syncfusion", "string", "Any value answers `{result, count}`."),
    ("X-Files", "string", "One JSON object with columns, filters, sort and nested relations; it can be base64."),
    ("X-Limit", "integer", "At most so many rows; 0 is none given."),
    ("X-Offset", "integer", "Rows to skip."),
    ("X-Cursor-Forward", "string", "The key of the row after which the page begins."),
    ("X-Cursor-Backward", "string", "The key of the row before which the page ends."),
    ("X-Fetch-RowNumber", "string", "The key of the row whose position is wanted."),
];

/// How many of them are for one row as well.
const OF_ONE_ROW: usize = 9;

/// The shared parameters.
pub(super) fn shared() -> Map<String, Value> {
    let mut parameters: Map<String, Value> =
        READ.iter().map(|(name, word, description)| ((*name).to_owned(), header(name, word, description))).collect();
    let id = json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": "The primary key; the values of several columns with commas between them.",
        "schema": {"type": "string"},
    });
    parameters.insert("id".to_owned(), id);
    let more = [
        ("Idempotency-Key", "Makes a retried write safe: the same key and request answer what the first one did."),
        ("If-Match", "The entity tag that the row must still have."),
        ("If-None-Match", "The entity tag of the answer that the client has."),
    ];
    parameters.extend(more.map(|(name, description)| (name.to_owned(), header(name, "string", description))));
    parameters
}

/// The parameters of a read of an entity.
pub(super) fn of_read(entity: &Entity, with_id: bool) -> Vec<Value> {
    let count = if with_id { OF_ONE_ROW } else { READ.len() };
    let mut parameters: Vec<Value> = READ[..count].iter().map(|(name, ..)| reference(name)).collect();
    parameters.push(reference("If-None-Match"));
    parameters.extend(of_columns(entity));
    let parameterless: Vec<&str> =
        entity.operators.iter().filter(|one| one.parameters.is_empty()).map(|one| one.name.as_str()).collect();
    if !parameterless.is_empty() {
        let description = format!("Declared conditions that must hold, joined by ` and `: {}.", parameterless.join(", "));
        parameters.push(header("X-Custom-SQL-W", "string", &description));
    }
    for computed in entity.computed.iter().filter(|one| is_token(&one.name)) {
        let name = format!("X-CQL-SEL-{}", computed.name);
        parameters.push(header(&name, "string", "Empty, or the name again: answers this declared column."));
    }
    parameters
}

/// A reference to a shared parameter.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

fn of_columns(entity: &Entity) -> impl Iterator<Item = Value> {
    let columns = entity.columns.iter().filter(|column| column.readable() && is_token(&column.name));
    columns.map(|column| {
        let description = format!("The value that {} must equal ({}).", column.name, column.kind.as_str());
        header(&format!("X-FieldFilter-{}", column.name), "string", &description)
    })
}

fn header(name: &str, word: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": {"type": word}})
}

/// Whether a name can be a part of a header's name.
fn is_token(name: &str) -> bool {
    name.chars().all(|one| one.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(one))
}
