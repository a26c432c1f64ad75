//! Subscriptions as the engine sees them: decided exactly as a read is, by the same grant, planner and hooks.
//!
//! What is planned here is matched in `event`, which knows how changes come; nothing here follows anything.

use super::authorize::authorize;
use super::error::from_database;
use super::execute::snapshot::snapshot;
use super::guard::guard_read;
use super::hook::{Context, NarrowRead};
use super::pipeline::{Current, Engine, resolve};
use super::plan::{Field, Predicate, ReadPlan, Scope, Shape, plan_read};
use crate::auth::Principal;
use crate::catalog::{ColumnId, Entity};
use crate::database::Transaction;
use crate::protocol::{Code, Error, Operation, Page, Subscribe};
use tokio::sync::watch;

/// What a subscription may see.
#[derive(Debug)]
pub struct SubscriptionPlan<'c> {
    /// The rows and their columns, as a read would answer them now.
    pub read: ReadPlan<'c>,
    /// The columns of the primary key that may be seen.
    pub key: Vec<Field<'c>>,
}

impl<'c> SubscriptionPlan<'c> {
    /// The entity.
    #[must_use]
    pub fn entity(&self) -> &'c Entity {
        self.read.node.entity()
    }

    /// Everything that a row must meet.
    #[must_use]
    pub fn rows(&self) -> Predicate {
        let rows = self.read.node.grant.rows().clone().and(self.read.node.filter.clone());
        match &self.read.keys {
            Some(keys) => rows.and(Predicate::Keys(keys.clone())),
            None => rows,
        }
    }
}

impl Engine {
    /// Is told whenever another catalog is served.
    #[must_use]
    pub fn switches(&self) -> watch::Receiver<()> {
        self.switched.subscribe()
    }

    /// Decides what a subscription may see: authorizes, plans, and lets the hooks of reads and of subscriptions narrow it.
    pub async fn plan_subscription<'c>(
        &self,
        current: &'c Current,
        principal: &'c Principal,
        asked: &Subscribe,
    ) -> Result<SubscriptionPlan<'c>, Error> {
        let catalog = &current.served().catalog;
        let entity = resolve(catalog, &asked.target)?;
        let grant = authorize(principal, entity, Operation::Read)?;
        let context = Context { principal, catalog, entity, operation: Operation::Read };
        let decide = async {
            for hook in self.hooks() {
                hook.before_handle(context).await?;
            }
            let mut plan = plan_read(&mut Scope::new(catalog, principal, entity), grant, &asked.selector, &asked.options)?;
            plan.shape = Shape::List;
            let added = add_key(&mut plan, entity);
            guard_read(self.hooks(), context, &mut plan).await?;
            for hook in self.hooks() {
                hook.before_subscribe(context, &mut NarrowRead { nodes: vec![&mut plan.node], context }).await?;
            }
            split(plan, &added)
        };
        let outcome = self.caught("subscribe", decide).await;
        self.handled(context, outcome.as_ref().err()).await;
        outcome
    }

    /// Tells the hooks that a subscription has begun.
    pub async fn subscribed(&self, current: &Current, principal: &Principal, entity: &Entity, id: &str) {
        let catalog = &current.served().catalog;
        let context = Context { principal, catalog, entity, operation: Operation::Read };
        for hook in self.hooks() {
            self.told("after_subscribe", hook.after_subscribe(context, id)).await;
        }
    }

    /// Asks the hooks whether a client may end a subscription.
    pub async fn unsubscribing(&self, current: &Current, principal: &Principal, entity: &Entity, id: &str) -> Result<(), Error> {
        let catalog = &current.served().catalog;
        let ask = async {
            for hook in self.hooks() {
                hook.before_unsubscribe(Context { principal, catalog, entity, operation: Operation::Read }, id).await?;
            }
            Ok::<_, Error>(())
        };
        self.caught("unsubscribe", ask).await
    }

    /// Whether there are hooks to be told anything.
    #[must_use]
    pub fn has_hooks(&self) -> bool {
        !self.hooks().is_empty()
    }

    /// Tells the hooks that a subscription has ended.
    pub async fn unsubscribed(&self, current: &Current, principal: &Principal, entity: &Entity, id: &str) {
        let catalog = &current.served().catalog;
        let context = Context { principal, catalog, entity, operation: Operation::Read };
        for hook in self.hooks() {
            self.told("after_unsubscribe", hook.after_unsubscribe(context, id)).await;
        }
    }

    /// Reads the rows of a subscription as a transaction sees them.
    pub async fn read_snapshot(
        &self,
        current: &Current,
        plan: &SubscriptionPlan<'_>,
        transaction: &mut Transaction,
    ) -> Result<Page, Error> {
        let page = snapshot(current.tallies(), transaction, &plan.read).await;
        page.map_err(|error| from_database(error, plan.entity()))
    }
}

/// Adds the columns of the key, so that hooks have their say on them as well. Answers those that nobody asked for.
fn add_key(plan: &mut ReadPlan<'_>, entity: &Entity) -> Vec<ColumnId> {
    let fields = &mut plan.node.fields;
    let is_asked = |fields: &[Field<'_>], id| fields.iter().any(|field| matches!(field, Field::Column(column) if *column == id));
    let added: Vec<ColumnId> =
        entity.primary_key.iter().copied().filter(|id| entity.column(*id).readable() && !is_asked(fields, *id)).collect();
    fields.extend(added.iter().map(|id| Field::Column(*id)));
    added
}

/// The key's columns by themselves, and the others without those that nobody asked for.
fn split<'c>(mut plan: ReadPlan<'c>, added: &[ColumnId]) -> Result<SubscriptionPlan<'c>, Error> {
    let entity = plan.node.entity();
    let fields = &mut plan.node.fields;
    let is_there = |id: &ColumnId| fields.iter().any(|field| matches!(field, Field::Column(column) if column == id));
    let key = entity.primary_key.iter().copied().filter(is_there).map(Field::Column).collect();
    fields.retain(|field| !matches!(field, Field::Column(column) if added.contains(column)));
    if fields.is_empty() {
        return Err(Error::new(Code::Forbidden, "no column that was asked for may be seen"));
    }
    Ok(SubscriptionPlan { read: plan, key })
}
