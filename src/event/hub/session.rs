//! A connection's side of the hub: what it has subscribed to, and what there is to tell it.

use super::Hub;
use super::begin::Begun;
use super::generation::{Home, Subscription};
use super::mailbox::{Limits, Mailbox, Notification, Overflow};
use crate::auth::Principal;
use crate::protocol::{Code, Error, Subscribe};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One connection. Its subscriptions end when it is dropped.
pub struct Session {
    joined: Arc<Joined>,
    resumed: Vec<usize>,
}

/// What a connection and its requests share.
struct Joined {
    hub: Hub,
    principal: Arc<Principal>,
    mailbox: Arc<Mailbox>,
    count: Arc<AtomicUsize>,
    subscriptions: Mutex<HashMap<Arc<str>, Arc<Subscription>>>,
}

impl Session {
    pub(super) fn new(hub: Hub, principal: Arc<Principal>, count: Arc<AtomicUsize>) -> Self {
        let settings = hub.0.parts.settings;
        let limits = Limits { notifications: settings.max_waiting, bytes: settings.max_waiting_bytes };
        let mailbox = Arc::new(Mailbox::new(limits));
        let joined = Joined { hub, principal, mailbox, count, subscriptions: Mutex::default() };
        Self { joined: Arc::new(joined), resumed: Vec::new() }
    }

    /// Waits until there is something to tell, and appends all that there is by then, up to a bound.
    pub async fn next(&mut self, batch: &mut Vec<Notification>) -> Result<(), Overflow> {
        let Self { joined, resumed } = self;
        loop {
            poll_fn(|context| joined.mailbox.poll_take(context, batch, resumed)).await?;
            if !resumed.is_empty() {
                joined.replay(resumed);
            }
            if !batch.is_empty() {
                return Ok(());
            }
        }
    }

    /// Begins a subscription.
    pub fn subscribe(&self, asked: Subscribe) -> impl Future<Output = Result<Begun, Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            joined.make_room()?;
            let (begun, unkept) = joined.hub.0.begin(&joined.principal, &joined.mailbox, asked).await?;
            if let Some(subscription) = unkept.keep() {
                joined.subscriptions().insert(Arc::clone(&begun.subscription_id), subscription);
                joined.count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(begun)
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: String) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            let unknown = || {
                let message = "this connection has no subscription with this id; it may have ended";
                Error::new(Code::SubscriptionNotFound, message).with_detail(id.chars().take(80).collect::<String>())
            };
            let found = joined.subscriptions().get(id.as_str()).filter(|found| !found.has_ended()).cloned();
            let subscription = found.ok_or_else(unknown)?;
            let home = match &*subscription.home() {
                Home::Of(generation, shape) => Some((Arc::clone(generation), shape.entity())),
                Home::None | Home::Ended => None,
            };
            let (generation, entity) = home.ok_or_else(unknown)?;
            let (engine, current) = (&joined.hub.0.parts.engine, &generation.current);
            let entity = generation.catalog().entity(entity);
            engine.unsubscribing(current, &joined.principal, entity, &id).await?;
            joined.subscriptions().remove(id.as_str());
            if joined.hub.0.end(&subscription) {
                joined.count.fetch_sub(1, Ordering::Relaxed);
            }
            engine.unsubscribed(current, &joined.principal, entity, &id).await;
            Ok(())
        }
    }
}

impl Joined {
    fn make_room(&self) -> Result<(), Error> {
        let mut subscriptions = self.subscriptions();
        let before = subscriptions.len();
        subscriptions.retain(|_, one| !one.has_ended() || !self.mailbox.close_if_told(one.slot));
        self.count.fetch_sub(before - subscriptions.len(), Ordering::Relaxed);
        let most = self.hub.0.parts.settings.max_subscriptions;
        if subscriptions.len() < most {
            return Ok(());
        }
        Err(Error::new(Code::LimitExceeded, format!("a connection may have {most} subscriptions; end one, or open another")))
    }

    /// Lets replays go on that waited for room.
    fn replay(&self, slots: &mut Vec<usize>) {
        let subscriptions = self.subscriptions();
        for slot in slots.drain(..) {
            if let Some(subscription) = subscriptions.values().find(|one| one.slot == slot && !one.has_ended()) {
                // The receiver ends with the hub, and then nothing is told to anyone.
                _ = self.hub.0.behind.send(Arc::clone(subscription));
            }
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Subscription>>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (_, subscription) in self.joined.subscriptions().drain() {
            self.joined.hub.0.end(&subscription);
        }
    }
}
