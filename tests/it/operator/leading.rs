//! One of several operators leads, another one takes over in time, and one that was frozen meanwhile leads no more.

use super::stage::Stage;
use crate::cluster::until;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn another_operator_takes_over() {
    let stage = Stage::new().await;
    let first = stage.operator("first");
    until("leading", async || first.leads().await).await;
    let mut second = stage.operator("second");
    let replica = stage.replica("one");
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    assert!(first.leads().await && !second.leads().await);
    until("being ready without leading", async || second.said().contains("waiting to lead")).await;

    // Killed: its lease has to end by itself.
    first.signal("-KILL");
    let since = Instant::now();
    until("taking over", async || second.leads().await).await;
    let took = since.elapsed();
    assert!(took <= Duration::from_secs(15), "it took {took:?}");
    assert_eq!(replica.status_of("items").await, 200, "nothing of it is in the data path");
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "tags").await;

    // Told to end: it gives the lease back.
    let third = stage.operator("third");
    until("waiting", async || third.said().contains("waiting to lead")).await;
    second.signal("-TERM");
    let since = Instant::now();
    until("taking over at once", async || third.leads().await).await;
    let took = since.elapsed();
    assert!(took <= Duration::from_secs(5), "it took {took:?}");
    second.ended().await;
    assert!(second.said().contains("the lease is given back"), "{}", second.said());
    drop((first, second, third, replica));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_frozen_writes_nothing_more() {
    let stage = Stage::new().await;
    let first = stage.operator("first");
    until("leading", async || first.leads().await).await;
    let second = stage.operator("second");
    let replica = stage.replica("one");
    let columns = |alias: &str| json!({"source": "shop", "columns": [{"name": "name", "alias": alias}]});
    stage.apply_source().await;
    stage.apply("Entity", "items", columns("before")).await;
    stage.ready("Entity", "items").await;
    until("being ready without leading", async || second.said().contains("waiting to lead")).await;

    // In the midst of what it does about a change.
    stage.apply("Entity", "items", columns("during")).await;
    first.signal("-STOP");
    let since = Instant::now();
    until("taking over", async || second.leads().await).await;
    let took = since.elapsed();
    assert!(took <= Duration::from_secs(15), "it took {took:?}");
    stage.apply("Entity", "items", columns("after")).await;
    let is_served = async || replica.read("items").await.is_ok_and(|answer| answer.body["data"][0]["after"] == "pen");
    until("the change", &is_served).await;
    until("its status", async || stage.status("Entity", "items").await["observedGeneration"] == 3).await;
    stage.ready("Entity", "items").await;

    // It goes on where it was, and finds that somebody else leads.
    first.signal("-CONT");
    until("not leading", async || first.said().contains("the lease is lost") && !first.leads().await).await;
    let written = async || first.metric("resolvespec_operator_status_writes_total").await;
    let (before, turns) = (written().await, async || second.metric("resolvespec_operator_reconciles_total").await);
    let taken = turns().await;
    until("some more turns", async || turns().await >= taken + 3.0).await;
    assert!(second.leads().await && !first.leads().await);
    assert!(written().await <= before, "it writes nothing");
    assert!(is_served().await);
    assert_eq!(stage.status("Entity", "items").await["observedGeneration"], 3);
    assert_eq!(stage.condition("Entity", "items", "Ready").await.0, "True");
    drop((first, second, replica));
    stage.remove().await;
}
