//! The whole of it on a real node: the image that was built, installed by helm with three replicas, two operators, NATS and
//! Mosquitto, over flights in a PostgreSQL beside the cluster, and asked from outside of the pods. Then everything that happens
//! to an installation happens to it, under load, and nobody may miss anything.
//!
//! It has a node to itself, which `tests/run` starts after all other tests, so that nothing else takes part in its times.

mod flights;
mod image;
mod listeners;
mod load;
mod outside;
mod release;

use crate::cluster::until;
use flights::{Flights, entity};
use listeners::Listeners;
use load::{Load, Patience};
use release::{Pod, apply, condition, kubectl};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// From `kubectl apply` to an answer of every replica.
const SERVED_WITHIN: Duration = Duration::from_secs(2);

/// Clients with a subscription each.
const LISTENERS: usize = 200;

/// Rows that are written before something happens, and after it.
const ROWS: usize = 150;

/// How often clients may have to ask again for a replica that dies without a word: each has one connection, and some may lead there
/// once more until it is known to be gone.
const AGAIN: usize = 60;

/// Until another operator leads where the one before has died, and has kept its Lease, and until it has done what was applied then.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(15);

/// The same where it was told to end, and has given its Lease back.
const FOLLOWED_AT_ONCE_WITHIN: Duration = Duration::from_secs(7);

/// Says what was reached when.
struct Clock(Instant);

impl Clock {
    #[expect(clippy::print_stderr, reason = "what it takes is for whoever runs it")]
    fn tell(&self, what: &str) {
        eprintln!("[{:5.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}

/// Shows what pods have said if the test fails.
struct Witness;

impl Drop for Witness {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its pods said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for component in ["operator", "replica", "nats"] {
                eprintln!("{}", release::logs(component));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes a node of its own, which tests/run starts"]
async fn a_release_serves_through_upgrades_and_deaths() {
    let clock = Clock(Instant::now());
    let flights = Flights::load().await;
    clock.tell("the flights are loaded");
    let entrance = release::install();
    let witness = Witness;
    clock.tell("installed into a restricted namespace");
    release::declare(&flights.resources());
    release::settled().await;
    clock.tell("a source and five entities are ready, and so are three replicas, two operators, NATS and Mosquitto");
    outside::everything_is_answered(entrance, &flights).await;
    clock.tell("REST, WebSocket, gRPC and MQTT answer from outside, as SQL does");
    added_entities_are_served_at_once(&flights, &clock).await;
    a_broken_entity_says_why_and_is_served_on(&clock).await;

    let listeners = Listeners::start(entrance, LISTENERS).await;
    clock.tell(&format!("{LISTENERS} clients have a subscription"));
    an_upgrade_is_not_noticed(entrance, &listeners, &clock).await;
    a_deleted_replica_is_not_noticed(entrance, &listeners, &clock).await;
    a_dead_replica_is_replaced(entrance, &listeners, &clock).await;
    let killed = Loss { how: "killed", lose: release::kill, within: FOLLOWED_WITHIN, table: "later" };
    an_operator_that_is_lost_is_followed(entrance, &listeners, &flights, &clock, &killed).await;
    let deleted = Loss { how: "deleted", lose: release::delete, within: FOLLOWED_AT_ONCE_WITHIN, table: "latest" };
    an_operator_that_is_lost_is_followed(entrance, &listeners, &flights, &clock, &deleted).await;
    a_dead_nats_comes_back(entrance, &listeners, &clock).await;
    drop(listeners);

    release::test();
    clock.tell("helm test succeeded");
    drop(witness);
    nothing_is_left(&flights).await;
    clock.tell("uninstalled, and nothing is left");
}

async fn all_serve(replicas: &[Pod], table: &str) {
    for replica in replicas {
        until(&format!("{table} of {}", replica.name), async || outside::status_of(replica, table).await == 200).await;
    }
}

async fn added_entities_are_served_at_once(flights: &Flights, clock: &Clock) {
    let replicas = release::pods("replica");
    for table in ["notes", "remarks", "marks"] {
        flights.run(&format!("create table {table} (id bigint primary key, body text not null)")).await;
        let since = Instant::now();
        apply(&entity(table, ""));
        all_serve(&replicas, table).await;
        let took = since.elapsed();
        clock.tell(&format!("{table} is served by every replica {took:.2?} after kubectl began to apply it"));
        assert!(took <= SERVED_WITHIN, "it took {took:?}");
    }
    kubectl(&["wait", "--for=condition=Ready", "entity", "--all", "--timeout=60s"]);
}

async fn a_broken_entity_says_why_and_is_served_on(clock: &Clock) {
    apply(&entity("marks", "defaultSort: [{column: bodi}]"));
    until("a word about the column", async || condition("entity/marks", "Accepted").0 == "False").await;
    let (_, message) = condition("entity/marks", "Accepted");
    clock.tell(&format!("a broken entity is told: {message}"));
    for words in ["spec.defaultSort[0].column", "no column 'bodi'", "did you mean 'body'?"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    for replica in release::pods("replica") {
        assert_eq!(outside::status_of(&replica, "marks").await, 200, "the last good one is served");
    }
    apply(&entity("marks", "defaultSort: [{column: body}]"));
    kubectl(&["wait", "--for=condition=Ready", "entity/marks", "--timeout=60s"]);
}

async fn an_upgrade_is_not_noticed(entrance: SocketAddr, listeners: &Listeners, clock: &Clock) {
    let (cut, before) = (listeners.cut(), release::pods("replica"));
    let load = Load::start(entrance, Patience::None);
    load.goes_on(ROWS).await;
    release::upgrade("replicas.podAnnotations.rolled=once");
    release::settled().await;
    load.goes_on(ROWS).await;
    let done = load.ended().await;
    listeners.know(&done.written).await;
    let after = release::pods("replica");
    assert!(after.iter().all(|new| before.iter().all(|old| old.name != new.name)), "every replica was replaced");
    assert_eq!(listeners.cut(), cut, "every connection ended with a word, and every one that was made stood");
    assert!(listeners.sent_away() >= LISTENERS, "those were told to come again: {}", listeners.sent_away());
    clock.tell(&format!(
        "upgraded: none of {} requests failed, {} notes were told to each client, {} were sent to another replica",
        done.requests,
        done.written.len(),
        listeners.sent_away()
    ));
}

/// As a node's end or somebody's hand does it: the pod has its time, and another one comes.
async fn a_deleted_replica_is_not_noticed(entrance: SocketAddr, listeners: &Listeners, clock: &Clock) {
    let (cut, sent_away) = (listeners.cut(), listeners.sent_away());
    let load = Load::start(entrance, Patience::None);
    load.goes_on(ROWS).await;
    let victim = release::pods("replica").swap_remove(0);
    release::delete(&victim);
    load.goes_on(ROWS).await;
    release::replaced("replica", &victim).await;
    release::settled().await;
    load.goes_on(ROWS).await;
    let done = load.ended().await;
    listeners.know(&done.written).await;
    assert_eq!(listeners.cut(), cut, "every connection ended with a word, and every one that was made stood");
    assert!(listeners.sent_away() > sent_away, "those that it had were told to come again");
    clock.tell(&format!(
        "{} was deleted: none of {} requests failed, {} notes were told to each client, {} were sent to another replica",
        victim.name,
        done.requests,
        done.written.len(),
        listeners.sent_away() - sent_away
    ));
}

async fn a_dead_replica_is_replaced(entrance: SocketAddr, listeners: &Listeners, clock: &Clock) {
    let load = Load::start(entrance, Patience::Some);
    load.goes_on(ROWS).await;
    let victim = release::pods("replica").swap_remove(0);
    release::kill(&victim);
    load.goes_on(ROWS).await;
    release::risen("replica", &victim).await;
    load.goes_on(ROWS).await;
    let done = load.ended().await;
    listeners.know(&done.written).await;
    assert!(done.again <= AGAIN, "{} of {} requests were sent again", done.again, done.requests);
    clock.tell(&format!(
        "{} was killed: of {} requests {} were sent again, {} notes were told to each client",
        victim.name,
        done.requests,
        done.again,
        done.written.len()
    ));
}

/// How an operator is lost.
struct Loss {
    how: &'static str,
    lose: fn(&Pod),
    within: Duration,
    /// What is applied then.
    table: &'static str,
}

async fn an_operator_that_is_lost_is_followed(
    entrance: SocketAddr,
    listeners: &Listeners,
    flights: &Flights,
    clock: &Clock,
    loss: &Loss,
) {
    let Loss { how, lose, within, table } = loss;
    let load = Load::start(entrance, Patience::None);
    load.goes_on(ROWS).await;
    flights.run(&format!("create table {table} (id bigint primary key, body text not null)")).await;
    let victim = release::leader();
    lose(&victim);
    let since = Instant::now();
    apply(&entity(table, ""));
    all_serve(&release::pods("replica"), table).await;
    let took = since.elapsed();
    assert!(took <= *within, "it took {took:?}");
    release::settled().await;
    load.goes_on(ROWS).await;
    let done = load.ended().await;
    listeners.know(&done.written).await;
    clock.tell(&format!(
        "{}, which led, was {how}: none of {} requests failed; what was applied then was served {took:.1?} later",
        victim.name, done.requests
    ));
}

async fn a_dead_nats_comes_back(entrance: SocketAddr, listeners: &Listeners, clock: &Clock) {
    let load = Load::start(entrance, Patience::None);
    load.goes_on(ROWS).await;
    let victim = release::pods("nats").swap_remove(0);
    release::kill(&victim);
    load.goes_on(ROWS).await;
    release::risen("nats", &victim).await;
    load.goes_on(ROWS).await;
    let done = load.ended().await;
    listeners.know(&done.written).await;
    clock.tell(&format!(
        "{} was killed: none of {} requests failed, {} notes were told to each client; {} connections in all, {} cut",
        victim.name,
        done.requests,
        done.written.len(),
        listeners.connections(),
        listeners.cut()
    ));
}

/// What was declared is undone by the operator, and the rest by helm.
async fn nothing_is_left(flights: &Flights) {
    kubectl(&["delete", "entity,datasource", "--all", "--timeout=60s"]);
    let ours = "select to_json(tgname) from pg_trigger where not tgisinternal";
    assert_eq!(flights.by_hand(ours).await, Vec::<serde_json::Value>::new(), "no trigger stays in the database");
    // One that is still there when the release goes holds nothing up.
    apply(&flights.source());
    kubectl(&[
        "wait",
        "--for=jsonpath={.metadata.finalizers[0]}=resolvespec.dev/capture",
        "datasource/flights",
        "--timeout=180s",
    ]);
    release::uninstall();
    assert_eq!(kubectl(&["get", "datasource/flights", "-o", "jsonpath={.metadata.finalizers}"]), "");
    let events = kubectl(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"]);
    assert!(events.contains("CaptureLeftBehind"), "{events}");
    kubectl(&["delete", "datasource", "--all", "--timeout=30s"]);
    // The Lease by which operators lead is theirs and not helm's, and stays.
    let kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets";
    // Helm waits for what it has made, and not for pods, which have their time to end.
    until("nothing of the release", async || !kubectl(&["get", kinds, "-o", "name"]).contains("resolvespec")).await;
    kubectl(&["delete", "namespace", release::NAMESPACE, "--timeout=120s"]);
}
