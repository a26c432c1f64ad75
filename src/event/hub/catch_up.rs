//! Replays for who is behind: one follower of the bus for all who come at a time, from the first that any of them misses.
//!
//! While a subscription is behind, what happens is only noted; when a replay has reached what was noted, it goes live
//! under the lock of its mailbox, without gap and without telling anything twice. A client that does not take what is
//! replayed stops its own replay and nobody else's.

use super::Shared;
use super::generation::{Generation, Home, Subscription, Woken};
use super::mailbox::Lane;
use super::place::{Mark, Place};
use super::route::Route;
use super::text::{Common, Resync};
use crate::event::bus::{self, Delivery};
use crate::event::matcher::BATCH;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const CHUNK: usize = 128;

/// Between two tries to reach the bus.
const RETRY: Duration = Duration::from_millis(200);

/// Replays at once, so that who is a little behind does not wait for who is far behind.
const AT_ONCE: usize = 4;

/// Replays for ever.
pub(super) async fn run(hub: &Shared, mut behind: UnboundedReceiver<Arc<Subscription>>) {
    let numbers = AtomicU64::new(1);
    let mut replays = FuturesUnordered::new();
    let mut all = Vec::new();
    loop {
        tokio::select! {
            // All who have come by now share a replay.
            count = behind.recv_many(&mut all, usize::MAX), if replays.len() < AT_ONCE => {
                if count == 0 {
                    return;
                }
                replays.push(replay(hub, &numbers, std::mem::take(&mut all)));
            }
            Some(()) = replays.next() => {}
        }
    }
}

/// Replays for some until none of them is behind.
async fn replay(hub: &Shared, numbers: &AtomicU64, mut all: Vec<Arc<Subscription>>) {
    let Some(mark) = hub.mark.load_full() else { return };
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let mut replay = Replay::begin(hub, &mark, number, std::mem::take(&mut all));
        match replay.run(hub).await {
            Ok(()) => return,
            Err(bus::Error::Gone { .. }) => return replay.resync(hub),
            Err(error) => {
                tracing::warn!(%error, retry_in = ?RETRY, "changes can't be replayed for now");
                all = std::mem::take(&mut replay.waiting);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

struct Replay<'m> {
    number: u64,
    mark: &'m Mark,
    /// Who is still behind.
    waiting: Vec<Arc<Subscription>>,
    /// The same people once more, by their catalogs.
    generations: Vec<Generation>,
    from: Place,
    /// What happens after this is noted for all of them.
    until: Place,
}

impl<'m> Replay<'m> {
    fn begin(hub: &Shared, mark: &'m Mark, number: u64, all: Vec<Arc<Subscription>>) -> Self {
        let until = mark.begun();
        let mut replay = Self { number, mark, waiting: Vec::new(), generations: Vec::new(), from: until, until };
        for subscription in all {
            replay.take(hub, subscription);
        }
        replay
    }

    /// Takes a subscription in. One that has ended may have left its slot to another, whose own replay must not be disturbed;
    /// while its home is held it has not ended.
    fn take(&mut self, hub: &Shared, subscription: Arc<Subscription>) {
        let home = subscription.home();
        let Home::Of(generation, shape) = &*home else { return };
        let Some(place) = subscription.mailbox.begin_replay(subscription.slot, self.number) else { return };
        if place.incarnation != self.mark.incarnation() {
            // It was behind in an order that there is no more.
            drop(home);
            return self.restart(hub, &subscription);
        }
        let same = |known: &Generation| Arc::ptr_eq(&known.current, &generation.current);
        let known = self.generations.iter().position(same).unwrap_or_else(|| {
            self.generations.push(Generation::new(Arc::clone(&generation.current)));
            self.generations.len() - 1
        });
        if self.generations[known].insert(shape, Arc::clone(&subscription)).is_ok() {
            drop(home);
            self.from = self.from.min(place);
            self.waiting.push(subscription);
        }
    }

    async fn run(&mut self, hub: &Shared) -> Result<(), bus::Error> {
        if self.from >= self.until {
            self.catch_up(self.until);
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        hub.parts.metrics.replayed();
        let deliveries = hub.parts.bus.follow(&self.mark.position(self.from)).await?;
        let mut chunks = deliveries.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut woken = Woken::default();
            let mut failed = None;
            let until_failed = chunk.into_iter().map_while(|delivery| delivery.map_err(|error| failed = Some(error)).ok());
            let whole: Vec<Delivery> = until_failed.collect();
            for deliveries in whole.chunks(BATCH) {
                self.tell(hub, deliveries, &mut woken);
            }
            woken.wake();
            hub.parts.metrics.overflowed(woken.overflows);
            if woken.pauses > 0 {
                let number = self.number;
                self.waiting.retain(|one| one.mailbox.is_replayed(one.slot, number));
            }
            let reached = whole.last().map(|delivery| self.mark.at(delivery.offset));
            if let Some(reached) = reached.filter(|reached| *reached >= self.until) {
                self.catch_up(reached);
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            if let Some(error) = failed {
                return Err(error);
            }
            tokio::task::consume_budget().await;
        }
        Err(bus::Error::Unavailable("the bus tells nothing more".to_owned()))
    }

    fn tell(&self, hub: &Shared, deliveries: &[Delivery], woken: &mut Woken) {
        let mut route = Route::new(self.mark, Lane::Replay(self.number), woken);
        for generation in &self.generations {
            route.deliver(generation, deliveries);
        }
        hub.parts.metrics.told(0, route.matched, route.told);
    }

    /// Lets everyone go live who has missed nothing after this.
    fn catch_up(&mut self, reached: Place) {
        let number = self.number;
        self.waiting.retain(|one| !one.mailbox.catch_up(one.slot, Some(number), reached));
    }

    /// Tells everyone who is still behind to read again.
    fn resync(&mut self, hub: &Shared) {
        for subscription in std::mem::take(&mut self.waiting) {
            self.restart(hub, &subscription);
        }
    }

    fn restart(&self, hub: &Shared, subscription: &Subscription) {
        let mark = hub.mark.load_full();
        resync(hub, mark.as_deref().unwrap_or(self.mark), subscription, &subscription.home(), Resync::ChangesLost);
    }
}

/// Tells one subscription, whose home is held, to read again, and lets it go on from now.
pub(super) fn resync(hub: &Shared, mark: &Mark, subscription: &Subscription, home: &Home, reason: Resync) {
    let Home::Of(generation, shape) = home else { return };
    let place = mark.begun();
    let mut woken = Woken::default();
    let entity = generation.catalog().entity(shape.entity());
    let text = Common { epoch: mark.epoch(), offset: place.offset }.resync(entity, reason);
    woken.restart(subscription, &text.told(place, None, None));
    hub.parts.metrics.overflowed(woken.overflows);
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::{Limits, Mailbox};
    use super::super::test_hub::hub;
    use super::*;
    use crate::auth::Principal;
    use crate::protocol::{Said, Subscribe, Target};
    use crate::store::MemoryBucket;
    use serde_json::Value;

    #[test]
    fn who_has_ended_does_not_take_the_replay_of_who_has_its_slot_now() {
        let hub = hub(Arc::new(MemoryBucket::default()));
        let mailbox = Arc::new(Mailbox::new(Limits { notifications: 10, bytes: 1000 }, Arc::default()));
        let target = Target { schema: None, entity: "items".to_owned() };
        let asked = Arc::new(Subscribe::read(Said::new(&target, Value::Null, None)).unwrap());
        let slot = mailbox.open(Arc::from("first"), true, false);
        let first = Arc::new(Subscription::new(asked, Arc::new(Principal::anonymous()), Arc::clone(&mailbox), slot));
        assert!(first.end());
        assert_eq!(mailbox.open(Arc::from("second"), true, false), slot);
        assert!(mailbox.begin_replay(slot, 1).is_some());
        // The bus broke off, and the replay that the first waited for begins again.
        let mark = Mark::new(1, "e", 7);
        let replay = Replay::begin(&hub.0, &mark, 2, vec![first]);
        assert!(replay.waiting.is_empty());
        assert!(mailbox.is_replayed(slot, 1));
    }
}
