//! A database that hangs delays nobody else: not while it takes what captures changes, not while it reads SQL, and not while
//! what it has captured is undone.

use super::capturing::{captured, said, triggers};
use super::stage::{Stage, source};
use crate::cluster::deployment::Replica;
use crate::cluster::until;
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How soon a change is served, whatever else happens.
const SOON: Duration = Duration::from_secs(2);

fn over(secret: &str, mode: &str) -> Value {
    let mut spec = if mode == "none" { source() } else { captured() };
    spec["connection"]["secretKeyRef"]["name"] = json!(secret);
    spec
}

async fn connected(url: &str) -> Database {
    Database::connect(&Settings::new("test", url)).await.expect("the database answers")
}

/// Applies an entity over a table that has just come, and sees it served soon.
async fn is_served_soon(stage: &Stage, one: &Replica, table: &str) {
    stage.deployment.run_script(&format!("create table {table} (id int primary key)")).await;
    let since = Instant::now();
    stage.apply_entity(table).await;
    until("being served", async || one.status_of(table).await == 200).await;
    assert!(since.elapsed() < SOON, "{table} took {:?}", since.elapsed());
    stage.ready("Entity", table).await;
}

/// Waits until somebody waits for a lock in this database.
async fn somebody_waits(url: &str) {
    let waiting = "select to_json(count(*) > 0) from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database()";
    until("waiting for the lock", async || said(url, waiting).await == "true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_delays_only_what_it_is_captured_for() {
    let stage = Stage::new().await;
    let bank = Fresh::create(Kind::Postgres).await;
    let database = connected(&bank.url).await;
    database.run_script("create table coins (id int primary key)").await.expect("the script runs");
    stage.secret("bank-database", &bank.url).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;

    let mut lock = database.begin(tokio::time::Instant::now() + Duration::from_mins(1)).await.expect("a transaction");
    // Whoever reads is let through, and `create trigger` is not.
    lock.execute(Statement::new("lock table coins in row exclusive mode")).await.expect("the lock");
    stage.apply("DataSource", "bank", over("bank-database", "trigger")).await;
    stage.apply("Entity", "coins", json!({"source": "bank"})).await;
    // Before the database gives it up after five seconds, and the entity is served without.
    stage.told("Entity", "coins", "Accepted", "Unknown", "Pending").await;
    assert_eq!(one.status_of("coins").await, 404, "what captures it comes first");
    somebody_waits(&bank.url).await;
    is_served_soon(&stage, &one, "tags").await;
    lock.rollback().await.expect("the lock is gone");
    stage.ready("Entity", "coins").await;
    until("the triggers", async || triggers(&bank.url).await != "0").await;
    stage.ready("DataSource", "bank").await;

    stage.delete("DataSource", "bank").await;
    until("the end of the source", async || stage.is_gone("DataSource", "bank").await).await;
    drop((operator, one));
    database.close().await;
    bank.remove().await;
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_is_not_answered_for_delays_only_who_declares_it() {
    let stage = Stage::new().await;
    let bank = Fresh::create(Kind::Postgres).await;
    let database = connected(&bank.url).await;
    // Beside what is looked at, so that only who reads the SQL comes to the lock.
    let script = "create table coins (id int primary key); create schema vault; create table vault.rates (rate int)";
    database.run_script(script).await.expect("the script runs");
    stage.secret("bank-database", &bank.url).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.apply("DataSource", "bank", over("bank-database", "none")).await;
    stage.ready("DataSource", "bank").await;

    let mut lock = database.begin(tokio::time::Instant::now() + Duration::from_mins(1)).await.expect("a transaction");
    lock.execute(Statement::new("lock table vault.rates in access exclusive mode")).await.expect("the lock");
    let computed = json!([{"name": "rate", "type": "integer", "expression": "(select max(rate) from vault.rates)"}]);
    stage.apply("Entity", "coins", json!({"source": "bank", "computed": computed})).await;
    somebody_waits(&bank.url).await;
    is_served_soon(&stage, &one, "tags").await;
    // It is told after the trial was over, which is not begun again at once.
    stage.told("Entity", "coins", "Accepted", "Unknown", "Pending").await;
    is_served_soon(&stage, &one, "marks").await;
    lock.rollback().await.expect("the lock is gone");
    stage.ready("Entity", "coins").await;
    assert_eq!(one.status_of("coins").await, 200);
    drop((operator, one));
    database.close().await;
    bank.remove().await;
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_hang_while_their_sources_go_delay_nobody() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    let banks = [Own::start(Kind::Postgres, "hanging-one"), Own::start(Kind::Postgres, "hanging-two")];
    let mut urls = Vec::new();
    for (bank, name) in banks.iter().zip(["north", "south"]) {
        let url = bank.database().await;
        let database = connected(&url).await;
        database.run_script(&format!("create table {name} (id int primary key)")).await.expect("the script runs");
        database.close().await;
        stage.secret(name, &url).await;
        stage.apply("DataSource", name, over(name, "trigger")).await;
        stage.apply("Entity", name, json!({"source": name})).await;
        stage.ready("Entity", name).await;
        until("the triggers", async || triggers(&url).await != "0").await;
        urls.push(url);
    }
    for name in ["north", "south"] {
        stage.delete("Entity", name).await;
    }
    until("not being served", async || one.status_of("north").await == 404 && one.status_of("south").await == 404).await;

    banks.iter().for_each(Own::freeze);
    for name in ["north", "south"] {
        stage.delete("DataSource", name).await;
    }
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let taken = turns().await;
    until("being looked at", async || turns().await > taken).await;
    is_served_soon(&stage, &one, "tags").await;
    is_served_soon(&stage, &one, "marks").await;
    assert!(!stage.is_gone("DataSource", "north").await && !stage.is_gone("DataSource", "south").await);

    banks.iter().for_each(Own::thaw);
    for (name, url) in ["north", "south"].into_iter().zip(&urls) {
        until("the end of the source", async || stage.is_gone("DataSource", name).await).await;
        assert_eq!(triggers(url).await, "0");
        assert_eq!(stage.times(name, "CaptureLeftBehind").await, 0);
    }
    drop((operator, one));
    stage.remove().await;
}
