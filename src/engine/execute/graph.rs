//! One row of a write with its related rows, in the order that their keys demand.
//!
//! Rows that this row refers to come first, then the row, then rows that refer to it; a delete goes the other way round.

use super::blame::{blamed, still_referred};
use super::link::add_link;
use super::run::Writer;
use crate::catalog::relation::Link;
use crate::catalog::{ColumnId, Entity, Relation, RelationKind};
use crate::engine::observe::Verb;
use crate::engine::plan::write::{Action, Related, RowWrite, WritePlan};
use crate::engine::plan::{Comparison, Field, Key, Match, Node, Operand, Paging, Predicate, ReadPlan, Shape, Value};
use crate::engine::sql::{self, write as statements};
use crate::protocol::{Code, Error};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value as Json};

/// A row that was written.
pub(super) struct Done<'p> {
    row: &'p RowWrite<'p>,
    key: Key,
    related: Vec<(&'p Related<'p>, Vec<Done<'p>>)>,
}

/// A row as its hooks are told of it.
pub(super) struct Told<'p> {
    pub(super) entity: &'p Entity,
    pub(super) action: Action,
    pub(super) text: Bytes,
}

impl<'p> Done<'p> {
    /// The row with its text.
    pub(super) fn told(&self, text: Bytes) -> Told<'p> {
        Told { entity: self.row.grant.entity(), action: self.row.action, text }
    }
}

/// Writes a row and its related rows. `linked` are columns that a parent decides.
pub(super) fn write_row<'a, 'p: 'a>(
    writer: &'a mut Writer<'_>,
    row: &'p RowWrite<'p>,
    linked: Vec<(ColumnId, Value)>,
) -> BoxFuture<'a, Result<Done<'p>, Error>> {
    Box::pin(async move {
        if row.action == Action::Delete {
            return delete_row(writer, row, &linked).await;
        }
        let mut values = row.values.clone();
        let mut related = Vec::new();
        let mut let_go = Vec::new();
        for group in &row.referred {
            let mut written = Vec::new();
            let Relation { columns, target_columns, .. } = group.relation;
            for child in &group.rows {
                let there = if child.action == Action::Delete {
                    // The row goes once nothing here refers to it, and only if this row does now.
                    let held = held_by(writer, row, child, columns).await?;
                    let_go.push((child, target_columns.iter().copied().zip(held).collect::<Vec<_>>()));
                    vec![Value::Null; columns.len()]
                } else {
                    let done = write_row(writer, child, Vec::new()).await?;
                    let there = values_of(writer, &done, target_columns).await?;
                    written.push(done);
                    there
                };
                link(row, &mut values, columns.iter().copied().zip(there))?;
            }
            related.push((group, written));
        }
        link(row, &mut values, linked)?;
        let key = write_own(writer, row, &values).await?;
        let mut done = Done { row, key, related };
        for (child, held) in let_go {
            write_row(writer, child, held).await?;
        }
        for group in &row.referring {
            let written = write_referring(writer, &done, group).await?;
            done.related.push((group, written));
        }
        Ok(done)
    })
}

/// What a row holds of one that it refers to, before it is written.
async fn held_by<'p>(
    writer: &mut Writer<'_>,
    row: &'p RowWrite<'p>,
    child: &RowWrite<'_>,
    columns: &[ColumnId],
) -> Result<Vec<Value>, Error> {
    match &row.key {
        Some(key) if row.action != Action::Insert => {
            let now = Done { row, key: key.clone(), related: Vec::new() };
            values_of(writer, &now, columns).await
        }
        // A new row refers to nothing yet.
        _ => Err(not_found(child.grant.entity())),
    }
}

/// Removes the rows below, then the row, which must hold what a parent decides.
async fn delete_row<'p>(writer: &mut Writer<'_>, row: &'p RowWrite<'p>, linked: &[(ColumnId, Value)]) -> Result<Done<'p>, Error> {
    let entity = row.grant.entity();
    let key = row.key.clone().ok_or_else(|| Error::new(Code::MissingId, "a delete needs the row's key"))?;
    let done = Done { row, key: key.clone(), related: Vec::new() };
    for group in &row.referring {
        write_referring(writer, &done, group).await?;
    }
    let belongs = linked
        .iter()
        .map(|(id, value)| Predicate::Compare(Operand::column(entity, *id), Comparison::Value(Match::Equal, value.clone())));
    let belongs = Predicate::All(belongs.collect());
    let before = writer.before(entity, &key).await?;
    let statement = statements::delete(&row.grant, &key, Some(&belongs));
    let executed = writer.execute(Verb::Delete, entity, statement).await;
    if executed.map_err(|error| still_referred(entity, error))?.rows == 0 {
        return Err(not_found(entity));
    }
    writer.deleted(entity, &before).await?;
    Ok(done)
}

fn not_found(entity: &Entity) -> Error {
    Error::new(Code::NotFound, format!("{} has no row with this key", entity.full_name()))
}

/// Sets columns, whatever they were before.
fn put(values: &mut Vec<(ColumnId, Value)>, new: impl IntoIterator<Item = (ColumnId, Value)>) {
    for (id, value) in new {
        values.retain(|(other, _)| *other != id);
        values.push((id, value));
    }
}

/// Sets columns by which a row is linked, unless hooks decide them.
fn link(
    row: &RowWrite<'_>,
    values: &mut Vec<(ColumnId, Value)>,
    new: impl IntoIterator<Item = (ColumnId, Value)>,
) -> Result<(), Error> {
    for (id, value) in new {
        row.may_link(id, &value)?;
        put(values, [(id, value)]);
    }
    Ok(())
}

async fn write_own(writer: &mut Writer<'_>, row: &RowWrite<'_>, values: &[(ColumnId, Value)]) -> Result<Key, Error> {
    let entity = row.grant.entity();
    match row.action {
        Action::Insert => insert(writer, entity, values).await,
        Action::Update => {
            let key = row.key.as_ref().ok_or_else(|| Error::new(Code::MissingId, "an update needs the row's key"))?;
            if update(writer, row, key, values).await? { Ok(key_after(entity, key, values)) } else { Err(not_found(entity)) }
        }
        Action::Upsert => {
            let key = row.key.as_ref().ok_or_else(|| Error::new(Code::MissingId, "an upsert needs the row's key"))?;
            let written = upsert(writer, row, key, values).await;
            writer.outrun = written.as_ref().is_err_and(|error| is_of_another_write(entity, error));
            written
        }
        Action::Delete => Err(Error::internal()),
    }
}

/// Changes the row, or adds it if it is not there.
async fn upsert(writer: &mut Writer<'_>, row: &RowWrite<'_>, key: &Key, values: &[(ColumnId, Value)]) -> Result<Key, Error> {
    let entity = row.grant.entity();
    // A parent may move the row by a part of its key.
    let part = |id: &ColumnId| entity.primary_key.iter().position(|other| other == id).and_then(|place| key.0.get(place));
    let new: Vec<_> = values.iter().filter(|(id, value)| part(id) != Some(value)).cloned().collect();
    if update(writer, row, key, &new).await? {
        return Ok(key_after(entity, key, &new));
    }
    let mut all: Vec<_> = entity.primary_key.iter().copied().zip(key.0.iter().cloned()).collect();
    put(&mut all, new);
    insert(writer, entity, &all).await
}

/// Whether another write got in the way of an upsert: it added the row after the upsert had looked for it, or each waits for the
/// other. The latter is MySQL's way, where who looks for a row that is not there keeps others from adding it.
fn is_of_another_write(entity: &Entity, error: &Error) -> bool {
    match error.code {
        Code::SerializationFailure => true,
        Code::Conflict => {
            let key: Vec<&str> = entity.primary_key.iter().map(|id| entity.column(*id).name.as_str()).collect();
            error.detail.as_deref() == Some(key.join(",").as_str())
        }
        _ => false,
    }
}

/// Whether the row is there; changes it if there is anything to change.
async fn update(writer: &mut Writer<'_>, row: &RowWrite<'_>, key: &Key, values: &[(ColumnId, Value)]) -> Result<bool, Error> {
    let entity = row.grant.entity();
    if values.is_empty() {
        return Ok(writer.select(entity, statements::lock(&row.grant, key)).await?.rows.count > 0);
    }
    let before = writer.before(entity, key).await?;
    match writer.execute(Verb::Update, entity, statements::update(&row.grant, key, values)).await {
        Ok(executed) if executed.rows == 0 => return Ok(false),
        Ok(_) => {}
        Err(error) => {
            let changes_key = values.iter().any(|(id, _)| entity.primary_key.contains(id));
            return Err(blamed(writer, entity, values, changes_key, error).await);
        }
    }
    writer.updated(entity, &before, &key_after(entity, key, values)).await?;
    Ok(true)
}

/// The key after an update, which may have changed it.
fn key_after(entity: &Entity, key: &Key, values: &[(ColumnId, Value)]) -> Key {
    let parts = entity.primary_key.iter().zip(&key.0).map(|(id, old)| {
        let new = values.iter().find(|(other, _)| other == id).map(|(_, value)| value);
        new.unwrap_or(old).clone()
    });
    Key(parts.collect())
}

/// Adds a row and tells of it.
async fn insert(writer: &mut Writer<'_>, entity: &Entity, values: &[(ColumnId, Value)]) -> Result<Key, Error> {
    let key = match add(writer, entity, values).await {
        Ok(key) => key,
        Err(error) => return Err(blamed(writer, entity, values, false, error).await),
    };
    writer.created(entity, &key).await?;
    Ok(key)
}

/// Adds a row and learns its key: from what was given, from the answer, or from the counter.
async fn add(writer: &mut Writer<'_>, entity: &Entity, values: &[(ColumnId, Value)]) -> Result<Key, Error> {
    if entity.primary_key.is_empty() {
        return Err(Error::new(
            Code::InvalidOperation,
            format!("{} has no primary key, so that its rows can't be written", entity.full_name()),
        ));
    }
    let given =
        |id: &ColumnId| values.iter().find(|(other, value)| other == id && *value != Value::Null).map(|(_, value)| value.clone());
    if let Some(key) = entity.primary_key.iter().map(given).collect::<Option<Vec<_>>>() {
        writer.execute(Verb::Insert, entity, statements::insert(entity, values, false)).await?;
        return Ok(Key(key));
    }
    if statements::can_tell_key(entity.dialect) {
        let fetched = writer.fetch(Verb::Insert, entity, statements::insert(entity, values, true)).await?;
        let told: Map<String, Json> = serde_json::from_slice(&fetched.rows.joined).map_err(|error| {
            tracing::error!(%error, entity = entity.full_name(), "an insert did not tell its key");
            Error::internal()
        })?;
        return Key::from_columns(entity, &told)?.ok_or_else(|| without_key(entity, &told));
    }
    let executed = writer.execute(Verb::Insert, entity, statements::insert(entity, values, false)).await?;
    let parts = entity.primary_key.iter().map(|id| {
        let counted = executed.counted_key.filter(|_| entity.column(*id).auto_increment).map(Value::Integer);
        given(id).or(counted)
    });
    parts.collect::<Option<Vec<_>>>().map(Key).ok_or_else(|| {
        let message = format!("MySQL does not tell the key that it made for {}; send the key", entity.full_name());
        Error::new(Code::InvalidData, message)
    })
}

/// SQLite adds rows whose key is NULL unless the column forbids it; nobody could name such a row.
fn without_key(entity: &Entity, told: &Map<String, Json>) -> Error {
    let columns = entity.primary_key.iter().map(|id| entity.column(*id).name.as_str());
    let missing: Vec<&str> = columns.filter(|name| told.get(*name).is_none_or(Json::is_null)).collect();
    let missing = missing.join(",");
    let message = format!("a value is missing in {missing} in {}", entity.full_name());
    Error::new(Code::NotNullViolation, message).with_detail(missing)
}

async fn write_referring<'p>(writer: &mut Writer<'_>, parent: &Done<'p>, group: &'p Related<'p>) -> Result<Vec<Done<'p>>, Error> {
    let here = values_of(writer, parent, &group.relation.columns).await?;
    let mut written = Vec::new();
    for child in &group.rows {
        match &group.relation.kind {
            RelationKind::ManyToMany(link) if child.action == Action::Delete => {
                unlink(writer, group, link, &here, child).await?;
            }
            RelationKind::ManyToMany(link) => {
                let done = write_row(writer, child, Vec::new()).await?;
                let there = values_of(writer, &done, &group.relation.target_columns).await?;
                let before = writer.links_before(&child.grant.entity().source, link, &here, &there).await?;
                add_link(writer, group.relation, link, &here, &there).await?;
                writer.linked(before, link, &here, &there).await?;
                written.push(done);
            }
            RelationKind::BelongsTo | RelationKind::HasMany | RelationKind::HasOne => {
                let linked = group.relation.target_columns.iter().copied().zip(here.iter().cloned()).collect();
                let done = write_row(writer, child, linked).await?;
                if child.action != Action::Delete {
                    written.push(done);
                }
            }
        }
    }
    Ok(written)
}

/// Deleting through a many-to-many relation takes away the link, not a row that others may have too.
async fn unlink(
    writer: &mut Writer<'_>,
    group: &Related<'_>,
    link: &Link,
    here: &[Value],
    child: &RowWrite<'_>,
) -> Result<(), Error> {
    let entity = child.grant.entity();
    let key = child.key.clone().ok_or_else(|| Error::new(Code::MissingId, "a delete needs the row's key"))?;
    if !child.grant.rows().is_always() && writer.select(entity, statements::lock(&child.grant, &key)).await?.rows.count == 0 {
        return Err(not_found(entity));
    }
    let done = Done { row: child, key, related: Vec::new() };
    let there = values_of(writer, &done, &group.relation.target_columns).await?;
    let before = writer.links_before(&entity.source, link, here, &there).await?;
    let statement = statements::delete_link(entity.dialect, link, here, &there, group.unlink.as_ref());
    let executed = writer.execute(Verb::Delete, entity, statement).await?;
    if executed.rows == 0 {
        return Err(Error::new(Code::NotFound, format!("the row is not linked through {}", group.relation.name)));
    }
    writer.linked(before, link, here, &there).await
}

/// The values of some columns of a row that was written.
async fn values_of(writer: &mut Writer<'_>, done: &Done<'_>, columns: &[ColumnId]) -> Result<Vec<Value>, Error> {
    let entity = done.row.grant.entity();
    let from_key =
        |id: &ColumnId| entity.primary_key.iter().position(|key| key == id).and_then(|place| done.key.0.get(place).cloned());
    if let Some(values) = columns.iter().map(from_key).collect::<Option<Vec<_>>>() {
        return Ok(values);
    }
    let fields = columns.iter().map(|id| Field::Column(*id)).collect();
    let text = read_fields(writer, done, fields).await?.ok_or_else(|| not_found(entity))?;
    let row: Map<String, Json> = serde_json::from_slice(&text).map_err(|_| Error::internal())?;
    let value = |id: &ColumnId| {
        let column = entity.column(*id);
        Value::from_json(row.get(&column.name).unwrap_or(&Json::Null), &column.kind, &column.name)
    };
    columns.iter().map(value).collect()
}

async fn read_fields<'p>(writer: &mut Writer<'_>, done: &Done<'p>, fields: Vec<Field<'p>>) -> Result<Option<Bytes>, Error> {
    let node = Node { grant: done.row.told.clone(), fields, filter: Predicate::always(), order: Vec::new() };
    let paging = Paging { limit: 1, offset: 0, cursor: None };
    let plan = ReadPlan { node, keys: Some(vec![done.key.clone()]), paging, counted: false, shape: Shape::Record };
    let fetched = writer.select(done.row.grant.entity(), sql::record(&plan)).await?;
    Ok((fetched.rows.count > 0).then_some(fetched.rows.joined))
}

/// A row as the database has it now, with the related rows that were written. The related rows are told as well, if anybody is.
pub(super) fn answer<'a, 'p: 'a>(
    writer: &'a mut Writer<'_>,
    done: &'a Done<'p>,
    projection: Option<&'a ReadPlan<'_>>,
    related: &'a [Node<'_>],
    mut told: Option<&'a mut Vec<Told<'p>>>,
) -> BoxFuture<'a, Result<Bytes, Error>> {
    Box::pin(async move {
        let entity = done.row.grant.entity();
        let seen = match projection {
            Some(plan) => {
                let plan = ReadPlan { keys: Some(vec![done.key.clone()]), shape: Shape::Record, ..plan.clone() };
                super::read::reread(writer, &plan).await?
            }
            None => None,
        };
        // Who may write a row that they may not see learns its key.
        let own = match seen {
            Some(row) => Some(row),
            None => read_fields(writer, done, entity.primary_key.iter().map(|id| Field::Column(*id)).collect()).await?,
        };
        let own = own.ok_or_else(|| not_found(entity))?;
        if done.related.iter().all(|(_, rows)| rows.is_empty()) {
            return Ok(own);
        }
        let preloaded = |name: &str| {
            let fields = projection.map(|plan| plan.node.fields.as_slice()).unwrap_or_default();
            fields.iter().any(|field| matches!(field, Field::Preload(plan) if plan.relation.name == name))
        };
        let mut text = BytesMut::from(own.strip_suffix(b"}").unwrap_or(&own));
        for (group, rows) in done.related.iter().filter(|(_, rows)| !rows.is_empty()) {
            let hidden = preloaded(&group.relation.name);
            let mut texts = Vec::with_capacity(rows.len());
            let read = !hidden || told.is_some();
            for row in rows.iter().filter(|_| read) {
                let answered = child_answer(writer, row, related, told.as_deref_mut()).await?;
                if let Some(told) = &mut told {
                    told.push(row.told(answered.clone()));
                }
                texts.push(answered);
            }
            if hidden {
                continue;
            }
            let name = Json::from(group.relation.name.as_str()).to_string();
            text.extend_from_slice(if text.ends_with(b"{") { b"" } else { b"," });
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(if group.many { b":[" } else { b":" });
            text.extend_from_slice(&texts.join(&b","[..]));
            text.extend_from_slice(if group.many { b"]" } else { b"" });
        }
        text.extend_from_slice(b"}");
        Ok(text.freeze())
    })
}

/// A related row, as far as the caller may see it.
async fn child_answer<'p>(
    writer: &mut Writer<'_>,
    done: &Done<'p>,
    related: &[Node<'_>],
    told: Option<&mut Vec<Told<'p>>>,
) -> Result<Bytes, Error> {
    let node = related.iter().find(|node| node.entity().id == done.row.grant.entity().id).cloned();
    let paging = Paging { limit: 1, offset: 0, cursor: None };
    let plan = node.map(|node| ReadPlan { node, keys: None, paging, counted: false, shape: Shape::Record });
    answer(writer, done, plan.as_ref(), related, told).await
}

/// The rows below other rows that will be removed, as they are before anything is written. One that is not there is none.
pub(super) async fn removed<'p>(writer: &mut Writer<'_>, plan: &'p WritePlan<'_>) -> Result<Vec<Told<'p>>, Error> {
    let mut below: Vec<&RowWrite<'_>> = plan.rows.iter().collect();
    let mut told = Vec::new();
    while let Some(parent) = below.pop() {
        for row in parent.referred.iter().chain(&parent.referring).flat_map(|related| &related.rows) {
            below.push(row);
            let Some(key) = row.key.clone().filter(|_| row.action == Action::Delete) else { continue };
            let done = Done { row, key, related: Vec::new() };
            match child_answer(writer, &done, &plan.related, None).await {
                Ok(text) => told.push(done.told(text)),
                Err(error) if error.code == Code::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(told)
}
