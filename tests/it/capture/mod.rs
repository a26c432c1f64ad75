//! Changes by plain SQL, told by the relay: on all three databases, with a bus that only remembers.

mod api;
mod bus;
mod command;
mod given_up;
mod images;
mod order;
mod poison;
mod reinstall;
mod relay;
mod restored;
mod setup;
mod slot;
mod unmarked;
mod wal;

use crate::support::database::{Fresh, Kind};
use crate::support::server::{load_captured, unobserved};
use bus::Recorder;
use resolvespec::database::{Database, Settings, Statement, Transaction};
use resolvespec::engine::Engine;
use resolvespec::event::bus::Bus;
use resolvespec::event::capture::{Relay, Settings as RelaySettings, setup as capture};
use resolvespec::protocol::Change;
use resolvespec::telemetry::Metrics;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long anything may take to come to its end.
const DEADLINE: Duration = Duration::from_secs(30);

/// The source that support's manifests declare.
const SOURCE: &str = "conformance";

/// A kind of database, and how it is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct On {
    kind: Kind,
    mode: &'static str,
}

/// PostgreSQL by its log.
const WAL: On = On { kind: Kind::Postgres, mode: "wal" };

impl From<Kind> for On {
    fn from(kind: Kind) -> Self {
        Self { kind, mode: "trigger" }
    }
}

/// A database whose tables are captured.
struct Captured {
    kind: Kind,
    mode: &'static str,
    fresh: Fresh,
    engine: Engine,
    /// Another program: connections of its own, none of which the relay knows.
    writer: Database,
}

/// A relay that runs.
struct Running {
    bus: Arc<Recorder>,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Captured {
    /// Fills a database, and installs capture for the entities.
    async fn install(on: impl Into<On>, script: &str, entities: &str) -> Self {
        let captured = Self::bare(on, script, entities).await;
        captured.run_install().await;
        captured
    }

    /// Fills a database and installs nothing.
    async fn bare(on: impl Into<On>, script: &str, entities: &str) -> Self {
        let on = on.into();
        let fresh = Fresh::create(on.kind).await;
        Self::over(on, fresh, script, entities).await
    }

    /// The same over a database that somebody has made.
    async fn over(on: On, fresh: Fresh, script: &str, entities: &str) -> Self {
        let On { kind, mode } = on;
        let served = load_captured(kind, &fresh, script, entities, mode).await;
        let writer = Database::connect(&Settings::new("writer", &fresh.url)).await.expect("the database answers");
        Self { kind, mode, fresh, engine: Engine::new(served, Vec::new(), unobserved()), writer }
    }

    /// Serves the manifests over what the database has now, captured in another way.
    async fn reload_as(&self, on: On, entities: &str) {
        self.engine.switch(load_captured(on.kind, &self.fresh, "", entities, on.mode).await);
    }

    fn database(&self) -> Database {
        self.engine.served().databases[SOURCE].clone()
    }

    async fn survey(&self) -> capture::Survey {
        let served = self.engine.served();
        capture::survey(&self.database(), &served.catalog, SOURCE).await.expect("the database can be surveyed")
    }

    async fn run_install(&self) {
        let survey = self.survey().await;
        let run = survey.run(&self.database()).await;
        run.unwrap_or_else(|error| panic!("{error}\n{}", survey.install().join(";\n")));
    }

    /// Runs plain SQL as another program.
    async fn run(&self, sql: &str) {
        self.writer.run_script(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn begin(&self) -> Transaction {
        self.writer.begin(self.writer.deadline(None)).await.expect("a transaction begins")
    }

    /// The first column of each row.
    async fn texts(&self, sql: &str) -> Vec<String> {
        self.writer.fetch_texts(Statement::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The ids in one of capture's tables.
    async fn ids(&self, table: &str) -> Vec<i64> {
        let cast = if self.kind == Kind::Mariadb { "char" } else { "text" };
        let rows = self.texts(&format!("select cast(id as {cast}) from {table} order by id")).await;
        rows.iter().map(|id| id.parse().expect("ids are numbers")).collect()
    }

    /// Waits until nothing is left to be told.
    async fn drained(&self) {
        let confirmed = if self.mode == "wal" { self.confirmed_now().await } else { String::new() };
        let empty = async {
            loop {
                let is_done = match self.mode {
                    "wal" => self.texts(&confirmed).await == ["true"],
                    _ => self.ids("resolvespec_outbox").await.is_empty(),
                };
                if is_done {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, empty).await.expect("the outbox is emptied");
    }

    /// Asks whether everything up to this moment is confirmed to the log.
    async fn confirmed_now(&self) -> String {
        let end = self.texts("select to_json(pg_current_wal_insert_lsn())").await.remove(0).replace('"', "'");
        format!(
            "select to_json(bool_and(confirmed_flush_lsn >= {end})) from pg_replication_slots where database = current_database()"
        )
    }

    fn relay(&self, bus: Arc<dyn Bus>) -> Relay {
        let metrics = Metrics::new().expect("the metrics have different names").capture(SOURCE);
        // Often, so that every test has them in its way.
        let (stand_by, sweep) = (Duration::from_millis(50), Duration::from_millis(20));
        let settings = RelaySettings { stand_by, sweep, ..RelaySettings::default() };
        Relay { source: SOURCE.to_owned(), engine: self.engine.clone(), bus, metrics, settings }
    }

    /// Starts a relay with a bus of its own.
    fn start(&self) -> Running {
        self.start_on(Arc::default())
    }

    fn start_on(&self, bus: Arc<Recorder>) -> Running {
        let relay = self.relay(bus.clone());
        let end = CancellationToken::new();
        let ended = end.clone();
        let task = TaskTracker::new().spawn(async move { relay.run(&ended).await });
        Running { bus, end, task }
    }

    /// Waits until nobody holds the slot: a session that has just ended may still do, and a held slot can't be dropped.
    async fn drained_slot(&self) {
        let held = "select to_json(slot_name) from pg_replication_slots where database = current_database() and active";
        let free = async {
            while !self.texts(held).await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, free).await.expect("nobody holds the slot");
    }

    async fn remove(self) {
        self.writer.close().await;
        self.database().close().await;
        self.fresh.remove().await;
    }
}

impl Running {
    /// The first changes, once there are so many different ones.
    async fn told(&self, count: usize) -> Vec<Arc<Change>> {
        eventually(Duration::from_mins(1), || {
            let told = self.bus.told();
            (told.len() >= count).then_some(told)
        })
        .await
        .unwrap_or_else(|| panic!("only {} of {count} changes were told: {:#?}", self.bus.told().len(), self.bus.lines()))
    }

    async fn stop(self) {
        self.end.cancel();
        timeout(DEADLINE, self.task).await.expect("it ends in time").expect("the relay did not panic");
    }
}

/// Waits for something, up to a deadline.
async fn eventually<T>(at_most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + at_most;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn image(image: Option<&serde_json::value::RawValue>) -> Value {
    image.map_or(Value::Null, |image| serde_json::from_str(image.get()).expect("an image is JSON"))
}
