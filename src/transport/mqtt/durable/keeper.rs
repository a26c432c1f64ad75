//! Who tells of which part of a broker: takes what is free, hands over what is too much, as evenly as it can be.
//!
//! Nobody is asked: each replica decides by what the roll has, and a compare-and-set decides between two.

use super::Shared;
use super::lease::{Held, Lease, Progress, Unit};
use super::roll::Seen;
use super::tenure::tenure;
use crate::event::hub::Part;
use crate::transport::mqtt::Broker;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const TICK: Duration = Duration::from_millis(200);
/// A part without holder is left for so long to whoever has fewer.
const AFTER_YOU: Duration = Duration::from_secs(1);
/// A broker that is away for so long is left to replicas that can reach it.
const AWAY: Duration = Duration::from_secs(2);

/// Keeps this replica's share of a broker's parts.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    broker: Broker,
    name: Arc<str>,
    mine: HashMap<Unit, Tenure>,
    away_since: Option<Instant>,
}

struct Tenure {
    release: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, broker: Broker) -> Self {
        let name = broker.name().into();
        Self { shared, broker, name, mine: HashMap::new(), away_since: None }
    }

    /// Keeps it until the replica leaves, then hands everything over.
    pub(super) async fn run(mut self) {
        let leaving = self.shared.leaving.clone();
        let mut told = self.shared.roll.told();
        while !leaving.is_cancelled() {
            self.step().await;
            tokio::select! {
                () = leaving.cancelled() => {}
                _ = told.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        for tenure in self.mine.values() {
            tenure.release.cancel();
        }
        for (unit, tenure) in self.mine.drain() {
            if let Err(error) = tenure.task.await {
                warn!(%error, part = unit.part.number(), "a part was not handed over");
            }
        }
    }

    async fn step(&mut self) {
        self.mine.retain(|_, tenure| !tenure.task.is_finished());
        let shared = Arc::clone(&self.shared);
        shared.metrics.parts(&self.name, self.mine.len());
        if !shared.roll.is_current() {
            return;
        }
        shared.metrics.subscriptions(&self.name, shared.roll.count_of(&self.name));
        self.away_since = if self.broker.is_connected() { None } else { self.away_since.or_else(|| Some(Instant::now())) };
        if let Some(since) = self.away_since {
            if since.elapsed() >= AWAY {
                self.release(usize::MAX);
            }
            return;
        }
        if shared.roll.count_of(&self.name) == 0 {
            self.release(usize::MAX);
            return;
        }
        let time = shared.settings.lease;
        let leases = shared.roll.leases(&self.name);
        let share = Share::of(&shared, &self.name, &leases);
        let kept = self.mine.values().filter(|tenure| !tenure.release.is_cancelled()).count();
        if kept > share.most {
            self.release(kept - share.most);
            return;
        }
        if kept > share.least && share.somebody_has_less {
            self.release(1);
            return;
        }
        let mut count = kept;
        for part in Part::all() {
            let unit = Unit { broker: Arc::clone(&self.name), part };
            if self.mine.contains_key(&unit) {
                continue;
            }
            let lease = leases.get(&unit);
            let Some(free_for) = free_for(lease, &shared.holder, time) else { continue };
            let entitled = count < share.least || (count < share.most && free_for >= AFTER_YOU) || free_for >= time * 2;
            if !entitled {
                continue;
            }
            let progress = lease.map(|lease| lease.value.progress.clone()).unwrap_or_default();
            if !self.knows(progress.covers).await {
                continue;
            }
            if self.take(unit, lease.map(|lease| lease.revision), progress).await {
                count += 1;
            }
        }
        shared.metrics.parts(&self.name, self.mine.len());
    }

    /// Whether everything is known here that a part's progress is about. Leases are told beside subscriptions, so that one may be seen
    /// before what it covers, and to whoever tells without knowing that nothing of it would ever be told.
    async fn knows(&self, covers: u64) -> bool {
        let shared = &self.shared;
        if shared.roll.has_told(covers) {
            return true;
        }
        // What had that revision may be no more.
        let caught_up = shared.roll.catch_up(&*shared.bucket, &format!("{} {}", shared.holder, self.name)).await;
        caught_up.inspect_err(|error| debug!(%error, "a part can't be taken before all of its subscriptions are known")).is_ok()
    }

    async fn take(&mut self, unit: Unit, revision: Option<u64>, progress: Progress) -> bool {
        let shared = Arc::clone(&self.shared);
        let who = (shared.holder.as_str(), shared.replica.as_str());
        match Held::take(&shared.leases, &unit, who, shared.settings.lease, revision, &progress).await {
            Ok(Some(held)) => {
                debug!(part = unit.part.number(), broker = &*self.name, "a part is taken");
                let release = CancellationToken::new();
                let serving = tenure(shared, self.broker.clone(), unit.clone(), held, progress, release.clone());
                let task = self.shared.tasks.spawn(serving);
                self.mine.insert(unit, Tenure { release, task });
                true
            }
            Ok(None) => false,
            Err(error) => {
                debug!(%error, "a part can't be taken for now");
                false
            }
        }
    }

    fn release(&self, count: usize) {
        for tenure in self.mine.values().filter(|tenure| !tenure.release.is_cancelled()).take(count) {
            tenure.release.cancel();
        }
    }
}

/// For how long nobody has had a part; none while somebody has it.
fn free_for(lease: Option<&Seen<Lease>>, own: &str, time: Duration) -> Option<Duration> {
    let Some(lease) = lease else { return Some(AFTER_YOU) };
    match &lease.value.holder {
        None => Some(lease.at.elapsed()),
        // Only this process could be telling of it, and it is not.
        Some(holder) if holder == own => Some(lease.at.elapsed()),
        Some(_) => lease.at.elapsed().checked_sub(time),
    }
}

/// How many parts a replica should have.
struct Share {
    least: usize,
    most: usize,
    somebody_has_less: bool,
}

impl Share {
    fn of(shared: &Shared, broker: &str, leases: &HashMap<Unit, Seen<Lease>>) -> Self {
        let time = shared.settings.lease;
        let mut live = shared.roll.replicas(broker, time);
        for lease in leases.values().filter(|lease| lease.at.elapsed() >= time) {
            if let Some(holder) = &lease.value.holder {
                live.remove(holder);
            }
        }
        live.insert(shared.holder.clone());
        let all = usize::from(Part::COUNT);
        let (least, most) = (all / live.len(), all.div_ceil(live.len()));
        let has = |name: &String| leases.values().filter(|lease| lease.value.holder.as_ref() == Some(name)).count();
        let somebody_has_less = live.iter().any(|name| **name != *shared.holder && has(name) < least);
        Self { least, most, somebody_has_less }
    }
}
