//! From a wish to a subscription: decided by the engine, compiled, put where changes find it, and brought to where the
//! client wants to begin.
//!
//! It is in the index before anything is read or looked up, so that whatever happens meanwhile is at least noted.

use super::generation::Subscription;
use super::hooked::{Beginning, Hooked};
use super::mailbox::Mailbox;
use super::place::{Mark, Place};
use super::shape::Shape;
use super::snapshot;
use super::{Hub, Shared};
use crate::auth::Principal;
use crate::event::bus::Extent;
use crate::event::capture::Sight;
use crate::protocol::{Code, Error, Page, Position, Subscribe};
use std::sync::Arc;
use uuid::Uuid;

/// A subscription that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Its id.
    pub subscription_id: Arc<str>,
    /// The entity's public schema.
    pub schema: String,
    /// The entity's public name.
    pub entity: String,
    /// Every change after this is told.
    pub position: Position,
    /// The rows as they were, if they were asked for.
    pub snapshot: Option<Page>,
    /// Which changes those rows have already.
    pub(super) seen: Option<Sight>,
}

/// What is known of a subscription before it begins.
#[derive(Default)]
pub(super) struct Known<'k> {
    /// Its id.
    pub(super) id: Option<&'k str>,
    /// What the bus has, of whoever has just asked.
    pub(super) extent: Option<&'k Extent>,
    /// What it has been shown.
    pub(super) seen: Option<Sight>,
    /// It goes on; whoever is told of beginnings was told of its.
    pub(super) again: bool,
    /// The bytes that the rows of its snapshot may have.
    pub(super) most: Option<usize>,
}

/// How far a subscription was heard.
#[derive(Clone)]
pub(super) struct Heard {
    pub(super) place: Place,
    /// What makes a position of the place.
    pub(super) mark: Arc<Mark>,
    /// The form of what was told: where it goes on in another one, what was told before is not to be kept.
    pub(super) form: u64,
}

impl Heard {
    pub(super) fn position(&self) -> Position {
        self.mark.position(self.place)
    }
}

/// A subscription that ends if nobody keeps it.
pub(super) struct Unkept<'h> {
    hub: &'h Shared,
    subscription: Option<Arc<Subscription>>,
    /// What the hooks were told; they hear of the end as well.
    beginning: Option<Beginning>,
}

impl Unkept<'_> {
    pub(super) fn keep(mut self) -> Option<Arc<Subscription>> {
        self.subscription.take()
    }
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = &self.subscription
            && self.hub.end(subscription)
            && let Some(beginning) = self.beginning.take()
        {
            beginning.end();
        }
    }
}

impl Hub {
    /// Begins a subscription for a connection, which may know its id, and what the bus has if it has just asked.
    pub(super) async fn begin<'h>(
        &'h self,
        principal: &Arc<Principal>,
        mailbox: &Arc<Mailbox>,
        asked: Subscribe,
        known: Known<'_>,
    ) -> Result<(Begun, Unkept<'h>, Heard), Error> {
        let asked = Arc::new(asked);
        let hub = &*self.0;
        let engine = &hub.parts.engine;
        loop {
            let generation = hub.newest();
            let current = &generation.current;
            let plan = engine.plan_subscription(current, principal, &asked).await?;
            let entity = plan.entity();
            let shape = Arc::new(Shape::compile(&plan)?);
            let form = shape.form;
            generation.captured.check(current, entity).await?;
            let id: Arc<str> = known.id.map_or_else(|| Uuid::new_v4().to_string().into(), Arc::from);
            let behind = asked.snapshot || asked.resume.is_some();
            let slot = mailbox.open(Arc::clone(&id), behind, asked.conflate);
            let new = Subscription::new(Arc::clone(&asked), Arc::clone(principal), Arc::clone(mailbox), slot);
            let subscription = Arc::new(new);
            hub.count(&subscription);
            let mut unkept = Unkept { hub, subscription: Some(Arc::clone(&subscription)), beginning: None };
            if subscription.settle_in(&generation, Arc::clone(&shape)).is_err() {
                continue;
            }
            let mark = hub.mark.load_full().ok_or_else(unreachable)?;
            let (place, snapshot, seen) = if asked.snapshot {
                let place = hub.edge(&mark).await?;
                mailbox.settle(slot, place);
                // As in a read, 0 is no limit.
                let whole = asked.options.limit.unwrap_or_default() == 0;
                let (page, seen) = snapshot::take(hub, current, &plan, whole).await?;
                snapshot::check_size(&page, known.most)?;
                mailbox.has_seen(slot, seen.clone());
                hub.catch_up(&subscription, place);
                (place, Some(page), Some(seen))
            } else if let Some(position) = &asked.resume {
                let place = match known.extent {
                    Some(extent) => resumed(&mark, position, extent)?,
                    None => resumed(&mark, position, &hub.extent().await?)?,
                };
                mailbox.settle(slot, place);
                if let Some(seen) = &known.seen {
                    mailbox.has_seen(slot, seen.clone());
                }
                hub.catch_up(&subscription, place);
                (place, None, None)
            } else {
                let place = mark.begun();
                mailbox.settle(slot, place);
                (place, None, None)
            };
            if !known.again && engine.has_hooks() {
                let (generation, principal, id) = (Arc::clone(&generation), Arc::clone(principal), Arc::clone(&id));
                let hooked = Hooked { hub: self.clone(), generation, shape, principal, id };
                unkept.beginning.insert(hooked.begin()).told().await;
            }
            let (schema, entity) = (entity.schema.clone(), entity.name.clone());
            let begun = Begun { subscription_id: id, schema, entity, position: mark.position(place), snapshot, seen };
            return Ok((begun, unkept, Heard { place, mark, form }));
        }
    }
}

impl Shared {
    /// A place such that everything up to it was committed before now, and everything after it will be told.
    async fn edge(&self, mark: &Mark) -> Result<Place, Error> {
        let begun = mark.begun();
        let extent = self.extent().await?;
        // Another epoch is about to be noticed, and then everyone is told to read again.
        Ok(if *extent.epoch == **mark.epoch() { begun.max(mark.at(extent.latest)) } else { begun })
    }

    /// What the bus has now.
    pub(super) async fn extent(&self) -> Result<Extent, Error> {
        self.parts.bus.extent().await.map_err(|error| {
            tracing::warn!(%error, "the bus can't be asked");
            unreachable()
        })
    }

    /// Lets a subscription go live from a place, through a replay if it has missed anything.
    fn catch_up(&self, subscription: &Arc<Subscription>, place: Place) {
        let nothing_missed = self.mark.load().as_ref().is_some_and(|mark| place >= mark.begun());
        if nothing_missed && subscription.mailbox.catch_up(subscription.slot, None, place) {
            return;
        }
        // The receiver ends with the hub, and then nothing is told to anyone.
        _ = self.behind.send(Arc::clone(subscription));
    }
}

/// The place of a position, if everything after it can still be told.
fn resumed(mark: &Mark, position: &Position, extent: &Extent) -> Result<Place, Error> {
    let resync = |reason: &str| Error::new(Code::ResyncRequired, format!("{reason}; read again, or ask for a snapshot"));
    if position.epoch != extent.epoch || position.epoch != **mark.epoch() {
        return Err(resync("the position is of another epoch").with_detail("epoch"));
    }
    if position.offset < extent.oldest {
        return Err(resync("the changes after the position are not kept any more").with_detail("offset"));
    }
    if position.offset > extent.latest {
        return Err(resync("the position was never reached").with_detail("offset"));
    }
    Ok(mark.at(position.offset))
}

fn unreachable() -> Error {
    Error::new(Code::Unavailable, "changes can't be followed now; try again")
}
