//! What subscriptions cost while nothing happens: nothing.

use super::{Kind, Stage, subscribed};
use resolvespec::config::Config;
use resolvespec::database::Statement;
use resolvespec::event::hub;
use serde_json::json;
use std::time::{Duration, Instant};

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

/// How often the server has run statements of the test's database that have this in them, other than those that ask for it.
async fn calls(stage: &Stage, part: &str) -> u64 {
    let count = format!(
        "select coalesce(sum(calls), 0)::bigint::text from pg_stat_statements s join pg_database d on d.oid = s.dbid \
         where d.datname = current_database() and query like '%{part}%' and query !~ 'pg_stat_statements'"
    );
    let texts = stage.writer.fetch_texts(Statement::new(count)).await.expect("statements are counted");
    texts[0].parse().expect("a number")
}

/// Whether changes are captured is asked once for a database, however many subscribe to how many of its tables.
#[tokio::test(flavor = "multi_thread")]
async fn surveys_for_subscriptions_at_rest_are_as_many_as_there_are_databases() {
    const SURVEYS: u64 = 4;
    let every = Duration::from_millis(500);
    let live = hub::Settings { survey_interval: every, ..hub::Settings::default() };
    let stage = Stage::with(Kind::Postgres, |config| Config { live, ..config }, Vec::new()).await;
    stage.run("create extension pg_stat_statements").await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = stage.session().await;
        for id in 0..25 {
            let entity = if id % 2 == 0 { "items" } else { "boxes" };
            subscribed(&mut session, entity, json!({"filters": [super::eq("id", id)]})).await;
        }
        sessions.push(session);
    }
    stage.counts("resolvespec_live_subscriptions", 500).await;
    // Only a survey reads which triggers there are.
    let triggers = "tgparentid";
    let (begun, before, all_before) = (Instant::now(), calls(&stage, triggers).await, calls(&stage, "").await);
    let mut surveys = 0;
    while surveys < SURVEYS {
        assert!(begun.elapsed() < Duration::from_secs(30), "{surveys} surveys, of which there is one every {every:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        surveys = calls(&stage, triggers).await.saturating_sub(before);
    }
    let all = calls(&stage, "").await.saturating_sub(all_before);
    let elapsed = begun.elapsed();
    let due = elapsed.as_millis() / every.as_millis() + 1;
    assert!(u128::from(surveys) <= due, "{surveys} surveys in {elapsed:?}, of which there is one every {every:?}");
    // The relay looks now and then, and a survey is a handful of statements.
    let usual = 20 * surveys + 50 * (elapsed.as_secs() + 1);
    assert!(all <= usual, "{all} statements in {elapsed:?} with {surveys} surveys of 500 subscriptions");
    drop(sessions);
    stage.close().await;
}
