//! Writers that count up, and a client that sees whether it misses a number or hears one twice.

use super::Stage;
use crate::support::session::Session;
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Rows that are counted up.
pub(super) const ROWS: i64 = 12;

const WRITERS: i64 = 3;

/// Programs that count rows up, each on a connection of its own. Those that speak SQL do not spare the others' rows; where only
/// what the service writes is told, they are its clients, each with rows of its own.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Writers {
    /// Makes the rows and begins.
    pub(super) async fn start(stage: &Stage) -> Self {
        for id in 1..=ROWS {
            stage.run(&format!("insert into items values ({id}, 'row', 'count', 0)")).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..WRITERS {
            let stop = Arc::clone(&stop);
            tasks.push(if stage.mode == "api" {
                TaskTracker::new().spawn(count_through_the_service(stage.session().await, stop, number))
            } else {
                let database =
                    Database::connect(&Settings::new("counter", &stage.fresh.url)).await.expect("the database answers");
                TaskTracker::new().spawn(count(database, stop, number))
            });
        }
        Self { stop, tasks }
    }

    /// Waits until so many more changes are committed by now, at least.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut committed = 0;
        for task in self.tasks {
            committed += task.await.expect("the writer did not panic");
        }
        committed
    }
}

async fn count(database: Database, stop: Arc<AtomicBool>, number: i64) -> u64 {
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        let id = turn * 7 % ROWS + 1;
        let sql = format!("update items set stock = stock + 1 where id = {id}");
        database.run_script(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        turn += 1;
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    database.close().await;
    u64::try_from(turn - number).expect("it counts up")
}

async fn count_through_the_service(mut session: Session, stop: Arc<AtomicBool>, number: i64) -> u64 {
    const OWN: i64 = ROWS / WRITERS;
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let (id, stock) = (turn % OWN * WRITERS + number + 1, turn / OWN + 1);
        let write = json!({"id": "w", "type": "request", "operation": "update", "entity": "items", "record_id": id.to_string(),
            "data": {"stock": stock}});
        let answer = session.ask(&write).await;
        assert_eq!(answer["success"], true, "{answer}");
        turn += 1;
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    u64::try_from(turn).expect("it counts up")
}

/// What a client knows of the rows.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Counts(pub(super) BTreeMap<i64, i64>);

impl Counts {
    /// The rows of a snapshot or of a read.
    pub(super) fn of(rows: &Value) -> Self {
        let row = |row: &Value| (row["id"].as_i64().expect("an id"), row["stock"].as_i64().expect("a number"));
        Self(rows.as_array().expect("rows").iter().map(row).collect())
    }

    /// Takes a notification, which must be the very next of its row.
    #[track_caller]
    pub(super) fn take(&mut self, message: &Value) {
        assert_eq!(message["operation"], "update", "{message}");
        let (id, stock) = (message["data"]["id"].as_i64().expect("an id"), message["data"]["stock"].as_i64().expect("a number"));
        let before = self.0.insert(id, stock).expect("a row that is known");
        assert_eq!(stock, before + 1, "a number is missing or told twice: {message}");
    }

    /// Takes notifications until the counts are these.
    pub(super) async fn reach(&mut self, end: &Counts, session: &mut Session) {
        while self != end {
            let message = super::told(session).await;
            self.take(&message);
        }
    }
}

/// The rows as plain SQL has them.
pub(super) async fn now(stage: &Stage) -> Counts {
    let asked = serde_json::json!({"id": "r", "type": "request", "operation": "read", "entity": "items"});
    let mut session = stage.session().await;
    Counts::of(&session.ask(&asked).await["data"])
}
