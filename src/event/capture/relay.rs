//! The relay: one per database, elected by the database itself, carries what was captured to the bus, however it was.
//!
//! What PostgreSQL's log tells is carried by `wal`; here is the outbox. A relay of it leads while it holds the database's lock. Two that lead at once, as when a session is cut off and does not know it
//! yet, tell the same changes under the same ids, which the bus drops. Whatever fails ends the lead; the next begins at
//! the first row that has not been moved to the published ones, so that nothing is lost and some is told twice. A row that
//! can't be read never will be: it is told as a change whose images are not known, and does not keep the others waiting.

use super::change::{Record, Tables, outbox_id};
use super::floor::Floor;
use super::outbox::{self, Backlog, Bare, Outbox, Row, Standing, Unreadable};
use super::standstill::Standstill;
use super::wal::{self, slot};
use crate::catalog::Capture;
use crate::database::{self, Database, Dialect, Watch};
use crate::engine::{Engine, Served};
use crate::event::bus::{self, Bus};
use crate::protocol::{Change, RowText};
use crate::telemetry::CaptureMetrics;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The name of the lock, and of PostgreSQL's channel.
const NAME: &str = "resolvespec_outbox";

/// Carries one source's changes.
pub struct Relay {
    /// The source's key.
    pub source: String,
    /// Whose catalog and database are used, as they are at the time.
    pub engine: Engine,
    /// Where changes go.
    pub bus: Arc<dyn Bus>,
    /// What is counted.
    pub metrics: CaptureMetrics,
    /// Times and bounds.
    pub settings: Settings,
}

/// Times and bounds of a relay.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long the ids of published rows are kept.
    pub kept: Duration,
    /// How often somebody who does not lead tries to.
    pub stand_by: Duration,
    /// How often published ids are forgotten and the outbox is measured.
    pub sweep: Duration,
    /// The longest wait after something failed.
    pub longest_backoff: Duration,
    /// How many rows may wait before it is warned of.
    pub warn_rows: u64,
    /// How many may wait while nothing can be told, before they are given up, where the source says nothing.
    pub max_waiting_rows: u64,
    /// How long nothing could be told before they are.
    pub standstill: Duration,
    /// How many bytes of PostgreSQL's log may be retained before it is warned of, where the source says nothing.
    pub warn_retained_bytes: u64,
    /// With how many bytes of it the slot is given up, where the source says nothing.
    pub max_retained_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kept: Duration::from_mins(1),
            stand_by: Duration::from_secs(1),
            sweep: Duration::from_secs(5),
            longest_backoff: Duration::from_secs(5),
            warn_rows: 100_000,
            max_waiting_rows: 10_000_000,
            // NATS may be upgraded server by server, and elect its leaders anew, in less.
            standstill: Duration::from_mins(5),
            warn_retained_bytes: 1 << 30,
            max_retained_bytes: 32 << 30,
        }
    }
}

/// Why a lead ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Outbox(#[from] outbox::Error),
    #[error(transparent)]
    Bus(#[from] bus::Error),
    #[error("a row without images can't be told: {0}")]
    Untellable(serde_json::Error),
    #[error(transparent)]
    Slot(#[from] slot::Error),
    #[error(transparent)]
    Log(#[from] wal::Unreadable),
    #[error("the slot makes the server keep {bytes} bytes of its log, and may {most}: it is given up")]
    TooMuchRetained { bytes: u64, most: u64 },
    #[error("there is no publication")]
    NotInstalled,
}

/// How far the lead of an outbox is.
#[derive(Default)]
struct Progress {
    floor: Floor,
    /// How many connections had been opened when the database was last known to be the one whose changes were told.
    known_by: Option<usize>,
    /// The highest id that was told.
    told: i64,
}

impl Progress {
    /// Whether rows with these ids can be taken for those of the database that was known, and nobody has to be asked.
    fn is_known(&self, opened: usize, ids: &[i64]) -> bool {
        let goes_on = |first: &i64| *first <= self.told.saturating_add(USUAL_GAP);
        self.known_by == Some(opened) && ids.first().is_none_or(goes_on)
    }
}

/// Changes of a chunk of rows, and the rows' ids.
#[derive(Default)]
struct Batch {
    ids: Vec<i64>,
    changes: Vec<Arc<Change>>,
    /// Rows that are told without their images.
    unreadable: Vec<Unreadable>,
}

impl Batch {
    fn add(&mut self, row: &Row<'_>, tables: &Tables<'_>) -> Result<(), Failure> {
        let start = self.changes.len();
        let unclear = |reason| Unreadable::Image { id: row.id, reason };
        let told = row.record().and_then(|record| tables.tell(&record, &mut self.changes).map_err(unclear));
        if let Err(unreadable) = told {
            self.changes.truncate(start);
            self.add_unreadable(&row.without_images(), unreadable, tables)?;
        }
        self.ids.push(row.id);
        Ok(())
    }

    fn add_bare(&mut self, bare: &Bare, tables: &Tables<'_>) -> Result<(), Failure> {
        match serde_json::from_str::<Row<'_>>(&bare.text) {
            Ok(row) => return self.add(&row, tables),
            Err(reason) => self.add_unreadable(&bare.record(), Unreadable::Row { id: bare.id, reason }, tables)?,
        }
        self.ids.push(bare.id);
        Ok(())
    }

    fn add_unreadable(&mut self, record: &Record<'_>, unreadable: Unreadable, tables: &Tables<'_>) -> Result<(), Failure> {
        self.unreadable.push(unreadable);
        tables.tell(record, &mut self.changes).map_err(Failure::Untellable)
    }
}

impl Relay {
    /// Leads when it can and stands by when another does, until the end. It can be dropped at any moment.
    pub async fn run(&self, end: &CancellationToken) {
        let mut backoff = FIRST_BACKOFF;
        let mut memory = wal::Memory::default();
        let mut standstill = Standstill::default();
        loop {
            let turn = async {
                standstill.begin(Instant::now(), (self.settings.longest_backoff + self.settings.stand_by) * 4);
                match Box::pin(self.lead(&mut memory, &mut standstill, &mut backoff)).await {
                    Ok(()) => {
                        self.metrics.forget_backlog();
                        tokio::time::sleep(self.settings.stand_by).await;
                    }
                    Err(failure) => {
                        standstill.fail(Instant::now());
                        self.report(&failure, backoff);
                        tokio::time::sleep(backoff).await;
                        backoff = (backoff * 2).min(self.settings.longest_backoff);
                    }
                }
            };
            if end.run_until_cancelled(turn).await.is_none() {
                return;
            }
        }
    }

    /// Leads until something fails; comes back at once if there is nothing to lead or another does.
    async fn lead(&self, memory: &mut wal::Memory, standstill: &mut Standstill, backoff: &mut Duration) -> Result<(), Failure> {
        let served = self.engine.served();
        let Some(database) = served.databases.get(&self.source) else { return Ok(()) };
        match served.catalog.capture(&self.source) {
            Capture::Off => Ok(()),
            Capture::Trigger | Capture::Api => self.lead_outbox(database, standstill, backoff).await,
            Capture::Wal(_) => wal::lead(self, database, memory, backoff).await,
        }
    }

    async fn lead_outbox(&self, database: &Database, standstill: &mut Standstill, backoff: &mut Duration) -> Result<(), Failure> {
        let Some(mut watch) = database.try_watch(NAME).await? else { return Ok(()) };
        let own = database.apart(CONNECTIONS)?;
        let outbox = Outbox::of(&own).await?;
        if outbox.is_read_only().await? {
            return Ok(());
        }
        tracing::info!(source = self.source, "tells the changes of this database");
        let mut swept_at = None;
        let mut idle = Idle::default();
        let mut progress = Progress::default();
        loop {
            let served = self.engine.served();
            if !self.is_led(&served, database) || !served.catalog.capture(&self.source).has_outbox() {
                return Ok(());
            }
            // Before the first pass, so that what waits is known even while nothing can be told.
            if swept_at.is_none_or(|at: Instant| at.elapsed() >= self.settings.sweep) {
                self.sweep(&outbox, &mut progress.floor, standstill).await?;
                progress.known_by = None;
                self.hold_against_bus(&outbox, &mut progress, &[]).await?;
                swept_at = Some(Instant::now());
            }
            let told = self.pass(&outbox, &mut progress, &served).await?;
            standstill.end();
            *backoff = FIRST_BACKOFF;
            if told {
                idle.rise(&mut watch).await?;
            } else {
                idle.wait(database.dialect(), &mut watch, self.settings.sweep).await?;
            }
        }
    }

    /// Begins a new epoch where the database does not know the latest change that was told. It was restored, or one that has
    /// taken its place had not got all: what subscribers were told never happened, and ids are given out again. Connections
    /// are made again within statements, so whoever opened one may have reached another database; and an outbox that is made
    /// anew counts from the microseconds of then. The same where the latest change still waits to be told, and the bus would not drop
    /// it any more.
    async fn hold_against_bus(&self, outbox: &Outbox<'_>, progress: &mut Progress, ids: &[i64]) -> Result<(), Failure> {
        let opened = outbox.database().opened();
        if progress.is_known(opened, ids) {
            progress.told = ids.last().copied().unwrap_or(progress.told);
            return Ok(());
        }
        let latest = self.bus.latest_of(&self.source).await?;
        let (source, change) = (&self.source, latest.as_ref().map(|latest| latest.change.id.as_str()));
        let standing = outbox.standing(latest.as_ref().map(|latest| &*latest.change)).await?;
        if standing == Standing::Waits {
            // Nothing newer is told, and no epoch begun, while nothing can be marked: what waits would be told late, or anew without end.
            let told: Vec<i64> = latest.iter().filter_map(|latest| outbox_id(&latest.change.id)).collect();
            outbox.try_marking(&told).await?;
        }
        match (standing, &latest) {
            (Standing::GoesOn, _) | (Standing::Lost | Standing::Waits, None) => {}
            (Standing::Waits, Some(latest)) if latest.is_remembered => {}
            (Standing::Lost | Standing::Waits, Some(latest)) => {
                let reason = if standing == Standing::Waits {
                    "what was told last was never marked, and would be told once more after what came later"
                } else {
                    "the database has lost the latest change that was told"
                };
                tracing::warn!(source, change, "{reason}: subscribers start anew");
                self.bus.renew_after(&latest.epoch).await?;
                progress.floor = Floor::default();
            }
            (Standing::GivenUp, _) => {
                tracing::warn!(source, change, "changes were given up: subscribers start anew");
                self.bus.renew().await?;
                outbox.told_of_giving_up().await?;
            }
        }
        progress.known_by = Some(opened);
        progress.told = ids.last().copied().unwrap_or(progress.told);
        Ok(())
    }

    /// Whether the source is still the database that is led.
    pub(super) fn is_led(&self, served: &Served, database: &Database) -> bool {
        served.databases.get(&self.source).is_some_and(|now| now.settings() == database.settings())
    }

    /// Tells everything that is visible now, as one statement sees it; `false` says that there was nothing.
    ///
    /// Reading, telling and marking overlap: while a batch is told, the one before is marked and the next is read.
    async fn pass(&self, outbox: &Outbox<'_>, progress: &mut Progress, served: &Served) -> Result<bool, Failure> {
        let tables = Tables::of(&served.catalog, &self.source);
        let mut rows = outbox.rows(progress.floor.id()).await?;
        let mut batch = match next(&mut rows, &tables).await {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                progress.floor.pass();
                return Ok(false);
            }
            Err(Failure::Outbox(outbox::Error::Unreadable(_))) => return self.pass_singly(outbox, progress, &tables).await,
            Err(failure) => return Err(failure),
        };
        let mut told = Vec::new();
        loop {
            self.hold_against_bus(outbox, progress, &batch.ids).await?;
            let publish = self.publish(&batch);
            let (published, marked, following) = tokio::join!(publish, outbox.mark(&told), next(&mut rows, &tables));
            published?;
            marked?;
            told = batch.ids;
            match following {
                Ok(Some(following)) => batch = following,
                // A slow bus may take longer than one statement may; the next pass goes on.
                Ok(None) | Err(Failure::Database(database::Error::Deadline)) => break,
                Err(Failure::Outbox(outbox::Error::Unreadable(_))) => {
                    outbox.mark(&told).await?;
                    return self.pass_singly(outbox, progress, &tables).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        outbox.mark(&told).await?;
        Ok(true)
    }

    /// Tells the first rows one by one: among those that are read together is one that is not even JSON.
    async fn pass_singly(&self, outbox: &Outbox<'_>, progress: &mut Progress, tables: &Tables<'_>) -> Result<bool, Failure> {
        let mut batch = Batch::default();
        for bare in outbox.singly(progress.floor.id()).await? {
            batch.add_bare(&bare, tables)?;
        }
        self.hold_against_bus(outbox, progress, &batch.ids).await?;
        self.publish(&batch).await?;
        outbox.mark(&batch.ids).await?;
        Ok(true)
    }

    async fn publish(&self, batch: &Batch) -> Result<(), bus::Error> {
        if !batch.changes.is_empty() {
            self.bus.publish(&batch.changes).await?;
            self.metrics.published(batch.changes.iter().map(|change| change.operation));
        }
        for unreadable in &batch.unreadable {
            self.metrics.unreadable();
            tracing::error!(source = self.source, "{unreadable}: whoever follows its entity is told to read again");
        }
        Ok(())
    }

    /// Forgets old ids, measures what waits, and gives it up where it is too much and can't be told.
    async fn sweep(&self, outbox: &Outbox<'_>, floor: &mut Floor, standstill: &mut Standstill) -> Result<(), Failure> {
        while !outbox.forget(self.settings.kept).await? {}
        if let Some(horizon) = outbox.horizon().await? {
            floor.observe(&horizon);
        }
        let Backlog { rows, oldest_seconds, span, told_seconds } = outbox.backlog().await?;
        let now = Instant::now();
        standstill.observe(now, told_seconds);
        self.metrics.backlog(rows, oldest_seconds);
        if rows >= self.settings.warn_rows {
            tracing::warn!(source = self.source, rows, oldest_seconds, "many changes wait to be told");
        }
        let declared = self.engine.served().catalog.most_waiting(&self.source);
        let most = declared.unwrap_or(self.settings.max_waiting_rows);
        if span > most && standstill.has_lasted(now, self.settings.standstill) {
            let source = &self.source;
            tracing::error!(
                source,
                span,
                most,
                "too many changes wait in the outbox: they are given up, and subscribers will start anew"
            );
            outbox.give_up().await?;
            self.metrics.outbox_given_up();
        }
        Ok(())
    }

    fn report(&self, failure: &Failure, backoff: Duration) {
        self.metrics.failed();
        let source = self.source.as_str();
        let hint = match failure {
            Failure::Database(database::Error::Schema(_))
            | Failure::Outbox(outbox::Error::Database(database::Error::Schema(_)))
            | Failure::NotInstalled => "; if capture is not installed, run `resolvespec capture install`",
            _ => "",
        };
        tracing::error!(source, retry_in = ?backoff, "changes can't be told: {failure}{hint}");
    }
}

/// One reads while another marks; those of the engine are left to requests.
const CONNECTIONS: usize = 2;

/// By how much ids may skip: some are given out for what is rolled back.
const USUAL_GAP: i64 = 1000;

pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// How long nothing has happened, and whether commits are told.
#[derive(Default)]
struct Idle {
    rests: bool,
    looks: u32,
}

impl Idle {
    /// There is something to do, and writers need not tell of more.
    async fn rise(&mut self, watch: &mut Watch) -> Result<(), database::Error> {
        if std::mem::take(&mut self.rests) {
            watch.rise().await?;
        }
        self.looks = 0;
        Ok(())
    }

    /// Waits until it is time to look again, which is at once when the rest has just begun.
    async fn wait(&mut self, dialect: Dialect, watch: &mut Watch, at_most: Duration) -> Result<(), database::Error> {
        if !self.rests && watch.rest().await? {
            self.rests = true;
            return Ok(());
        }
        self.looks = self.looks.saturating_add(1);
        let longest = match dialect {
            // Who writes will not tell, and is looked for until it is done.
            Dialect::Postgres if !self.rests => (Duration::from_millis(2) * self.looks).min(Duration::from_millis(20)),
            // Whoever commits tells; this is for a word that went astray.
            Dialect::Postgres | Dialect::Sqlite => Duration::from_secs(1),
            // Others' commits are not told. It is looked less often the longer nothing happens.
            Dialect::Mysql(_) => (Duration::from_millis(20) * self.looks).min(Duration::from_millis(250)),
        };
        watch.changed(longest.min(at_most)).await
    }
}

/// The next rows as changes.
async fn next(
    rows: &mut BoxStream<'static, Result<RowText, database::Error>>,
    tables: &Tables<'_>,
) -> Result<Option<Batch>, Failure> {
    let Some(chunk) = rows.next().await.transpose()? else { return Ok(None) };
    let wrapped = [b"[".as_slice(), &chunk.joined, b"]"].concat();
    let found: Vec<Row<'_>> = serde_json::from_slice(&wrapped).map_err(outbox::Error::from)?;
    let (ids, changes) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
    let mut batch = Batch { ids, changes, unreadable: Vec::new() };
    for row in &found {
        batch.add(row, tables)?;
    }
    Ok(Some(batch))
}
