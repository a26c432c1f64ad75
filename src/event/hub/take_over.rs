//! Another catalog takes over: every subscription is decided anew under it, and goes on without a gap or ends.
//!
//! It is added under the new catalog before it is taken from the old one. In between a change may reach its mailbox twice,
//! which drops the second by its place. If it is told something else from now on, it is told to read again: nothing of what it
//! was told before comes after that, also when it was being replayed.
//!
//! No database is asked for that, so that one that does not answer keeps nobody under the old catalog. Whether the changes are
//! captured as the new one wants is looked at afterwards, by `vigil`.

use super::Shared;
use super::captured::allowed;
use super::catch_up::resync;
use super::generation::{Generation, Home, Subscription, Woken};
use super::place::Mark;
use super::shape::Shape;
use super::text::{Common, Ending, Resync};
use crate::engine::Current;
use crate::protocol::Error;
use std::sync::Arc;
use tokio::sync::watch;

/// Takes every catalog that is served from now on.
pub(super) async fn run(hub: &Shared, mut switches: watch::Receiver<()>) {
    loop {
        let current = hub.parts.engine.current();
        if !Arc::ptr_eq(&current, &hub.newest().current) {
            take_over(hub, current).await;
        }
        // The sender lives in the engine, which the hub holds.
        if switches.changed().await.is_err() {
            return;
        }
    }
}

async fn take_over(hub: &Shared, current: Arc<Current>) {
    let new = Arc::new(Generation::new(current));
    let old = hub.generations.load_full();
    let mut both = vec![Arc::clone(&new)];
    both.extend(old.iter().cloned());
    hub.generations.store(Arc::new(both));
    for generation in old.iter() {
        for subscription in generation.retire() {
            if let Err(error) = move_over(hub, &new, &subscription).await {
                end(hub, &subscription, Ending::CatalogChanged, &error).await;
            }
        }
    }
    hub.generations.store(Arc::new(vec![new]));
    hub.moved.notify_one();
}

async fn move_over(hub: &Shared, new: &Arc<Generation>, subscription: &Arc<Subscription>) -> Result<(), Error> {
    let plan = hub.parts.engine.plan_subscription(&new.current, &subscription.principal, &subscription.asked).await?;
    allowed(&new.current, plan.entity())?;
    let shape = Arc::new(Shape::compile(&plan)?);
    let mut home = subscription.home();
    let Home::Of(old, old_shape) = &*home else { return Ok(()) };
    // Only this task retires, and only what is older.
    if new.insert(&shape, Arc::clone(subscription)).is_err() {
        return Err(Error::internal());
    }
    let (old, old_shape) = (Arc::clone(old), Arc::clone(old_shape));
    let is_another = shape.form != old_shape.form;
    let before = &old.catalog().entity(old_shape.entity()).source;
    if plan.entity().source != *before || is_elsewhere(before, &old.current, &new.current) {
        subscription.mailbox.forget_seen(subscription.slot);
    }
    *home = Home::Of(Arc::clone(new), shape);
    old.remove(&old_shape, subscription);
    // While its home is held: whoever finds it in the new one finds that it was told so.
    if is_another && let Some(mark) = hub.mark.load_full() {
        resync(hub, &mark, subscription, &home, Resync::CatalogChanged);
    }
    Ok(())
}

/// Whether a source leads to another database than before.
fn is_elsewhere(source: &str, old: &Current, new: &Current) -> bool {
    let place = |current: &Current| current.served().databases.get(source).map(|database| database.settings().url.clone());
    place(old) != place(new)
}

/// Ends a subscription, and tells it and the hooks.
pub(super) async fn end(hub: &Shared, subscription: &Subscription, ending: Ending, error: &Error) {
    let Some(mark) = hub.mark.load_full() else { return };
    let id = subscription.mailbox.id(subscription.slot);
    let Some((generation, shape)) = tell_last(hub, &mark, subscription, ending, error) else { return };
    if let Some(id) = id {
        hub.tell_ended(&generation, &shape, &subscription.principal, &id).await;
    }
}

/// Tells a subscription the last that it hears; answers where it was, unless it had ended before.
fn tell_last(
    hub: &Shared,
    mark: &Mark,
    subscription: &Subscription,
    ending: Ending,
    error: &Error,
) -> Option<(Arc<Generation>, Arc<Shape>)> {
    let place = mark.begun();
    let mut woken = Woken::default();
    let mut home = subscription.home();
    let Home::Of(old, shape) = &*home else { return None };
    let (old, shape) = (Arc::clone(old), Arc::clone(shape));
    let entity = old.catalog().entity(shape.entity());
    let text = Common { epoch: mark.epoch(), offset: place.offset }.ended(&entity.schema, &entity.name, ending, error);
    // Before it has ended, since then its connection may give its slot to another.
    woken.last(subscription, &text.told(place, None, None));
    *home = Home::Ended;
    drop(home);
    old.remove(&shape, subscription);
    hub.count_out(subscription);
    hub.parts.metrics.overflowed(woken.overflows);
    Some((old, shape))
}
