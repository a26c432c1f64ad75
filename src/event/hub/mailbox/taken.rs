//! What the connection has taken: how far its client can be, and how far it can go on from when it comes back.
//!
//! Who has not taken yet that it must read again is nowhere: from any place that is known of it, it would go on without that.

use super::{Mailbox, Place, Slot, Stage};

impl Mailbox {
    /// Up to where each subscription has nothing more to hear, given that the hub has told everything up to a place. Nothing is
    /// known of one that has not taken yet that it must read again.
    pub(in crate::event::hub) fn taken(&self, told: Place) -> Vec<(usize, Place)> {
        let inner = self.inner();
        if inner.overflown {
            return Vec::new();
        }
        let mut waits = vec![false; inner.slots.len()];
        for waiting in inner.queue.iter().flatten() {
            waits[waiting.slot] = true;
        }
        let slots = inner.slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.as_ref()?)));
        let taken = slots.filter_map(|(number, slot)| match slot.stage {
            Stage::Ended => None,
            _ if waits[number] => (!slot.owes()).then_some((number, slot.taken)),
            Stage::Behind { .. } => Some((number, slot.taken.max(slot.after))),
            Stage::Live => Some((number, slot.after.max(told))),
        });
        taken.collect()
    }

    /// Up to where everything has been taken or concerns nobody here, given that the hub has told everything up to a place.
    pub(in crate::event::hub) fn all_taken(&self, told: Place) -> Place {
        let inner = self.inner();
        if inner.overflown {
            return Place::default();
        }
        let before = |place: Place| Place { offset: place.offset.saturating_sub(1), ..place };
        let waits = inner.queue.iter().flatten().map(|waiting| match inner.slots.get(waiting.slot) {
            // Whoever goes on from a place after this would not know that there is something to read again.
            Some(Some(slot)) if slot.owes() => Place::default(),
            _ => before(waiting.place),
        });
        let behind = inner.slots.iter().flatten().filter_map(|slot| match slot.stage {
            Stage::Behind { .. } => Some(slot.after),
            Stage::Live | Stage::Ended => None,
        });
        waits.chain(behind).fold(told, Place::min)
    }

    /// What a client can have heard of a subscription: something after the first place, and nothing after the second.
    pub(in crate::event::hub) fn audible(&self, slot: usize) -> Option<(Place, Place)> {
        self.inner().slot(slot).map(|slot| (slot.again.unwrap_or_default(), slot.taken))
    }
}

impl Slot {
    /// Whether it has not taken yet that it must read again.
    fn owes(&self) -> bool {
        self.again.is_some_and(|again| self.taken <= again)
    }
}
