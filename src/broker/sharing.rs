//! Whose turn it is among the clients of a shared subscription: those that are connected, one after the other.

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{ClientId, Id, IsOnline, NodeId, SharedGroup, SubscriptionIdentifier, SubscriptionOptions, TopicName};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts turns.
#[derive(Default)]
pub(super) struct Turns(AtomicUsize);

/// A client of a shared subscription.
type Sharer = (NodeId, ClientId, SubscriptionOptions, Option<Vec<SubscriptionIdentifier>>, Option<IsOnline>);

#[async_trait]
impl SharedSubscription for Turns {
    fn is_supported(&self) -> bool {
        true
    }

    async fn choice(
        &self,
        context: &ServerContext,
        _: &SharedGroup,
        _: &Id,
        _: &TopicName,
        sharers: &[Sharer],
    ) -> Option<(usize, IsOnline)> {
        let first = self.0.fetch_add(1, Ordering::Relaxed).checked_rem(sharers.len())?;
        for place in (first..sharers.len()).chain(0..first) {
            let (node, client, ..) = &sharers[place];
            if context.extends.router().await.is_online(*node, client).await {
                return Some((place, true));
            }
        }
        // Whoever comes back finds it.
        Some((first, false))
    }
}
