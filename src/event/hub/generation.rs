//! Everyone who subscribed under one catalog, by what they are told.
//!
//! Usually there is one. While another catalog takes over there are two, and each subscription is in the one or the
//! other, or for a moment in both; a mailbox drops what it was told already.

use super::captured::Captured;
use super::courier::Courier;
use super::mailbox::{Lane, Mailbox, Outcome, Told};
use super::part::Part;
use super::shape::Shape;
use crate::auth::Principal;
use crate::catalog::{Catalog, EntityId};
use crate::engine::Current;
use crate::event::matcher::{Index, Ticket};
use crate::protocol::Subscribe;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A subscription, as it was asked for, and where it is told.
pub(super) struct Subscription {
    pub(super) asked: Arc<Subscribe>,
    pub(super) principal: Arc<Principal>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) slot: usize,
    home: Mutex<Home>,
}

/// Where a subscription is matched.
pub(super) enum Home {
    /// Not yet.
    None,
    /// Under a catalog.
    Of(Arc<Generation>, Arc<Shape>),
    /// Never again.
    Ended,
}

/// Subscriptions with the same shape.
pub(super) struct Audience {
    pub(super) shape: Arc<Shape>,
    members: Mutex<Vec<Arc<Subscription>>>,
}

/// Subscriptions under one catalog.
pub(super) struct Generation {
    pub(super) current: Arc<Current>,
    pub(super) captured: Captured,
    pub(super) index: Index<Arc<Audience>>,
    entities: Box<[Followed]>,
}

#[derive(Default)]
struct Followed {
    count: AtomicUsize,
    audiences: Mutex<Audiences>,
}

#[derive(Default)]
struct Audiences {
    retired: bool,
    by_shape: HashMap<Arc<Shape>, Indexed>,
}

/// An audience, and what takes it out of the index again.
type Indexed = (Arc<Audience>, Ticket<Arc<Audience>>);

/// Another catalog has taken over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retired;

impl Subscription {
    pub(super) fn new(asked: Arc<Subscribe>, principal: Arc<Principal>, mailbox: Arc<Mailbox>, slot: usize) -> Self {
        Self { asked, principal, mailbox, slot, home: Mutex::new(Home::None) }
    }

    /// Where it is matched; held while it moves.
    pub(super) fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds its first home. Whoever moves it on waits until it has.
    pub(super) fn settle_in(self: &Arc<Self>, generation: &Arc<Generation>, shape: Arc<Shape>) -> Result<(), Retired> {
        let mut home = self.home();
        generation.insert(&shape, Arc::clone(self))?;
        *home = Home::Of(Arc::clone(generation), shape);
        Ok(())
    }

    /// Ends it. Whatever is told from now on does not reach it.
    pub(super) fn end(&self) -> bool {
        let home = std::mem::replace(&mut *self.home(), Home::Ended);
        let ended = !matches!(home, Home::Ended);
        if let Home::Of(generation, shape) = home {
            generation.remove(&shape, self);
        }
        // Also of one that has ended before; what is told of that does not matter any more.
        self.mailbox.close(self.slot);
        ended
    }

    /// Under which catalog it is matched, and as what; none before it has begun and after it has ended.
    pub(super) fn place(&self) -> Option<(Arc<Generation>, Arc<Shape>)> {
        match &*self.home() {
            Home::Of(generation, shape) => Some((Arc::clone(generation), Arc::clone(shape))),
            Home::None | Home::Ended => None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.home(), Home::Ended)
    }
}

impl Audience {
    /// Tells everyone, and hands on whoever must be woken. Answers to how many it was told.
    pub(super) fn tell(&self, lane: Lane, told: &Told<'_>, woken: &mut Woken) -> usize {
        let mut count = 0;
        for member in &*self.members() {
            count += woken.note(member, member.mailbox.tell(member.slot, lane, told));
        }
        count
    }

    /// Whether anyone is told of a part.
    pub(super) fn wants(&self, part: Option<Part>) -> bool {
        self.members().iter().any(|member| member.mailbox.wants(part))
    }

    /// Tells everyone something that holds however far they are.
    pub(super) fn restart(&self, told: &Told<'_>, woken: &mut Woken) -> usize {
        let mut count = 0;
        for member in &*self.members() {
            count += woken.note(member, member.mailbox.restart(member.slot, told));
        }
        count
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Subscription>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    pub(super) fn new(current: Arc<Current>) -> Self {
        let catalog = &current.served().catalog;
        let entities = catalog.entities().iter().map(|_| Followed::default()).collect();
        Self { captured: Captured::default(), index: Index::new(catalog), entities, current }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.current.served().catalog
    }

    /// Adds a subscription, unless another catalog has taken over.
    pub(super) fn insert(&self, shape: &Arc<Shape>, member: Arc<Subscription>) -> Result<(), Retired> {
        let Some(followed) = self.entities.get(shape.entity().index()) else { return Err(Retired) };
        let mut audiences = followed.audiences();
        if audiences.retired {
            return Err(Retired);
        }
        if let Some((audience, _)) = audiences.by_shape.get(shape) {
            audience.members().push(member);
        } else {
            let audience = Arc::new(Audience { shape: Arc::clone(shape), members: Mutex::new(vec![member]) });
            let ticket = self.index.insert(shape.filter.clone(), Arc::clone(&audience));
            audiences.by_shape.insert(Arc::clone(shape), (audience, ticket));
        }
        followed.count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Takes a subscription out.
    pub(super) fn remove(&self, shape: &Arc<Shape>, member: &Subscription) {
        let Some(followed) = self.entities.get(shape.entity().index()) else { return };
        let mut audiences = followed.audiences();
        let Some((audience, _)) = audiences.by_shape.get(shape) else { return };
        let mut members = audience.members();
        let Some(place) = members.iter().position(|other| std::ptr::eq(&raw const **other, member)) else { return };
        members.swap_remove(place);
        let last = members.is_empty();
        drop(members);
        if last && let Some((_, ticket)) = audiences.by_shape.remove(shape) {
            self.index.remove(ticket);
        }
        followed.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether anybody follows an entity. Asked after a change was begun, it does not miss who subscribed before.
    pub(super) fn is_followed(&self, entity: EntityId) -> bool {
        self.entities.get(entity.index()).is_some_and(|followed| followed.count.load(Ordering::SeqCst) > 0)
    }

    /// Everyone who follows an entity.
    pub(super) fn audiences(&self, entity: EntityId) -> Vec<Arc<Audience>> {
        let Some(followed) = self.entities.get(entity.index()) else { return Vec::new() };
        followed.audiences().by_shape.values().map(|(audience, _)| Arc::clone(audience)).collect()
    }

    /// Every subscription to an entity.
    pub(super) fn followers(&self, entity: EntityId) -> Vec<Arc<Subscription>> {
        self.audiences(entity).iter().flat_map(|audience| audience.members().clone()).collect()
    }

    /// Takes no more subscriptions, and answers those that it has.
    pub(super) fn retire(&self) -> Vec<Arc<Subscription>> {
        let mut all = Vec::new();
        for followed in &self.entities {
            let mut audiences = followed.audiences();
            audiences.retired = true;
            for (audience, _) in audiences.by_shape.values() {
                all.extend(audience.members().iter().cloned());
            }
        }
        all
    }
}

impl Followed {
    fn audiences(&self) -> MutexGuard<'_, Audiences> {
        self.audiences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections that something was put before, each to be woken once.
#[derive(Default)]
pub(super) struct Woken {
    mailboxes: Vec<(Arc<Courier>, Vec<Arc<Mailbox>>)>,
    pub(super) overflows: usize,
    pub(super) pauses: usize,
}

impl Woken {
    fn note(&mut self, member: &Subscription, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Passed => 0,
            Outcome::Pauses => {
                self.pauses += 1;
                0
            }
            Outcome::Queued => 1,
            Outcome::Wakes => {
                self.add(&member.mailbox);
                1
            }
            Outcome::Overflows => {
                self.overflows += 1;
                self.add(&member.mailbox);
                0
            }
        }
    }

    /// Tells one subscription something that holds however far it is.
    pub(super) fn restart(&mut self, member: &Subscription, told: &Told<'_>) {
        self.note(member, member.mailbox.restart(member.slot, told));
    }

    /// Tells one subscription the last that it hears.
    pub(super) fn last(&mut self, member: &Subscription, told: &Told<'_>) {
        self.note(member, member.mailbox.finish(member.slot, told));
    }

    fn add(&mut self, mailbox: &Arc<Mailbox>) {
        // There are as many couriers as cores.
        let known = self.mailboxes.iter().position(|(courier, _)| Arc::ptr_eq(courier, mailbox.courier()));
        let place = known.unwrap_or_else(|| {
            self.mailboxes.push((Arc::clone(mailbox.courier()), Vec::new()));
            self.mailboxes.len() - 1
        });
        self.mailboxes[place].1.push(Arc::clone(mailbox));
    }

    /// Has them woken; whoever is left is woken when this is dropped.
    pub(super) fn wake(&mut self) {
        for (courier, mut mailboxes) in self.mailboxes.drain(..) {
            courier.hand(&mut mailboxes);
        }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.wake();
    }
}
