//! The places where embedders of the library, and later policies, have their say.
//!
//! A before-hook may refuse or narrow: add a filter, drop a column, set a value. It can't widen: it is handed a
//! [`Narrow`] that offers nothing else. After-hooks see the answer; a write's run before its transaction commits, so a
//! refusal there undoes it.

use super::plan::turn::Turn;
use super::plan::write::WritePlan;
use super::plan::{Field, Node, Predicate, Scope};
use crate::auth::Principal;
use crate::catalog::{Catalog, ColumnId, Entity};
use crate::protocol::{Code, Condition, Error, Operation};
use async_trait::async_trait;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// What every hook is told.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The names.
    pub catalog: &'a Catalog,
    /// What it is about.
    pub entity: &'a Entity,
    /// What is done.
    pub operation: Operation,
}

/// For how long all hooks together can hold up a client that goes.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// A client that stays, such as one over WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// Which one; unique among all replicas.
    pub id: uuid::Uuid,
    /// Who it is.
    pub principal: &'a Principal,
    /// Where it comes from, or the proxy before it.
    pub remote: Option<SocketAddr>,
}

/// A hook of the request path. Every place does nothing unless it is written.
#[async_trait]
#[expect(unused_variables, reason = "the defaults look at nothing")]
pub trait Hook: Send + Sync + 'static {
    /// Before anything is planned; the caller is authorized by then.
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before rows are read: once for each entity that rows of are answered, be it the request's, one that is preloaded at any
    /// depth, or one whose rows a write answers. Of a write's own rows a refusal leaves the keys in the answer; any other
    /// refuses the request.
    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After rows were read; of a streamed page only that it began.
    async fn after_read(&self, context: Context<'_>, rows: u64) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before rows are added. As in the other phases of writes, this is asked once for each entity that rows of are written, be it
    /// the request's or one whose rows are written with a row at any depth, from above and before anything is written. A row has
    /// the turn of what is done to it, an upsert those of create and update, and one that is taken out of a many-to-many relation
    /// that of delete. The relation's own table has none.
    async fn before_create(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After rows were added, before the commit; `rows` is their JSON, joined by commas, as far as the caller may see them. Asked as
    /// often as the phase before; rows below one that is removed are not in `rows` unless they are removed as well.
    async fn after_create(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before rows are changed.
    async fn before_update(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After rows were changed, before the commit; `rows` is their JSON as after rows were added.
    async fn after_update(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before rows are removed.
    async fn before_delete(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After rows were removed, before the commit; `rows` is the JSON of the rows as they were, as above.
    async fn after_delete(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before a subscription begins, and again whenever another catalog is served; `before_read` has had its say by then.
    async fn before_subscribe(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After a subscription has begun.
    async fn after_subscribe(&self, context: Context<'_>, subscription_id: &str) {}

    /// Before a client ends a subscription.
    async fn before_unsubscribe(&self, context: Context<'_>, subscription_id: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// After a subscription has ended: its client asked for that, its connection has gone, what is served now has no place for it,
    /// or its changes are not captured any more. A session that goes on elsewhere begins its subscriptions there.
    async fn after_unsubscribe(&self, context: Context<'_>, subscription_id: &str) {}

    /// After the answer is decided, whatever it is, also that the caller may not ask: for audits. It can't change anything. Not told
    /// is what never becomes a request about an entity: one that can't be read, that names no entity there is, or whose caller
    /// is not let in at all, such as one with a bad token.
    async fn after_handle(&self, context: Context<'_>, refused: Option<&Error>) {}

    /// Before a client that stays is let in; it is authenticated by then.
    async fn before_connect(&self, session: Session<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// After a client was let in.
    async fn after_connect(&self, session: Session<'_>) {}

    /// Before the subscriptions of a client that was let in end, because it goes or is sent away. It can't be kept, and does not
    /// wait for longer than [`FAREWELL`].
    async fn before_disconnect(&self, session: Session<'_>) {}

    /// After a client that was let in has gone, whoever ended it.
    async fn after_disconnect(&self, session: Session<'_>) {}
}

/// Why a hook refuses, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code that the client gets.
    pub code: Code,
    /// The message that the client gets.
    pub message: String,
}

impl Refusal {
    /// A refusal with the code `hook_error`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: Code::HookError, message: message.into() }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::new(refusal.code, refusal.message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { code: error.code, message: error.message }
    }
}

/// A read that a hook may narrow.
pub struct NarrowRead<'p, 'c> {
    pub(super) nodes: Vec<&'p mut Node<'c>>,
    pub(super) context: Context<'p>,
}

impl NarrowRead<'_, '_> {
    /// Adds a condition that every row must meet, counts and positions included, wherever the entity appears in the answer.
    pub fn filter(&mut self, condition: &Condition) -> Result<(), Refusal> {
        let predicate = resolve(self.context, condition)?;
        for node in &mut self.nodes {
            narrow_rows(node, self.context.entity, &predicate);
        }
        Ok(())
    }

    /// Leaves a column out of the answer, wherever the entity appears in it.
    pub fn drop_column(&mut self, column: &str) -> Result<(), Refusal> {
        let entity = self.context.entity;
        let unknown =
            || Refusal { code: Code::InvalidColumn, message: format!("{} has no column '{column}'", entity.full_name()) };
        let id = entity.find_column(column).ok_or_else(unknown)?;
        for node in &mut self.nodes {
            drop_id(node, entity, id)?;
        }
        Ok(())
    }
}

/// A write that a hook may narrow.
pub struct NarrowWrite<'p, 'c> {
    pub(super) plan: &'p mut WritePlan<'c>,
    /// Its entity and operation are the hook's, which are those of some rows and not always of the request.
    pub(super) context: Context<'p>,
}

impl<'p> NarrowWrite<'p, '_> {
    /// Adds a condition that a row must meet to be changed or removed.
    pub fn filter(&mut self, condition: &Condition) -> Result<(), Refusal> {
        let predicate = resolve(self.context, condition)?;
        self.plan.narrow(self.turn(), &predicate);
        Ok(())
    }

    /// Sets a column of every row that is added or changed, also one that clients can't write. Related rows can't decide it
    /// otherwise: a row that would be linked by another value is refused.
    pub fn set(&mut self, column: &str, value: &Value) -> Result<(), Refusal> {
        self.plan.set(self.turn(), column, value).map_err(Refusal::from)
    }

    /// Leaves a column that the client wrote unwritten, and refuses a row that would be linked by it.
    pub fn drop_column(&mut self, column: &str) -> Result<(), Refusal> {
        self.plan.unset(self.turn(), column).map_err(Refusal::from)
    }

    fn turn(&self) -> Turn<'p> {
        Turn { entity: self.context.entity, operation: self.context.operation }
    }
}

fn resolve(context: Context<'_>, condition: &Condition) -> Result<Predicate, Refusal> {
    let mut scope = Scope::new(context.catalog, context.principal, context.entity);
    Predicate::resolve(&mut scope, context.entity, condition).map_err(Refusal::from)
}

fn narrow_rows(node: &mut Node<'_>, entity: &Entity, predicate: &Predicate) {
    if node.entity().id == entity.id {
        node.grant.narrow(predicate.clone());
    }
    for field in &mut node.fields {
        if let Field::Preload(plan) = field {
            plan.link.iter_mut().for_each(|link| narrow_rows(link, entity, predicate));
            narrow_rows(&mut plan.node, entity, predicate);
        }
    }
}

fn drop_id(node: &mut Node<'_>, entity: &Entity, id: ColumnId) -> Result<(), Refusal> {
    let here = node.entity().id == entity.id;
    node.fields.retain(|field| !(here && matches!(field, Field::Column(column) if *column == id)));
    if node.fields.is_empty() {
        let message = format!("no column that was asked for of {} may be seen", entity.full_name());
        return Err(Refusal { code: Code::Forbidden, message });
    }
    for field in &mut node.fields {
        if let Field::Preload(plan) = field {
            drop_id(&mut plan.node, entity, id)?;
        }
    }
    Ok(())
}
