//! Hooks asked about everything that a request reads: its entity, what is preloaded from it, what a write answers.
//!
//! Each entity has one turn, in which it is narrowed wherever it appears.

use super::hook::{Context, Hook, NarrowRead, Refusal};
use super::plan::write::WritePlan;
use super::plan::{Field, Node, ReadPlan};
use crate::catalog::{Entity, EntityId};
use crate::protocol::{Error, Operation};
use std::sync::Arc;

/// Narrows a read, or refuses it.
pub(super) async fn guard_read<'c>(hooks: &[Arc<dyn Hook>], context: Context<'c>, plan: &mut ReadPlan<'c>) -> Result<(), Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let mut entities = Vec::new();
    gather(&plan.node, &mut entities);
    for entity in entities {
        ask(hooks, context, entity, vec![&mut plan.node]).await?;
    }
    Ok(())
}

/// Narrows what a write answers. Whoever may write rows without seeing them learns their keys only.
pub(super) async fn guard_answer<'c>(
    hooks: &[Arc<dyn Hook>],
    context: Context<'c>,
    plan: &mut WritePlan<'c>,
) -> Result<(), Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let mut entities = Vec::new();
    for node in plan.answer.iter().map(|answer| &answer.node).chain(&plan.related) {
        gather(node, &mut entities);
    }
    for entity in entities {
        let nodes = plan.answer.iter_mut().map(|answer| &mut answer.node).chain(&mut plan.related).collect();
        let Err(refusal) = ask(hooks, context, entity, nodes).await else { continue };
        if plan.answer.as_ref().is_some_and(|answer| preloads(&answer.node, entity.id)) {
            return Err(refusal.into());
        }
        tracing::debug!(entity = entity.full_name(), reason = refusal.message, "the answer of a write has keys only");
        plan.answer.take_if(|answer| answer.node.entity().id == entity.id);
        plan.related.retain(|node| node.entity().id != entity.id);
    }
    Ok(())
}

async fn ask<'c>(
    hooks: &[Arc<dyn Hook>],
    context: Context<'c>,
    entity: &'c Entity,
    nodes: Vec<&mut Node<'c>>,
) -> Result<(), Refusal> {
    let context = Context { entity, operation: Operation::Read, ..context };
    let mut read = NarrowRead { nodes, context };
    for hook in hooks {
        hook.before_read(context, &mut read).await?;
    }
    Ok(())
}

/// The entities of a node and of everything below it, each once, from above.
fn gather<'c>(node: &Node<'c>, entities: &mut Vec<&'c Entity>) {
    if entities.iter().all(|known| known.id != node.entity().id) {
        entities.push(node.entity());
    }
    for field in &node.fields {
        if let Field::Preload(plan) = field {
            plan.link.iter().for_each(|link| gather(link, entities));
            gather(&plan.node, entities);
        }
    }
}

/// Whether rows of an entity are below a node.
fn preloads(node: &Node<'_>, entity: EntityId) -> bool {
    node.fields.iter().any(|field| match field {
        Field::Preload(plan) => {
            let linked = plan.link.as_ref().is_some_and(|link| link.entity().id == entity);
            linked || plan.node.entity().id == entity || preloads(&plan.node, entity)
        }
        Field::Column(_) | Field::Computed(_) => false,
    })
}
