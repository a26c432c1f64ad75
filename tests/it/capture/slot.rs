//! The slot that `wal` reads by: what it holds back is measured and bounded, and one that is lost begins a new epoch.

use super::bus::Recorder;
use super::wal::{ENTITIES, SCHEMA, SLOT};
use super::{Captured, On, SOURCE, WAL, eventually};
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use resolvespec::database::{Database, Settings};
use resolvespec::event::capture::setup::State;
use resolvespec::telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_begins_a_new_epoch() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, 'told')").await;
    relay.told(1).await;
    let bus = Arc::clone(&relay.bus);
    relay.stop().await;
    captured.drained_slot().await;
    captured.run(&format!("select pg_drop_replication_slot('{}')", captured.slot().await)).await;
    captured.run("insert into notes values (2, 2, 'lost')").await;
    assert!(captured.survey().await.warnings.iter().any(|warning| warning.contains("every subscriber starts anew")));
    assert_eq!(captured.survey().await.install(), [""; 0], "only who can begin an epoch may make the slot");
    // While the bus can't begin an epoch, nothing looks as if all were well.
    bus.down.store(true, Ordering::Relaxed);
    let relay = captured.start_on(bus);
    let stray = async {
        while captured.texts(SLOT).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stray).await.expect("a slot is being made");
    assert_eq!(relay.bus.renewals.lock().expect("nobody panicked").len(), 0);
    relay.bus.down.store(false, Ordering::Relaxed);
    let renewed =
        eventually(Duration::from_secs(30), || (!relay.bus.renewals.lock().expect("nobody panicked").is_empty()).then_some(()));
    renewed.await.expect("a new epoch begins");
    captured.run("insert into notes values (3, 3, 'after')").await;
    relay.told(2).await;
    assert_eq!(relay.bus.lines(), ["notes create 1", "notes create 3"]);
    assert_eq!(*relay.bus.renewals.lock().expect("nobody panicked"), [1]);
    assert_eq!(captured.texts(SLOT).await.len(), 1);
    relay.stop().await;
    captured.remove().await;
}

/// What the server keeps for the slot is told, and that a slot was lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_slot_holds_back_is_measured() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let metrics = Metrics::new().expect("the metrics have different names");
    let bus = Arc::new(Recorder::default());
    bus.down.store(true, Ordering::Relaxed);
    let mut relay = captured.relay(bus.clone());
    relay.metrics = metrics.capture(SOURCE);
    let gauge = |name: &str| {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is missing"));
        line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok()).expect("a number")
    };
    let end = CancellationToken::new();
    let measured = async {
        captured.run("insert into notes select n, n, repeat('x', 1000) from generate_series(1, 2000) n").await;
        let held = || gauge("resolvespec_capture_retained_bytes") >= 2e6 && gauge("resolvespec_capture_unconfirmed_bytes") >= 2e6;
        while !held() || gauge("resolvespec_capture_failures_total") < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bus.down.store(false, Ordering::Relaxed);
        while gauge("events_published_total") < 2000.0 || gauge("resolvespec_capture_unconfirmed_bytes") >= 1e6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(gauge("resolvespec_capture_slots_lost_total") == 0.0);
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), measured) => outcome.expect("it is measured"),
    }
    drop(relay);
    captured.remove().await;
}

/// While nothing can be told the log is kept up to a bound, and then the disk is worth more than what is in it. A server of its
/// own, since the log is the server's.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_would_fill_the_disk_is_given_up() {
    let own = Own::start(Kind::Postgres, "wal-guard");
    let captured = Captured::over(On { ..WAL }, Fresh::at(own.database().await), SCHEMA, ENTITIES).await;
    captured.run_install().await;
    let metrics = Metrics::new().expect("the metrics have different names");
    let bus = Arc::new(Recorder::default());
    bus.down.store(true, Ordering::Relaxed);
    let mut relay = captured.relay(bus.clone());
    relay.metrics = metrics.capture(SOURCE);
    relay.settings.max_retained_bytes = 4_000_000;
    let (end, slot) = (CancellationToken::new(), captured.slot().await);
    let named = format!("select to_json(slot_name) from pg_replication_slots where slot_name = '{slot}'");
    let lost = || metrics.render().contains(&format!("resolvespec_capture_slots_lost_total{{source=\"{SOURCE}\"}} 1"));
    let given_up = async {
        captured.run("insert into notes values (1, 1, 'kept')").await;
        assert_eq!(captured.texts(&named).await.len(), 1, "it is below the bound");
        captured.run("insert into notes select n, n, repeat('x', 1000) from generate_series(2, 6000) n").await;
        while !captured.texts(&named).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(bus.renewals.lock().expect("nobody panicked").is_empty() && !lost());
        bus.down.store(false, Ordering::Relaxed);
        while !lost() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        captured.run("insert into notes values (6001, 1, 'after')").await;
        while bus.lines() != ["notes create 6001"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(*bus.renewals.lock().expect("nobody panicked"), [0]);
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), given_up) => outcome.expect("it is given up, and told again"),
    }
    drop(relay);
    captured.remove().await;
}

/// A slot that is older than its publication can't be read: a new publication gets a new slot, and an epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_made_again_begins_a_new_epoch() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    captured.run("drop publication resolvespec").await;
    captured.run("insert into notes values (1, 1, 'lost')").await;
    let relay = captured.start();
    captured.run_install().await;
    let renewed =
        eventually(Duration::from_secs(30), || (!relay.bus.renewals.lock().expect("nobody panicked").is_empty()).then_some(()));
    renewed.await.expect("a new epoch begins");
    captured.run("insert into notes values (2, 2, 'told')").await;
    relay.told(1).await;
    assert_eq!(relay.bus.lines(), ["notes create 2"]);
    assert_eq!(captured.only_state().await, State::Installed);
    relay.stop().await;
    captured.remove().await;
}

/// Whatever other databases of the server write, an idle slot does not make the server keep it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_slot_does_not_hold_the_log_back() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let other = Captured::bare(Kind::Postgres, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, 'first')").await;
    relay.told(1).await;
    for turn in 0..4 {
        other
            .run(&format!("insert into notes select {turn} * 100000 + n, n, repeat('x', 100) from generate_series(1, 50000) n"))
            .await;
    }
    let end = other.texts("select to_json(pg_current_wal_insert_lsn())").await.remove(0).replace('"', "'");
    let free = format!("select to_json(restart_lsn >= {end}) from pg_replication_slots where database = current_database()");
    let freed = async {
        // A checkpoint notes what runs, as the server does by itself every few seconds.
        while captured.texts(&free).await != ["true"] {
            other.run("checkpoint").await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), freed).await.expect("the log can be forgotten");
    captured.run("insert into notes values (2, 1, 'last')").await;
    relay.told(2).await;
    relay.stop().await;
    other.remove().await;
    captured.remove().await;
}

/// A server of its own: without logical decoding it is refused; when it has thrown away what the slot needs, a new epoch
/// begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_throws_its_log_away_begins_a_new_epoch() {
    let own = Own::start(Kind::Postgres, "wal");
    let url = own.database().await;
    let set = |sql: &'static str| {
        let url = url.clone();
        async move {
            let admin = Database::connect(&Settings::new("admin", url)).await.expect("the server answers");
            admin.run_script(sql).await.expect("it is set");
            admin.close().await;
        }
    };
    set("alter system set wal_level = replica").await;
    own.kill();
    own.restart();
    let captured = Captured::over(On { ..WAL }, Fresh::at(url.clone()), SCHEMA, ENTITIES).await;
    let refusal = captured.refusal(&captured.database()).await;
    assert!(refusal.contains("the server's wal_level is 'replica': run `alter system set wal_level = logical`"), "{refusal}");
    set("alter system set wal_level = logical").await;
    set("alter system set max_slot_wal_keep_size = '1MB'").await;
    own.kill();
    own.restart();
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, 'told')").await;
    relay.told(1).await;
    let bus = Arc::clone(&relay.bus);
    relay.stop().await;
    captured.drained_slot().await;
    for _ in 0..4 {
        captured
            .run("insert into notes values (2, 2, 'lost'); select pg_switch_wal(); delete from notes where id = 2; checkpoint")
            .await;
    }
    let state = captured.texts("select to_json(wal_status) from pg_replication_slots").await;
    assert_eq!(state, ["\"lost\""]);
    let relay = captured.start_on(bus);
    let renewed =
        eventually(Duration::from_secs(30), || (!relay.bus.renewals.lock().expect("nobody panicked").is_empty()).then_some(()));
    renewed.await.expect("a new epoch begins");
    captured.run("insert into notes values (3, 3, 'after')").await;
    relay.told(2).await;
    assert_eq!(relay.bus.lines(), ["notes create 1", "notes create 3"]);
    relay.stop().await;
    captured.remove().await;
}
