//! The relay loses nothing: when it dies, when the bus or the database fails, when two lead, when there is much to tell.

use super::bus::Recorder;
use super::{Captured, On, SOURCE, WAL, eventually};
use crate::support::database::Kind;
use resolvespec::event::capture::{Relay, outbox_id};
use resolvespec::protocol::Change;
use resolvespec::telemetry::Metrics;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SCHEMA: &str = "create table notes (id integer primary key, body varchar(200));";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance}
";

/// So many rows in one statement.
fn many(kind: Kind, first: u32, count: u32) -> String {
    let last = first + count - 1;
    match kind {
        Kind::Postgres => format!("insert into notes select n, 'body ' || n from generate_series({first}, {last}) n"),
        Kind::Mariadb => format!("insert into notes select seq, concat('body ', seq) from seq_{first}_to_{last}"),
        Kind::Sqlite => format!(
            "insert into notes with recursive s(n) as (values ({first}) union all select n + 1 from s where n < {last})
             select n, 'body ' || n from s"
        ),
    }
}

pub(super) fn keys(told: &[Arc<Change>]) -> Vec<i64> {
    told.iter().map(|change| change.key["id"].as_i64().expect("a number")).collect()
}

async fn bulk(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let bus = Arc::new(Recorder::default());
    bus.count_only.store(true, Ordering::Relaxed);
    let relay = captured.start_on(Arc::clone(&bus));
    captured.run(&many(kind, 1, 100_000)).await;
    let all = eventually(Duration::from_mins(2), || (bus.counted.load(Ordering::Relaxed) >= 100_000).then_some(())).await;
    assert_eq!(all, Some(()), "{} were told", bus.counted.load(Ordering::Relaxed));
    // What is in memory is a few of these.
    let largest = bus.largest.load(Ordering::Relaxed);
    assert!((1..=4_000).contains(&largest), "{largest} changes at once");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_small_parts_on_postgres() {
    bulk(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_small_parts_on_mariadb() {
    bulk(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_small_parts_on_sqlite() {
    bulk(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_small_parts_by_the_log() {
    bulk(WAL).await;
}

/// The bus has the changes and the relay dies before it knows.
async fn killed(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let bus = Arc::new(Recorder::default());
    bus.mute.store(true, Ordering::Relaxed);
    let first = captured.start_on(Arc::clone(&bus));
    captured.run(&many(kind, 1, 50)).await;
    first.told(50).await;
    first.task.abort();
    assert!(first.task.await.expect_err("it was aborted").is_cancelled());
    bus.mute.store(false, Ordering::Relaxed);
    captured.run(&many(kind, 51, 50)).await;
    let second = captured.start_on(Arc::clone(&bus));
    let told = second.told(100).await;
    let keys = keys(&told);
    assert_eq!(keys, (1..=100).collect::<Vec<_>>());
    assert_eq!(bus.all().len(), 150, "the first fifty are told twice under the same ids");
    captured.drained().await;
    if on.mode != "wal" {
        let ids: Vec<i64> = told.iter().map(|change| outbox_id(&change.id).expect("the id of a row")).collect();
        assert_eq!(captured.ids("resolvespec_published").await, ids);
    }
    second.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_after_publishing_loses_nothing_on_postgres() {
    killed(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_after_publishing_loses_nothing_on_mariadb() {
    killed(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_after_publishing_loses_nothing_on_sqlite() {
    killed(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_after_publishing_loses_nothing_by_the_log() {
    killed(WAL).await;
}

/// The bus keeps a part, then nothing, then works again.
async fn failing_bus(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let bus = Arc::new(Recorder::default());
    bus.fail_after.store(10, Ordering::Relaxed);
    let relay = captured.start_on(Arc::clone(&bus));
    captured.run(&many(kind, 1, 30)).await;
    relay.told(10).await;
    bus.down.store(true, Ordering::Relaxed);
    captured.run(&many(kind, 31, 10)).await;
    if on.mode == "wal" {
        let confirmed = captured.confirmed_now().await;
        assert_eq!(captured.texts(&confirmed).await, ["false"], "nothing is confirmed before the bus has it");
    } else {
        assert_eq!(captured.ids("resolvespec_outbox").await.len(), 40, "nothing leaves before the bus has it");
    }
    bus.fail_after.store(0, Ordering::Relaxed);
    bus.down.store(false, Ordering::Relaxed);
    let keys = keys(&relay.told(40).await);
    assert_eq!(keys, (1..=40).collect::<Vec<_>>());
    captured.drained().await;
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_fails_for_a_while_loses_nothing_on_postgres() {
    failing_bus(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_fails_for_a_while_loses_nothing_on_mariadb() {
    failing_bus(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_fails_for_a_while_loses_nothing_on_sqlite() {
    failing_bus(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_fails_for_a_while_loses_nothing_by_the_log() {
    failing_bus(WAL).await;
}

/// One leads and one stands by; when the first dies, the other goes on.
async fn two(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let first = captured.start();
    captured.run(&many(kind, 1, 10)).await;
    first.told(10).await;
    let second = captured.start_on(Arc::clone(&first.bus));
    captured.run(&many(kind, 11, 10)).await;
    second.told(20).await;
    captured.drained().await;
    assert_eq!(first.bus.all().len(), 20, "one of them tells");
    first.task.abort();
    captured.run(&many(kind, 21, 10)).await;
    let keys = keys(&second.told(30).await);
    assert_eq!(keys, (1..=30).collect::<Vec<_>>());
    second.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_tells_and_the_other_takes_over_on_postgres() {
    two(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_tells_and_the_other_takes_over_on_mariadb() {
    two(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_tells_and_the_other_takes_over_on_sqlite() {
    two(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_relays_tells_and_the_other_takes_over_by_the_log() {
    two(WAL).await;
}

/// The server ends every session but the one that says so.
async fn lost_sessions(on: impl Into<On>, end_others: &str) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run(&many(kind, 1, 10)).await;
    relay.told(10).await;
    for turn in 1..=3 {
        captured.run(end_others).await;
        captured.run(&many(kind, 10 * turn + 1, 10)).await;
        relay.told(10 * (turn as usize + 1)).await;
    }
    let keys = keys(&relay.told(40).await);
    assert_eq!(keys, (1..=40).collect::<Vec<_>>());
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_are_made_again_on_postgres() {
    lost_sessions(Kind::Postgres, POSTGRES_END_OTHERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_are_made_again_by_the_log() {
    lost_sessions(WAL, POSTGRES_END_OTHERS).await;
}

const POSTGRES_END_OTHERS: &str =
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_are_made_again_on_mariadb() {
    let end_others = "begin not atomic
        declare id bigint;
        declare done boolean default false;
        declare others cursor for
          select p.id from information_schema.processlist p where p.db = database() and p.id <> connection_id();
        declare continue handler for not found set done = true;
        declare continue handler for 1094 begin end;
        open others;
        l: loop
          fetch others into id;
          if done then leave l; end if;
          kill id;
        end loop;
      end";
    lost_sessions(Kind::Mariadb, end_others).await;
}

/// Two that lead at once tell the same under the same ids.
/// Whoever led before does not go on to say what waited then.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_told_by_who_leads_and_by_nobody_else() {
    let captured = Captured::install(Kind::Postgres, SCHEMA, ENTITIES).await;
    let (bus, metrics) = (Arc::new(Recorder::default()), Metrics::new().expect("the metrics have different names"));
    bus.down.store(true, Ordering::Relaxed);
    let first = Relay { metrics: metrics.capture(SOURCE), ..captured.relay(bus.clone()) };
    let end = CancellationToken::new();
    let ended = end.clone();
    let running = TaskTracker::new().spawn(async move { first.run(&ended).await });
    captured.run(&many(Kind::Postgres, 1, 5)).await;
    let waiting = |rows: u32| {
        let line = format!("resolvespec_capture_waiting_rows{{source=\"{SOURCE}\"}} {rows}");
        let metrics = metrics.clone();
        eventually(Duration::from_secs(30), move || metrics.render().contains(&line).then_some(()))
    };
    waiting(5).await.expect("what waits is measured while nothing can be told");
    let other = captured.start();
    other.told(5).await;
    waiting(0).await.expect("another one leads, and nothing waits");
    end.cancel();
    running.await.expect("it did not panic");
    other.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_lead_at_once_are_harmless() {
    let captured = Captured::install(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let first = captured.start();
    captured.run(&many(Kind::Sqlite, 1, 1)).await;
    first.told(1).await;
    // Without its file nobody knows of the first one's lock.
    let path = captured.fresh.url.trim_start_matches("sqlite:");
    std::fs::remove_file(format!("{path}-resolvespec_outbox")).expect("the lock's file is there");
    let second = captured.start_on(Arc::clone(&first.bus));
    for turn in 0..20 {
        captured.run(&many(Kind::Sqlite, 2 + 100 * turn, 100)).await;
    }
    let keys = keys(&first.told(2_001).await);
    assert_eq!(keys, (1..=2_001).collect::<Vec<_>>());
    captured.drained().await;
    first.stop().await;
    second.stop().await;
    captured.remove().await;
}

/// A commit wakes the relay; the longest wait without one is a second.
async fn woken(on: impl Into<On>, at_most: Duration) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let mut times = Vec::new();
    for turn in 1..=30 {
        captured.run(&many(kind, turn, 1)).await;
        let committed = Instant::now();
        relay.told(turn as usize).await;
        let published = relay.bus.times.lock().expect("nobody panicked").last().copied();
        times.push(published.expect("something was published").saturating_duration_since(committed));
    }
    times.sort_unstable();
    assert!(times[15] <= at_most, "{times:?}");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_wakes_the_relay_on_postgres() {
    woken(Kind::Postgres, Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_at_once_by_the_log() {
    woken(WAL, Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_seen_soon_on_mariadb() {
    woken(Kind::Mariadb, Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_seen_soon_on_sqlite() {
    woken(Kind::Sqlite, Duration::from_millis(100)).await;
}

/// What the engine of the same process commits is known at once, without a look.
async fn own_commits(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let mut times = Vec::new();
    for turn in 1..=20 {
        captured.database().run_script(&many(kind, turn, 1)).await.expect("a row is written");
        let committed = Instant::now();
        relay.told(turn as usize).await;
        let published = relay.bus.times.lock().expect("nobody panicked").last().copied();
        times.push(published.expect("something was published").saturating_duration_since(committed));
    }
    times.sort_unstable();
    assert!(times[5] <= Duration::from_millis(10), "{times:?}");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_the_same_process_are_told_at_once_on_mariadb() {
    own_commits(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_the_same_process_are_told_at_once_on_sqlite() {
    own_commits(Kind::Sqlite).await;
}

/// Ids of published rows are kept for a while and then forgotten, all but those of the latest turn.
async fn forgotten(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let bus = Arc::new(Recorder::default());
    let mut relay = captured.relay(bus.clone());
    relay.settings.kept = Duration::from_secs(0);
    relay.settings.sweep = Duration::from_millis(20);
    captured.run(&many(kind, 1, 15_000)).await;
    let end = tokio_util::sync::CancellationToken::new();
    let forgotten = async {
        captured.drained().await;
        let turns = match kind {
            Kind::Mariadb => "select cast(count(distinct published_at) as char) from resolvespec_published",
            Kind::Postgres | Kind::Sqlite => "select cast(count(distinct published_at) as text) from resolvespec_published",
        };
        while captured.texts(turns).await != ["1"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), forgotten) => outcome.expect("published ids are forgotten"),
    }
    let left = captured.ids("resolvespec_published").await;
    let latest = bus.all().last().and_then(|change| outbox_id(&change.id));
    assert!(left.contains(&latest.expect("a row of the outbox")) && left.len() < 7_500, "{} are left", left.len());
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_ids_are_forgotten_on_postgres() {
    forgotten(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_ids_are_forgotten_on_mariadb() {
    forgotten(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_ids_are_forgotten_on_sqlite() {
    forgotten(Kind::Sqlite).await;
}
