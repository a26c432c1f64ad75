//! What a connection and its requests share: its subscriptions, how far each was heard, and the session that keeps them.

use super::Hub;
use super::begin::{Begun, Heard};
use super::catch_up::resync;
use super::generation::Subscription;
use super::kept::{Stored, StoredSubscription, Written, identity};
use super::mailbox::Mailbox;
use crate::auth::Principal;
use crate::protocol::{Code, Error, Position, Subscribe};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::time::Instant;
use uuid::Uuid;

/// What a connection and its requests share.
pub(super) struct Joined {
    pub(super) hub: Hub,
    pub(super) principal: Arc<Principal>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) count: Arc<AtomicUsize>,
    pub(super) held: Mutex<HashMap<Arc<str>, Held>>,
    pub(super) session: OnceLock<Arc<str>>,
    pub(super) connection: Uuid,
    /// What is known of the session in the bucket; taken by whoever writes it.
    pub(super) keeping: tokio::sync::Mutex<Keeping>,
}

pub(super) struct Held {
    pub(super) subscription: Arc<Subscription>,
    pub(super) heard: Heard,
}

/// What a connection knows of its session in the bucket.
#[derive(Default)]
pub(super) struct Keeping {
    pub(super) revision: Option<u64>,
    written_at: Option<Instant>,
    /// Another connection has it.
    taken: bool,
}

impl Joined {
    pub(super) async fn begin(&self, asked: Subscribe, id: Option<&str>) -> Result<Begun, Error> {
        let (begun, unkept, heard) = self.hub.0.begin(&self.principal, &self.mailbox, asked, id).await?;
        if let Some(subscription) = unkept.keep() {
            self.held().insert(Arc::clone(&begun.subscription_id), Held { subscription, heard });
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(begun)
    }

    pub(super) async fn restore(&self, stored: &StoredSubscription) -> Result<Begun, Error> {
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

    pub(super) fn end_all(&self) {
        for (_, held) in self.held().drain() {
            self.hub.0.end(&held.subscription);
            self.count.fetch_sub(1, Ordering::Relaxed);
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

    pub(super) fn heard(&self, sampled: &[(usize, Heard)]) {
        let by_slot: HashMap<usize, &Heard> = sampled.iter().map(|(slot, heard)| (*slot, heard)).collect();
        for held in self.held().values_mut() {
            // A slot may have another subscription by now, which began later.
            if let Some(heard) = by_slot.get(&held.subscription.slot).filter(|heard| heard.0 > held.heard.0) {
                held.heard = (*heard).clone();
            }
        }
    }

    /// The client says that everything up to a position of a subscription has reached it.
    pub(super) fn acknowledge(&self, id: &str, position: &Position) -> Result<(), Error> {
        let current = self.hub.0.mark.load_full();
        let mut held = self.held();
        let one = held.get_mut(id).filter(|one| !one.subscription.has_ended()).ok_or_else(|| unknown_subscription(id))?;
        let marks = [Some(&one.heard.1), current.as_ref()];
        let Some(mark) = marks.into_iter().flatten().find(|mark| **mark.epoch() == *position.epoch).cloned() else {
            let message = "the position is of another epoch; what was heard of that can't be resumed from";
            return Err(Error::new(Code::ResyncRequired, message).with_detail("epoch"));
        };
        let place = mark.at(position.offset);
        if place <= one.heard.0 {
            return Ok(());
        }
        if self.mailbox.taken_by(one.subscription.slot).is_none_or(|taken| place > taken) {
            let message = "the subscription was not told anything of this position on this connection";
            return Err(Error::new(Code::InvalidMessage, message).with_detail("position"));
        }
        one.heard = (place, mark);
        Ok(())
    }

    pub(super) fn session(&self) -> &Arc<str> {
        self.session.get_or_init(|| Uuid::new_v4().to_string().into())
    }

    /// Writes the session as it is, and says whether it is kept for this connection.
    pub(super) async fn write(&self) -> bool {
        let mut keeping = self.keeping.lock().await;
        let stored = self.stored();
        self.keep(&mut keeping, &stored).await
    }

    /// Writes the session if that was long ago.
    pub(super) async fn write_now_and_then(&self) {
        let often = self.hub.0.kept.lifetime / 3;
        let mut keeping = self.keeping.lock().await;
        if keeping.written_at.is_some_and(|at| at.elapsed() >= often) {
            let stored = self.stored();
            self.keep(&mut keeping, &stored).await;
        }
    }

    /// Writes the session as it was when the connection ended.
    pub(super) async fn write_last(&self, stored: &Stored) {
        let mut keeping = self.keeping.lock().await;
        self.keep(&mut keeping, stored).await;
    }

    async fn keep(&self, keeping: &mut Keeping, stored: &Stored) -> bool {
        if keeping.taken {
            return false;
        }
        match self.hub.0.kept.write(self.session(), stored, keeping.revision).await {
            Ok(Written::Kept(revision)) => {
                *keeping = Keeping { revision: Some(revision), written_at: Some(Instant::now()), taken: false };
                true
            }
            Ok(Written::Taken) => {
                keeping.taken = true;
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a session can't be kept");
                false
            }
        }
    }

    pub(super) fn stored(&self) -> Stored {
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

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection has no subscription with this id, or none any more.
pub(super) fn unknown_subscription(id: &str) -> Error {
    let message = "this connection has no subscription with this id; it may have ended";
    Error::new(Code::SubscriptionNotFound, message).with_detail(id.chars().take(80).collect::<String>())
}
