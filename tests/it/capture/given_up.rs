//! An outbox that can't be told is bounded: what is too much is given up, and told as a new epoch when something can be told.

use super::bus::Recorder;
use super::wal::{ENTITIES, SCHEMA};
use super::{Captured, SOURCE};
use crate::support::database::Kind;
use resolvespec::telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn too_much_waits(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let metrics = Metrics::new().expect("the metrics have different names");
    let bus = Arc::new(Recorder::default());
    let mut relay = captured.relay(bus.clone());
    relay.metrics = metrics.capture(SOURCE);
    relay.settings.max_waiting_rows = 1000;
    relay.settings.standstill = Duration::from_millis(100);
    let given_up = || metrics.render().contains(&format!("resolvespec_capture_outboxes_given_up_total{{source=\"{SOURCE}\"}} 1"));
    let renewals = || bus.renewals.lock().expect("nobody panicked").clone();
    let insert = |from: u32, to: u32| {
        let rows: Vec<String> = (from..=to).map(|id| format!("({id}, {id})")).collect();
        format!("insert into notes (id, n) values {}", rows.join(","))
    };
    let end = CancellationToken::new();
    let steps = async {
        // As many are told where they can be.
        captured.run(&insert(1, 3000)).await;
        captured.drained().await;
        assert_eq!((bus.told().len(), given_up()), (3000, false));
        bus.down.store(true, Ordering::Relaxed);
        captured.run(&insert(3001, 3500)).await;
        tokio::time::sleep(5 * relay.settings.sweep).await;
        assert_eq!((captured.ids("resolvespec_outbox").await.len(), given_up()), (500, false), "they are below the bound");
        captured.run(&insert(3501, 7000)).await;
        while !captured.ids("resolvespec_outbox").await.is_empty() || !given_up() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(renewals(), [0; 0], "nobody can be told now");
        assert!(captured.ids("resolvespec_published").await.contains(&0), "but has to be");
        captured.run(&insert(7001, 7001)).await;
        bus.down.store(false, Ordering::Relaxed);
        while bus.all().len() < 3001 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        captured.drained().await;
        assert_eq!((renewals(), bus.lines().last().map(String::as_str)), (vec![3000], Some("notes create 7001")));
        assert!(!captured.ids("resolvespec_published").await.contains(&0));
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), steps) => outcome.expect("they are given up, and told again"),
    }
    drop(relay);
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_without_end_are_given_up_on_postgres() {
    too_much_waits(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_without_end_are_given_up_on_mariadb() {
    too_much_waits(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_without_end_are_given_up_on_sqlite() {
    too_much_waits(Kind::Sqlite).await;
}

/// As after an outage that was short: what waits is above the bound, and is told.
async fn much_waits_for_a_moment(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let metrics = Metrics::new().expect("the metrics have different names");
    let bus = Arc::new(Recorder::default());
    bus.down.store(true, Ordering::Relaxed);
    let mut relay = captured.relay(bus.clone());
    relay.metrics = metrics.capture(SOURCE);
    relay.settings.max_waiting_rows = 1000;
    let failures = || {
        let text = metrics.render();
        let prefix = format!("resolvespec_capture_failures_total{{source=\"{SOURCE}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)?.parse::<u32>().ok()).unwrap_or_default()
    };
    let rows: Vec<String> = (1..=4000).map(|id| format!("({id}, {id})")).collect();
    captured.run(&format!("insert into notes (id, n) values {}", rows.join(","))).await;
    let end = CancellationToken::new();
    let steps = async {
        // Each of them was a lead of its own, which has measured what waits.
        while failures() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bus.down.store(false, Ordering::Relaxed);
        captured.drained().await;
        assert_eq!((bus.told().len(), bus.renewals.lock().expect("nobody panicked").len()), (4000, 0));
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), steps) => outcome.expect("they are told"),
    }
    drop(relay);
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_moment_are_told_on_postgres() {
    much_waits_for_a_moment(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_moment_are_told_on_mariadb() {
    much_waits_for_a_moment(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_wait_for_a_moment_are_told_on_sqlite() {
    much_waits_for_a_moment(Kind::Sqlite).await;
}
