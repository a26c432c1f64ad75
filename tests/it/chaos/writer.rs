//! Writers: each changes rows of its own, through the service or past it, and notes what it was told of that.
//!
//! A change whose end is unknown may come into effect late, so its row is never touched again.

use super::ledger::{Done, Ledger, Row};
use super::world::{SOURCES, execute};
use crate::support::client::{Call, Client};
use resolvespec::database::{Database, Settings};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Rows that a writer has at a time.
const ROWS: usize = 8;

/// The pause between two changes, which leaves the processor to others.
const PAUSE: Duration = Duration::from_millis(15);

/// The pause after a change whose end is unknown.
const AFTER_A_FAILURE: Duration = Duration::from_millis(100);

static NEXT_ID: AtomicI64 = AtomicI64::new(1);

/// How a writer reaches its database.
pub(super) enum Through {
    Service(SocketAddr),
    Sql(String),
}

enum Way {
    Service(Box<Client>),
    Sql(Database),
}

pub(super) struct Writer {
    source: usize,
    through: Through,
    random: fastrand::Rng,
    ledger: Arc<Ledger>,
    version: i64,
    rows: BTreeMap<i64, Row>,
}

impl Writer {
    pub(super) fn new(source: usize, through: Through, seed: u64, ledger: Arc<Ledger>) -> Self {
        Self { source, through, random: fastrand::Rng::with_seed(seed), ledger, version: 0, rows: BTreeMap::new() }
    }

    pub(super) async fn run(mut self, writing: Arc<AtomicBool>) {
        let way = match &self.through {
            Through::Service(entrance) => Way::Service(Box::new(Client::new(*entrance))),
            Through::Sql(url) => {
                let mut settings = Settings::new("writer", url);
                settings.max_connections = 1;
                Way::Sql(Database::connect(&settings).await.expect("the database answers before the storm"))
            }
        };
        while writing.load(Ordering::Relaxed) {
            let pause = if self.change(&way).await { PAUSE } else { AFTER_A_FAILURE };
            tokio::time::sleep(pause).await;
        }
        if let Way::Sql(database) = way {
            database.close().await;
        }
    }

    fn row(&mut self) -> Row {
        self.version += 1;
        Row { version: self.version, kind: self.random.i64(0..5), stock: self.random.i64(0..100) }
    }

    /// Changes something; whether it is known to have been done.
    async fn change(&mut self, way: &Way) -> bool {
        let some = self.random.choice(self.rows.keys().copied().collect::<Vec<_>>());
        let row = self.row();
        match (some, self.random.u8(0..20)) {
            (None, _) => self.write(way, &[NEXT_ID.fetch_add(1, Ordering::Relaxed)], Some(row), true).await,
            (Some(_), 0..4) if self.rows.len() < ROWS => {
                self.write(way, &[NEXT_ID.fetch_add(1, Ordering::Relaxed)], Some(row), true).await
            }
            (Some(id), 4) => self.write(way, &[id], None, false).await,
            (Some(_), 5) => {
                let all: Vec<i64> = self.rows.keys().copied().collect();
                self.write(way, &all, Some(row), false).await
            }
            (Some(id), 6) => self.roll_back(way, id, row).await,
            (Some(id), _) => self.write(way, &[id], Some(row), false).await,
        }
    }

    /// Gives rows these values, or deletes them.
    async fn write(&mut self, way: &Way, ids: &[i64], row: Option<Row>, is_new: bool) -> bool {
        for id in ids {
            self.ledger.trying(self.source, *id, row);
        }
        let done = match way {
            Way::Service(client) => self.call(client, ids, row, is_new).await,
            Way::Sql(database) => {
                let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let sql = match row {
                    None => format!("delete from marks where id in ({list})"),
                    Some(Row { version, kind, stock }) if is_new => {
                        format!("insert into marks (id, version, kind, stock) values ({list}, {version}, {kind}, {stock})")
                    }
                    Some(Row { version, kind, stock }) => {
                        format!("update marks set version = {version}, kind = {kind}, stock = {stock} where id in ({list})")
                    }
                };
                execute(database, &[sql], true).await
            }
        };
        for id in ids {
            self.rows.remove(id);
            if !done {
                self.ledger.unknown();
                continue;
            }
            self.ledger.done(Done { source: self.source, id: *id, row });
            if let Some(row) = row {
                self.rows.insert(*id, row);
            }
        }
        done
    }

    async fn call(&self, client: &Client, ids: &[i64], row: Option<Row>, is_new: bool) -> bool {
        let object = |id: &i64, row: Row| json!({"id": id, "version": row.version, "kind": row.kind, "stock": row.stock});
        let body = match (row, ids) {
            (None, _) => json!({"operation": "delete", "id": ids}),
            (Some(row), _) if is_new => json!({"operation": "create", "data": object(&ids[0], row)}),
            (Some(row), _) => json!({"operation": "update", "id": ids, "data":
                {"version": row.version, "kind": row.kind, "stock": row.stock}}),
        };
        let call = Call::post(format!("/api/{}/marks", SOURCES[self.source]), &body);
        match tokio::time::timeout(Duration::from_secs(20), client.send(&call)).await {
            Ok(Ok(answer)) if answer.status == 200 => true,
            Ok(Ok(answer)) => {
                let known = [500, 502, 503, 504].contains(&answer.status.as_u16());
                assert!(known && answer.status != 500, "{call:?}: {} {}", answer.status, answer.body);
                false
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Writes a row and takes it back.
    async fn roll_back(&mut self, way: &Way, id: i64, row: Row) -> bool {
        let Way::Sql(database) = way else { return true };
        self.ledger.rolling_back(self.source, id, row.version);
        let sql = format!("update marks set version = {}, kind = {} where id = {id}", row.version, row.kind);
        execute(database, &[sql], false).await
    }
}
