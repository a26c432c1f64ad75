//! Many different statements on one connection, more than it keeps prepared.

use crate::support::database::{Fresh, Kind};
use resolvespec::database::{Database, Settings, Statement};
use std::time::{Duration, Instant};

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
