//! The one follower of the bus: what it is handed is told, in order.
//!
//! What breaks off is taken up where it was. What can't be taken up without a gap is begun anew, and everyone is told to
//! read again.

use super::Shared;
use super::generation::Woken;
use super::mailbox::Lane;
use super::place::Mark;
use super::route::Route;
use super::text::{Common, Resync};
use crate::event::bus::{self, Deliveries, Delivery, Event};
use crate::event::matcher::BATCH;
use crate::protocol::Position;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Deliveries that are told before connections are woken, if so many are there.
const CHUNK: usize = 128;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Follows for ever.
pub(super) async fn run(hub: &Shared) {
    let mut backoff = FIRST_BACKOFF;
    let mut gone = true;
    loop {
        let failed = match follow(hub, gone).await {
            Ok((mark, deliveries)) => {
                backoff = FIRST_BACKOFF;
                hub.tell(&mark, deliveries).await
            }
            Err(error) => error,
        };
        gone = match &failed {
            bus::Error::Gone { .. } => true,
            // Until there is a mark there is nothing to be taken up.
            bus::Error::Unavailable(_) | bus::Error::Unusable(_) => hub.mark.load().is_none(),
        };
        tracing::warn!(error = %failed, retry_in = ?backoff, "changes are not told for now");
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Goes on after the last change, or begins anew with the next if that is gone.
async fn follow(hub: &Shared, gone: bool) -> Result<(Arc<Mark>, Deliveries), bus::Error> {
    let known = hub.mark.load_full();
    if let Some(mark) = known.clone().filter(|_| !gone) {
        let deliveries = hub.parts.bus.follow(&mark.position(mark.begun())).await?;
        return Ok((mark, deliveries));
    }
    let extent = hub.parts.bus.extent().await?;
    let position = Position { epoch: extent.epoch.clone(), offset: extent.latest };
    let deliveries = hub.parts.bus.follow(&position).await?;
    let incarnation = known.as_ref().map_or(1, |mark| mark.incarnation() + 1);
    let mark = Arc::new(Mark::new(incarnation, &extent.epoch, extent.latest));
    hub.mark.store(Some(Arc::clone(&mark)));
    if known.is_some() {
        hub.resync_all(&mark);
    }
    Ok((mark, deliveries))
}

impl Shared {
    /// Tells what comes until it breaks off.
    async fn tell(&self, mark: &Mark, deliveries: Deliveries) -> bus::Error {
        let mut chunks = deliveries.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut woken = Woken::default();
            let mut failed = None;
            let until_failed = chunk.into_iter().map_while(|delivery| delivery.map_err(|error| failed = Some(error)).ok());
            let whole: Vec<Delivery> = until_failed.collect();
            for deliveries in whole.chunks(BATCH) {
                self.tell_some(mark, deliveries, &mut woken);
            }
            woken.wake();
            self.parts.metrics.overflowed(woken.overflows);
            if let Some(seconds) = whole.last().and_then(age) {
                self.parts.metrics.lag(seconds);
            }
            if let Some(error) = failed {
                return error;
            }
            // The runtime's other tasks have their turn also when there is always more.
            tokio::task::consume_budget().await;
        }
        bus::Error::Unavailable("the bus tells nothing more".to_owned())
    }

    /// Tells deliveries, which have begun before it is looked who follows what, and are told before they are finished.
    fn tell_some(&self, mark: &Mark, deliveries: &[Delivery], woken: &mut Woken) {
        let Some(last) = deliveries.last().map(|delivery| delivery.offset) else { return };
        mark.begin(last);
        let mut route = Route::new(mark, Lane::Live, woken);
        for generation in &**self.generations.load() {
            route.deliver(generation, deliveries);
        }
        let (matched, told) = (route.matched, route.told);
        mark.finish(last);
        self.parts.metrics.told(deliveries.len(), matched, told);
    }

    /// Tells every subscriber to read again.
    fn resync_all(&self, mark: &Mark) {
        self.parts.metrics.resynced();
        let place = mark.begun();
        let common = Common { epoch: mark.epoch(), offset: place.offset };
        let mut woken = Woken::default();
        for generation in &**self.generations.load() {
            for entity in generation.catalog().entities() {
                let text = common.resync(entity, Resync::ChangesLost);
                for audience in generation.audiences(entity.id) {
                    audience.restart(&text.told(place, None, None), &mut woken);
                }
            }
        }
        woken.wake();
        self.parts.metrics.overflowed(woken.overflows);
    }
}

/// How many seconds ago a change happened, by the clocks of its database and of this machine.
fn age(delivery: &Delivery) -> Option<f64> {
    let (Event::Change(change) | Event::Omitted(change)) = &delivery.event else { return None };
    let occurred: jiff::Timestamp = change.occurred_at.parse().ok()?;
    Some(jiff::Timestamp::now().duration_since(occurred).as_secs_f64())
}
