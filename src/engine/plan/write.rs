//! Writes resolved against the catalog: a graph of rows to insert, update, delete or upsert.
//!
//! Only keys that were given are written; null clears. Related rows become children with the order that their keys
//! demand: rows that others refer to first, rows that refer to others afterwards. Pure, no IO.

use super::key::Key;
use super::link::authorize_link;
use super::operand::unknown_column;
use super::predicate::Predicate;
use super::read::ReadPlan;
use super::value::Value;
use super::{Field, Node, Scope, plan_read, within, write_options};
use crate::catalog::{ColumnId, Entity, Relation, RelationKind};
use crate::engine::authorize::{Grant, authorize};
use crate::protocol::{Code, Error, KeyInput, Operation, Options, Selector};
use serde_json::{Map, Value as Json};

/// A write that can be carried out.
#[derive(Debug, Clone)]
pub struct WritePlan<'c> {
    /// The rows, in the order of the request.
    pub rows: Vec<RowWrite<'c>>,
    /// Whether the request had a list.
    pub many: bool,
    /// Whether rows have to meet a condition of the request beside their keys.
    pub conditional: bool,
    /// What of each row is answered; `None` when the caller may not read.
    pub answer: Option<ReadPlan<'c>>,
    /// What of related rows is answered, for each of their entities that the caller may read.
    pub related: Vec<Node<'c>>,
    /// The operation that was asked for.
    pub operation: Operation,
}

/// One row to write, with its related rows.
#[derive(Debug, Clone)]
pub struct RowWrite<'c> {
    /// Leave to do it.
    pub grant: Grant<'c>,
    /// Leave to read back what was done, also if the row has become one that hooks would not let be written.
    pub told: Grant<'c>,
    /// What is done.
    pub action: Action,
    /// The row's key, where it is known before.
    pub key: Option<Key>,
    /// Columns and their values.
    pub values: Vec<(ColumnId, Value)>,
    /// Columns that hooks have set, or that they leave unwritten: related rows may not decide them.
    pub decided: Vec<(ColumnId, Option<Value>)>,
    /// Rows that this row refers to: written before it, and their keys put into it.
    pub referred: Vec<Related<'c>>,
    /// Rows that refer to this row: written after it, with its key put into them.
    pub referring: Vec<Related<'c>>,
}

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Added.
    Insert,
    /// Changed; it must exist.
    Update,
    /// Removed; it must exist.
    Delete,
    /// Changed if it exists, else added.
    Upsert,
}

/// Rows of one relation of a row that is written.
#[derive(Debug, Clone)]
pub struct Related<'c> {
    /// The relation.
    pub relation: &'c Relation,
    /// The rows.
    pub rows: Vec<RowWrite<'c>>,
    /// Leave to remove rows of the link table, where it is an entity and this is asked for.
    pub unlink: Option<Grant<'c>>,
    /// Whether the request had a list.
    pub many: bool,
}

/// Plans a create, update or delete.
pub fn plan_write<'c>(
    scope: &mut Scope<'c, '_>,
    grant: &Grant<'c>,
    selector: &Selector,
    data: Option<&Json>,
    options: &Options,
) -> Result<WritePlan<'c>, Error> {
    let (entity, operation) = (grant.entity(), grant.operation());
    let condition = write_options::condition(scope, entity, operation, options)?;
    let (mut rows, many) = match operation {
        Operation::Create => plan_create(scope, grant, selector, data)?,
        Operation::Update => plan_update(scope, grant, selector, data)?,
        _ => plan_delete(grant, selector, data)?,
    };
    within(rows.iter().map(RowWrite::rows).sum(), entity.limits.max_write_rows, "rows to write")?;
    if !condition.is_always() {
        for row in &mut rows {
            if row.action == Action::Upsert {
                let message = "an upsert adds the row that a filter does not find; leave filters and customOperators out";
                return Err(Error::new(Code::InvalidOption, message));
            }
            row.grant.narrow(condition.clone());
        }
    }
    let answer = match authorize(scope.principal, entity, Operation::Read) {
        Ok(read) => Some(plan_read(scope, read, &Selector::None, &write_options::projection(options))?),
        Err(_) => None,
    };
    let mut related = Vec::new();
    for row in &rows {
        gather_related(scope, row, &mut related);
    }
    Ok(WritePlan { rows, many, conditional: !condition.is_always(), answer, related, operation })
}

impl WritePlan<'_> {
    /// Keeps a condition to rows that the caller may read, which whether it holds would tell of others.
    pub(in crate::engine) fn keep_to_readable(&mut self) -> Result<(), Error> {
        if !self.conditional {
            return Ok(());
        }
        let Some(answer) = &self.answer else {
            return Err(Error::new(Code::Forbidden, "rows that can't be read can't be chosen by filters; leave them out"));
        };
        for row in &mut self.rows {
            row.grant.narrow(answer.node.grant.rows().clone());
        }
        Ok(())
    }
}

/// What is answered of the rows below a row: the columns that clients can see, once for each entity.
fn gather_related<'c>(scope: &Scope<'c, '_>, row: &RowWrite<'c>, nodes: &mut Vec<Node<'c>>) {
    for child in row.referred.iter().chain(&row.referring).flat_map(|related| &related.rows) {
        let entity = child.grant.entity();
        if nodes.iter().all(|node| node.entity().id != entity.id)
            && let Ok(grant) = authorize(scope.principal, entity, Operation::Read)
        {
            let fields = entity.columns().filter(|(_, column)| column.readable()).map(|(id, _)| Field::Column(id)).collect();
            nodes.push(Node { grant, fields, filter: Predicate::always(), order: Vec::new() });
        }
        gather_related(scope, child, nodes);
    }
}

impl RowWrite<'_> {
    /// This row and its related ones.
    fn rows(&self) -> usize {
        let below = self.referred.iter().chain(&self.referring).flat_map(|related| &related.rows);
        1 + below.map(RowWrite::rows).sum::<usize>()
    }
}

fn plan_create<'c>(
    scope: &mut Scope<'c, '_>,
    grant: &Grant<'c>,
    selector: &Selector,
    data: Option<&Json>,
) -> Result<(Vec<RowWrite<'c>>, bool), Error> {
    let entity = grant.entity();
    if *selector != Selector::None {
        return Err(Error::new(Code::InvalidData, "create takes the key in the row; leave out the id"));
    }
    match data {
        Some(Json::Object(row)) => Ok((vec![plan_row(scope, entity, row, Action::Insert, None, 0)?], false)),
        Some(Json::Array(items)) => {
            within(items.len(), entity.limits.max_write_rows, "rows to write")?;
            let rows = items.iter().map(|item| plan_row(scope, entity, object(item)?, Action::Insert, None, 0));
            Ok((rows.collect::<Result<_, _>>()?, true))
        }
        _ => Err(Error::new(Code::InvalidData, "create takes an object, or a list of objects, in data")),
    }
}

fn plan_update<'c>(
    scope: &mut Scope<'c, '_>,
    grant: &Grant<'c>,
    selector: &Selector,
    data: Option<&Json>,
) -> Result<(Vec<RowWrite<'c>>, bool), Error> {
    let entity = grant.entity();
    match (data, selector) {
        (Some(Json::Object(row)), Selector::One(key)) => {
            let key = Key::resolve(entity, key)?;
            Ok((vec![plan_row(scope, entity, row, Action::Update, Some(key), 0)?], false))
        }
        (Some(Json::Object(row)), Selector::Many(keys)) => {
            within(keys.len(), entity.limits.max_list, "ids")?;
            let rows = keys.iter().map(|key| {
                let key = Key::resolve(entity, key)?;
                plan_row(scope, entity, row, Action::Update, Some(key), 0)
            });
            Ok((rows.collect::<Result<_, _>>()?, true))
        }
        (Some(Json::Object(row)), Selector::None) => Ok((vec![plan_row(scope, entity, row, Action::Update, None, 0)?], false)),
        (Some(Json::Array(items)), Selector::None) => {
            within(items.len(), entity.limits.max_write_rows, "rows to write")?;
            let rows = items.iter().map(|item| plan_row(scope, entity, object(item)?, Action::Update, None, 0));
            Ok((rows.collect::<Result<_, _>>()?, true))
        }
        (Some(Json::Array(_)), _) => {
            Err(Error::new(Code::InvalidData, "a list of rows carries its keys in the rows; leave out the id"))
        }
        _ => Err(Error::new(Code::InvalidData, "update takes an object, or a list of objects with their keys, in data")),
    }
}

fn plan_delete<'c>(grant: &Grant<'c>, selector: &Selector, data: Option<&Json>) -> Result<(Vec<RowWrite<'c>>, bool), Error> {
    let entity = grant.entity();
    let missing =
        || Error::new(Code::MissingId, "delete takes an id, or a list of ids in data; without one it would remove every row");
    let (inputs, many) = match (data, selector) {
        (Some(Json::Array(items)), _) => {
            let key = |item: &Json| match item {
                Json::Object(columns) => key_columns(entity, columns).ok_or_else(missing),
                scalar => KeyInput::from_json(scalar.clone()).ok_or_else(missing),
            };
            (items.iter().map(key).collect::<Result<Vec<_>, _>>()?, true)
        }
        (Some(Json::Object(columns)), _) if !columns.is_empty() => {
            (vec![key_columns(entity, columns).ok_or_else(missing)?], false)
        }
        (Some(Json::Object(_) | Json::Null) | None, Selector::One(key)) => (vec![key.clone()], false),
        (Some(Json::Object(_) | Json::Null) | None, Selector::Many(keys)) => (keys.clone(), true),
        (Some(Json::Object(_) | Json::Null) | None, Selector::None) => return Err(missing()),
        _ => return Err(Error::new(Code::InvalidData, "delete takes an object with the key, or a list of ids, in data")),
    };
    within(inputs.len(), entity.limits.max_list, "ids")?;
    if let Selector::One(named) = selector {
        let named = Key::resolve(entity, named)?;
        for input in &inputs {
            if Key::resolve(entity, input)? != named {
                let message = "data names another row than the id of the request; leave one of them out";
                return Err(Error::new(Code::InvalidData, message));
            }
        }
    }
    let row = |input: &KeyInput| {
        let key = Key::resolve(entity, input)?;
        Ok(RowWrite {
            grant: grant.clone(),
            told: grant.clone(),
            action: Action::Delete,
            key: Some(key),
            values: Vec::new(),
            decided: Vec::new(),
            referred: Vec::new(),
            referring: Vec::new(),
        })
    };
    Ok((inputs.iter().map(row).collect::<Result<_, Error>>()?, many))
}

/// The key columns among a row's columns.
fn key_columns(entity: &Entity, columns: &Map<String, Json>) -> Option<KeyInput> {
    let own = columns.iter().filter(|(name, _)| entity.find_column(name).is_some_and(|id| entity.primary_key.contains(&id)));
    let own: Map<String, Json> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    (!own.is_empty()).then_some(KeyInput::Columns(own))
}

fn object(json: &Json) -> Result<&Map<String, Json>, Error> {
    json.as_object().ok_or_else(|| Error::new(Code::InvalidData, "each row in data is an object"))
}

/// Nested rows go no deeper than this.
const MAX_DEPTH: usize = 16;

/// Plans one row and its related rows. `key` is the one that the request names beside the row.
fn plan_row<'c>(
    scope: &mut Scope<'c, '_>,
    entity: &'c Entity,
    row: &Map<String, Json>,
    inherited: Action,
    key: Option<Key>,
    depth: usize,
) -> Result<RowWrite<'c>, Error> {
    within(depth, MAX_DEPTH, "levels of nested rows")?;
    let action = match row.get("_request") {
        None => inherited,
        Some(word) => read_action(word)?,
    };
    if depth == 0 && action == Action::Delete {
        let message = "a row of a create or update can't be deleted by _request; send the operation delete";
        return Err(Error::new(Code::InvalidData, message).with_detail("_request"));
    }
    if action == Action::Insert && key.is_some() {
        return Err(Error::new(Code::InvalidData, "an insert takes its key in the row; leave out the id").with_detail("_request"));
    }
    let grant = grant_for(scope, entity, action)?;
    let mut write = RowWrite {
        told: grant.clone(),
        grant,
        action,
        key,
        values: Vec::new(),
        decided: Vec::new(),
        referred: Vec::new(),
        referring: Vec::new(),
    };
    for (name, json) in row.iter().filter(|(name, _)| *name != "_request") {
        match (entity.find_column(name), json) {
            (Some(id), _) if write.values.iter().any(|(known, _)| *known == id) => {
                let message = format!("'{name}' names a column of {} a second time", entity.full_name());
                return Err(Error::new(Code::InvalidData, message).with_detail(name));
            }
            (Some(id), _) => write.values.push((id, column_value(entity, id, json, action)?)),
            (None, Json::Object(_) | Json::Array(_) | Json::Null)
                if entity.relations.iter().any(|relation| relation.name == *name) =>
            {
                plan_related(scope, entity, name, json, &mut write, depth)?;
            }
            _ => return Err(unknown_data(entity, name)),
        }
    }
    settle_key(entity, row, &mut write)?;
    Ok(write)
}

/// Decides the row's key, and refuses a write that would have none or change it.
fn settle_key(entity: &Entity, row: &Map<String, Json>, write: &mut RowWrite<'_>) -> Result<(), Error> {
    let own = Key::from_columns(entity, row)?;
    match write.action {
        Action::Insert => write.key = own,
        Action::Upsert => {
            let names: Vec<&str> = entity.primary_key.iter().map(|id| entity.column(*id).name.as_str()).collect();
            let missing =
                || Error::new(Code::MissingId, format!("an upsert of {} needs its key: {}", entity.full_name(), names.join(",")));
            write.key = Some(own.or(write.key.take()).ok_or_else(missing)?);
        }
        Action::Update | Action::Delete => {
            if write.key.is_none() {
                let message =
                    format!("{} without a key would touch every row of {}; name its id", write.action.word(), entity.full_name());
                write.key = Some(own.ok_or_else(|| Error::new(Code::MissingId, message))?);
                // The key chose the row; it is not written again.
                write.values.retain(|(id, _)| !entity.primary_key.contains(id));
            }
        }
    }
    if write.action == Action::Update {
        forget_same_key(entity, write);
    }
    Ok(())
}

/// A client that sends a whole row back has the key in it; the same value need not be written.
fn forget_same_key(entity: &Entity, write: &mut RowWrite<'_>) {
    let same_key = |id: &ColumnId, value: &Value| {
        let place = entity.primary_key.iter().position(|key| key == id);
        place.zip(write.key.as_ref()).is_some_and(|(place, key)| key.0.get(place) == Some(value))
    };
    let values = write.values.iter().filter(|(id, value)| !same_key(id, value)).cloned().collect();
    write.values = values;
}

fn column_value(entity: &Entity, id: ColumnId, json: &Json, action: Action) -> Result<Value, Error> {
    let column = entity.column(id);
    let names_row = action != Action::Insert && entity.primary_key.contains(&id);
    if column.hidden {
        return Err(unknown_data(entity, &column.name));
    }
    if !column.writable() && !names_row {
        return Err(Error::new(Code::InvalidData, format!("{} of {} can't be written", column.name, entity.full_name()))
            .with_detail(column.name.clone()));
    }
    Value::from_json(json, &column.kind, &column.name)
}

fn unknown_data(entity: &Entity, name: &str) -> Error {
    let error = unknown_column(entity, name);
    Error { code: Code::InvalidData, ..error }
}

fn read_action(word: &Json) -> Result<Action, Error> {
    let text = word.as_str().unwrap_or_default().trim().to_ascii_lowercase();
    match text.as_str() {
        "insert" | "create" | "add" => Ok(Action::Insert),
        "update" | "change" | "modify" => Ok(Action::Update),
        "delete" | "remove" => Ok(Action::Delete),
        "upsert" | "merge" => Ok(Action::Upsert),
        _ => Err(Error::new(Code::InvalidData, "_request is insert, update, delete or upsert").with_detail("_request")),
    }
}

impl Action {
    /// Whether a row with this action is added, changed or removed; an upsert may do either of two.
    pub(in crate::engine) fn is_in(self, phase: Operation) -> bool {
        match phase {
            Operation::Create => matches!(self, Action::Insert | Action::Upsert),
            Operation::Update => matches!(self, Action::Update | Action::Upsert),
            Operation::Delete => self == Action::Delete,
            Operation::Read | Operation::Meta => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Action::Insert => "an insert",
            Action::Update => "an update",
            Action::Delete => "a delete",
            Action::Upsert => "an upsert",
        }
    }
}

fn grant_for<'c>(scope: &Scope<'c, '_>, entity: &'c Entity, action: Action) -> Result<Grant<'c>, Error> {
    match action {
        Action::Insert => authorize(scope.principal, entity, Operation::Create),
        Action::Update => authorize(scope.principal, entity, Operation::Update),
        Action::Delete => authorize(scope.principal, entity, Operation::Delete),
        Action::Upsert => {
            authorize(scope.principal, entity, Operation::Create)?;
            authorize(scope.principal, entity, Operation::Update)
        }
    }
}

fn plan_related<'c>(
    scope: &mut Scope<'c, '_>,
    entity: &'c Entity,
    name: &str,
    json: &Json,
    write: &mut RowWrite<'c>,
    depth: usize,
) -> Result<(), Error> {
    let Some(relation) = entity.relations.iter().find(|relation| relation.name == name) else { return Ok(()) };
    let target = scope.catalog.entity(relation.target);
    let items: Vec<&Json> = match json {
        Json::Null => return Ok(()),
        Json::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    if relation.is_single() && items.len() > 1 {
        return Err(Error::new(Code::InvalidData, format!("{name} leads to one row at most")).with_detail(name));
    }
    let inherited = if write.action == Action::Delete { Action::Delete } else { write.action };
    let rows = items.iter().map(|item| plan_row(scope, target, object(item)?, inherited, None, depth + 1));
    let rows: Vec<RowWrite<'c>> = rows.collect::<Result<_, _>>()?;
    if rows.iter().any(|row| row.action != Action::Delete) {
        authorize_link(scope, entity, relation, Operation::Create)?;
    }
    let unlinks = rows.iter().any(|row| row.action == Action::Delete);
    let unlink = if unlinks { authorize_link(scope, entity, relation, Operation::Delete)? } else { None };
    let related = Related { relation, rows, unlink, many: json.is_array() };
    match relation.kind {
        RelationKind::BelongsTo => write.referred.push(related),
        RelationKind::HasMany | RelationKind::HasOne | RelationKind::ManyToMany(_) => write.referring.push(related),
    }
    Ok(())
}
