//! Since when nothing of an outbox can be told: what waits in one is given up for nothing less.
//!
//! A relay knows its own failures, and the outbox when anybody has told something, which may be another relay that led
//! meanwhile. What failed for a moment, and what is on its way out after an outage, however much that is, is not stuck. While the
//! outbox itself can't be asked no time passes: nothing can be told then, and nothing more comes either.

use std::time::Duration;
use tokio::time::Instant;

/// How long it has been so.
#[derive(Debug, Default)]
pub(super) struct Standstill {
    since: Option<Instant>,
    /// The latest failure.
    failed: Option<Instant>,
    /// Whether the outbox was asked in this lead.
    asked: bool,
}

impl Standstill {
    /// A lead begins. A failure that was longer ago than this is another matter: somebody else has led meanwhile, or nobody had to.
    pub(super) fn begin(&mut self, now: Instant, patience: Duration) {
        self.asked = false;
        if self.failed.is_some_and(|failed| now.saturating_duration_since(failed) > patience) {
            self.since = None;
        }
    }

    /// The outbox was asked: somebody has told something so many whole seconds ago, if anybody has.
    pub(super) fn observe(&mut self, now: Instant, told_seconds: Option<u64>) {
        self.asked = true;
        let later = |since: &mut Instant| {
            let told = told_seconds.map(|seconds| Duration::from_secs(seconds.saturating_add(1)));
            told.is_some_and(|told| told < now.saturating_duration_since(*since))
        };
        self.since.take_if(later);
    }

    /// Nothing could be told.
    pub(super) fn fail(&mut self, now: Instant) {
        self.failed = Some(now);
        self.since = self.asked.then(|| self.since.unwrap_or(now));
    }

    /// All that there was is told.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Whether it has lasted for so long.
    pub(super) fn has_lasted(&self, now: Instant, time: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const SOON: Duration = Duration::from_secs(24);

    /// One that stands still from now on.
    fn stuck(now: Instant) -> Standstill {
        let mut standstill = Standstill::default();
        standstill.observe(now, None);
        standstill.fail(now);
        standstill
    }

    #[test]
    fn what_fails_for_a_moment_is_not_stuck() {
        let start = Instant::now();
        let mut standstill = stuck(start);
        assert!(!standstill.has_lasted(start, MINUTE), "it is a failure and no more");
        standstill.end();
        standstill.fail(start + MINUTE);
        assert!(!standstill.has_lasted(start + MINUTE, MINUTE), "something was told in between");
    }

    #[test]
    fn what_fails_again_and_again_is() {
        let start = Instant::now();
        let mut standstill = stuck(start);
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            standstill.begin(now, SOON);
            standstill.observe(now, Some(second + 1000));
            standstill.fail(now);
            assert!(!standstill.has_lasted(now, MINUTE));
        }
        assert!(standstill.has_lasted(start + MINUTE, MINUTE));
    }

    #[test]
    fn what_failed_before_another_one_led_is_no_matter_any_more() {
        let start = Instant::now();
        let mut standstill = stuck(start);
        standstill.begin(start + MINUTE, SOON);
        standstill.observe(start + MINUTE, None);
        assert!(!standstill.has_lasted(start + MINUTE, MINUTE), "it has not tried yet");
    }

    #[test]
    fn what_another_relay_tells_is_not() {
        let start = Instant::now();
        let mut standstill = stuck(start);
        standstill.observe(start + MINUTE, Some(60));
        assert!(standstill.has_lasted(start + MINUTE, MINUTE), "that was just before it failed here");
        standstill.observe(start + MINUTE, Some(50));
        assert!(!standstill.has_lasted(start + MINUTE, MINUTE));
    }

    #[test]
    fn while_the_outbox_is_away_no_time_passes() {
        let start = Instant::now();
        let mut standstill = stuck(start);
        standstill.begin(start + MINUTE, SOON);
        standstill.fail(start + MINUTE);
        standstill.observe(start + MINUTE, Some(120));
        assert!(!standstill.has_lasted(start + MINUTE, MINUTE), "it may go on now");
        standstill.fail(start + MINUTE);
        assert!(standstill.has_lasted(start + 2 * MINUTE, MINUTE));
    }
}
