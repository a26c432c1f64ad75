//! A part of all records, and a session that is told of one part alone: what durable subscriptions are served from.
//!
//! Whoever serves a part has one session for it and every durable subscription in it, however many clients that are. How far all
//! of them are is one position: everything up to it has been taken.

use super::Hub;
use super::begin::{Begun, Known};
use super::catch_up::resync;
use super::generation::Subscription;
use super::mailbox::{Limits, Mailbox, Notification, Overflow};
use super::place::Place;
use super::text::Resync;
use crate::auth::Principal;
use crate::event::bus::Extent;
use crate::event::capture::Sight;
use crate::protocol::{Change, Code, Error, Position, Subscribe};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// One of the parts that all records are divided into, by a hash of what names a record. It is the same on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(u8);

impl Part {
    /// How many there are. With another number every record may have another part, so it never changes.
    pub const COUNT: u8 = 8;

    /// All of them.
    pub fn all() -> impl Iterator<Item = Part> {
        (0..Self::COUNT).map(Part)
    }

    /// The first, which says for all of them what is to be said once.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.0 == 0
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The part of the record that a change is about; none where the change does not say which record.
    #[must_use]
    pub fn of(change: &Change) -> Option<Part> {
        if change.key.is_empty() {
            return None;
        }
        let mut hash = Xxh3::new();
        for name in [&change.source, &change.schema, &change.entity] {
            hash.update(name.as_bytes());
            hash.update(&[0]);
        }
        for (column, value) in &change.key {
            hash.update(column.as_bytes());
            hash.update(&[0]);
            hash.update(value.to_string().as_bytes());
            hash.update(&[0]);
        }
        u8::try_from(hash.digest() % u64::from(Self::COUNT)).ok().map(Part)
    }
}

/// Where a durable subscription goes on.
pub struct GoesOn {
    /// Its id.
    pub id: Arc<str>,
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// What was asked for.
    pub asked: Subscribe,
    /// Everything up to here was told.
    pub after: Position,
    /// What its snapshot has shown, and need not be told.
    pub seen: Option<Sight>,
}

/// The session of a part. Cheap to clone; its subscriptions end when the last clone is dropped.
#[derive(Clone)]
pub struct PartSession(Arc<Inner>);

struct Inner {
    hub: Hub,
    mailbox: Arc<Mailbox>,
    held: Mutex<HashMap<Arc<str>, Arc<Subscription>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for (_, subscription) in self.held.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            self.hub.0.end(&subscription);
        }
    }
}

impl Hub {
    /// A session for what happens in one part, in which so many notifications of so many bytes may wait.
    #[must_use]
    pub fn join_part(&self, part: Part, notifications: usize, bytes: usize) -> PartSession {
        let mailbox = Mailbox::of_part(part, Limits { notifications, bytes }, self.0.couriers.here());
        PartSession(Arc::new(Inner { hub: self.clone(), mailbox: Arc::new(mailbox), held: Mutex::default() }))
    }

    /// Decides what a durable subscription may see, and where it begins, with a snapshot of at most so many bytes; what happens
    /// after that is told by whoever serves the parts.
    pub async fn begin_durable(
        &self,
        principal: &Arc<Principal>,
        asked: Subscribe,
        id: &str,
        most: usize,
    ) -> Result<(Begun, Option<Sight>), Error> {
        let settings = &self.0.parts.settings;
        let limits = Limits { notifications: settings.max_waiting, bytes: settings.max_waiting_bytes };
        // No part's, so that the rows are read under the eyes of an index; nothing is ever taken out of it.
        let mailbox = Arc::new(Mailbox::new(limits, self.0.couriers.here()));
        let known = Known { id: Some(id), most: Some(most), ..Known::default() };
        let (begun, unkept, _) = self.begin(principal, &mailbox, asked, known).await?;
        // For the hooks it goes on.
        if let Some(here) = unkept.keep() {
            self.0.end(&here);
        }
        let seen = begun.seen.clone();
        Ok((begun, seen))
    }

    /// What the bus has now.
    pub async fn extent(&self) -> Result<Extent, Error> {
        self.0.extent().await
    }

    /// How far everything is told, where changes can be followed.
    #[must_use]
    pub fn told(&self) -> Option<Position> {
        self.0.mark.load_full().map(|mark| mark.position(mark.told()))
    }
}

impl PartSession {
    /// Waits until there is something to tell, and appends all that there is by then, up to a bound.
    pub async fn next(&self, batch: &mut Vec<Notification>) -> Result<(), Overflow> {
        let mut resumed = Vec::new();
        loop {
            poll_fn(|context| self.0.mailbox.poll_take(context, batch, &mut resumed)).await?;
            let held = self.held();
            for slot in resumed.drain(..) {
                if let Some(one) = held.values().find(|one| one.slot == slot && !one.has_ended()) {
                    // The receiver ends with the hub, and then nothing is told to anyone.
                    _ = self.0.hub.0.behind.send(Arc::clone(one));
                }
            }
            drop(held);
            if !batch.is_empty() {
                return Ok(());
            }
        }
    }

    /// Goes on with a subscription. What can't be told any more is told as something to be read again.
    pub async fn go_on(&self, one: GoesOn, extent: &Extent) -> Result<(), Error> {
        let GoesOn { id, principal, asked, after, seen } = one;
        match self.begin(&id, &principal, asked.clone().resumed(after), seen, Some(extent)).await {
            Err(error) if error.code == Code::ResyncRequired => {}
            outcome => return outcome,
        }
        self.begin(&id, &principal, asked.anew(), None, None).await?;
        let found = self.held().get(&id).map(Arc::clone);
        if let (Some(subscription), Some(mark)) = (found, self.0.hub.0.mark.load_full()) {
            resync(&self.0.hub.0, &mark, &subscription, &subscription.home(), Resync::ChangesLost);
        }
        Ok(())
    }

    async fn begin(
        &self,
        id: &Arc<str>,
        principal: &Arc<Principal>,
        asked: Subscribe,
        seen: Option<Sight>,
        extent: Option<&Extent>,
    ) -> Result<(), Error> {
        let known = Known { id: Some(id), extent, seen, again: true, most: None };
        let (_, unkept, _) = self.0.hub.begin(principal, &self.0.mailbox, asked, known).await?;
        if let Some(subscription) = unkept.keep()
            && let Some(before) = self.held().insert(Arc::clone(id), subscription)
        {
            self.0.hub.0.end(&before);
        }
        Ok(())
    }

    /// Ends a subscription here, with all that waits of it.
    pub fn end(&self, id: &str) {
        let found = self.held().remove(id);
        if let Some(subscription) = found {
            self.0.hub.0.end(&subscription);
        }
    }

    /// Up to where everything that concerns the part has been taken; none while that can't be said.
    #[must_use]
    pub fn taken(&self) -> Option<Position> {
        let mark = self.0.hub.0.mark.load_full()?;
        let place: Place = self.0.mailbox.all_taken(mark.told());
        (place.incarnation == mark.incarnation()).then(|| mark.position(place))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Subscription>>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ChangeOperation;
    use serde_json::{Map, json};

    fn change(entity: &str, key: &serde_json::Value) -> Change {
        let key: Map<String, serde_json::Value> = key.as_object().unwrap().clone();
        Change {
            id: String::new(),
            source: "shop".to_owned(),
            schema: "public".to_owned(),
            entity: entity.to_owned(),
            table: String::new(),
            serving: String::new(),
            operation: ChangeOperation::Update,
            key,
            before: None,
            after: None,
            changed: Vec::new(),
            transaction: None,
            user: None,
            tenant: None,
            occurred_at: String::new(),
        }
    }

    #[test]
    fn every_record_has_one_part_and_records_are_spread() {
        let mut counts = [0; Part::COUNT as usize];
        for id in 0..800 {
            let part = Part::of(&change("items", &json!({ "id": id }))).unwrap();
            assert_eq!(Some(part), Part::of(&change("items", &json!({ "id": id }))));
            counts[usize::from(part.number())] += 1;
        }
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
        assert_eq!(Part::of(&change("items", &json!({}))), None);
        // Leases outlive versions of the program.
        assert_eq!(Part::of(&change("items", &json!({"id": 1}))).map(Part::number), Some(PART_OF_ONE));
    }

    const PART_OF_ONE: u8 = 4;
}
