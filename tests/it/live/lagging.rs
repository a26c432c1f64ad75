//! Clients that do not take what they are told, and how little that is to others; how much a client may ask for.

use super::{Kind, Stage, eq, subscribe, subscribed, told};
use resolvespec::config::Config;
use resolvespec::event::hub::Settings;
use resolvespec::transport::ws;
use serde_json::json;
use std::time::Duration;

pub(super) async fn small_queues() -> Stage {
    let live = Settings { max_waiting: 400, max_waiting_bytes: 256 * 1024, ..Settings::default() };
    // Who is not read from for long lags, and nothing else.
    let ws = ws::Settings { write_time: Duration::from_mins(5), ..ws::Settings::default() };
    Stage::with(Kind::Postgres, |config| Config { live, ws, ..config }, Vec::new()).await
}

pub(super) const ROWS: u64 = 50_000;

/// More bytes than the sockets between a replica and a client hold.
pub(super) const LARGE: &str = "insert into items select n, repeat('x', 100), 'pen', n from generate_series(1, 50000) n";

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_told_to_resume_and_nobody_waits_for_it() {
    let stage = small_queues().await;
    let (mut slow, mut quick) = (stage.session().await, stage.session().await);
    let begun = subscribed(&mut slow, "items", json!({})).await["position"].clone();
    subscribed(&mut quick, "items", json!({"filters": [eq("id", ROWS)]})).await;
    stage.run(LARGE).await;
    assert_eq!(told(&mut quick).await["data"]["id"], ROWS);
    let (code, reason) = slow.closed().await;
    assert_eq!(code, 4004);
    assert!(reason.contains("resume"), "{reason}");
    stage.counts("resolvespec_live_slow_consumers_total", 1).await;
    let mut again = stage.session().await;
    subscribed(&mut again, "items", json!({"resume": begun})).await;
    for id in 1..=ROWS {
        assert_eq!(told(&mut again).await["data"]["id"], id);
    }
    drop((quick, again));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_replayed_more_than_may_wait_is_counted_as_well() {
    let live = Settings { max_waiting_bytes: 4096, ..Settings::default() };
    let stage = Stage::with(Kind::Sqlite, |config| Config { live, ..config }, Vec::new()).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({"filters": [eq("id", 0)]})).await["position"].clone();
    stage.run(&format!("insert into items values (1, '{}', 'pen', 1)", "x".repeat(8000))).await;
    stage.counts("resolvespec_live_events_total", 1).await;
    let mut late = stage.session().await;
    subscribed(&mut late, "items", json!({"resume": begun})).await;
    assert_eq!(late.closed().await.0, 4004);
    stage.counts("resolvespec_live_slow_consumers_total", 1).await;
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lags_and_conflates_is_told_the_latest_of_each_record() {
    let stage = small_queues().await;
    stage.run("insert into items select n, repeat('x', 100), 'pen', 0 from generate_series(1, 10) n").await;
    stage.counts("resolvespec_live_events_total", 10).await;
    let mut slow = stage.session().await;
    let begun = subscribed(&mut slow, "items", json!({"snapshot": true, "conflate": true})).await;
    assert_eq!(begun["snapshot"].as_array().map(Vec::len), Some(10));
    for first in (1..=6000).step_by(500) {
        let last = first + 499;
        stage.run(&format!("do $$ begin for turn in {first}..{last} loop update items set stock = turn; end loop; end $$")).await;
    }
    stage.counts("resolvespec_live_events_total", 60_010).await;
    let mut stocks = [0; 11];
    let (mut count, mut offset) = (0, 0);
    while stocks[1..].iter().any(|stock| *stock < 6000) {
        let message = told(&mut slow).await;
        let (id, stock) = (message["data"]["id"].as_u64().expect("an id"), message["data"]["stock"].as_u64().expect("a number"));
        let known = &mut stocks[usize::try_from(id).expect("a small number")];
        assert!(stock > *known, "a record is never told backwards");
        *known = stock;
        let next = message["position"]["offset"].as_u64().expect("an offset");
        assert!(next > offset, "positions go up");
        (count, offset) = (count + 1, next);
    }
    assert!(count < 60_000, "{count} were told, so nothing was overtaken");
    stage.counts("resolvespec_live_slow_consumers_total", 0).await;
    drop(slow);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_subscriptions() {
    let live = Settings { max_subscriptions: 2, max_session_bytes: 80_000, ..Settings::default() };
    let stage = Stage::with(Kind::Sqlite, |config| Config { live, ..config }, Vec::new()).await;
    let mut session = stage.session().await;
    let first = subscribed(&mut session, "items", json!({})).await;
    subscribed(&mut session, "items", json!({})).await;
    let error = subscribe(&mut session, "boxes", json!({})).await.expect_err("one too many");
    assert_eq!(error["code"], "limit_exceeded");
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": first["subscription_id"]});
    assert_eq!(session.ask(&end).await["success"], true);
    subscribed(&mut session, "boxes", json!({})).await;
    let error =
        subscribe(&mut session, "items", json!({"filters": [eq("name", "x".repeat(70_000))]})).await.expect_err("too long");
    assert_eq!(error["code"], "limit_exceeded");
    let mut session = stage.session().await;
    let long = json!({"filters": [eq("name", "x".repeat(50_000))]});
    subscribed(&mut session, "items", long.clone()).await;
    let error = subscribe(&mut session, "items", long).await.expect_err("too long together");
    assert_eq!(error["code"], "limit_exceeded");
    subscribed(&mut session, "items", json!({})).await;
    drop(session);
    stage.close().await;
}
