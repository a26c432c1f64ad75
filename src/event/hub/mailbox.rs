//! What waits to be told to one connection: a bounded queue, and how far each of its subscriptions is.
//!
//! The hub puts in and the connection takes out; nobody waits for the other. A queue that is full ends the connection,
//! which can resume elsewhere. The lock is held for a push or a take and never while anything is awaited.

mod conflate;
mod taken;

use super::courier::Courier;
use super::part::Part;
use super::place::Place;
use crate::event::capture::{Origin, Sight};
use bytes::Bytes;
use conflate::{Latest, merged};
use futures_util::task::AtomicWaker;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// One notification. Its text is the same for everyone but for the subscription's id, which comes before the `tail`.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Whom it is for.
    pub subscription_id: Arc<str>,
    /// The text after `{"type":"notification","subscription_id":"<id>",`.
    pub tail: Bytes,
}

/// The queue has become too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// What is told at a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'t> {
    pub(super) place: Place,
    /// What of the database it was made of.
    pub(super) origin: Option<Origin>,
    /// The part of the record; none is told to all.
    pub(super) part: Option<Part>,
    /// The record, for who keeps only the latest of each.
    pub(super) key: &'t str,
    pub(super) tail: &'t Bytes,
    /// So many bytes of the tail say what happened; the rest says to what.
    pub(super) head: usize,
}

/// Which way something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// As it happens.
    Live,
    /// From what the bus kept, for who is behind; in the replay with this number.
    Replay(u64),
}

/// What came of telling something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is not for this subscription, or not now.
    Passed,
    /// It waits behind others.
    Queued,
    /// It waits, and the connection must be woken.
    Wakes,
    /// Too much waits; the connection must be woken to end.
    Overflows,
    /// Too much waits to replay more; the connection asks again when it does not.
    Pauses,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) notifications: usize,
    pub(super) bytes: usize,
}

/// One connection's queue.
pub(super) struct Mailbox {
    inner: Mutex<Inner>,
    waker: AtomicWaker,
    limits: Limits,
    /// Wakes the connection.
    courier: Arc<Courier>,
    /// The only part of which anything is told here.
    part: Option<Part>,
}

#[derive(Default)]
struct Inner {
    /// What waits; an empty place was overtaken by a later one.
    queue: VecDeque<Option<Waiting>>,
    /// The number of the first in the queue.
    first: u64,
    count: usize,
    bytes: usize,
    slots: Vec<Option<Slot>>,
    /// The empty places among them; a part has very many, and all of them are begun one after the other.
    free: BTreeSet<usize>,
    overflown: bool,
    /// Slots whose replay waits for room.
    paused: Vec<usize>,
}

struct Waiting {
    slot: usize,
    place: Place,
    /// The record, if its subscription conflates.
    key: Option<Box<str>>,
    notification: Notification,
}

/// How far a subscription is.
struct Slot {
    id: Arc<str>,
    /// Everything up to here is told, or need not be.
    after: Place,
    /// Everything up to here has been taken by the connection.
    taken: Place,
    /// The last that was told.
    told: Place,
    /// It must read again, which nothing that was told up to here answers; none if it was never told so.
    again: Option<Place>,
    stage: Stage,
    /// What the snapshot has shown.
    seen: Option<Sight>,
    /// For who conflates: what waits of each record, by its number.
    latest: Latest,
}

enum Stage {
    Live,
    /// What happens now is only noted: it will be replayed, by the replay that has begun for it.
    Behind {
        noted: Place,
        replay: Option<u64>,
    },
    /// Nothing is told any more.
    Ended,
}

/// What a notification takes beside its text, roughly.
const OVERHEAD: usize = 64;

/// The most that is taken at once; the rest follows when that is written.
const BATCH_BYTES: usize = 64 * 1024;

impl Mailbox {
    pub(super) fn new(limits: Limits, courier: Arc<Courier>) -> Self {
        Self { inner: Mutex::default(), waker: AtomicWaker::new(), limits, courier, part: None }
    }

    /// For what happens in one part.
    pub(super) fn of_part(part: Part, limits: Limits, courier: Arc<Courier>) -> Self {
        Self { part: Some(part), ..Self::new(limits, courier) }
    }

    pub(super) fn is_of_part(&self) -> bool {
        self.part.is_some()
    }

    /// Whether what happens in a part is told here; in none is in all.
    pub(super) fn wants(&self, part: Option<Part>) -> bool {
        self.part.is_none() || part.is_none() || self.part == part
    }

    pub(super) fn courier(&self) -> &Arc<Courier> {
        &self.courier
    }

    /// Makes a place for a subscription, which is behind or not.
    pub(super) fn open(&self, id: Arc<str>, behind: bool, conflates: bool) -> usize {
        let stage = if behind { Stage::Behind { noted: Place::default(), replay: None } } else { Stage::Live };
        let latest = Latest::new(conflates);
        let [after, taken, told] = [Place::default(); 3];
        let slot = Slot { id, after, taken, told, again: None, stage, seen: None, latest };
        let mut inner = self.inner();
        if let Some(free) = inner.free.pop_first() {
            inner.slots[free] = Some(slot);
            return free;
        }
        inner.slots.push(Some(slot));
        inner.slots.len() - 1
    }

    /// Whose place it is.
    pub(super) fn id(&self, slot: usize) -> Option<Arc<str>> {
        self.inner().slot(slot).map(|slot| Arc::clone(&slot.id))
    }

    /// Gives the place back, with all that waits there.
    pub(super) fn close(&self, slot: usize) {
        let mut inner = self.inner();
        inner.drop_waiting(slot, |_| true);
        inner.paused.retain(|paused| *paused != slot);
        inner.slots[slot] = None;
        inner.free.insert(slot);
        while inner.slots.last().is_some_and(Option::is_none) {
            inner.slots.pop();
            let last = inner.slots.len();
            inner.free.remove(&last);
        }
    }

    /// Says that everything up to a place need not be told. It is never behind what it has said before.
    pub(super) fn settle(&self, slot: usize, place: Place) {
        let mut inner = self.inner();
        let Some(state) = inner.slot(slot) else { return };
        // Another catalog may have come since it is there. That it has ended, or must read again, stands.
        if state.again.is_some() || matches!(state.stage, Stage::Ended) {
            return;
        }
        state.after = state.after.max(place);
        state.taken = state.taken.max(place);
        inner.drop_waiting(slot, |waiting| waiting.place <= place);
    }

    /// Says what a snapshot has shown, and with that need not be told.
    pub(super) fn has_seen(&self, slot: usize, seen: Sight) {
        if let Some(slot) = self.inner().slot(slot) {
            slot.seen = Some(seen);
        }
    }

    /// A replay begins for a subscription that is behind. Answers the place from which it must.
    pub(super) fn begin_replay(&self, slot: usize, number: u64) -> Option<Place> {
        let mut inner = self.inner();
        let state = inner.slot(slot)?;
        let Stage::Behind { replay, .. } = &mut state.stage else { return None };
        *replay = Some(number);
        Some(state.after)
    }

    /// Whether a replay still is for a subscription; not if it waits for room, or has ended.
    pub(super) fn is_replayed(&self, slot: usize, number: u64) -> bool {
        let mut inner = self.inner();
        inner.slot(slot).is_some_and(|slot| matches!(slot.stage, Stage::Behind { replay: Some(own), .. } if own == number))
    }

    /// A replay, or none, has reached a place. `false` says that more has happened since, which must be replayed too.
    pub(super) fn catch_up(&self, slot: usize, number: Option<u64>, reached: Place) -> bool {
        let mut inner = self.inner();
        let Some(state) = inner.slot(slot) else { return true };
        match state.stage {
            Stage::Behind { replay, noted } if replay == number => {
                state.after = state.after.max(reached);
                if noted > state.after {
                    return false;
                }
                state.stage = Stage::Live;
                true
            }
            // It waits for room, or another replay has begun since.
            Stage::Behind { .. } | Stage::Live | Stage::Ended => true,
        }
    }

    /// Tells a subscription something.
    pub(super) fn tell(&self, slot: usize, lane: Lane, told: &Told<'_>) -> Outcome {
        if !self.wants(told.part) {
            return Outcome::Passed;
        }
        let mut inner = self.inner();
        let crowded = inner.count * 2 >= self.limits.notifications || inner.bytes * 2 >= self.limits.bytes;
        let Some(state) = inner.slot(slot) else { return Outcome::Passed };
        if told.place <= state.after {
            return Outcome::Passed;
        }
        match (&mut state.stage, lane) {
            (Stage::Behind { noted, .. }, Lane::Live) => {
                *noted = told.place.max(*noted);
                return Outcome::Passed;
            }
            (Stage::Behind { replay, .. }, Lane::Replay(number)) if *replay == Some(number) => {
                if crowded {
                    *replay = None;
                    inner.paused.push(slot);
                    return Outcome::Pauses;
                }
            }
            (Stage::Ended, _) | (Stage::Live | Stage::Behind { .. }, Lane::Replay(_)) => return Outcome::Passed,
            (Stage::Live, Lane::Live) => {}
        }
        state.after = told.place;
        if let (Some(seen), Some(origin)) = (&state.seen, told.origin) {
            if seen.has(origin) {
                return Outcome::Passed;
            }
            if seen.is_before(origin) {
                state.seen = None;
            }
        }
        inner.push(slot, told, self.limits)
    }

    /// What a snapshot has shown says nothing of what is told from now on.
    pub(super) fn forget_seen(&self, slot: usize) {
        if let Some(slot) = self.inner().slot(slot) {
            slot.seen = None;
        }
    }

    /// Tells a subscription something that holds from a place on, whatever it was told and however far it is behind. What its
    /// snapshot has shown is in what it reads hereafter too, unless the bus was made anew meanwhile, and maybe the database.
    pub(super) fn restart(&self, slot: usize, told: &Told<'_>) -> Outcome {
        let mut inner = self.inner();
        let Some(state) = inner.slot(slot) else { return Outcome::Passed };
        if matches!(state.stage, Stage::Ended) {
            return Outcome::Passed;
        }
        if told.place.incarnation != state.after.incarnation {
            state.seen = None;
        }
        state.stage = Stage::Live;
        state.after = told.place;
        (state.again, state.taken) = (Some(state.told), state.told);
        inner.push(slot, told, self.limits)
    }

    /// Tells a subscription the last that it hears.
    pub(super) fn finish(&self, slot: usize, told: &Told<'_>) -> Outcome {
        let mut inner = self.inner();
        let Some(state) = inner.slot(slot) else { return Outcome::Passed };
        state.stage = Stage::Ended;
        inner.push(slot, told, self.limits)
    }

    /// Gives a place back if nothing waits there.
    pub(super) fn close_if_told(&self, slot: usize) -> bool {
        let waits = self.inner().queue.iter().flatten().any(|waiting| waiting.slot == slot);
        if !waits {
            self.close(slot);
        }
        !waits
    }

    /// Wakes the connection; its courier does it.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Takes what waits, up to a bound, and the slots whose replay can go on.
    pub(super) fn poll_take(
        &self,
        context: &mut Context<'_>,
        batch: &mut Vec<Notification>,
        resumed: &mut Vec<usize>,
    ) -> Poll<Result<(), Overflow>> {
        self.waker.register(context.waker());
        let mut inner = self.inner();
        if inner.overflown {
            return Poll::Ready(Err(Overflow));
        }
        inner.take(batch);
        if inner.count * 4 <= self.limits.notifications && inner.bytes * 4 <= self.limits.bytes {
            resumed.append(&mut inner.paused);
        }
        if batch.is_empty() && resumed.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Whether too much waits, for who takes nothing now.
    pub(super) fn poll_overflow(&self, context: &mut Context<'_>) -> Poll<Overflow> {
        self.waker.register(context.waker());
        if self.inner().overflown { Poll::Ready(Overflow) } else { Poll::Pending }
    }

    /// The lock. Nothing that holds it can panic half-way, so what a poisoned lock guards is whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn slot(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots.get_mut(slot).and_then(Option::as_mut)
    }

    fn push(&mut self, number: usize, told: &Told<'_>, limits: Limits) -> Outcome {
        if self.overflown {
            return Outcome::Passed;
        }
        let next = self.first + self.queue.len() as u64;
        let Some(slot) = self.slots.get_mut(number).and_then(Option::as_mut) else { return Outcome::Passed };
        let mut tail = told.tail.clone();
        if let Some(before) = slot.latest.wait(told.key, next)
            && let Some(place) = before.checked_sub(self.first).and_then(|place| usize::try_from(place).ok())
            && let Some(overtaken) = self.queue.get_mut(place).and_then(Option::take)
        {
            self.count -= 1;
            self.bytes -= overtaken.notification.tail.len() + OVERHEAD;
            tail = merged(&overtaken.notification.tail, told);
        }
        let key = slot.latest.remembered(told.key);
        slot.told = slot.told.max(told.place);
        let was_empty = self.count == 0;
        self.count += 1;
        self.bytes += tail.len() + OVERHEAD;
        let notification = Notification { subscription_id: Arc::clone(&slot.id), tail };
        self.queue.push_back(Some(Waiting { slot: number, place: told.place, key, notification }));
        if self.count > limits.notifications || self.bytes > limits.bytes {
            self.overflown = true;
            self.clear();
            return Outcome::Overflows;
        }
        self.compact();
        if was_empty { Outcome::Wakes } else { Outcome::Queued }
    }

    fn take(&mut self, batch: &mut Vec<Notification>) {
        let mut taken = 0;
        while taken < BATCH_BYTES
            && let Some(next) = self.queue.pop_front()
        {
            let number = self.first;
            self.first += 1;
            let Some(waiting) = next else { continue };
            if let Some(slot) = self.slot(waiting.slot) {
                slot.taken = slot.taken.max(waiting.place);
                waiting.key.iter().for_each(|key| slot.latest.taken(key, number));
            }
            let bytes = waiting.notification.tail.len() + OVERHEAD;
            taken += bytes;
            self.bytes -= bytes;
            self.count -= 1;
            batch.push(waiting.notification);
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    fn drop_waiting(&mut self, slot: usize, drops: impl Fn(&Waiting) -> bool) {
        for (number, place) in (self.first..).zip(&mut self.queue) {
            if let Some(waiting) = place.take_if(|waiting| waiting.slot == slot && drops(waiting)) {
                self.count -= 1;
                self.bytes -= waiting.notification.tail.len() + OVERHEAD;
                if let (Some(key), Some(slot)) = (&waiting.key, self.slots.get_mut(slot).and_then(Option::as_mut)) {
                    slot.latest.taken(key, number);
                }
            }
        }
    }

    /// Empty places are as many as records that were overtaken; they go when they are the most.
    fn compact(&mut self) {
        if self.queue.len() < 64 || self.queue.len() < self.count * 2 {
            return;
        }
        self.first += self.queue.len() as u64;
        self.queue.retain(Option::is_some);
        for (number, waiting) in (self.first..).zip(self.queue.iter().flatten()) {
            if let Some(key) = &waiting.key
                && let Some(slot) = self.slots.get_mut(waiting.slot).and_then(Option::as_mut)
            {
                slot.latest.renumber(key, number);
            }
        }
    }

    fn clear(&mut self) {
        self.first += self.queue.len() as u64;
        self.queue = VecDeque::new();
        (self.count, self.bytes) = (0, 0);
        for slot in self.slots.iter_mut().flatten() {
            slot.latest.clear();
        }
    }
}

#[cfg(test)]
mod tests;
