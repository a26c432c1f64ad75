//! Looks now and then, and when another catalog has taken over, whether the changes of what is subscribed to are captured: whoever
//! takes that away says it to the database and to nobody else, and what nobody captures is silent for ever.
//!
//! One survey for each database that has a subscription, however many there are; none for one that has none.

use super::Shared;
use super::generation::Generation;
use super::take_over::end;
use super::text::Ending;
use crate::catalog::Entity;
use crate::protocol::Code;
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Looks for ever.
pub(super) async fn run(hub: &Shared) {
    loop {
        // Either is a reason to look.
        _ = tokio::time::timeout(hub.parts.settings.survey_interval, hub.moved.notified()).await;
        let generation = hub.newest();
        let sources: BTreeMap<&str, &Entity> = followed(&generation).map(|entity| (entity.source.as_str(), entity)).collect();
        // One that does not answer keeps nobody from the others.
        join_all(sources.into_values().map(|entity| look(hub, &generation, entity))).await;
    }
}

fn followed(generation: &Generation) -> impl Iterator<Item = &Entity> {
    generation.catalog().entities().iter().filter(|entity| generation.is_followed(entity.id))
}

/// Ends what is subscribed to of an entity's source and not captured any more.
async fn look(hub: &Shared, generation: &Generation, entity: &Entity) {
    let source = &entity.source;
    match generation.captured.look(&generation.current, entity).await {
        // A database that can't be reached now is no reason to end what was captured a moment ago.
        Err(error) if error.code != Code::NotCaptured => return,
        Ok(()) | Err(_) => {}
    }
    for entity in followed(generation).filter(|entity| entity.source == *source) {
        let Some(refused) = generation.captured.refused(entity) else { continue };
        let followers = generation.followers(entity.id);
        if !followers.is_empty() {
            let (entity, subscriptions) = (entity.full_name(), followers.len());
            tracing::warn!(source, entity, subscriptions, "changes are not captured any more: subscriptions end");
        }
        for subscription in followers {
            end(hub, &subscription, Ending::CaptureRemoved, &refused).await;
        }
    }
}
