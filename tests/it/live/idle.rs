//! What subscriptions cost while nothing happens: nothing.

use super::{Kind, Stage, subscribed};
use resolvespec::database::Statement;
use serde_json::json;
use std::time::Duration;

/// Transactions in the test's database so far; a statement by itself is one.
async fn transactions(stage: &Stage) -> u64 {
    let count = "select (xact_commit + xact_rollback)::text from pg_stat_database where datname = current_database()";
    let texts = stage.writer.fetch_texts(Statement::new(count)).await.expect("transactions are counted");
    texts[0].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_at_rest_make_no_statements() {
    let stage = Stage::open(Kind::Postgres).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = stage.session().await;
        for id in 0..25 {
            subscribed(&mut session, "items", json!({"filters": [super::eq("id", id)]})).await;
        }
        sessions.push(session);
    }
    stage.counts("resolvespec_live_subscriptions", 500).await;
    let before = transactions(&stage).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = transactions(&stage).await;
    // The relay looks once a second or so, whoever subscribes.
    assert!((1..=60).contains(&(after - before)), "{} transactions in four seconds, with 500 subscriptions", after - before);
    drop(sessions);
    stage.close().await;
}
