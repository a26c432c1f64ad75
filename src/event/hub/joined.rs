//! What a connection and its requests share: its subscriptions, how far each was heard, and the session that keeps them.

use super::Hub;
use super::begin::{Begun, Heard, Known, Unkept};
use super::catch_up::resync;
use super::generation::Subscription;
use super::keeping::{Keeper, Keeping};
use super::kept::StoredSubscription;
use super::mailbox::Mailbox;
use super::text::Resync;
use crate::auth::Principal;
use crate::event::bus::Extent;
use crate::protocol::{Code, Error, Position, Subscribe};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use uuid::Uuid;

/// What a connection and its requests share.
pub(super) struct Joined {
    pub(super) hub: Hub,
    pub(super) principal: Arc<Principal>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) count: Arc<AtomicUsize>,
    pub(super) held: Mutex<HashMap<Arc<str>, Held>>,
    pub(super) session: OnceLock<Arc<str>>,
    /// What is known of the session in the bucket; taken by whoever writes it.
    pub(super) keeping: Arc<tokio::sync::Mutex<Keeping>>,
}

pub(super) struct Held {
    pub(super) subscription: Arc<Subscription>,
    /// None while it is not known to have heard that it must read again.
    pub(super) heard: Option<Heard>,
    /// The part of the session that it is kept in.
    pub(super) part: usize,
}

/// A part of a session that has as many bytes takes no more subscriptions. One that begins writes so much, and a session
/// that is taken is so many parts.
const PART_BYTES: usize = 8 * 1024;

/// What keeps a subscription beside what was said, roughly.
const KEPT_BYTES: usize = 160;

impl Joined {
    /// Begins a subscription whose snapshot has at most so many bytes. Answers the part of the session beside it.
    pub(super) async fn begin(&self, asked: Subscribe, most: usize) -> Result<(Begun, usize), Error> {
        let bytes = asked.said.len();
        let known = Known { most: Some(most), ..Known::default() };
        let (begun, unkept, heard) = self.hub.begin(&self.principal, &self.mailbox, asked, known).await?;
        let part = part_with_room(&self.held(), bytes);
        self.hold(&begun, unkept, heard, part);
        Ok((begun, part))
    }

    /// Begins a subscription that the session had in a part. What the bus has was asked for after the session was taken.
    pub(super) async fn restore(&self, stored: &StoredSubscription, part: usize, extent: &Extent) -> Result<Begun, Error> {
        let asked = Subscribe::read(stored.said.clone())?;
        if let Some(position) = stored.position.clone() {
            match self.begin_again(asked.clone().resumed(position), &stored.id, part, extent).await {
                Err(error) if error.code == Code::ResyncRequired => {}
                Err(error) => return Err(error),
                Ok((begun, form)) => {
                    if stored.form.is_some_and(|before| before != form) {
                        self.read_again(&stored.id, Resync::CatalogChanged);
                    }
                    return Ok(begun);
                }
            }
        }
        let (begun, _) = self.begin_again(asked.anew(), &stored.id, part, extent).await?;
        self.read_again(&stored.id, Resync::ChangesLost);
        Ok(begun)
    }

    /// Answers the form of what is told beside it.
    async fn begin_again(&self, asked: Subscribe, id: &str, part: usize, extent: &Extent) -> Result<(Begun, u64), Error> {
        let known = Known { id: Some(id), extent: Some(extent), ..Known::default() };
        let (begun, unkept, heard) = self.hub.begin(&self.principal, &self.mailbox, asked, known).await?;
        let form = heard.form;
        self.hold(&begun, unkept, heard, part);
        Ok((begun, form))
    }

    /// Tells a subscription to read again. It has heard nothing before it is known to have heard that.
    fn read_again(&self, id: &str, reason: Resync) {
        if let (Some(held), Some(mark)) = (self.held().get_mut(id), self.hub.0.mark.load_full()) {
            held.heard = None;
            resync(&self.hub.0, &mark, &held.subscription, &held.subscription.home(), reason);
        }
    }

    fn hold(&self, begun: &Begun, unkept: Unkept<'_>, heard: Heard, part: usize) {
        if let Some(subscription) = unkept.keep() {
            self.held().insert(Arc::clone(&begun.subscription_id), Held { subscription, heard: Some(heard), part });
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn make_room(&self, asked: &Subscribe) -> Result<(), Error> {
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

    /// Ends every subscription. The hooks are told of it, whoever waits for that or not.
    pub(super) fn end_all(&self) {
        let hears = self.hub.0.parts.engine.has_hooks();
        let mut ended = Vec::new();
        for (id, held) in self.held().drain() {
            let home = hears.then(|| held.subscription.place()).flatten();
            if self.hub.0.end(&held.subscription) {
                ended.extend(home.map(|home| (id, home)));
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        if !ended.is_empty() {
            let (hub, principal) = (self.hub.clone(), Arc::clone(&self.principal));
            self.hub.0.tasks.spawn(async move {
                for (id, (generation, shape)) in ended {
                    hub.0.tell_ended(&generation, &shape, &principal, &id).await;
                }
            });
        }
    }

    /// Lets replays go on that waited for room.
    pub(super) fn replay(&self, slots: &mut Vec<usize>) {
        let held = self.held();
        for slot in slots.drain(..) {
            if let Some(one) = held.values().find(|one| one.subscription.slot == slot && !one.subscription.has_ended()) {
                // The receiver ends with the hub, and then nothing is told to anyone.
                _ = self.hub.0.behind.send(Arc::clone(&one.subscription));
            }
        }
    }

    /// How far each subscription will have been heard when the client has what was taken by now.
    pub(super) fn sample(&self) -> Vec<(Arc<str>, Heard)> {
        let Some(mark) = self.hub.0.mark.load_full() else { return Vec::new() };
        // Asked before what was taken: whoever has another form by then has not taken that it must read again.
        let form = |(id, held): (&Arc<str>, &Held)| {
            let (_, shape) = held.subscription.place()?;
            Some((held.subscription.slot, (Arc::clone(id), shape.form)))
        };
        let mut forms: HashMap<usize, (Arc<str>, u64)> = self.held().iter().filter_map(form).collect();
        let taken = self.mailbox.taken(mark.told()).into_iter();
        // A place of another incarnation can't be told by this mark.
        let taken = taken.filter(|(_, place)| place.incarnation == mark.incarnation());
        let heard = taken.filter_map(|(slot, place)| {
            let (id, form) = forms.remove(&slot)?;
            Some((id, Heard { place, mark: Arc::clone(&mark), form }))
        });
        heard.collect()
    }

    /// What was sampled has been heard.
    pub(super) fn heard(&self, sampled: Vec<(Arc<str>, Heard)>) {
        let mut held = self.held();
        for (id, heard) in sampled {
            if let Some(one) = held.get_mut(&id)
                && one.heard.as_ref().is_none_or(|before| before.place <= heard.place)
            {
                one.heard = Some(heard);
            }
        }
    }

    /// The client says that everything up to a position of a subscription has reached it.
    pub(super) fn acknowledge(&self, id: &str, position: &Position) -> Result<(), Error> {
        let current = self.hub.0.mark.load_full();
        let mut held = self.held();
        let one = held.get_mut(id).ok_or_else(|| unknown_subscription(id))?;
        let (_, shape) = one.subscription.place().ok_or_else(|| unknown_subscription(id))?;
        let marks = [one.heard.as_ref().map(|heard| &heard.mark), current.as_ref()];
        let Some(mark) = marks.into_iter().flatten().find(|mark| **mark.epoch() == *position.epoch).cloned() else {
            let message = "the position is of another epoch; what was heard of that can't be resumed from";
            return Err(Error::new(Code::ResyncRequired, message).with_detail("epoch"));
        };
        let place = mark.at(position.offset);
        if one.heard.as_ref().is_some_and(|heard| place <= heard.place) {
            return Ok(());
        }
        // Asked after the form, as in a sample.
        let Some((after, _)) = self.mailbox.audible(one.subscription.slot).filter(|(_, last)| place <= *last) else {
            let message = "the subscription was not told anything of this position on this connection";
            return Err(Error::new(Code::InvalidMessage, message).with_detail("position"));
        };
        // Who has heard what came before it must read again may not have heard that.
        if place > after {
            one.heard = Some(Heard { place, mark, form: shape.form });
        }
        Ok(())
    }

    pub(super) fn session(&self) -> &Arc<str> {
        self.session.get_or_init(|| Uuid::new_v4().to_string().into())
    }

    /// Writes a part of the session as it is, and says whether the session is kept for this connection.
    pub(super) async fn write(&self, part: usize) -> bool {
        let mut keeping = self.keeping.lock().await;
        if keeping.takes(part) {
            let stored = self.stored_in(part);
            return keeping.write_part(self.keeper(), part, stored).await;
        }
        let stored = self.stored();
        keeping.write_whole(self.keeper(), stored).await
    }

    /// Writes the session as it is.
    pub(super) async fn write_whole(&self) {
        let mut keeping = self.keeping.lock().await;
        let stored = self.stored();
        keeping.write_whole(self.keeper(), stored).await;
    }

    /// Has the session written if that was long ago, or did not succeed; not by another task while one writes it.
    pub(super) fn write_now_and_then(self: &Arc<Self>) {
        let Ok(mut keeping) = Arc::clone(&self.keeping).try_lock_owned() else { return };
        if keeping.is_due(self.hub.0.kept.lifetime / 3) {
            let joined = Arc::clone(self);
            self.hub.0.tasks.spawn(async move {
                let stored = joined.stored();
                keeping.write_whole(joined.keeper(), stored).await;
            });
        }
    }

    /// Writes the session as it was when the connection ended, and says whether it is kept for whoever comes back with it.
    pub(super) async fn write_last(&self, stored: Vec<Vec<StoredSubscription>>) -> bool {
        self.keeping.lock().await.write_whole(self.keeper(), stored).await
    }

    fn keeper(&self) -> Keeper<'_> {
        Keeper { kept: &self.hub.0.kept, session: self.session(), identity: self.principal.identity() }
    }

    /// What there is to be kept, by parts.
    pub(super) fn stored(&self) -> Vec<Vec<StoredSubscription>> {
        let mut parts = Vec::new();
        for (id, held) in &*self.held() {
            if parts.len() <= held.part {
                parts.resize_with(held.part + 1, Vec::new);
            }
            parts[held.part].extend(held.stored(id));
        }
        parts
    }

    fn stored_in(&self, part: usize) -> Vec<StoredSubscription> {
        let held = self.held();
        held.iter().filter(|(_, held)| held.part == part).filter_map(|(id, held)| held.stored(id)).collect()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// As it is kept, unless it has ended.
    fn stored(&self, id: &str) -> Option<StoredSubscription> {
        (!self.subscription.has_ended()).then(|| StoredSubscription {
            id: id.to_owned(),
            said: self.subscription.asked.said.clone(),
            position: self.heard.as_ref().map(Heard::position),
            form: self.heard.as_ref().map(|heard| heard.form),
        })
    }
}

/// The first part of a session that takes a subscription that is said in so many bytes.
fn part_with_room(held: &HashMap<Arc<str>, Held>, bytes: usize) -> usize {
    let mut parts: Vec<usize> = Vec::new();
    for one in held.values() {
        if parts.len() <= one.part {
            parts.resize(one.part + 1, 0);
        }
        parts[one.part] += one.subscription.asked.said.len() + KEPT_BYTES;
    }
    let has_room = |taken: &usize| *taken == 0 || taken + bytes + KEPT_BYTES <= PART_BYTES;
    parts.iter().position(has_room).unwrap_or(parts.len())
}

/// The connection has no subscription with this id, or none any more.
pub(super) fn unknown_subscription(id: &str) -> Error {
    let message = "this connection has no subscription with this id; it may have ended";
    Error::new(Code::SubscriptionNotFound, message).with_detail(id.chars().take(80).collect::<String>())
}
