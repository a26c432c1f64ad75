//! Subscriptions over MQTT in a cluster: told by exactly one replica for each part of the records, whatever is killed, frozen
//! or replaced; a real Mosquitto and a real NATS.

use super::deployment::{Deployment, Replica};
use super::subscriber::{answer, asked, client, hears_all, insert, notification, parts, replica, share, shop, subscribed, told};
use super::takeover::measured;
use super::until;
use crate::support::mqtt::{Entry, OwnMosquitto, Spoken, Station};
use resolvespec::database::{Database, Settings};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// From the end of a replica to the next notification.
const TAKEOVER: Duration = Duration::from_secs(5);

/// Counts up the names of eight rows, one after the other, each in a transaction of its own.
#[derive(Default)]
struct Counting {
    stop: AtomicBool,
    rounds: AtomicU64,
}

const ROWS: u64 = 8;

impl Counting {
    async fn begin(shop: &Deployment, tasks: &TaskTracker) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        insert(shop, 1000..1000 + ROWS).await;
        let counting = Arc::new(Self::default());
        let (own, url) = (Arc::clone(&counting), shop.database_url().to_owned());
        let task = tasks.spawn(async move {
            let database = Database::connect(&Settings::new("writer", &url)).await.expect("the database answers");
            while !own.stop.load(Ordering::Relaxed) {
                let round = own.rounds.load(Ordering::Relaxed) + 1;
                for row in 0..ROWS {
                    let text = format!("update items set name = '{round}' where id = {}", 1000 + row);
                    database.run_script(&text).await.expect("written");
                }
                own.rounds.store(round, Ordering::Relaxed);
                // As fast as a subscriber reads.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            database.close().await;
        });
        (counting, task)
    }

    async fn goes_on(&self, rounds: u64) {
        let enough = self.rounds.load(Ordering::Relaxed) + rounds;
        until("writing", async || self.rounds.load(Ordering::Relaxed) >= enough).await;
    }
}

/// What was heard of each row: the rounds in their order, with what was told again, which is in order as well.
#[derive(Default)]
struct Rounds {
    last: BTreeMap<u64, u64>,
    at: BTreeMap<u64, u64>,
    told_again: u64,
    longest: Duration,
}

impl Rounds {
    /// Hears until every row has had a round. No round may be left out.
    async fn hear(&mut self, station: &mut Station, counting: &Counting, writer: &tokio::task::JoinHandle<()>) {
        let mut since = Instant::now();
        loop {
            if writer.is_finished() {
                let last = counting.rounds.load(Ordering::Relaxed);
                if self.last.len() as u64 == ROWS && self.last.values().all(|round| *round >= last) {
                    return;
                }
            }
            // Not for long: the writer may end after its last round was heard.
            let heard = station.hears(Duration::from_millis(100)).await;
            assert!(since.elapsed() < TAKEOVER * 4, "nothing was heard for {:?}: {:?}", since.elapsed(), self.last);
            let Some(told) = heard.and_then(notification) else { continue };
            self.longest = self.longest.max(since.elapsed());
            since = Instant::now();
            let id = told["data"]["id"].as_u64().expect("a key");
            let Some(round) = told["data"]["name"].as_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
            let (at, last) = (self.at.entry(id).or_insert(0), self.last.entry(id).or_insert(0));
            assert!(round <= *at + 1, "after round {at} of row {id} comes the next or an earlier one: {told}");
            if round <= *last {
                self.told_again += 1;
            }
            (*at, *last) = (round, round.max(*last));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_what_they_tell_and_a_subscription_ends_by_its_own_client() {
    let broker = OwnMosquitto::start("durable-share");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let id = subscribed(&mut ada).await;
    assert_eq!(subscribed(&mut ada).await, id, "the same message begins nothing more");
    share(&one, &two).await;
    insert(&shop, 10..60).await;
    let mut times = BTreeMap::new();
    while times.len() < 50 {
        let told = told(&mut ada).await;
        assert_eq!((&told["subscription_id"], &told["operation"]), (&json!(id), &json!("create")), "{told}");
        *times.entry(told["data"]["id"].as_u64().expect("a key")).or_insert(0) += 1;
    }
    assert!(times.values().all(|count| *count == 1), "each once, though two replicas tell: {times:?}");

    let mut bob = client(&broker, "bob").await;
    let end = |id: &str| json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    let refused = answer(&mut bob, &end(&id)).await;
    assert_eq!(refused["error"]["code"], "subscription_not_found", "{refused}");
    let acknowledge = json!({"id": "a", "type": "subscription", "operation": "acknowledge", "subscription_id": id,
        "position": {"epoch": "e", "offset": 1}});
    assert_eq!(answer(&mut ada, &acknowledge).await["error"]["code"], "invalid_subscription_operation");
    assert_eq!(answer(&mut ada, &end(&id)).await["data"]["unsubscribed"], true);
    assert_eq!(answer(&mut ada, &end(&id)).await["error"]["code"], "subscription_not_found");
    subscribed(&mut bob).await;
    insert(&shop, 60..70).await;
    hears_all(&mut bob, 60..70).await;
    assert!(ada.hears(Duration::from_millis(300)).await.is_none(), "what has ended is told no more");
    // Whichever of both hears it, and however short a time after the other one has answered.
    let all = json!({"id": "w", "type": "subscription", "operation": "unsubscribe_all"});
    assert_eq!(answer(&mut bob, &all).await["data"]["unsubscribed"], 1);
    for _ in 0..20 {
        subscribed(&mut bob).await;
        assert_eq!(answer(&mut bob, &all).await["data"]["unsubscribed"], 1);
    }
    until("giving up the parts", async || parts(&one).await + parts(&two).await == 0).await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_is_told_after_it_leave_no_gap_and_do_not_overlap() {
    let broker = OwnMosquitto::start("durable-snapshot");
    // With a lease that is not lost where a machine stands still: whoever follows then tells again what was told.
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_LEASE_MS", "20000");
    let one = replica(&shop, "one").await;
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let tasks = TaskTracker::new();
    let writers: Vec<_> = (0..3_u64)
        .map(|writer| {
            let (stop, written, url) = (Arc::clone(&stop), Arc::clone(&written), shop.database_url().to_owned());
            tasks.spawn(async move {
                let database = Database::connect(&Settings::new("writer", &url)).await.expect("the database answers");
                let mut id = 10_000 * (writer + 1);
                while !stop.load(Ordering::Relaxed) {
                    database.run_script(&format!("insert into items values ({id}, 'x')")).await.expect("written");
                    id += 1;
                    written.fetch_add(1, Ordering::Relaxed);
                }
                database.close().await;
                id
            })
        })
        .collect();
    until("writing", async || written.load(Ordering::Relaxed) > 50).await;
    let snapshot = answer(&mut ada, &asked("s", &json!({"snapshot": true}))).await;
    let rows = snapshot["data"]["snapshot"].as_array().unwrap_or_else(|| panic!("rows: {snapshot}"));
    let mut heard: BTreeMap<u64, u64> = rows.iter().map(|row| (row["id"].as_u64().expect("a key"), 1)).collect();
    let before = written.load(Ordering::Relaxed);
    until("writing on", async || written.load(Ordering::Relaxed) > before + 50).await;
    // Half of it is handed over meanwhile.
    let two = replica(&shop, "two").await;
    share(&one, &two).await;
    let before = written.load(Ordering::Relaxed);
    until("writing on", async || written.load(Ordering::Relaxed) > before + 50).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = BTreeSet::from([1]);
    for (writer, task) in (0..3_u64).zip(writers) {
        all.extend(10_000 * (writer + 1)..task.await.expect("no panic"));
    }
    while heard.len() < all.len() {
        let told = told(&mut ada).await;
        *heard.entry(told["data"]["id"].as_u64().expect("a key")).or_default() += 1;
    }
    assert_eq!(heard.keys().copied().collect::<BTreeSet<_>>(), all);
    let twice: Vec<_> = heard.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_outlive_all_replicas_and_clients_that_are_away() {
    let broker = OwnMosquitto::start("durable-all");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let id = subscribed(&mut ada).await;
    share(&one, &two).await;
    insert(&shop, 10..20).await;
    hears_all(&mut ada, 10..20).await;
    drop(ada);
    for replica in [&one, &two] {
        replica.signal("-KILL");
    }
    insert(&shop, 20..60).await;
    let one = shop.start_again_after_death(one).await;
    let two = shop.start_again_after_death(two).await;
    for replica in [&one, &two] {
        until("being ready again", async || replica.is_ready().await).await;
    }
    insert(&shop, 60..70).await;
    until("telling the broker", async || {
        let told = async |replica: &Replica| -> u64 {
            let lines = replica.metric("resolvespec_mqtt_notifications_total").await;
            lines.first().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
        };
        told(&one).await + told(&two).await >= 50
    })
    .await;
    let entry = Entry { url: &broker.url(), id: "ada", prefix: "spec", spoken: Spoken::V5, stays: true };
    let mut ada = Station::enter(entry).await.expect("the broker has kept its session");
    hears_all(&mut ada, 20..70).await;

    // Whoever has not kept the session goes on from a position.
    let mut bob = client(&broker, "bob").await;
    insert(&shop, 70..71).await;
    let last = told(&mut ada).await;
    assert_eq!(last["subscription_id"], json!(id));
    insert(&shop, 80..90).await;
    let resumed = answer(&mut bob, &asked("r", &json!({"resume": last["position"]}))).await;
    assert_eq!(resumed["success"], true, "{resumed}");
    hears_all(&mut bob, 80..90).await;
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_after_what_it_heard_last_misses_nothing_of_a_part_that_is_behind() {
    let broker = OwnMosquitto::start("durable-behind");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    insert(&shop, 10..50).await;
    hears_all(&mut ada, 10..50).await;
    // The one that carries the changes to the bus stays, so that the parts of the other one alone are behind.
    let carries = one.metric("events_published_total").await.iter().any(|line| !line.ends_with(" 0"));
    let (dies, stays) = if carries { (two, one) } else { (one, two) };
    dies.signal("-KILL");
    insert(&shop, 100..140).await;
    let mut last = told(&mut ada).await;
    let mut heard = BTreeSet::new();
    loop {
        heard.insert(last["data"]["id"].as_u64().expect("a key"));
        match ada.hears(Duration::from_millis(300)).await {
            Some(next) => last = next.body,
            None => break,
        }
    }
    assert!(heard.len() < 40, "nobody tells of the parts of the one that was killed: {heard:?}");
    let mut bob = client(&broker, "bob").await;
    let resumed = answer(&mut bob, &asked("r", &json!({"resume": last["position"]}))).await;
    assert_eq!(resumed["success"], true, "{resumed}");
    hears_all(&mut bob, 100..140).await;
    drop((dies, stays));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_twice_loses_nothing_of_what_its_subscription_was_still_to_be_told() {
    let broker = OwnMosquitto::start("durable-twice");
    // Nobody follows whoever is killed before the message has come again.
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_LEASE_MS", "6000");
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    let id = json!(subscribed(&mut ada).await);
    share(&one, &two).await;
    insert(&shop, 10..50).await;
    hears_all(&mut ada, 10..50).await;
    // The one that carries the changes to the bus stays, so that the parts of the other one alone are behind.
    let carries = one.metric("events_published_total").await.iter().any(|line| !line.ends_with(" 0"));
    let (dies, stays) = if carries { (two, one) } else { (one, two) };
    dies.signal("-KILL");
    insert(&shop, 100..140).await;
    let mut missing: BTreeSet<u64> = (100..140).collect();
    let mut hear = |body: &serde_json::Value| {
        assert_eq!((&body["subscription_id"], &body["operation"]), (&id, &json!("create")), "{body}");
        missing.remove(&body["data"]["id"].as_u64().expect("a key"));
        missing.len()
    };
    while let Some(heard) = ada.hears(Duration::from_millis(300)).await {
        hear(&heard.body);
    }
    ada.say(&asked("s", &json!({}))).await;
    let mut is_answered = false;
    loop {
        let heard = ada.hear().await;
        if heard.topic.ends_with("/response") {
            assert_eq!(heard.body["data"]["subscription_id"], id, "{}", heard.body);
            is_answered = true;
        } else if hear(&heard.body) == 0 && is_answered {
            break;
        }
    }
    drop((dies, stays));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_loses_nothing_and_keeps_the_order_of_each_record() {
    let broker = OwnMosquitto::start("durable-broker");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    let tasks = TaskTracker::new();
    let (counting, writer) = Counting::begin(&shop, &tasks).await;
    counting.goes_on(20).await;
    let mut rounds = Rounds::default();
    broker.end();
    counting.goes_on(50).await;
    // Whatever came before the end.
    while let Some(heard) = ada.hears(Duration::from_millis(100)).await {
        let (id, name) = (heard.body["data"]["id"].as_u64(), heard.body["data"]["name"].as_str());
        if let (Some(id), Some(round)) = (id, name.and_then(|name| name.parse().ok())) {
            rounds.last.insert(id, round);
            rounds.at.insert(id, round);
        }
    }
    drop(ada);
    broker.restart();
    let entry = Entry { url: &broker.url(), id: "ada", prefix: "spec", spoken: Spoken::V5, stays: true };
    let mut ada = Station::enter(entry).await.expect("the broker has kept its session");
    counting.goes_on(20).await;
    counting.stop.store(true, Ordering::Relaxed);
    rounds.hear(&mut ada, &counting, &writer).await;
    writer.await.expect("no panic");
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_frozen_past_its_lease_tells_nothing_more_of_it() {
    let broker = OwnMosquitto::start("durable-frozen");
    let shop = shop(&broker).await;
    let (one, two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    let tasks = TaskTracker::new();
    let (counting, writer) = Counting::begin(&shop, &tasks).await;
    counting.goes_on(20).await;
    one.signal("-STOP");
    until("the other telling of all", async || parts(&two).await == 8).await;
    counting.goes_on(50).await;
    one.signal("-CONT");
    // What it had in its hands when it was frozen is from before what the other has told meanwhile, and would be out of order.
    counting.goes_on(50).await;
    share(&one, &two).await;
    counting.stop.store(true, Ordering::Relaxed);
    let mut rounds = Rounds::default();
    rounds.hear(&mut ada, &counting, &writer).await;
    writer.await.expect("no panic");
    measured(&format!("told again around a replica that was frozen: {}", rounds.told_again));
    drop((one, two));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_one_replica_after_the_other_loses_nothing_and_waits_for_no_lease() {
    let broker = OwnMosquitto::start("durable-rolling");
    // With a lease that nobody could wait for here.
    let shop = shop(&broker).await.with("RESOLVESPEC_MQTT_LEASE_MS", "20000");
    let (mut one, mut two) = (replica(&shop, "one").await, replica(&shop, "two").await);
    let mut ada = client(&broker, "ada").await;
    ada.wait_for_service().await;
    subscribed(&mut ada).await;
    share(&one, &two).await;
    let tasks = TaskTracker::new();
    let (counting, writer) = Counting::begin(&shop, &tasks).await;
    let listener = tasks.spawn({
        let counting = Arc::clone(&counting);
        async move {
            let mut rounds = Rounds::default();
            rounds.hear(&mut ada, &counting, &writer).await;
            rounds
        }
    });
    for _ in 0..2 {
        counting.goes_on(20).await;
        one.signal("-TERM");
        one.ended().await;
        let again = shop.start_again(&one);
        until("being ready again", async || again.is_ready().await).await;
        share(&two, &again).await;
        (one, two) = (two, again);
    }
    counting.goes_on(20).await;
    counting.stop.store(true, Ordering::Relaxed);
    let rounds = listener.await.expect("no panic");
    measured(&format!("longest silence while replicas are replaced: {:?}; told again: {}", rounds.longest, rounds.told_again));
    assert!(rounds.longest < Duration::from_secs(5), "{:?}", rounds.longest);
    drop((one, two));
    shop.remove().await;
}
