//! Up to where everything of a broker is told, whichever part it is of: where a client goes on that has lost what its broker kept.
//!
//! It is read off the leases, so that it is a moment behind and never ahead.

use super::lease::{Lease, Unit};
use super::roll::Seen;
use crate::event::hub::Part;
use crate::protocol::Position;
use std::collections::HashMap;

/// How far the part is that is behind all others.
#[derive(Default)]
pub(super) struct Complete {
    /// None before every part is in the same epoch.
    position: Option<Position>,
    /// Of the subscriptions that were kept up to this revision.
    covers: u64,
}

impl Complete {
    pub(super) fn of(leases: &HashMap<Unit, Seen<Lease>>) -> Self {
        if leases.len() < usize::from(Part::COUNT) {
            return Self::default();
        }
        let progress = || leases.values().map(|lease| &lease.value.progress);
        let last = progress().filter_map(|progress| progress.position.as_ref()).min_by_key(|position| position.offset);
        let is_of_all = |position: &&Position| {
            progress().all(|progress| progress.position.as_ref().is_some_and(|other| other.epoch == position.epoch))
        };
        Self { position: last.filter(is_of_all).cloned(), covers: progress().map(|progress| progress.covers).min().unwrap_or(0) }
    }

    /// The offset up to which a subscription that was kept under that revision was told everything, as it is told something at a
    /// position.
    pub(super) fn before(&self, told: &Position, began: &Position, since: u64) -> u64 {
        let offset = |position: &Position| if position.epoch == told.epoch { position.offset } else { 0 };
        let all = self.position.as_ref().filter(|_| since <= self.covers).map_or(0, offset);
        offset(began).max(all).min(told.offset)
    }

    /// Where a subscription that was kept under that revision begins anew at a position, if it is to miss nothing that it was
    /// not told yet.
    pub(super) fn anew(&self, now: &Position, began: &Position, since: u64) -> Position {
        match self.before(now, began, since) {
            // Nothing is known of what it was told.
            0 => began.clone(),
            offset => Position { offset, ..now.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::mqtt::durable::lease::Progress;
    use std::sync::Arc;
    use tokio::time::Instant;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.to_owned(), offset }
    }

    fn leases(positions: &[Option<Position>]) -> HashMap<Unit, Seen<Lease>> {
        let lease = |(part, position): (Part, &Option<Position>)| {
            let progress = Progress { position: position.clone(), covers: 10 + u64::from(part.number()) };
            let value = Lease { progress, ..Lease::default() };
            (Unit { broker: Arc::from("b"), part }, Seen { value, revision: 1, at: Instant::now() })
        };
        Part::all().zip(positions).map(lease).collect()
    }

    #[test]
    fn the_part_that_is_behind_all_others_counts() {
        let mut positions: Vec<_> = (0..Part::COUNT).map(|part| Some(at("e", 100 + u64::from(part)))).collect();
        let began = at("e", 50);
        let complete = Complete::of(&leases(&positions));
        assert_eq!(complete.before(&at("e", 200), &began, 10), 100);
        assert_eq!(complete.before(&at("e", 90), &began, 10), 90, "nothing after what is told");
        assert_eq!(complete.before(&at("f", 200), &began, 10), 0, "nothing is known of another epoch");
        assert_eq!(complete.before(&at("e", 200), &began, 11), 50, "one part does not know of it yet");
        assert_eq!(complete.before(&at("e", 200), &at("e", 150), 10), 150, "nothing before it began");
        assert_eq!(complete.anew(&at("e", 200), &began, 10), at("e", 100));
        assert_eq!(complete.anew(&at("e", 200), &began, 11), began, "whoever was not told yet begins where it began");
        assert_eq!(complete.anew(&at("f", 200), &began, 10), began, "where nothing is known it hears that it has to read again");
        for unknown in [None, Some(at("f", 1000))] {
            positions[3] = unknown;
            assert_eq!(Complete::of(&leases(&positions)).before(&at("e", 200), &began, 10), 50);
        }
        assert_eq!(Complete::of(&leases(&positions[..7])).before(&at("e", 200), &began, 10), 50, "a part was never told");
    }
}
