//! A bus that remembers what was published, and fails or stops when it is told to.

use async_trait::async_trait;
use resolvespec::event::bus::{Bus, Deliveries, Error, Extent, Latest};
use resolvespec::protocol::{Change, Position};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Recorder {
    published: Mutex<Vec<Arc<Change>>>,
    /// Changes that are kept at most before it fails; 0 keeps all.
    pub(super) fail_after: AtomicUsize,
    /// Fails every time.
    pub(super) down: AtomicBool,
    /// Keeps the changes and never answers, as if the relay died before it heard.
    pub(super) mute: AtomicBool,
    /// The most changes that were published at once.
    pub(super) largest: AtomicUsize,
    /// Counts changes and drops them, for many.
    pub(super) count_only: AtomicBool,
    pub(super) counted: AtomicUsize,
    /// How many changes had been published when a new epoch began, each time.
    pub(super) renewals: Mutex<Vec<usize>>,
    /// When something was published.
    pub(super) times: Mutex<Vec<Instant>>,
}

impl Recorder {
    /// Everything that was published, as often as it was.
    pub(super) fn all(&self) -> Vec<Arc<Change>> {
        self.published.lock().expect("nobody panicked").clone()
    }

    /// What a bus would keep: each id once, where it came first.
    pub(super) fn told(&self) -> Vec<Arc<Change>> {
        let mut seen = HashSet::new();
        self.all().into_iter().filter(|change| seen.insert(change.id.clone())).collect()
    }

    fn up(&self) -> Result<(), Error> {
        if self.down.load(Ordering::Relaxed) { Err(down()) } else { Ok(()) }
    }

    /// The changes in short.
    pub(super) fn lines(&self) -> Vec<String> {
        self.told().iter().map(|change| line(change)).collect()
    }
}

fn down() -> Error {
    Error::Unavailable("the test's bus is down".to_owned())
}

/// A change in short: entity, operation, key.
pub(super) fn line(change: &Change) -> String {
    let key: Vec<String> = change.key.values().map(ToString::to_string).collect();
    format!("{} {} {}", change.entity, change.operation, key.join(","))
}

#[async_trait]
impl Bus for Recorder {
    fn is_connected(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }

    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error> {
        self.times.lock().expect("nobody panicked").push(Instant::now());
        self.largest.fetch_max(changes.len(), Ordering::Relaxed);
        self.up()?;
        if self.count_only.load(Ordering::Relaxed) {
            self.counted.fetch_add(changes.len(), Ordering::Relaxed);
            return Ok(());
        }
        let most = self.fail_after.load(Ordering::Relaxed);
        for change in changes {
            let mut published = self.published.lock().expect("nobody panicked");
            if most > 0 && published.len() >= most {
                return Err(down());
            }
            published.push(Arc::clone(change));
        }
        if self.mute.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn renew(&self) -> Result<(), Error> {
        self.up()?;
        let published = self.all().len();
        self.renewals.lock().expect("nobody panicked").push(published);
        Ok(())
    }

    async fn renew_after(&self, epoch: &str) -> Result<(), Error> {
        let is_current = self.renewals.lock().expect("nobody panicked").len().to_string() == epoch;
        if is_current { self.renew().await } else { self.up() }
    }

    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error> {
        self.up()?;
        let (epoch, before) = {
            let renewals = self.renewals.lock().expect("nobody panicked");
            (renewals.len().to_string(), renewals.last().copied().unwrap_or_default())
        };
        let latest = self.all().split_off(before).into_iter().rfind(|change| change.source == source);
        Ok(latest.map(|change| Latest { epoch, change, is_remembered: true }))
    }

    async fn extent(&self) -> Result<Extent, Error> {
        Err(Error::Unusable("the test's bus only remembers".to_owned()))
    }

    async fn follow(&self, _: &Position) -> Result<Deliveries, Error> {
        Err(Error::Unusable("the test's bus only remembers".to_owned()))
    }
}
