//! Many statements on one connection: more than it keeps prepared, and failing ones among others.

use crate::support::database::{Fresh, Kind};
use resolvespec::database::{Database, Error, Settings, Statement};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

const STATEMENTS: usize = 800;

/// A pause of 40 ms for each statement beyond those that are kept would make it half a minute.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn many_different_statements_do_not_wait_for_each_other() {
    for kind in Kind::ALL {
        let fresh = Fresh::create(kind).await;
        let mut settings = Settings::new("many", &fresh.url);
        settings.max_connections = 1;
        let database = Database::connect(&settings).await.expect("the database answers");
        let began = Instant::now();
        for number in 0..STATEMENTS {
            let rows = database.fetch_texts(Statement::new(format!("select '{number}'"))).await.expect("a row");
            assert_eq!(rows, [number.to_string()]);
        }
        let took = began.elapsed();
        assert!(took < BOUND, "{STATEMENTS} statements took {took:?} on {}", kind.name());
        database.close().await;
        fresh.remove().await;
    }
}

/// SQLite interrupts a connection, and not a statement: one that has failed must not take the next with it.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_fail_do_not_interrupt_others_on_sqlite() {
    let fresh = Fresh::create(Kind::Sqlite).await;
    let mut settings = Settings::new("shared", &fresh.url);
    settings.max_connections = 1;
    let database = Database::connect(&settings).await.expect("the database answers");
    let tasks = TaskTracker::new();
    let mut working = Vec::new();
    for _ in 0..4 {
        let failing = database.clone();
        working.push(tasks.spawn(async move {
            for _ in 0..200 {
                let outcome = failing.fetch_texts(Statement::new("select id from missing")).await;
                assert!(matches!(outcome, Err(Error::Schema(_))), "{outcome:?}");
            }
        }));
        let database = database.clone();
        let counts =
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) select count(*) || '' from n";
        working.push(tasks.spawn(async move {
            for _ in 0..200 {
                let rows = database.fetch_texts(Statement::new(counts)).await;
                assert_eq!(rows.expect("it is not interrupted"), ["2000"]);
            }
        }));
    }
    for task in working {
        task.await.expect("every outcome is right");
    }
    database.close().await;
    fresh.remove().await;
}
