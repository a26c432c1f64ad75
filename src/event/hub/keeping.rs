//! What a connection knows of its session in the bucket, and how it keeps it there.
//!
//! What a subscription changes is one part. The whole is written when that was long ago, at the end, and after something could
//! not be written: what the bucket has is not known then.

use super::kept::{AT_ONCE, Head, Kept, Part, StoredSubscription, Taken, Written};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// What a connection knows of its session in the bucket.
pub(super) struct Keeping {
    /// How many connections have had it, with this one.
    term: u64,
    head: Option<u64>,
    /// The revisions of the parts.
    parts: Vec<Option<u64>>,
    /// How many of them the head counts.
    counted: usize,
    /// When all of it was written last.
    written_at: Option<Instant>,
    /// Something could not be written.
    behind: bool,
    /// Another connection has it.
    taken: bool,
}

/// Where a session is kept, and for whom.
pub(super) struct Keeper<'k> {
    pub(super) kept: &'k Kept,
    pub(super) session: &'k str,
    pub(super) identity: Value,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { term: 1, head: None, parts: Vec::new(), counted: 0, written_at: None, behind: false, taken: false }
    }
}

impl Keeping {
    /// Of a session that was taken.
    pub(super) fn of(taken: &Taken) -> Self {
        let parts = taken.parts.iter().map(|(_, revision)| Some(*revision)).collect();
        let (head, counted) = (Some(taken.head), taken.parts.len());
        Self { term: taken.term, head, parts, counted, written_at: None, behind: false, taken: false }
    }

    /// Whether a part can be written by itself.
    pub(super) fn takes(&self, part: usize) -> bool {
        !self.behind && part <= self.counted
    }

    /// Whether all of it has to be written again: that was so long ago, or something could not be.
    pub(super) fn is_due(&self, age: Duration) -> bool {
        self.behind || self.written_at.is_some_and(|at| at.elapsed() >= age)
    }

    /// Writes one part, and says whether the session is kept for this connection.
    pub(super) async fn write_part(&mut self, keeper: Keeper<'_>, number: usize, subscriptions: Vec<StoredSubscription>) -> bool {
        if self.taken {
            return false;
        }
        self.write_parts(&keeper, vec![(number, subscriptions)]).await && (number < self.counted || self.write_head(keeper).await)
    }

    /// Writes all of it, each part with what is in it.
    pub(super) async fn write_whole(&mut self, keeper: Keeper<'_>, mut parts: Vec<Vec<StoredSubscription>>) -> bool {
        if self.taken {
            return false;
        }
        // One that nothing is left in is still counted.
        parts.resize_with(parts.len().max(self.parts.len()), Vec::new);
        let started = Instant::now();
        let kept = self.write_parts(&keeper, parts.into_iter().enumerate().collect()).await && self.write_head(keeper).await;
        if kept {
            (self.behind, self.written_at) = (false, Some(started));
        }
        kept
    }

    async fn write_parts(&mut self, keeper: &Keeper<'_>, parts: Vec<(usize, Vec<StoredSubscription>)>) -> bool {
        let (term, revisions) = (self.term, &self.parts);
        let writes = parts.into_iter().map(|(number, subscriptions)| async move {
            let revision = revisions.get(number).copied().flatten();
            let part = Part { term, subscriptions };
            (number, keeper.kept.write_part(keeper.session, number, &part, revision).await)
        });
        let outcomes: Vec<_> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut all = true;
        for (number, outcome) in outcomes {
            if let Some(revision) = self.settle(outcome) {
                self.parts.resize(self.parts.len().max(number + 1), None);
                self.parts[number] = Some(revision);
            } else {
                all = false;
            }
        }
        all
    }

    async fn write_head(&mut self, keeper: Keeper<'_>) -> bool {
        let head = Head { identity: keeper.identity, term: self.term, parts: self.parts.len() };
        let outcome = keeper.kept.write_head(keeper.session, &head, self.head).await;
        let Some(revision) = self.settle(outcome) else { return false };
        (self.head, self.counted) = (Some(revision), head.parts);
        self.written_at.get_or_insert_with(Instant::now);
        true
    }

    fn settle(&mut self, outcome: Result<Written, crate::store::Error>) -> Option<u64> {
        match outcome {
            Ok(Written::Kept(revision)) => return Some(revision),
            Ok(Written::Taken) => self.taken = true,
            Err(error) => {
                tracing::warn!(%error, "a session can't be kept");
                self.behind = true;
            }
        }
        None
    }
}
