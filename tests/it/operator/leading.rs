//! One of several operators leads, and another one takes over in time.

use super::stage::Stage;
use crate::cluster::until;
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
