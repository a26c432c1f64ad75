//! What subscriptions cost while nothing happens: nothing.

use super::{Kind, Stage, subscribed};
use resolvespec::database::Statement;
use serde_json::json;
use std::time::Duration;

/// Calls of statements in the test's database so far, those that count them left out.
async fn calls(stage: &Stage) -> u64 {
    let count = "select sum(calls)::text from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = current_database() and query not like '%pg_stat_statements%'";
    let texts = stage.writer.fetch_texts(Statement::new(count)).await.expect("statements are counted");
    texts[0].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_at_rest_make_no_statements() {
    let stage = Stage::open(Kind::Postgres).await;
    stage.run("create extension pg_stat_statements").await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = stage.session().await;
        for id in 0..25 {
            subscribed(&mut session, "items", json!({"filters": [super::eq("id", id)]})).await;
        }
        sessions.push(session);
    }
    stage.counts("resolvespec_live_subscriptions", 500).await;
    let before = calls(&stage).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let after = calls(&stage).await;
    // The relay looks once a second or so, whoever subscribes.
    assert!(after - before <= 60, "{} statements in four seconds, with 500 subscriptions", after - before);
    drop(sessions);
    stage.close().await;
}
