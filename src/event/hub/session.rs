//! A connection's side of the hub: what it has subscribed to, and what there is to tell it.
//!
//! What it has heard is known by its answers to pings: whatever was taken before a ping has arrived when the answer comes.

use super::Hub;
use super::begin::{Begun, Heard};
use super::catch_up::resync;
use super::generation::{Home, Subscription};
use super::kept::{Stored, StoredSubscription, identity};
use super::mailbox::{Limits, Mailbox, Notification, Overflow};
use crate::auth::Principal;
use crate::protocol::{Code, Error, Subscribe};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::time::Instant;
use uuid::Uuid;

/// One connection. Its subscriptions end when it is dropped.
pub struct Session {
    joined: Arc<Joined>,
    resumed: Vec<usize>,
    /// What was taken before the last ping, by slots.
    sampled: Vec<(usize, Heard)>,
}

/// What a session had and has again.
#[derive(Debug)]
pub struct Restored {
    /// Its id.
    pub session: Arc<str>,
    /// The subscriptions that go on; some of them are told to read again.
    pub begun: Vec<Begun>,
    /// Those that can't, by their ids.
    pub failed: Vec<(String, Error)>,
}

/// What a connection and its requests share.
struct Joined {
    hub: Hub,
    principal: Arc<Principal>,
    mailbox: Arc<Mailbox>,
    count: Arc<AtomicUsize>,
    held: Mutex<HashMap<Arc<str>, Held>>,
    session: OnceLock<Arc<str>>,
    connection: Uuid,
    /// When the session was written; taken by whoever writes it.
    written_at: tokio::sync::Mutex<Option<Instant>>,
}

struct Held {
    subscription: Arc<Subscription>,
    heard: Heard,
}

impl Session {
    pub(super) fn new(hub: Hub, principal: Arc<Principal>, count: Arc<AtomicUsize>) -> Self {
        let settings = hub.0.parts.settings;
        let limits = Limits { notifications: settings.max_waiting, bytes: settings.max_waiting_bytes };
        let mailbox = Arc::new(Mailbox::new(limits, hub.0.couriers.here()));
        let joined = Joined {
            hub,
            principal,
            mailbox,
            count,
            held: Mutex::default(),
            session: OnceLock::new(),
            connection: Uuid::new_v4(),
            written_at: tokio::sync::Mutex::default(),
        };
        Self { joined: Arc::new(joined), resumed: Vec::new(), sampled: Vec::new() }
    }

    /// Waits until there is something to tell, and appends all that there is by then, up to a bound.
    pub async fn next(&mut self, batch: &mut Vec<Notification>) -> Result<(), Overflow> {
        let Self { joined, resumed, .. } = self;
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

    /// Begins a subscription. Answers the session's id beside it if the session is kept.
    pub fn subscribe(&self, asked: Subscribe) -> impl Future<Output = Result<(Begun, Option<Arc<str>>), Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            joined.make_room(&asked)?;
            let begun = joined.begin(asked, None).await?;
            let session = joined.write().await.then(|| Arc::clone(joined.session()));
            Ok((begun, session))
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
            let found = joined.held().get(id.as_str()).map(|held| Arc::clone(&held.subscription));
            let subscription = found.filter(|found| !found.has_ended()).ok_or_else(unknown)?;
            let home = match &*subscription.home() {
                Home::Of(generation, shape) => Some((Arc::clone(generation), shape.entity())),
                Home::None | Home::Ended => None,
            };
            let (generation, entity) = home.ok_or_else(unknown)?;
            let (engine, current) = (&joined.hub.0.parts.engine, &generation.current);
            let entity = generation.catalog().entity(entity);
            engine.unsubscribing(current, &joined.principal, entity, &id).await?;
            if joined.held().remove(id.as_str()).is_some() {
                joined.count.fetch_sub(1, Ordering::Relaxed);
            }
            joined.hub.0.end(&subscription);
            engine.unsubscribed(current, &joined.principal, entity, &id).await;
            joined.write().await;
            Ok(())
        }
    }

    /// Gets back what a session had subscribed to, each from where it was heard last.
    pub fn restore(&self, session: String) -> impl Future<Output = Result<Restored, Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            let connection = joined.connection.to_string();
            let stored = joined.hub.0.kept.take(&session, &joined.principal, &connection).await?;
            let mut restored = Restored { session: Arc::from(session), begun: Vec::new(), failed: Vec::new() };
            for one in stored.subscriptions {
                match joined.restore(&one).await {
                    Ok(begun) => restored.begun.push(begun),
                    // What may succeed later must not be forgotten now: the session stays as it was.
                    Err(error) if error.code.retryable() => {
                        joined.end_all();
                        return Err(error);
                    }
                    Err(error) => restored.failed.push((one.id, error)),
                }
            }
            // Nothing was subscribed to before this, so that there is no other id.
            restored.session = Arc::clone(joined.session.get_or_init(|| restored.session));
            joined.write().await;
            Ok(restored)
        }
    }

    /// A ping is about to be sent: what was taken by now comes before it.
    pub fn pinged(&mut self) {
        self.sampled.clear();
        if let Some(mark) = self.joined.hub.0.mark.load_full() {
            let taken = self.joined.mailbox.taken(mark.told());
            self.sampled.extend(taken.into_iter().map(|(slot, place)| (slot, (place, Arc::clone(&mark)))));
        }
    }

    /// The last ping was answered: the client has what came before it.
    pub fn answered(&mut self) {
        if self.sampled.is_empty() {
            return;
        }
        self.joined.heard(&std::mem::take(&mut self.sampled));
        let joined = Arc::clone(&self.joined);
        self.joined.hub.0.tasks.spawn(async move {
            let often = joined.hub.0.kept.lifetime / 3;
            if joined.written_at.lock().await.is_some_and(|at| at.elapsed() >= often) {
                joined.write().await;
            }
        });
    }
}

impl Joined {
    async fn begin(&self, asked: Subscribe, id: Option<&str>) -> Result<Begun, Error> {
        let (begun, unkept, heard) = self.hub.0.begin(&self.principal, &self.mailbox, asked, id).await?;
        if let Some(subscription) = unkept.keep() {
            self.held().insert(Arc::clone(&begun.subscription_id), Held { subscription, heard });
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(begun)
    }

    async fn restore(&self, stored: &StoredSubscription) -> Result<Begun, Error> {
        let asked = Subscribe::read(stored.said.clone())?;
        match self.begin(asked.clone().resumed(stored.position.clone()), Some(&stored.id)).await {
            Err(error) if error.code == Code::ResyncRequired => {}
            outcome => return outcome,
        }
        let begun = self.begin(asked.anew(), Some(&stored.id)).await?;
        if let (Some(held), Some(mark)) = (self.held().get(stored.id.as_str()), self.hub.0.mark.load_full()) {
            resync(&mark, &held.subscription);
        }
        Ok(begun)
    }

    fn make_room(&self, asked: &Subscribe) -> Result<(), Error> {
        let settings = &self.hub.0.parts.settings;
        let (bytes, most) = (asked.said.len(), settings.max_subscription_bytes);
        if bytes > most {
            let message = format!("the subscription is said in {bytes} bytes, and {most} are allowed; filter by less");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let mut held = self.held();
        let before = held.len();
        held.retain(|_, one| !one.subscription.has_ended() || !self.mailbox.close_if_told(one.subscription.slot));
        self.count.fetch_sub(before - held.len(), Ordering::Relaxed);
        let most = settings.max_subscriptions;
        if held.len() >= most {
            let message = format!("a connection may have {most} subscriptions; end one, or open another");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let all = bytes + held.values().map(|one| one.subscription.asked.said.len()).sum::<usize>();
        let most = settings.max_session_bytes;
        if all > most {
            let message = format!(
                "the connection's subscriptions are said in {all} bytes, and {most} are allowed; end one, or open another"
            );
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(())
    }

    fn end_all(&self) {
        for (_, held) in self.held().drain() {
            self.hub.0.end(&held.subscription);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Lets replays go on that waited for room.
    fn replay(&self, slots: &mut Vec<usize>) {
        let held = self.held();
        for slot in slots.drain(..) {
            if let Some(one) = held.values().find(|one| one.subscription.slot == slot && !one.subscription.has_ended()) {
                // The receiver ends with the hub, and then nothing is told to anyone.
                _ = self.hub.0.behind.send(Arc::clone(&one.subscription));
            }
        }
    }

    fn heard(&self, sampled: &[(usize, Heard)]) {
        let by_slot: HashMap<usize, &Heard> = sampled.iter().map(|(slot, heard)| (*slot, heard)).collect();
        for held in self.held().values_mut() {
            // A slot may have another subscription by now, which began later.
            if let Some(heard) = by_slot.get(&held.subscription.slot).filter(|heard| heard.0 > held.heard.0) {
                held.heard = (*heard).clone();
            }
        }
    }

    fn session(&self) -> &Arc<str> {
        self.session.get_or_init(|| Uuid::new_v4().to_string().into())
    }

    /// Writes the session as it is, and says whether it is kept.
    async fn write(&self) -> bool {
        let mut written_at = self.written_at.lock().await;
        match self.hub.0.kept.write(self.session(), &self.stored()).await {
            Ok(kept) => {
                *written_at = Some(Instant::now());
                kept
            }
            Err(error) => {
                tracing::warn!(%error, "a session can't be kept");
                false
            }
        }
    }

    fn stored(&self) -> Stored {
        let held = self.held();
        let lasting = held.iter().filter(|(_, held)| !held.subscription.has_ended());
        let subscriptions = lasting.map(|(id, held)| StoredSubscription {
            id: (**id).to_owned(),
            said: held.subscription.asked.said.clone(),
            position: held.heard.1.position(held.heard.0),
        });
        Stored {
            identity: identity(&self.principal),
            connection: self.connection.to_string(),
            subscriptions: subscriptions.collect(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let stored = self.joined.stored();
        self.joined.end_all();
        let Some(session) = self.joined.session.get().filter(|_| !stored.subscriptions.is_empty()) else { return };
        let (joined, session) = (Arc::clone(&self.joined), Arc::clone(session));
        self.joined.hub.0.tasks.spawn(async move {
            let _written_at = joined.written_at.lock().await;
            if let Err(error) = joined.hub.0.kept.write(&session, &stored).await {
                tracing::warn!(%error, "how far a session was heard can't be kept");
            }
        });
    }
}
