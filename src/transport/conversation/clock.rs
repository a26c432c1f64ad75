//! When a connection must do something by itself: ping, see that nothing comes or goes, see that its token has ended.
//!
//! One timer for all of it, set to whatever comes first.

use super::close::Close;
use super::settings::Settings;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, Sleep, sleep_until};

/// The times of one connection.
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    ping_at: Instant,
    ping_interval: Duration,
    /// A ping was sent, and nothing came since.
    unanswered: bool,
    token_ends: Option<Instant>,
    write_time: Duration,
    /// Since when nothing of what waits was taken, and how much was until then.
    stalled: Option<(Instant, u64)>,
    /// By when everything must be written, since what was to come after it is lost.
    written_by: Option<Instant>,
}

/// What a connection must do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send a ping.
    Ping,
    /// End after what it is working on.
    Leave(Close),
    /// End.
    End(Close),
}

impl Clock {
    /// The times of a connection that begins now; its token ends at this time in seconds since 1970.
    pub(super) fn new(settings: &Settings, token_ends: Option<u64>) -> Self {
        let now = Instant::now();
        let ping_at = now + settings.ping_interval;
        let mut clock = Self {
            timer: Box::pin(sleep_until(ping_at)),
            ping_at,
            ping_interval: settings.ping_interval,
            unanswered: false,
            token_ends: token_ends.map(|end| now + until(end)),
            write_time: settings.write_time,
            stalled: None,
            written_by: None,
        };
        clock.set();
        clock
    }

    /// The same for a client that is not pinged.
    pub(super) fn without_pings(mut self) -> Self {
        self.ping_at = Instant::now() + YEAR;
        self.set();
        self
    }

    /// Something came from the client.
    pub(super) fn heard(&mut self) {
        self.unanswered = false;
    }

    /// Something waits to be written, of which so much was taken by now.
    pub(super) fn waits(&mut self, taken: u64) {
        if self.stalled.is_none() {
            self.stalled = Some((Instant::now(), taken));
            self.set();
        }
    }

    /// Everything is written.
    pub(super) fn wrote(&mut self) {
        self.stalled = None;
    }

    /// More waits behind that than may, so that the client has to begin anew.
    pub(super) fn lost(&mut self) {
        if self.written_by.is_none() {
            self.written_by = Some(Instant::now() + self.write_time);
            self.set();
        }
    }

    /// Waits for the timer. After it, ask `due`, which sets it again.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(context)
    }

    /// What is to be done now. So much was taken by the client; only while it is listened to must it be heard.
    pub(super) fn due(&mut self, taken: u64, listening: bool) -> Due {
        let now = Instant::now();
        let due = self.at(now, taken, listening);
        self.set();
        due
    }

    fn at(&mut self, now: Instant, taken: u64, listening: bool) -> Due {
        if self.written_by.is_some_and(|end| now >= end) {
            return Due::End(Close::SlowConsumer);
        }
        if let Some((since, before)) = self.stalled {
            if taken > before {
                self.stalled = Some((now, taken));
            } else if now >= since + self.write_time {
                return Due::End(Close::SlowConsumer);
            }
        }
        if self.token_ends.is_some_and(|end| now >= end) {
            self.token_ends = None;
            return Due::Leave(Close::TokenExpired);
        }
        if now < self.ping_at {
            return Due::Nothing;
        }
        if self.unanswered && listening {
            return Due::End(Close::Unresponsive);
        }
        self.unanswered = true;
        self.ping_at = now + self.ping_interval;
        Due::Ping
    }

    fn set(&mut self) {
        let stalled = self.stalled.map(|(since, _)| since + self.write_time);
        let first = [self.token_ends, stalled, self.written_by].into_iter().flatten().fold(self.ping_at, Instant::min);
        self.timer.as_mut().reset(first);
    }
}

/// As far away as any timer has to reach.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// The time until a moment in seconds since 1970; none if it is over, and at most a year, which no timer has to reach.
fn until(end: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(end).saturating_sub(now).min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_client_from_which_nothing_comes_is_pinged_once_and_then_gone() {
        let mut clock = Clock::new(&Settings::default(), None);
        let start = clock.ping_at;
        assert_eq!(clock.at(start - SECOND, 0, true), Due::Nothing);
        assert_eq!(clock.at(start, 0, true), Due::Ping);
        clock.heard();
        assert_eq!(clock.at(start + 25 * SECOND, 0, true), Due::Ping);
        assert_eq!(clock.at(start + 49 * SECOND, 0, true), Due::Nothing);
        assert_eq!(clock.at(start + 50 * SECOND, 0, false), Due::Ping, "it is not listened to, so it may have said something");
        assert_eq!(clock.at(start + 75 * SECOND, 0, true), Due::End(Close::Unresponsive));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_slow_and_one_that_takes_little_is_not() {
        let mut clock = Clock::new(&Settings::default(), None);
        clock.waits(7);
        let (start, _) = clock.stalled.unwrap();
        assert_eq!(clock.at(start + 10 * SECOND, 8, true), Due::Nothing);
        assert_eq!(clock.at(start + 19 * SECOND, 8, true), Due::Nothing);
        assert_eq!(clock.at(start + 20 * SECOND, 8, true), Due::End(Close::SlowConsumer));
    }

    #[tokio::test]
    async fn a_client_that_takes_little_is_slow_where_it_loses_what_comes_after() {
        let mut clock = Clock::new(&Settings::default(), None);
        clock.waits(7);
        clock.lost();
        let end = clock.written_by.unwrap();
        assert_eq!(clock.at(end - SECOND, 8, true), Due::Nothing);
        clock.lost();
        assert_eq!(clock.at(end, 9, true), Due::End(Close::SlowConsumer), "however often it is said");
    }

    #[tokio::test]
    async fn a_token_that_has_ended_ends_the_connection_once() {
        let mut clock = Clock::new(&Settings::default(), Some(1));
        std::future::poll_fn(|context| clock.poll(context)).await;
        assert_eq!(clock.due(0, true), Due::Leave(Close::TokenExpired));
        assert_eq!(clock.due(0, true), Due::Nothing);
    }
}
