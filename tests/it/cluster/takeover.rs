//! How long it takes until another replica tells of what one told that is killed: by the time of the lease, and however many
//! subscriptions there are.

use super::deployment::Deployment;
use super::subscriber::{answer, asked, client, hears_all, insert, known, notification, replica, share, shop, subscribed};
use super::until;
use crate::support::mqtt::{DEADLINE, OwnMosquitto, Station};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

/// From the end of a replica to the next notification, by a lease of three seconds.
const TAKEOVER: Duration = Duration::from_secs(5);

/// Tells of what was measured.
#[expect(clippy::print_stderr, reason = "a measurement is told")]
pub(super) fn measured(text: &str) {
    eprintln!("{text}");
}

/// A client that hears of everything, while of two replicas one is killed again and again: how long all of it took each time.
async fn takeovers(shop: &Deployment, broker: &OwnMosquitto, rounds: u64) -> Vec<Duration> {
    let (mut one, mut two) = (replica(shop, "one").await, replica(shop, "two").await);
    let mut ada = client(broker, "ada").await;
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    let mut took = Vec::new();
    for round in 0..rounds {
        share(&one, &two).await;
        let first = 100 * (round + 1);
        one.signal("-KILL");
        let killed = Instant::now();
        // In all parts, so also in those of the one that is gone.
        insert(shop, first..first + 40).await;
        hears_all(&mut ada, first..first + 40).await;
        took.push(killed.elapsed());
        let again = shop.start_again_after_death(one).await;
        until("being ready again", async || again.is_ready().await).await;
        (one, two) = (two, again);
    }
    took.sort();
    took
}

fn at(took: &[Duration], percent: usize) -> Duration {
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

fn rounds(usual: u64) -> u64 {
    std::env::var("TAKEOVER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_is_followed_within_seconds() {
    let broker = OwnMosquitto::start("takeover-usual");
    let shop = shop(&broker).await;
    let took = takeovers(&shop, &broker, rounds(6)).await;
    measured(&format!("takeover over {} rounds: p50 {:?}, p99 {:?}; {took:?}", took.len(), at(&took, 50), at(&took, 99)));
    assert!(took.iter().all(|time| *time < TAKEOVER), "{took:?}");
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_lease_is_followed_sooner() {
    /// What was renewed a third of its time before the end is over before this, where three seconds would not be.
    const SOON: Duration = Duration::from_millis(2500);
    let broker = OwnMosquitto::start("takeover-short");
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_LEASE_MS", "1000");
    let took = takeovers(&shop, &broker, rounds(6)).await;
    let (half, last) = (at(&took, 50), at(&took, 99));
    measured(&format!("takeover by a lease of 1 s over {} rounds: p50 {half:?}, p99 {last:?}; {took:?}", took.len()));
    // A machine that does other things may stand still in one of the rounds, and not in half of them.
    assert!(half < SOON && last + Duration::from_secs(2) < TAKEOVER, "{took:?}");
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_more_subscriptions_can_be_kept_those_that_are_there_are_told_and_taken_over() {
    let broker = OwnMosquitto::start("takeover-full");
    let shop = shop(&broker).await.with("RESOLVESPEC_NATS_BUCKET_BYTES", (1 << 20).to_string());
    let (mut one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let (mut ada, mut bob) = (client(&broker, "ada").await, client(&broker, "bob").await);
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    // Each is said in 50 kB, and the bucket takes a megabyte.
    let wide = |number: usize| {
        let filters = json!([{"column": "name", "operator": "eq", "value": "x".repeat(50_000)}]);
        asked(&format!("w{number}"), &json!({"filters": filters}))
    };
    let mut begun = Vec::new();
    let refused = loop {
        let told = answer(&mut bob, &wide(begun.len())).await;
        if told["success"] != true {
            break told;
        }
        begun.push(told["data"]["subscription_id"].clone());
        known(&[&one, &two], begun.len() as u64 + 1).await;
    };
    assert_eq!(refused["error"]["code"], "limit_exceeded", "{refused}");
    assert!((10..20).contains(&begun.len()), "{}", begun.len());
    insert(&shop, 10..20).await;
    hears_all(&mut ada, 10..20).await;
    one.signal("-KILL");
    insert(&shop, 100..140).await;
    hears_all(&mut ada, 100..140).await;
    until("the end of the replica", async || !one.is_alive()).await;
    // What ends makes room.
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun[0]});
    assert_eq!(answer(&mut bob, &end).await["data"]["unsubscribed"], true);
    known(&[&two], begun.len() as u64).await;
    let again = answer(&mut bob, &wide(begun.len())).await;
    assert_eq!(again["success"], true, "{again}");
    drop((one, two));
    shop.remove().await;
}

/// Clients, and subscriptions of each.
const CLIENTS: u64 = 10;
const EACH: u64 = 100;

/// A client begins its subscriptions, each to a record of its own.
async fn crowd(mut station: Station, number: u64) -> (Station, Range<u64>) {
    let records = 1000 + number * EACH..1000 + (number + 1) * EACH;
    for record in records.clone() {
        let filters = json!([{"column": "id", "operator": "eq", "value": record}]);
        let asked = json!({"id": format!("s{record}"), "type": "subscription", "operation": "subscribe", "entity": "items",
            "options": {"filters": filters}});
        let begun = answer(&mut station, &asked).await;
        assert_eq!(begun["success"], true, "{begun}");
    }
    (station, records)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscriptions_are_all_told_again_within_seconds() {
    let broker = OwnMosquitto::with("takeover-thousand", "max_queued_messages 0\n");
    // Beginning all of them takes as long as such a lease, which has to be renewed meanwhile, as soon as others use the processor.
    let shop = shop(&broker).await.optimized().with("RESOLVESPEC_MQTT_LEASE_MS", "1000");
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut stations = Vec::new();
    for number in 0..CLIENTS {
        stations.push(client(&broker, &format!("client-{number}")).await);
    }
    stations[0].wait_for_service().await;
    let clients = join_all(stations.into_iter().zip(0..).map(|(station, number)| crowd(station, number))).await;
    known(&[&one, &two], CLIENTS * EACH).await;
    share(&one, &two).await;
    let all = 1000..1000 + CLIENTS * EACH;
    one.signal("-KILL");
    let (killed, used) = (Instant::now(), two.used());
    insert(&shop, all).await;
    let hearing = clients.into_iter().map(async |(mut station, records)| {
        let (mut missing, mut took) = (records.collect::<BTreeSet<u64>>(), Vec::new());
        while !missing.is_empty() {
            let heard = station.hears(DEADLINE).await.unwrap_or_else(|| panic!("{} is not told of {missing:?}", station.id));
            let Some(told) = notification(heard) else { continue };
            if missing.remove(&told["data"]["id"].as_u64().expect("a key")) {
                took.push(killed.elapsed());
            }
        }
        took
    });
    let mut took = join_all(hearing).await.concat();
    took.sort();
    let (half, most, last) = (at(&took, 50), at(&took, 99), at(&took, 100));
    let used = two.used().saturating_sub(used);
    measured(&format!("{} subscriptions after a kill: p50 {half:?}, p99 {most:?}, the last {last:?}; {used:?} used", took.len()));
    assert_eq!(took.len() as u64, CLIENTS * EACH);
    // Five seconds on a machine that does nothing else: what it costs says so on any other, and a busy one has its time.
    assert!(used < TAKEOVER && last < TAKEOVER * 4, "{last:?}, {used:?}");
    drop((one, two));
    shop.remove().await;
}
