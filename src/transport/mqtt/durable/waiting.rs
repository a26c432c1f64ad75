//! Subscriptions of a part that are still to begin, in the order of their time. A replica that takes a part over has all of
//! them here at once, so that none is looked for among the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One that is still to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub since: u64,
    pub at: Instant,
    /// Before it is tried again, if it can't begin then.
    pub pause: Duration,
}

/// All of them.
#[derive(Default)]
pub(super) struct Queue {
    by_id: HashMap<Arc<str>, Waiting>,
    by_time: BTreeSet<(Instant, Arc<str>)>,
}

impl Queue {
    /// Puts one in, in the place of what it was before.
    pub(super) fn insert(&mut self, id: Arc<str>, waiting: Waiting) {
        if let Some(before) = self.by_id.insert(Arc::clone(&id), waiting) {
            self.by_time.remove(&(before.at, Arc::clone(&id)));
        }
        self.by_time.insert((waiting.at, id));
    }

    pub(super) fn remove(&mut self, id: &Arc<str>) {
        if let Some(before) = self.by_id.remove(id) {
            self.by_time.remove(&(before.at, Arc::clone(id)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_id.keys()
    }

    /// The lowest revision under which one of them was kept first.
    pub(super) fn first_kept(&self) -> Option<u64> {
        self.by_id.values().map(|waiting| waiting.since).min()
    }

    /// When the next is to begin, but for those that are not free.
    pub(super) fn next(&self, is_free: impl Fn(&Arc<str>) -> bool) -> Option<Instant> {
        self.by_time.iter().find(|(_, id)| is_free(id)).map(|(at, _)| *at)
    }

    /// Takes out so many of those whose time has come, but for those that are not free.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        most: usize,
        is_free: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<(Arc<str>, Duration)> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now).filter(|(_, id)| is_free(id));
        let due: Vec<Arc<str>> = due.take(most).map(|(_, id)| Arc::clone(id)).collect();
        let mut taken = Vec::with_capacity(due.len());
        for id in due {
            if let Some(waiting) = self.by_id.remove(&id) {
                self.by_time.remove(&(waiting.at, Arc::clone(&id)));
                taken.push((id, waiting.pause));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_in_the_order_of_their_time_and_once() {
        let (now, mut queue) = (Instant::now(), Queue::default());
        let one = |since, seconds| Waiting { since, at: now + Duration::from_secs(seconds), pause: Duration::from_millis(since) };
        for (id, since, seconds) in [("a", 3, 2), ("b", 1, 0), ("c", 2, 1), ("a", 4, 0)] {
            queue.insert(id.into(), one(since, seconds));
        }
        let free = |_: &Arc<str>| true;
        assert_eq!((queue.first_kept(), queue.next(free)), (Some(1), Some(now)));
        let names = |taken: Vec<(Arc<str>, Duration)>| taken.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        assert_eq!(names(queue.take_due(now, 1, |id| **id != *"a")), ["b"]);
        assert_eq!(names(queue.take_due(now, 5, free)), ["a"], "by what it is now, and not by what it was");
        assert_eq!(queue.next(free), Some(now + Duration::from_secs(1)));
        queue.remove(&"c".into());
        assert!(queue.is_empty() && queue.next(free).is_none() && queue.first_kept().is_none());
        assert_eq!(queue.take_due(now + Duration::from_secs(9), 5, free), []);
    }
}
