//! The id below which no row can turn up any more, so that a pass need not begin at the very first.
//!
//! PostgreSQL keeps what was removed until no open snapshot could see it, and a pass would step over all of it each time:
//! for as long as a dump runs, over every change since it began. Ids become visible in any order, but an id that was given
//! out belongs to a transaction that had its number then. When all transactions with such numbers have ended, and a pass
//! that began after has told everything it saw, whatever those ids stood for is told or was rolled back.

use super::outbox::Horizon;

/// The highest id that is known to be done with; 0 at first.
#[derive(Debug, Default)]
pub(super) struct Floor {
    id: i64,
    candidate: Option<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    id: i64,
    transaction: i64,
    ended: bool,
}

impl Floor {
    /// Rows with this id and lower ones are done with.
    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// Takes what the database says, before a pass.
    pub(super) fn observe(&mut self, horizon: &Horizon) {
        match &mut self.candidate {
            Some(candidate) => candidate.ended |= horizon.oldest > candidate.transaction,
            None => self.candidate = Some(Candidate { id: horizon.latest, transaction: horizon.next, ended: false }),
        }
    }

    /// A pass has told everything that there was.
    pub(super) fn pass(&mut self) {
        if let Some(candidate) = self.candidate.take_if(|candidate| candidate.ended) {
            self.id = candidate.id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Floor, Horizon};

    #[test]
    fn the_floor_rises_when_every_earlier_transaction_has_ended_and_was_told() {
        let mut floor = Floor::default();
        floor.observe(&Horizon { latest: 7, oldest: 90, next: 100 });
        floor.pass();
        assert_eq!(floor.id(), 0, "some may not have ended");
        floor.observe(&Horizon { latest: 20, oldest: 100, next: 120 });
        floor.pass();
        assert_eq!(floor.id(), 0, "the one with that number has not ended");
        floor.observe(&Horizon { latest: 30, oldest: 101, next: 130 });
        assert_eq!(floor.id(), 0, "what they have done was not told yet");
        floor.pass();
        assert_eq!(floor.id(), 7);
        floor.observe(&Horizon { latest: 40, oldest: 140, next: 150 });
        floor.pass();
        assert_eq!(floor.id(), 7);
    }
}
