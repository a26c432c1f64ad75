//! PostgreSQL's log: what is installed and refused, what old rows it has, and what becomes of its slot.

use super::bus::{Recorder, line};
use super::relay::keys;
use super::{Captured, Running, SOURCE, WAL, image};
use crate::cluster::until;
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use crate::support::process::Finish;
use futures_util::StreamExt;
use resolvespec::database::{Database, Settings, Statement};
use resolvespec::event::bus::{Bus, Event, NatsBus, StreamSettings};
use resolvespec::event::capture::outbox_id;
use resolvespec::event::capture::setup::{self, State, removal};
use resolvespec::nats::{Connection, Settings as NatsSettings};
use resolvespec::protocol::{ChangeOperation, Position};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) const SCHEMA: &str = "create table notes (id integer primary key, n integer, body text);";

pub(super) const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance}
";

pub(super) const SLOT: &str = "select to_json(slot_name) from pg_replication_slots where database = current_database()";
const PUBLICATION: &str = "select to_json(pubname) from pg_publication";

impl Captured {
    pub(super) async fn slot(&self) -> String {
        self.texts(SLOT).await.remove(0).trim_matches('"').to_owned()
    }

    /// Why it can't be installed.
    pub(super) async fn refusal(&self, database: &Database) -> String {
        let served = self.engine.served();
        match setup::survey(database, &served.catalog, SOURCE).await {
            Ok(survey) => survey.fit().expect_err("something is refused").to_string(),
            Err(error) => error.to_string(),
        }
    }

    pub(super) async fn only_state(&self) -> State {
        self.survey().await.tables()[0].state
    }
}

fn lines(relay: &Running) -> Vec<String> {
    relay.bus.all().iter().map(|change| line(change)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn publication_and_slot_are_shown_made_and_removed() {
    let captured = Captured::bare(WAL, SCHEMA, ENTITIES).await;
    assert_eq!(captured.only_state().await, State::Missing);
    let survey = captured.survey().await;
    let name = captured.texts("select to_json(current_database()::text)").await.remove(0).trim_matches('"').to_owned();
    let [before @ .., last] = survey.install() else { panic!("there is something to do") };
    let expected = [
        "begin",
        "set local lock_timeout = '5s'",
        "alter table \"public\".\"notes\" replica identity full",
        "create publication \"resolvespec\" for table \"public\".\"notes\" with \
         (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)",
        "commit",
    ];
    assert_eq!(before, expected);
    assert!(last.starts_with(&format!("select pg_create_logical_replication_slot('resolvespec_{name}_")), "{last}");
    assert!(survey.warnings.iter().any(|warning| warning.contains("public.notes: its REPLICA IDENTITY must be FULL")));
    // What is shown is what is run.
    captured.run(&survey.install().join(";\n")).await;
    assert_eq!(captured.only_state().await, State::Installed);
    assert_eq!(captured.survey().await.install(), [""; 0], "there is nothing to do twice");
    captured.run("insert into notes values (1, 1, 'untold')").await;
    let removal = removal(&captured.database()).await.expect("the database tells what is there");
    assert_eq!(removal.untold, 1);
    captured.database().run_all(&removal.statements).await.expect("everything can be removed");
    assert_eq!((captured.texts(SLOT).await, captured.texts(PUBLICATION).await), (Vec::new(), Vec::new()));
    assert_eq!(captured.only_state().await, State::Missing);
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fit_for_the_log_is_refused_with_what_helps() {
    let schema = format!("{SCHEMA} alter table notes add column twice integer generated always as (n * 2) stored;");
    let captured = Captured::bare(WAL, &schema, ENTITIES).await;
    let refusal = captured.refusal(&captured.database()).await;
    assert_eq!(refusal, "public.notes: the log does not have generated columns (twice), which a read has: use `trigger`");
    assert_eq!((captured.only_state().await, captured.survey().await.install().len()), (State::Unfit, 0));
    captured.run("alter table notes drop column twice").await;
    let role = format!("reader_{}", std::process::id());
    captured.run(&format!("create role {role} login password 'x'")).await;
    let mut url = url::Url::parse(&captured.fresh.url).expect("a URL");
    url.set_username(&role).expect("a user");
    url.set_password(Some("x")).expect("a password");
    let weak = Database::connect(&Settings::new("weak", url.to_string())).await.expect("the role may enter");
    let refusal = captured.refusal(&weak).await;
    assert!(
        refusal.contains(&format!("the role \"{role}\" may not replicate: run `alter role \"{role}\" replication`")),
        "{refusal}"
    );
    weak.close().await;
    captured.run(&format!("drop role {role}")).await;
    captured.run("create table resolvespec_outbox (id bigint)").await;
    let refusal = captured.refusal(&captured.database()).await;
    assert!(refusal.contains("of another mode are still there: run `resolvespec capture remove` first"), "{refusal}");
    captured.remove().await;
}

/// A slot of replicas that are all away fills the disk of such a server.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_its_log_without_limit_is_warned_of() {
    let own = Own::start(Kind::Postgres, "unlimited");
    let captured = Captured::over(WAL, Fresh::at(own.database().await), SCHEMA, ENTITIES).await;
    let setting = "max_slot_wal_keep_size";
    let warned = async || captured.survey().await.warnings.into_iter().find(|warning| warning.contains(setting));
    let warning = warned().await.expect("a server says it as it comes");
    assert!(warning.contains(&format!("`alter system set {setting} = '10GB'`")) && !warning.contains('\n'), "{warning}");
    captured.run_install().await;
    assert_eq!(warned().await, Some(warning), "and it is no less true of what is installed");
    // What is said helps, without a new start.
    captured.run(&format!("alter system set {setting} = '10GB'")).await;
    captured.run("select pg_reload_conf()").await;
    let silent = async { while warned().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), silent).await.expect("nothing is said of a server with a limit");
    captured.remove().await;
}

/// A large value that an update leaves alone is not in the log as new; the old row has it.
#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_did_not_change_are_told() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    captured.run("alter table notes alter body set storage external").await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, repeat('x', 100000)); update notes set n = 2").await;
    let told = relay.told(2).await;
    let (before, after) = (image(told[1].before.as_deref()), image(told[1].after.as_deref()));
    assert_eq!((before["body"].as_str().map(str::len), after["body"].as_str().map(str::len)), (Some(100_000), Some(100_000)));
    assert_eq!((told[1].changed.as_slice(), &after["n"]), (["n".to_owned()].as_slice(), &json!(2)));
    relay.stop().await;
    captured.remove().await;
}

/// Somebody takes away what makes the log have old rows: what is left is told, and followers read again.
#[tokio::test(flavor = "multi_thread")]
async fn changes_without_old_rows_are_told_without_images() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    captured.run("insert into notes values (1, 1, 'a'), (2, 2, 'b'); alter table notes replica identity default").await;
    assert_eq!(captured.only_state().await, State::Outdated);
    let relay = captured.start();
    captured.run("update notes set n = 5 where id = 1; delete from notes where id = 2; update notes set id = 9").await;
    let told = relay.told(5).await;
    assert_eq!(lines(&relay)[2..], ["notes update 1", "notes delete 2", "notes update "]);
    assert!(told[2..].iter().all(|change| change.before.is_none() && change.after.is_none()), "{told:?}");
    captured.run_install().await;
    captured.run("update notes set n = 6").await;
    assert_eq!(relay.told(6).await[5].changed, ["n"]);
    relay.stop().await;
    captured.remove().await;
}

/// A key that is nested more deeply than JSON is read: those behind it are told, and whoever follows the entity reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_can_not_be_told_keeps_nobody_waiting() {
    let captured = Captured::install(WAL, "create table notes (id jsonb primary key, n integer)", ENTITIES).await;
    let relay = captured.start();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    captured.run(&format!("insert into notes values ('1', 1), ('{deep}', 2), ('3', 3)")).await;
    let told = relay.told(3).await;
    assert_eq!(lines(&relay), ["notes create 1", "notes create ", "notes create 3"]);
    assert!(told[1].key.is_empty() && told[1].after.is_none() && told[2].after.is_some(), "{told:?}");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_told_for_the_whole_table() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, 'a'), (2, 2, 'b')").await;
    captured.run("truncate notes").await;
    let told = relay.told(3).await;
    assert_eq!(told[2].operation, ChangeOperation::Delete);
    assert!(told[2].key.is_empty() && told[2].before.is_none(), "{:?}", told[2]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_told_as_their_table() {
    let schema = "create table notes (id integer primary key, n integer) partition by range (id);
        create table notes_low partition of notes for values from (0) to (10);
        create table notes_high partition of notes for values from (10) to (100);";
    let captured = Captured::install(WAL, schema, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1), (11, 1); insert into notes_low values (2, 1); update notes set n = 2").await;
    let told = relay.told(6).await;
    assert_eq!(lines(&relay)[..3], ["notes create 1", "notes create 11", "notes create 2"]);
    assert!(told[3..].iter().all(|change| image(change.before.as_deref())["n"] == json!(1)), "{told:?}");
    relay.stop().await;
    captured.remove().await;
}

/// The writer's name, the transaction and the time are told as a trigger tells them.
#[tokio::test(flavor = "multi_thread")]
async fn who_when_and_in_which_transaction_is_told() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured
        .run("begin; select pg_logical_emit_message(true, 'resolvespec.subject', 'ada'); insert into notes values (1, 1, null); commit")
        .await;
    captured.run("insert into notes values (2, 1, null)").await;
    let told = relay.told(2).await;
    assert_eq!((told[0].user.as_deref(), told[1].user.as_deref()), (Some("ada"), None));
    let known = "select to_json(array_agg(xmin::text order by id)) from notes";
    let known: Vec<String> = serde_json::from_str(&captured.texts(known).await[0]).expect("JSON");
    let transactions: Vec<&str> = told.iter().filter_map(|change| change.transaction.as_deref()).collect();
    assert_eq!(transactions, known);
    let recent = format!("select to_json(now() - '{}'::timestamptz < '1 minute')", told[1].occurred_at);
    assert_eq!(captured.texts(&recent).await, ["true"], "{}", told[1].occurred_at);
    assert!(told[1].occurred_at.ends_with("+00:00") && outbox_id(&told[1].id).is_none());
    relay.stop().await;
    captured.remove().await;
}

/// The bus keeps a part of a large transaction, then the relay dies, and another one takes the slot over.
#[tokio::test(flavor = "multi_thread")]
async fn another_relay_goes_on_in_the_middle_of_a_transaction() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let bus = Arc::new(Recorder::default());
    bus.fail_after.store(7_000, Ordering::Relaxed);
    let first = captured.start_on(Arc::clone(&bus));
    captured.run("insert into notes select n, n, 'x' from generate_series(1, 20000) n").await;
    first.told(7_000).await;
    first.task.abort();
    assert!(first.task.await.expect_err("it was aborted").is_cancelled());
    bus.fail_after.store(0, Ordering::Relaxed);
    let second = captured.start_on(bus);
    let told = second.told(20_000).await;
    assert_eq!(keys(&told), (1..=20_000).collect::<Vec<_>>());
    assert_eq!(second.bus.renewals.lock().expect("nobody panicked").len(), 0, "nothing was lost");
    second.stop().await;
    captured.remove().await;
}

/// The session is cut off again and again while a large transaction is told; the same relay goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_cut_off_does_not_tell_a_transaction_anew() {
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into notes select n, n, repeat('x', 500) from generate_series(1, 30000) n").await;
    let cut =
        "select to_json(count(pg_terminate_backend(active_pid))) from pg_replication_slots where database = current_database()";
    for part in 1..=3 {
        relay.told(part * 5_000).await;
        captured.texts(cut).await;
    }
    let told = relay.told(30_000).await;
    assert_eq!(keys(&told), (1..=30_000).collect::<Vec<_>>());
    let twice = relay.bus.all().len() - 30_000;
    assert!(twice <= 3_000, "{twice} changes were published twice");
    relay.stop().await;
    captured.remove().await;
}

/// A server that wants TLS is spoken with as every other session of ours does.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_through_tls() {
    let own = Own::start(Kind::Postgres, "tls");
    let plain = own.database().await;
    let admin = Database::connect(&Settings::new("admin", plain.clone())).await.expect("the server answers");
    let folder = admin.fetch_texts(Statement::new("select to_json(current_setting('data_directory'))")).await.expect("a folder");
    let folder: String = serde_json::from_str(&folder[0]).expect("JSON");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-keyout", &format!("{folder}/server.key"), "-out", &format!("{folder}/server.crt")])
        .finished();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let owner = std::fs::metadata(&folder).expect("the folder is there");
    std::os::unix::fs::chown(format!("{folder}/server.key"), Some(owner.uid()), Some(owner.gid())).expect("it is the server's");
    admin.run_script("alter system set ssl = on").await.expect("it is set");
    admin.run_script("select pg_reload_conf()").await.expect("it is read");
    admin.close().await;
    let captured = Captured::over(WAL, Fresh::at(format!("{plain}?sslmode=require")), SCHEMA, ENTITIES).await;
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into notes select n, n, repeat('x', 100) from generate_series(1, 3000) n").await;
    relay.told(3_000).await;
    let encrypted = "select to_json(s.ssl) from pg_stat_ssl s join pg_replication_slots r on r.active_pid = s.pid";
    assert_eq!(captured.texts(encrypted).await, ["true"]);
    relay.stop().await;
    captured.remove().await;
}

/// The log has a commit before anybody sees it, and for as long as a synchronous standby takes, which here never comes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_before_it_can_be_read() {
    let own = Own::start(Kind::Postgres, "standby");
    let captured = Captured::over(WAL, Fresh::at(own.database().await), SCHEMA, ENTITIES).await;
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into notes values (1, 1, 'seen')").await;
    relay.told(1).await;
    captured.run("create table probes (n int)").await;
    captured.run("alter system set synchronous_standby_names = 'nobody'").await;
    captured.run("select pg_reload_conf()").await;
    // It answers when the standby has it, or nobody is waited for any more.
    let write = |sql: &'static str| {
        let url = captured.fresh.url.clone();
        TaskTracker::new().spawn(async move {
            let writer = Database::connect(&Settings::new("writer", url)).await.expect("the server answers");
            _ = writer.run_script(sql).await;
            writer.close().await;
        })
    };
    let waiting = async || captured.texts("select to_json(pid) from pg_stat_activity where wait_event = 'SyncRep'").await.len();
    // Commits wait once the server's own processes know, which is a moment later than it says so.
    let mut probing = write("insert into probes values (1)");
    until("a commit that waits", async || {
        if probing.is_finished() {
            probing = write("insert into probes values (1)");
        }
        waiting().await == 1
    })
    .await;
    let writing = write("insert into notes values (2, 2, 'committed and unseen')");
    until("another one", async || waiting().await == 2).await;
    // The server has handed the commit over by then, and a good while passes.
    let handed = "select to_json(1) from pg_stat_replication where sent_lsn >= pg_current_wal_flush_lsn()";
    until("its being handed over", async || !captured.texts(handed).await.is_empty()).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        assert_eq!(captured.texts("select to_json(id) from notes where id = 2").await, [""; 0], "it can't be seen");
        assert_eq!(relay.bus.all().len(), 1, "and is not told");
    }
    captured.run("alter system reset synchronous_standby_names").await;
    captured.run("select pg_reload_conf()").await;
    relay.told(2).await;
    assert_eq!(captured.texts("select to_json(id) from notes where id = 2").await, ["2"]);
    writing.await.expect("it has ended");
    probing.await.expect("it has ended");
    relay.stop().await;
    captured.remove().await;
}

/// The process that [`a_relay_process_that_is_killed_loses_nothing`] kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test starts it as a process of its own"]
async fn relay_process() {
    let told = |name: &str| std::env::var(name).expect("the parent tells it");
    let captured = Captured::over(WAL, Fresh::at(told("RELAY_DATABASE")), "", ENTITIES).await;
    let bus = nats_bus(&told("RELAY_STREAM")).await;
    captured.relay(Arc::new(bus)).run(&CancellationToken::new()).await;
}

async fn nats_bus(name: &str) -> NatsBus {
    let url = crate::support::nats::current();
    let connection = Connection::open(&NatsSettings::new(vec![url])).await.expect("the test's NATS answers");
    let settings = StreamSettings { name: name.to_owned(), prefix: name.to_owned(), ..StreamSettings::default() };
    NatsBus::open(&connection, settings).await.expect("a stream can be made")
}

/// `kill -9` in the middle of large transactions, with NATS as the bus: everything is there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_process_that_is_killed_loses_nothing() {
    const ROWS: u64 = 8_000;
    let captured = Captured::install(WAL, SCHEMA, ENTITIES).await;
    let stream = format!("wal_killed_{}", std::process::id());
    let bus = nats_bus(&stream).await;
    let start = || {
        Command::new(std::env::current_exe().expect("this program has a file"))
            .args(["--ignored", "--exact", "capture::wal::relay_process"])
            .envs([("RELAY_DATABASE", captured.fresh.url.as_str()), ("RELAY_STREAM", stream.as_str())])
            .stdout(Stdio::null())
            .spawn()
            .expect("a process starts")
    };
    for turn in 0..4 {
        let mut relay = start();
        let first = turn * ROWS + 1;
        captured
            .run(&format!(
                "insert into notes select n, n, repeat('x', 200) from generate_series({first}, {}) n",
                first + ROWS - 1
            ))
            .await;
        let part = async {
            while bus.extent().await.expect("the bus answers").latest < first + ROWS / 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), part).await.expect("a part is told");
        relay.kill().expect("it can be killed");
        relay.wait().expect("it has ended");
    }
    let mut last = start();
    let epoch = bus.extent().await.expect("the bus answers").epoch;
    let mut deliveries = bus.follow(&Position { epoch, offset: 0 }).await.expect("followed");
    for expected in 1..=4 * ROWS {
        let next = tokio::time::timeout(Duration::from_mins(1), deliveries.next()).await.expect("something is told");
        let delivery = next.expect("there is more").expect("a delivery");
        let Event::Change(change) = delivery.event else { panic!("{delivery:?}") };
        assert_eq!(change.key["id"], json!(expected));
    }
    assert_eq!(bus.extent().await.expect("the bus answers").latest, 4 * ROWS);
    last.kill().expect("it can be killed");
    last.wait().expect("it has ended");
    let url = crate::support::nats::current();
    crate::support::nats::raw(&url).await.delete_stream(&stream).await.expect("the test's stream can be deleted");
    captured.remove().await;
}
