//! A database that has lost what was told already: put back from a copy, as after a failover to one that had not got all.

use super::wal::{ENTITIES, SCHEMA};
use super::{Captured, On, WAL, eventually};
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use resolvespec::database::{Database, Settings};
use resolvespec::event::capture::outbox_id;
use std::path::Path;
use std::time::Duration;

impl Captured {
    /// Writes a row as soon as the server takes it again.
    async fn add(&self, id: u32) {
        let insert = format!("insert into notes (id, n) values ({id}, {id})");
        let added = async {
            while self.writer.run_script(&insert).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), added).await.expect("the server comes back");
    }
}

/// The relay runs all the time. A server that comes back as it was is known again; one that lacks what was told is not.
async fn a_server_is_put_back(on: On) {
    let own = Own::start(on.kind, "restored");
    let captured = Captured::over(on, Fresh::at(own.database().await), SCHEMA, ENTITIES).await;
    captured.run_install().await;
    let relay = captured.start();
    let renewals = || relay.bus.renewals.lock().expect("nobody panicked").clone();
    captured.add(1).await;
    relay.told(1).await;
    own.keep_copy();
    for id in 2..=3 {
        captured.add(id).await;
    }
    let before = relay.told(3).await;
    captured.drained().await;
    assert_eq!(renewals(), [0; 0], "nothing was lost");
    own.put_back();
    captured.add(4).await;
    let is_told = |id: i64| relay.bus.all().iter().rev().find(|change| change.key["id"] == id).cloned();
    let after = eventually(Duration::from_mins(1), || is_told(4)).await.expect("changes are told again");
    let since: Vec<String> = relay.bus.all()[3..].iter().map(|change| change.key["id"].to_string()).collect();
    // A slot may tell again what it told before the copy was made.
    assert!(since == ["4"] || (on.mode == "wal" && since == ["1", "4"]), "{since:?}");
    assert_eq!(renewals(), [3], "a new epoch, and before anything is told of it");
    if (on.kind, on.mode) == (Kind::Postgres, "trigger") {
        let again = before.iter().any(|lost| outbox_id(&lost.id) == outbox_id(&after.id));
        assert!(again, "{} is given out again, or this tries nothing", after.id);
    }
    // From here on it is known again.
    captured.drained().await;
    own.kill();
    own.restart();
    captured.add(5).await;
    eventually(Duration::from_mins(1), || is_told(5)).await.expect("changes are told on");
    assert_eq!(renewals(), [3]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_what_was_told_begins_a_new_epoch_on_postgres() {
    a_server_is_put_back(On::from(Kind::Postgres)).await;
}

/// The copy has the slot as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_what_was_told_begins_a_new_epoch_by_its_log() {
    a_server_is_put_back(WAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_what_was_told_begins_a_new_epoch_on_mariadb() {
    a_server_is_put_back(On::from(Kind::Mariadb)).await;
}

/// A standby takes over; with or without what was told last.
async fn a_standby_takes_over(on: On, has_all: bool) {
    let own = Own::start(Kind::Postgres, "primary");
    let url = own.database().await;
    let captured = Captured::over(on, Fresh::at(url.clone()), SCHEMA, ENTITIES).await;
    captured.run_install().await;
    let relay = captured.start();
    captured.add(1).await;
    relay.told(1).await;
    let standby = Own::standby_of(&url);
    if !has_all {
        standby.stop();
    }
    for id in 2..=3 {
        captured.add(id).await;
    }
    relay.told(3).await;
    captured.drained().await;
    if has_all {
        let sent = async {
            let all = "select to_json(coalesce(replay_lsn = pg_current_wal_lsn(), false)) from pg_stat_replication where application_name = 'walreceiver'";
            while captured.texts(all).await != ["true"] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), sent).await.expect("the standby gets all");
    }
    own.is_replaced_by(&standby);
    let admin = Database::connect(&Settings::new("admin", &url)).await.expect("it answers as a standby");
    admin.run_script("select pg_promote()").await.expect("it takes over");
    admin.close().await;
    let renewals = || relay.bus.renewals.lock().expect("nobody panicked").clone();
    if on.mode == "wal" {
        // What is written before there is a slot again is read by whoever starts anew, and told to nobody.
        let renewed = eventually(Duration::from_secs(30), || (!renewals().is_empty()).then_some(()));
        renewed.await.expect("a new epoch begins");
    }
    captured.add(4).await;
    let all = eventually(Duration::from_mins(1), || Some(relay.bus.all()).filter(|all| all.len() > 3));
    let told = all.await.expect("changes are told again").remove(3);
    assert_eq!(told.key["id"].to_string(), "4");
    let expected: &[usize] = if has_all && on.mode != "wal" { &[] } else { &[3] };
    assert_eq!(renewals(), expected);
    let ids = captured.texts("select to_json(id) from notes order by id").await;
    assert_eq!(ids, if has_all { vec!["1", "2", "3", "4"] } else { vec!["1", "4"] });
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_all_goes_on_in_the_epoch() {
    a_standby_takes_over(On::from(Kind::Postgres), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_not_got_all_begins_a_new_epoch() {
    a_standby_takes_over(On::from(Kind::Postgres), false).await;
}

/// A standby of PostgreSQL 15 has no slots of its primary, so that nobody knows what it has not got.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_without_the_slot_begins_a_new_epoch() {
    a_standby_takes_over(WAL, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_lost_what_was_told_begins_a_new_epoch_on_sqlite() {
    let captured = Captured::install(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let url = captured.fresh.url.clone();
    let file = Path::new(url.strip_prefix("sqlite:").expect("a file"));
    let copy = file.with_extension("copy");
    let relay = captured.start();
    captured.add(1).await;
    relay.told(1).await;
    captured.drained().await;
    captured.run(&format!("vacuum into '{}'", copy.display())).await;
    captured.add(2).await;
    relay.told(2).await;
    captured.drained().await;
    let bus = relay.bus.clone();
    relay.stop().await;
    let relay = captured.start_on(bus.clone());
    captured.add(3).await;
    relay.told(3).await;
    assert_eq!(bus.renewals.lock().expect("nobody panicked").len(), 0, "nothing was lost");
    relay.stop().await;
    captured.writer.close().await;
    captured.database().close().await;
    for more in ["db-wal", "db-shm"] {
        _ = std::fs::remove_file(file.with_extension(more));
    }
    std::fs::rename(&copy, file).expect("the copy can take its place");
    let captured = Captured::over(On::from(Kind::Sqlite), Fresh::at(url.clone()), "", ENTITIES).await;
    let relay = captured.start_on(bus.clone());
    captured.add(4).await;
    let all = eventually(Duration::from_mins(1), || Some(bus.all()).filter(|all| all.len() > 3));
    let told = all.await.expect("changes are told again");
    assert_eq!(told[3].id, told[1].id, "the id is given out again, or this tries nothing");
    assert_eq!(*bus.renewals.lock().expect("nobody panicked"), [3]);
    relay.stop().await;
    captured.remove().await;
}
