//! NATS is killed, away at the start, or comes back: requests go on, and nothing that is published is missed.

use super::catalog::Load;
use super::deployment::{Deployment, Replica, SOURCE, entity};
use super::live::{captured, hears, subscriber};
use super::until;
use crate::support::nats::{NatsCluster, OwnNats};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_without_nats_and_what_was_published_meanwhile_is_seen() {
    let nats = OwnNats::start("cluster-killed");
    let shop = Deployment::over(nats.url()).await;
    shop.published(&[]);
    let one = shop.start("one");
    one.serves(1).await;
    let load = Load::on(&[&one]);
    load.goes_on(50).await;

    nats.kill();
    until("noticing", async || one.ready().await.1["nats"] == "lost").await;
    let (status, body) = one.ready().await;
    assert_eq!((status, &body["degraded"]), (200, &json!(["nats"])), "losing NATS takes no replica out of balance");
    assert_eq!(one.metric("resolvespec_nats_connected").await, ["resolvespec_nats_connected 0"]);
    load.goes_on(200).await;

    // It can't look while it is stopped, so that it has to catch up.
    load.ends_well().await;
    one.signal("-STOP");
    nats.restart();
    shop.run_script("create table tags (id int primary key)").await;
    shop.write(&format!("{SOURCE}{}{}", entity("items"), entity("tags")));
    shop.published(&[]);
    one.signal("-CONT");
    let load = Load::on(&[&one]);
    one.serves(2).await;
    assert_eq!(one.status_of("tags").await, 200);
    assert_eq!(one.ready().await.1["degraded"], json!(null));

    // And once more while it looks: the watch goes on.
    nats.kill();
    until("noticing", async || one.ready().await.1["nats"] == "lost").await;
    nats.restart();
    shop.write(&format!("{SOURCE}{}", entity("items")));
    shop.published(&[]);
    one.serves(3).await;
    assert_eq!(one.status_of("tags").await, 404);
    load.ends_well().await;
    drop(one);
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_waits_for_nats_and_starts_from_what_was_published_before() {
    let nats = OwnNats::start("cluster-away");
    let shop = Deployment::over(nats.url()).await;
    shop.published(&[]);
    nats.kill();
    let mut one = shop.start("one");
    until("waiting", async || one.ready().await.1["missing"] == json!(["nats", "catalog"])).await;
    let health = one.admin.send(&crate::support::client::Call::new(axum::http::Method::GET, "/health")).await;
    assert_eq!(health.expect("an answer").status.as_u16(), 200, "it waits and is well");
    until("a word about it", async || one.said().contains("waiting for NATS")).await;
    assert_eq!(one.said().matches("waiting for NATS").count(), 1, "it is not told with each attempt: {}", one.said());
    assert!(one.is_alive());
    nats.restart();
    one.serves(1).await;
    assert_eq!(one.status_of("items").await, 200);

    // It can be told to end while it waits, too.
    nats.kill();
    let mut two = shop.start("two");
    until("waiting", async || two.ready().await.0 == 503).await;
    two.signal("-TERM");
    two.ended().await;
    one.signal("-TERM");
    one.ended().await;
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_servers_any_can_be_killed() {
    let nats = NatsCluster::start("cluster-of-three");
    let shop = Deployment::over(nats.urls()).await.with("RESOLVESPEC_NATS_REPLICAS", "3");
    until("electing a leader", async || shop.publish(&[]).status.success()).await;
    let (one, two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    let load = Load::on(&[&one, &two]);
    shop.run_script("create table tags (id int primary key)").await;
    for (number, server) in nats.servers.iter().enumerate() {
        server.kill();
        let more = if number % 2 == 0 { entity("tags") } else { String::new() };
        shop.write(&format!("{SOURCE}{}{more}", entity("items")));
        // The others may have to elect a leader first.
        until("publishing with two servers", async || shop.publish(&[]).status.success()).await;
        for replica in [&one, &two] {
            let status = if number % 2 == 0 { 200 } else { 404 };
            until("switching with two servers", async || replica.status_of("tags").await == status).await;
        }
        server.restart();
        // The next may be killed only when this one has caught up.
        until("three servers", async || shop.is_replicated(2).await).await;
    }
    load.ends_well().await;
    drop((one, two));
    shop.remove().await;
}

/// How many changes a replica was handed.
async fn events(replica: &Replica) -> u64 {
    let lines = replica.metric("resolvespec_live_events_total").await;
    lines.first().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_servers_two_carry_every_change() {
    const CHANGES: u64 = 20;
    let nats = NatsCluster::start("changes-of-three");
    let shop = Deployment::over(nats.urls()).await.with("RESOLVESPEC_NATS_REPLICAS", "3");
    // Nobody reads, or answers pings, while servers come and go.
    let shop = shop.with("RESOLVESPEC_WS_PING_SECONDS", "600");
    shop.write(&captured());
    shop.capture();
    until("electing a leader", async || shop.publish(&[]).status.success()).await;
    let (one, two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    until("three servers", async || shop.is_replicated(2).await).await;
    let mut both = [(subscriber(&one).await, &one), (subscriber(&two).await, &two)];
    let mut last = 10;
    for server in &nats.servers {
        server.kill();
        for _ in 0..CHANGES {
            last += 1;
            shop.run_script(&format!("insert into items values ({last}, 'x')")).await;
        }
        for (session, replica) in &mut both {
            // It may take an election.
            until("carrying changes with two servers", async || events(replica).await >= last - 10).await;
            for id in last - CHANGES + 1..=last {
                hears(session, id).await;
            }
        }
        server.restart();
        until("three servers", async || shop.is_replicated(2).await).await;
    }
    drop((one, two));
    shop.remove().await;
}
