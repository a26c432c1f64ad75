//! Capture that is installed over what is there already, while others write.

use super::wal::{ENTITIES, SCHEMA};
use super::{Captured, Running};
use crate::support::database::Kind;
use resolvespec::database::{Database, Settings};
use resolvespec::event::capture::setup::{self, State};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::task::TaskTracker;

impl Captured {
    /// A column more, which the triggers that are there do not tell.
    async fn outgrow(&self, column: &str) {
        self.run(&format!("alter table notes add column {column} varchar(20)")).await;
        self.reload_as(self.kind.into(), ENTITIES).await;
        assert_eq!(self.only_state().await, State::Outdated);
    }
}

fn lines(relay: &Running) -> HashSet<String> {
    relay.bus.lines().into_iter().collect()
}

/// MySQL commits at each statement of an installation, and others write in between.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_are_replaced_leave_no_moment_without_them_on_mariadb() {
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    captured.outgrow("more").await;
    let relay = captured.start();
    let survey = captured.survey().await;
    for (step, statement) in survey.install().iter().enumerate() {
        captured.run(statement).await;
        captured.run(&format!("insert into notes (id, n) values ({step}, 0)")).await;
        captured.run(&format!("update notes set n = 1 where id = {step}")).await;
        captured.run(&format!("delete from notes where id = {step}")).await;
    }
    assert_eq!(captured.only_state().await, State::Installed);
    captured.drained().await;
    let told = lines(&relay);
    for step in 0..survey.install().len() {
        for operation in ["create", "update", "delete"] {
            assert!(told.contains(&format!("notes {operation} {step}")), "{operation} after {:?}", survey.install()[step]);
        }
    }
    relay.stop().await;
    captured.remove().await;
}

/// An installation that was broken off is gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_was_broken_off_is_finished_on_mariadb() {
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    captured.outgrow("more").await;
    let whole = captured.survey().await.install().to_vec();
    for statement in &whole {
        captured.run(statement).await;
        let rest = captured.survey().await;
        assert!(rest.install().len() <= whole.len(), "{:?}", rest.install());
    }
    assert_eq!(captured.only_state().await, State::Installed);
    captured.outgrow("yet_more").await;
    // Of the new triggers one is there.
    let first = captured.survey().await.install().iter().find(|one| one.starts_with("create trigger")).cloned();
    captured.run(&first.expect("a trigger is to be made")).await;
    captured.run_install().await;
    assert_eq!(captured.only_state().await, State::Installed);
    captured.remove().await;
}

/// A trigger of MySQL names the columns, and fails without one of them; others can be made beside it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_make_every_write_fail_are_replaced_on_mariadb() {
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    captured.run("alter table notes drop column body").await;
    captured.writer.run_script("insert into notes (id, n) values (1, 1)").await.expect_err("a trigger wants the column");
    captured.reload_as(Kind::Mariadb.into(), ENTITIES).await;
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into notes (id, n) values (1, 1)").await;
    relay.told(1).await;
    assert_eq!(relay.bus.lines(), ["notes create 1"]);
    relay.stop().await;
    captured.remove().await;
}

/// What was changed while nothing was captured is told to nobody.
async fn captured_anew(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes (id, n) values (1, 1)").await;
    relay.told(1).await;
    captured.drained().await;
    let database = captured.database();
    let removal = setup::removal(&database).await.expect("it can be looked at");
    database.run_all(&removal.statements).await.expect("capture can be removed");
    captured.run("insert into notes (id, n) values (2, 2)").await;
    captured.run_install().await;
    captured.run("insert into notes (id, n) values (3, 3)").await;
    relay.told(2).await;
    assert_eq!(relay.bus.lines(), ["notes create 1", "notes create 3"]);
    assert_eq!(*relay.bus.renewals.lock().expect("nobody panicked"), [1]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_that_is_removed_and_installed_begins_a_new_epoch_on_postgres() {
    captured_anew(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_that_is_removed_and_installed_begins_a_new_epoch_on_mariadb() {
    captured_anew(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_that_is_removed_and_installed_begins_a_new_epoch_on_sqlite() {
    captured_anew(Kind::Sqlite).await;
}

/// Rows in transactions that hold the table's lock for a while, until it is stopped; the first id that is not used.
async fn write(url: String, first: usize, stop: Arc<AtomicBool>) -> usize {
    let database = Database::connect(&Settings::new("another", url)).await.expect("the database answers");
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        let transaction = format!(
            "begin; insert into notes (id, n) values ({next}, 0); do sleep(0.01); insert into notes (id, n) values ({}, 0); commit",
            next + 1
        );
        database.run_script(&transaction).await.expect("rows are written");
        next += 2;
    }
    database.close().await;
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_are_replaced_under_writers_miss_nothing_on_mariadb() {
    const WRITERS: usize = 4;
    const EACH: usize = 1_000_000;
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let start = |number| tasks.spawn(write(captured.fresh.url.clone(), number * EACH, Arc::clone(&stop)));
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    for round in 0..5 {
        captured.outgrow(&format!("more_{round}")).await;
        captured.run_install().await;
        assert_eq!(captured.only_state().await, State::Installed);
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for (number, writer) in writers.into_iter().enumerate() {
        written.extend(number * EACH..writer.await.expect("a writer does not panic"));
    }
    captured.drained().await;
    let told = lines(&relay);
    let missing: Vec<_> = written.iter().filter(|id| !told.contains(&format!("notes create {id}"))).collect();
    assert!(missing.is_empty(), "of {} rows these were not told: {missing:?}", written.len());
    relay.stop().await;
    captured.remove().await;
}
