//! Changes out of PostgreSQL's log, by logical replication and without a trigger.
//!
//! In reading order: `slot` holds the log back, `message` reads what it tells, `text` makes values of it, `log` makes
//! records of transactions, and here they are carried to the bus. Who has the slot leads. What the bus has is confirmed to
//! the server and nothing else, so that after a crash the server tells it again, under the same ids. A transaction is told
//! in parts as it comes: the server keeps large ones on its disk until then, and here are never more than a batch.

mod log;
mod message;
pub(super) mod slot;
pub(super) mod text;

pub(super) use log::Unreadable;

use super::change::Tables;
use super::relay::{FIRST_BACKOFF, Failure, Relay};
use super::sight::{Origin, Transactions, origin};
use crate::catalog::{Capture, Retained};
use crate::database::{Database, Frame, Replication};
use crate::event::bus::Latest;
use crate::protocol::Change;
use futures_util::future::BoxFuture;
use log::{Log, Pending, Place};
use slot::{Slot, Status};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Changes, and bytes of the log, that are published at once; by one row more at most.
const BATCH_CHANGES: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// Between two looks at whether a commit can be seen.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// Whoever makes a new slot holds this lock.
const LOCK: &str = "resolvespec_slot";

/// What a relay remembers from one session to the next.
#[derive(Default)]
pub(super) struct Memory {
    told: Option<Place>,
}

/// Leads until something fails; comes back at once if another does.
pub(super) async fn lead(relay: &Relay, database: &Database, memory: &mut Memory, backoff: &mut Duration) -> Result<(), Failure> {
    let slot = Slot::of(database).await?;
    let status = slot.status().await?;
    if status.active {
        return Ok(());
    }
    // Nobody tells of it while it can't be led.
    measure(relay, database, &status, 0);
    if !status.published {
        return Err(Failure::NotInstalled);
    }
    if status.fault(bounds(relay).most).is_some() {
        let Some(_alone) = database.try_watch(LOCK).await? else { return Ok(()) };
        if !renew(relay, &slot).await? {
            return Ok(());
        }
        *memory = Memory::default();
    }
    let Some(replication) = database.replicate(slot.name(), slot::PUBLICATION).await? else { return Ok(()) };
    tracing::info!(source = relay.source, slot = slot.name(), "tells the changes of this database out of its log");
    if status.stray {
        slot.drop_stray().await?;
    }
    // Of its own, so that what is told never waits for those who read and write.
    let own = database.apart(1)?;
    let latest = relay.bus.latest_of(&relay.source).await?;
    let outcome = match awaited(&slot, latest.as_ref()).await {
        Ok(awaited) => {
            let oldest = AtomicI64::new(i64::MAX);
            let mut carrier = Carrier {
                relay,
                database,
                own: &own,
                replication,
                log: Log::new(status.next_transaction, memory.told).awaiting(awaited),
                pending: Pending::default(),
                publishing: None,
                memory,
                backoff,
                oldest: &oldest,
            };
            tokio::select! {
                outcome = carrier.carry() => outcome,
                outcome = watch(relay, &own, &oldest) => outcome,
            }
        }
        Err(failure) => Err(failure),
    };
    match (outcome, latest) {
        (Err(Failure::Log(Unreadable::Lost)), Some(latest)) => {
            let (source, change) = (&relay.source, &latest.change.id);
            tracing::warn!(source, change, "the database has lost the latest change that was told: subscribers start anew");
            relay.bus.renew_after(&latest.epoch).await?;
            Ok(())
        }
        (outcome, _) => outcome,
    }
}

/// The latest change that was told, if the server has to tell it again, since nobody has confirmed it. A server that was put
/// back together with its slot does not: its log ends before it, or has something else in its place.
async fn awaited(slot: &Slot<'_>, latest: Option<&Latest>) -> Result<Option<Place>, Failure> {
    let Some(told) = latest.and_then(|latest| Place::of(&latest.change.id)) else { return Ok(None) };
    // Asked with the slot in hand, which nobody else moves on any more.
    let status = slot.status().await?;
    match told.commit() {
        commit if commit >= status.end => Err(Unreadable::Lost.into()),
        commit if commit >= status.confirmed => Ok(Some(told)),
        _ => Ok(None),
    }
}

/// Makes a new slot, unless somebody else has done it by now.
async fn renew(relay: &Relay, slot: &Slot<'_>) -> Result<bool, Failure> {
    let Some(reason) = slot.status().await?.fault(bounds(relay).most) else { return Ok(false) };
    tracing::error!(source = relay.source, slot = slot.name(), reason, "the slot is lost: subscribers start anew");
    slot.renew(&*relay.bus).await?;
    relay.metrics.slot_lost();
    Ok(true)
}

/// Measures the slot now and then.
async fn watch(relay: &Relay, own: &Database, oldest: &AtomicI64) -> Result<(), Failure> {
    let slot = Slot::of(own).await?;
    loop {
        tokio::time::sleep(relay.settings.sweep).await;
        let waiting_since = oldest.load(Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let seconds = now.saturating_sub(waiting_since).max(0) / 1_000_000;
        let status = slot.status().await?;
        measure(relay, own, &status, u64::try_from(seconds).unwrap_or_default());
        let most = bounds(relay).most;
        if status.retained > most {
            // Whoever leads next finds it so, and nobody in it.
            return Err(Failure::TooMuchRetained { bytes: status.retained, most });
        }
    }
}

fn measure(relay: &Relay, database: &Database, status: &Status, oldest_seconds: u64) {
    relay.metrics.log(status.retained, status.unconfirmed, oldest_seconds);
    let most = bounds(relay).warn;
    if status.retained > most {
        let (source, bytes) = (&relay.source, status.retained);
        let database = &database.settings().name;
        tracing::error!(
            source,
            database,
            bytes,
            most,
            "the slot makes the server keep too much of its log, which can fill its disk"
        );
    }
}

/// How many bytes of its log the server may keep for the slot.
struct Bounds {
    warn: u64,
    most: u64,
}

/// What the source says, or else the relay's settings do.
fn bounds(relay: &Relay) -> Bounds {
    let declared = match relay.engine.served().catalog.capture(&relay.source) {
        Capture::Wal(declared) => declared,
        Capture::Trigger | Capture::Api | Capture::Off => Retained::default(),
    };
    Bounds {
        warn: declared.warn.unwrap_or(relay.settings.warn_retained_bytes),
        most: declared.most.unwrap_or(relay.settings.max_retained_bytes),
    }
}

/// What goes on while this relay leads.
struct Carrier<'r> {
    relay: &'r Relay,
    database: &'r Database,
    own: &'r Database,
    replication: Replication,
    log: Log,
    pending: Pending,
    publishing: Option<BoxFuture<'r, Result<Published, Failure>>>,
    memory: &'r mut Memory,
    backoff: &'r mut Duration,
    /// When the first of the changes that wait was committed.
    oldest: &'r AtomicI64,
}

/// What the bus has now.
struct Published {
    end: Option<u64>,
    last: Option<Place>,
}

impl Carrier<'_> {
    async fn carry(&mut self) -> Result<(), Failure> {
        let relay = self.relay;
        loop {
            let served = relay.engine.served();
            let is_told = matches!(served.catalog.capture(&relay.source), Capture::Wal(_));
            if !is_told || !relay.is_led(&served, self.database) {
                return Ok(());
            }
            let tables = Tables::of(&served.catalog, &relay.source);
            while Arc::ptr_eq(&served, &relay.engine.served()) {
                self.turn(&tables).await?;
            }
        }
    }

    /// Takes what is there, and tells it while more comes.
    async fn turn(&mut self, tables: &Tables<'_>) -> Result<(), Failure> {
        while !self.is_full()
            && let Some(frame) = self.replication.try_next()?
        {
            self.log.take(&frame, tables, &mut self.pending)?;
        }
        // A transaction whose rows are still coming is told in parts only if it is large.
        let is_due = self.is_full() || (self.pending.end.is_some() && !self.log.is_open());
        if self.publishing.is_none() && is_due {
            self.publish();
        }
        let has_room = !self.is_full();
        tokio::select! {
            frame = self.replication.next(), if has_room => self.take(&frame?, tables)?,
            outcome = published(&mut self.publishing) => self.settle(&outcome?),
            // A catalog that was switched is looked at soon, though nothing happens.
            () = tokio::time::sleep(self.relay.settings.stand_by) => {}
        }
        Ok(())
    }

    fn take(&mut self, frame: &Frame, tables: &Tables<'_>) -> Result<(), Failure> {
        Ok(self.log.take(frame, tables, &mut self.pending)?)
    }

    fn is_full(&self) -> bool {
        self.pending.changes.len() >= BATCH_CHANGES || self.pending.bytes >= BATCH_BYTES
    }

    fn publish(&mut self) {
        let Pending { changes, end, last, oldest, unreadable, .. } = std::mem::take(&mut self.pending);
        if changes.is_empty() {
            self.settle(&Published { end, last });
            return;
        }
        self.oldest.store(oldest.unwrap_or(i64::MAX), Ordering::Relaxed);
        let (relay, own) = (self.relay, self.own);
        self.publishing = Some(Box::pin(async move {
            visible(own, &changes).await?;
            relay.bus.publish(&changes).await?;
            relay.metrics.published(changes.iter().map(|change| change.operation));
            for untold in &unreadable {
                relay.metrics.unreadable();
                tracing::error!(source = relay.source, "{untold}: whoever follows its entity is told to read again");
            }
            Ok(Published { end, last })
        }));
    }

    /// Lets the server forget what the bus has.
    fn settle(&mut self, published: &Published) {
        self.publishing = None;
        self.oldest.store(i64::MAX, Ordering::Relaxed);
        self.memory.told = published.last.or(self.memory.told);
        if let Some(end) = published.end {
            self.replication.confirm(end);
        }
        *self.backoff = FIRST_BACKOFF;
    }
}

/// Waits until whoever reads finds what the changes tell. The log has a commit a moment before that, and with synchronous
/// standbys for as long as they take; a snapshot in between would have nothing of a change that was told before it.
async fn visible(own: &Database, changes: &[Arc<Change>]) -> Result<(), Failure> {
    let transaction = |change: &Arc<Change>| match origin(change)? {
        Origin::Transaction(number) => Some(number),
        Origin::Row(_) => None,
    };
    let transactions: BTreeSet<i64> = changes.iter().filter_map(transaction).collect();
    let mut pause = Duration::from_millis(1);
    loop {
        let seen = Transactions::now(own).await?;
        if transactions.iter().all(|transaction| seen.contains(*transaction)) {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}

async fn published(publishing: &mut Option<BoxFuture<'_, Result<Published, Failure>>>) -> Result<Published, Failure> {
    match publishing {
        Some(publishing) => publishing.await,
        None => std::future::pending().await,
    }
}
