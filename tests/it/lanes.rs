//! Short reads that share a connection on PostgreSQL: many at once answer what each answers alone, and a lock on one table
//! holds up nobody who reads another.

use crate::support::client::{Call, Client};
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use futures_util::future::join_all;
use resolvespec::database::{Database, Error, Placeholders, Settings, Statement};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// Key columns, and the key of row `n`.
const KEYS: [(&str, &str, &str); 12] = [
    ("wholes", "k bigint", "n * 1000000007::bigint"),
    ("smalls", "k smallint", "n"),
    ("texts", "k text", "'a\"b\\c,{} ' || n"),
    ("ordered", "k text collate \"C\"", "'null' || n"),
    ("fixed", "k char(8)", "'x' || n"),
    ("uuids", "k uuid", "md5(n::text)::uuid"),
    ("moods", "k mood", "('m' || n)::mood"),
    ("domains", "k percent", "n"),
    ("moments", "k timestamptz", "timestamptz '2026-01-01 00:00:00+00' + n * interval '1 microsecond'"),
    ("days", "k date", "date '2026-01-01' + n"),
    ("decimals", "k numeric", "n / 7.0"),
    ("bytes", "k bytea", "decode(md5(n::text), 'hex')"),
];

const ROWS: usize = 20;

fn script() -> String {
    let moods = (1..=ROWS).map(|n| format!("'m{n}'")).collect::<Vec<_>>().join(", ");
    let mut script = format!(
        "create type mood as enum ({moods});\ncreate domain percent as integer check (value between 0 and 100);\n\
         create extension pg_stat_statements;\n"
    );
    for (name, column, value) in KEYS {
        _ = writeln!(script, "create table {name} ({column} primary key, n integer not null, k2 text);");
        _ = writeln!(script, "insert into {name} select {value}, n, 'row ' || n from generate_series(1, {ROWS}) n;");
    }
    script.push_str(
        "create table pairs (a integer, b text, n integer not null, primary key (a, b));\n\
         insert into pairs select n % 3, 'b' || n, n from generate_series(1, 20) n;\n",
    );
    script
}

fn entities() -> String {
    let names = KEYS.iter().map(|(name, ..)| *name).chain(["pairs"]);
    let entity = |name: &str| {
        format!(
            "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}}}\n\
             spec: {{source: conformance, apiSchema: public}}\n"
        )
    };
    names.map(entity).collect::<Vec<_>>().join("---\n")
}

fn read(entity: &str, body: Value) -> Call {
    let mut body = body;
    body["operation"] = json!("read");
    Call::post(format!("/api/public/{entity}"), &body)
}

async fn data(client: &Client, call: &Call) -> Value {
    let answer = client.send(call).await.expect("an answer");
    assert_eq!(answer.status, 200, "{call:?}: {}", answer.body);
    answer.body["data"].clone()
}

async fn beside(server: &Server) -> Database {
    let mut settings = Settings::new("beside", server.url());
    settings.max_connections = 2;
    Database::connect(&settings).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_single_reads_at_once_answer_what_each_answers_alone() {
    let server = Server::start(Kind::Postgres, &script(), &entities()).await;
    let client = &server.client;
    let mut expected = Vec::new();
    for (entity, ..) in KEYS {
        let rows = data(client, &read(entity, json!({"options": {"sort": [{"column": "n"}]}}))).await;
        let rows = rows.as_array().expect("a list").clone();
        assert_eq!(rows.len(), ROWS);
        for row in rows {
            let key = &row["k"];
            let id = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            expected.push((read(entity, json!({"id": id})), row));
        }
    }
    for (call, row) in &expected {
        assert_eq!(data(client, call).await, *row, "alone: {call:?}");
    }
    for round in 0..5 {
        // Each round mixes the entities in another way.
        let step = [1, 7, 11, 13, 17][round];
        let order: Vec<usize> = (0..expected.len()).map(|place| place * step % expected.len()).collect();
        for asked in order.chunks(24) {
            let answers = join_all(asked.iter().map(|place| data(client, &expected[*place].0))).await;
            for (place, answer) in asked.iter().zip(answers) {
                assert_eq!(answer, expected[*place].1, "together: {:?}", expected[*place].0);
            }
        }
    }
    let missing = (1..=40).map(|n| read("wholes", json!({"id": (n * 1_000_000_007_i64 + i64::from(n > 20)).to_string()})));
    let missing: Vec<Call> = missing.collect();
    let answers = join_all(missing.iter().map(|call| client.send(call))).await;
    let statuses: Vec<u16> = answers.into_iter().map(|answer| answer.expect("an answer").status.as_u16()).collect();
    assert_eq!(statuses, [vec![200; ROWS], vec![404; 20]].concat(), "those without a row learn it among those with one");

    let database = beside(&server).await;
    let together = "select sum(calls)::text from pg_stat_statements where query like '%with ordinality k(%' \
                    and dbid = (select oid from pg_database where datname = current_database())";
    let calls = database.fetch_texts(Statement::new(together)).await.expect("it counts statements");
    assert!(calls[0].parse::<u64>().expect("some were asked together") > 0);
    database.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_holds_up_nobody_who_reads_another() {
    let server = Server::start(Kind::Postgres, &script(), &entities()).await;
    let client = &server.client;
    let free = read("smalls", json!({"id": "3"}));
    let locked = read("wholes", json!({"id": "1000000007"}));
    let (one, other) = (data(client, &free).await, data(client, &locked).await);
    let database = beside(&server).await;
    let mut lock = database.begin(tokio::time::Instant::now() + Duration::from_mins(1)).await.expect("a transaction");
    lock.execute(Statement::new("lock table wholes in access exclusive mode")).await.expect("the lock");

    let waiting = TaskTracker::new().spawn({
        let (client, locked) = (client.clone(), locked.clone());
        // Fewer than there are connections, of which one is the lane's.
        async move { join_all((0..2).map(|_| data(&client, &locked))).await }
    });
    let waits = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    let deadline = Instant::now() + Duration::from_secs(20);
    // The lane was given up and both have a connection of their own.
    while database.fetch_texts(Statement::new(waits)).await.expect("it counts sessions")[0] != "2" {
        assert!(Instant::now() < deadline, "the reads do not wait for the lock by themselves");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..20 {
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), data(client, &free)).await.expect("no lock is in its way"), one);
    }
    assert!(!waiting.is_finished(), "the lock still holds");
    lock.rollback().await.expect("the lock is gone");
    for answer in waiting.await.expect("no panic") {
        assert_eq!(answer, other);
    }
    database.close().await;
    server.stop().await;
}

/// Two entities of one table whose columns have other names: their statements have the same text.
#[tokio::test(flavor = "multi_thread")]
async fn entities_of_one_table_answer_under_their_own_names() {
    let schema = "create table people (id integer primary key, name text); insert into people select n, 'p' || n from generate_series(1, 20) n";
    let entity = |name: &str, alias: &str| {
        format!(
            "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}}}\nspec: {{source: conformance, \
             apiSchema: public, name: {name}, table: people, columns: [{{name: name, alias: {alias}}}]}}\n"
        )
    };
    let entities = format!("{}---\n{}", entity("people", "title"), entity("persons", "called"));
    let server = Server::start(Kind::Postgres, schema, &entities).await;
    for _ in 0..5 {
        let calls: Vec<(Call, Value)> = (1..=20)
            .flat_map(|id| {
                [("people", "title"), ("persons", "called")]
                    .map(|(entity, alias)| (read(entity, json!({"id": id})), json!({"id": id, alias: format!("p{id}")})))
            })
            .collect();
        let answers = join_all(calls.iter().map(|(call, _)| data(&server.client, call))).await;
        for ((call, expected), answer) in calls.iter().zip(answers) {
            assert_eq!(answer, *expected, "{call:?}");
        }
    }
    server.stop().await;
}

/// What is prepared for a table can't be run any more when a column's type is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_whose_type_is_changed_is_read_and_written_on() {
    let schema = "create table things (id integer primary key, name varchar(20), n integer); insert into things select n, 'x', n from generate_series(1, 20) n";
    let entity = "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {name: things}\nspec: {source: conformance, apiSchema: public}\n";
    let server = Server::start(Kind::Postgres, schema, entity).await;
    let beside = beside(&server).await;
    let client = &server.client;
    let update = |id: u32| Call::post("/api/public/things", &json!({"operation": "update", "id": id, "data": {"name": "y"}}));
    let all = async |stage: &str| {
        // Many at once, so that every connection and lane has met them.
        let singles: Vec<Call> = (1..=20).map(|id| read("things", json!({"id": id}))).collect();
        let pages: Vec<Call> = (1..=20).map(|limit| read("things", json!({"options": {"limit": limit}}))).collect();
        let updates: Vec<Call> = (1..=20).map(update).collect();
        for calls in [singles, pages, updates] {
            for answer in join_all(calls.iter().map(|call| client.send(call))).await {
                let answer = answer.expect("an answer");
                // A transaction that meets it may say so once.
                let is_told_to_come_again = answer.status == 503 && answer.body["error"]["code"] == "unavailable";
                assert!(answer.status == 200 || is_told_to_come_again, "{stage}: {} {}", answer.status, answer.body);
            }
        }
    };
    let works = async |stage: &str| {
        let deadline = Instant::now() + Duration::from_secs(20);
        for call in [read("things", json!({"id": 3})), read("things", json!({})), update(3)] {
            for _ in 0..10 {
                while client.send(&call).await.expect("an answer").status != 200 {
                    assert!(Instant::now() < deadline, "{stage}: {call:?} is refused for ever");
                }
            }
        }
    };
    all("at first").await;
    for change in ["name type varchar(40)", "n type bigint", "name type text"] {
        beside.run_script(&format!("alter table things alter column {change}")).await.expect("altered");
        all(change).await;
        works(change).await;
    }
    let row = data(client, &read("things", json!({"id": 3}))).await;
    assert_eq!(row, json!({"id": 3, "name": "y", "n": 3}));
    beside.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_being_opened_does_not_outlive_its_database() {
    let fresh = Fresh::create(Kind::Postgres).await;
    let settings = Settings::new("closing", &fresh.url);
    let tasks = TaskTracker::new();
    for round in 0..40 {
        let database = Database::connect(&settings).await.expect("the database answers");
        let short = Statement { short: Some(Placeholders::default()), ..Statement::new("select 'one'") };
        let asking = database.clone();
        let asked = tasks.spawn(async move { asking.fetch(short, asking.deadline(None)).await.map(|found| found.rows.count) });
        // Opening one takes some milliseconds.
        tokio::time::sleep(Duration::from_micros(250 * round)).await;
        tokio::time::timeout(Duration::from_secs(20), database.close()).await.expect("nothing keeps it open");
        let count = asked.await.expect("no panic");
        assert!(matches!(count, Ok(1) | Err(Error::Unavailable(_))), "{count:?}");
        assert_eq!(database.usage(), (0, 0), "no connection outlives it");
    }
    fresh.remove().await;
}
