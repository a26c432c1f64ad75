//! What was committed is told, in the order of commits for each record; what was rolled back is not.

use super::{Captured, On, SOURCE, WAL, image};
use crate::support::database::Kind;
use resolvespec::database::{Bind, Dialect, Statement};
use resolvespec::event::capture::{Sight, Sighting, origin};
use resolvespec::protocol::ChangeOperation;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SCHEMA: &str = "
create table counters (id integer primary key, n integer not null);
create table notes (id integer primary key, body varchar(200));
insert into counters values (1, 0), (2, 0), (3, 0), (4, 0);";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: counters}
spec: {source: conformance}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance}
";

async fn rollback(on: impl Into<On>) {
    let on = on.into();
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let mut undone = captured.begin().await;
    undone.execute(Statement::new("insert into notes values (1, 'undone')")).await.expect("the database does it");
    undone.rollback().await.expect("the database does it");
    let mut partly = captured.begin().await;
    partly.execute(Statement::new("insert into notes values (2, 'kept')")).await.expect("the database does it");
    partly.execute(Statement::new("savepoint s")).await.expect("the database does it");
    partly.execute(Statement::new("insert into notes values (3, 'undone')")).await.expect("the database does it");
    partly.execute(Statement::new("rollback to savepoint s")).await.expect("the database does it");
    partly.commit().await.expect("the database does it");
    captured.run("insert into notes values (4, 'last')").await;
    relay.told(2).await;
    assert_eq!(relay.bus.lines(), ["notes create 2", "notes create 4"]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_not_told_on_postgres() {
    rollback(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_not_told_on_mariadb() {
    rollback(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_not_told_on_sqlite() {
    rollback(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_not_told_by_the_log() {
    rollback(WAL).await;
}

/// Lower ids become visible after higher ones, and a transaction that began early changes a record late.
async fn interleaved(on: impl Into<On>) {
    let on = on.into();
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let mut early = captured.begin().await;
    early.execute(Statement::new("insert into notes values (1, 'early')")).await.expect("the database does it");
    let mut open = captured.begin().await;
    open.execute(Statement::new("insert into notes values (2, 'open')")).await.expect("the database does it");
    captured.run("update counters set n = 1 where id = 1").await;
    relay.told(1).await;
    early.execute(Statement::new("update counters set n = 2 where id = 1")).await.expect("the database does it");
    early.commit().await.expect("the database does it");
    // One transaction is still open, and nobody waits for it.
    let told = relay.told(3).await;
    let values: Vec<Value> = told
        .iter()
        .filter(|change| change.entity == "counters")
        .map(|change| image(change.after.as_deref())["n"].clone())
        .collect();
    assert_eq!(values, [json!(1), json!(2)]);
    open.commit().await.expect("the database does it");
    relay.told(4).await;
    assert_eq!(relay.bus.lines(), ["counters update 1", "notes create 1", "counters update 1", "notes create 2"]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_transactions_are_told_in_the_order_of_their_commits_on_postgres() {
    interleaved(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_transactions_are_told_in_the_order_of_their_commits_on_mariadb() {
    interleaved(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_transactions_are_told_in_the_order_of_their_commits_by_the_log() {
    interleaved(WAL).await;
}

/// A transaction is open for so long that everything else is told, forgotten and stepped over.
async fn late(on: impl Into<On>) {
    let on = on.into();
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes values (100, 'first')").await;
    let mut early = captured.begin().await;
    early.execute(Statement::new("insert into notes values (1, 'early')")).await.expect("the database does it");
    for id in 101..200 {
        captured.run(&format!("insert into notes values ({id}, 'x')")).await;
        relay.told(id - 99).await;
    }
    early.commit().await.expect("the database does it");
    relay.told(101).await;
    for id in 201..250 {
        captured.run(&format!("insert into notes values ({id}, 'x')")).await;
        relay.told(id - 99).await;
    }
    assert_eq!(relay.bus.lines()[100], "notes create 1");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_committed_late_is_told_on_postgres() {
    late(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_committed_late_is_told_on_mariadb() {
    late(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_committed_late_is_told_by_the_log() {
    late(WAL).await;
}

const WRITERS: i64 = 8;
const WRITES: i64 = 40;

/// Many writers count up few records, each in a transaction with a record of its own.
async fn concurrent(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let tasks = TaskTracker::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let database = captured.writer.clone();
            tasks.spawn(async move {
                for turn in 0..WRITES {
                    let mut transaction = database.begin(database.deadline(None)).await.expect("the database does it");
                    let note = Bind::Integer(writer * WRITES + turn + 1);
                    let counter = Bind::Integer((writer + turn) % 4 + 1);
                    let (insert, update) = match database.dialect() {
                        Dialect::Postgres => {
                            ("insert into notes values ($1, 'x')", "update counters set n = n + 1 where id = $1")
                        }
                        _ => ("insert into notes values (?, 'x')", "update counters set n = n + 1 where id = ?"),
                    };
                    transaction.execute(Statement::with_binds(insert, vec![note])).await.expect("the database does it");
                    transaction.execute(Statement::with_binds(update, vec![counter])).await.expect("the database does it");
                    transaction.commit().await.expect("the database does it");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the database does it");
    }
    let expected = usize::try_from(2 * WRITERS * WRITES).expect("the database does it");
    let told = relay.told(expected).await;
    assert_eq!(told.len(), expected);
    let mut latest: HashMap<String, Value> = HashMap::new();
    for change in told.iter().filter(|change| change.entity == "counters") {
        let (before, after) = (image(change.before.as_deref()), image(change.after.as_deref()));
        let id = after["id"].to_string();
        let known = latest.insert(id, after.clone()).map_or(json!(0), |row| row["n"].clone());
        assert_eq!(before["n"], known, "{change:?}");
        assert_eq!(change.operation, ChangeOperation::Update);
        assert_eq!(change.changed, ["n"]);
    }
    let rows = captured.texts(match kind {
        Kind::Postgres => "select row_to_json(c) from counters c",
        Kind::Mariadb | Kind::Sqlite => "select json_object('id', id, 'n', n) from counters",
    });
    for row in rows.await {
        let row: Value = serde_json::from_str(&row).expect("the database does it");
        assert_eq!(latest[&row["id"].to_string()], row);
    }
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_told_in_order_for_each_record_on_postgres() {
    concurrent(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_told_in_order_for_each_record_on_mariadb() {
    concurrent(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_told_in_order_for_each_record_on_sqlite() {
    concurrent(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_are_told_in_order_for_each_record_by_the_log() {
    concurrent(WAL).await;
}

/// Rows of a snapshot, and after them every change that it has not seen, are the table as it is: no gap, no overlap.
async fn snapshots(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let rows = match kind {
        Kind::Postgres => "select row_to_json(c) from counters c",
        Kind::Mariadb | Kind::Sqlite => "select json_object('id', id, 'n', n) from counters",
    };
    let database = captured.writer.clone();
    let enough = CancellationToken::new();
    let writers: Vec<_> = (1..=4)
        .map(|id| {
            let (database, enough) = (captured.writer.clone(), enough.clone());
            TaskTracker::new().spawn(async move {
                let mut count = 0;
                while !enough.is_cancelled() {
                    let mut transaction = database.begin(database.deadline(None)).await.expect("a transaction");
                    // Twice, so that the two changes of a transaction stand apart in the outbox.
                    for _ in 0..2 {
                        let update = Statement::new(format!("update counters set n = n + 1 where id = {id}"));
                        transaction.execute(update).await.expect("the counter is counted up");
                    }
                    transaction.commit().await.expect("the change lasts");
                    count += 2;
                }
                count
            })
        })
        .collect();
    let capture = captured.engine.served().catalog.capture(SOURCE);
    let sighting = Sighting::of(&database, capture).await.expect("the outbox is there");
    let mut taken: Vec<(HashMap<String, Value>, Sight)> = Vec::new();
    // Each sees more than the one before, so that writes fall between them.
    while taken.len() < 20 {
        let mut snapshot = database.begin_snapshot(database.deadline(None)).await.expect("a snapshot");
        let fetched = snapshot.fetch(Statement::new(rows)).await.expect("the rows");
        let seen = sighting.take(&mut snapshot).await.expect("what was seen");
        snapshot.rollback().await.expect("the snapshot ends");
        let text = format!("[{}]", String::from_utf8_lossy(&fetched.rows.joined));
        let read: Vec<Value> = serde_json::from_str(&text).expect("rows are JSON");
        let read: HashMap<String, Value> = read.into_iter().map(|row| (row["id"].to_string(), row)).collect();
        if taken.last().is_none_or(|(earlier, _)| *earlier != read) {
            taken.push((read, seen));
        }
    }
    enough.cancel();
    let mut last = HashMap::new();
    for (id, writer) in (1..).zip(writers) {
        let count = writer.await.expect("the writer did not panic");
        last.insert(id.to_string(), json!({"id": id, "n": count}));
    }
    let written: u64 = last.values().filter_map(|row| row["n"].as_u64()).sum();
    let told = relay.told(usize::try_from(written).expect("few")).await;
    for (mut rows, seen) in taken {
        for change in told.iter().filter(|change| !seen.has(origin(change).expect("an origin"))) {
            let (before, after) = (image(change.before.as_deref()), image(change.after.as_deref()));
            let known = rows.insert(after["id"].to_string(), after);
            assert_eq!(known, Some(before), "a change was left out or told again");
        }
        assert_eq!(rows, last);
    }
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_changes_after_it_are_the_table_on_postgres() {
    snapshots(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_changes_after_it_are_the_table_on_mariadb() {
    snapshots(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_changes_after_it_are_the_table_on_sqlite() {
    snapshots(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_changes_after_it_are_the_table_by_the_log() {
    snapshots(WAL).await;
}
