//! Rows of an outbox that can't be told whole: those behind them are told, and whoever follows their entity reads again.

use super::bus::{Recorder, line};
use super::{Captured, SOURCE};
use crate::support::database::Kind;
use crate::support::nats::raw;
use futures_util::StreamExt;
use resolvespec::event::bus::{Bus, Event, NatsBus, StreamSettings};
use resolvespec::nats::{Connection, Settings};
use resolvespec::protocol::Position;
use resolvespec::telemetry::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SCHEMA: &str = "create table notes (id integer primary key, body varchar(200));";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance}
";

/// Rows that none of our triggers writes, by their operation and their images.
fn broken(kind: Kind) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut rows = vec![
        ("create", "null", "'[1]'"),
        ("delete", "'7'", "null"),
        ("frob", "'{\"id\": 1}'", "'{\"id\": 1}'"),
        ("update", "'{\"id\": 1}'", "'{\"id\": \"\\ud800\"}'"),
    ];
    // PostgreSQL lets nothing in that is no JSON.
    if kind != Kind::Postgres {
        rows.extend([("create", "null", "'{broken'"), ("\"", "'{}'", "'{}'"), ("delete", "'{}, {'", "null")]);
    }
    if kind == Kind::Sqlite {
        rows.push(("create", "null", "x'ff00'"));
    }
    rows
}

fn insert(kind: Kind, (operation, before, after): (&str, &str, &str)) -> String {
    let (columns, values) = match kind {
        Kind::Postgres => ("table_schema, ", "'public', "),
        Kind::Mariadb => ("table_schema, occurred_at, ", "database(), utc_timestamp(6), "),
        Kind::Sqlite => ("", ""),
    };
    // A backslash in a text of MariaDB stands for itself only if there are two.
    let after = if kind == Kind::Mariadb { after.replace('\\', "\\\\") } else { after.to_owned() };
    format!(
        "insert into resolvespec_outbox ({columns}table_name, operation, before_image, after_image)
         values ({values}'notes', '{operation}', {before}, {after})"
    )
}

async fn set_aside(kind: Kind) {
    let captured = Captured::install(kind, SCHEMA, ENTITIES).await;
    let metrics = Metrics::new().expect("the metrics have different names");
    let bus = Arc::new(Recorder::default());
    let mut relay = captured.relay(bus.clone());
    relay.metrics = metrics.capture(SOURCE);
    let rows = broken(kind);
    let mut expected = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        captured.run(&format!("insert into notes values ({number}, 'x')")).await;
        captured.run(&insert(kind, *row)).await;
        let operation = if matches!(row.0, "create" | "delete") { row.0 } else { "update" };
        expected.extend([format!("notes create {number}"), format!("notes {operation} ")]);
    }
    captured.run("insert into notes values (1000, 'x')").await;
    expected.push("notes create 1000".to_owned());
    let end = CancellationToken::new();
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        () = captured.drained() => {}
    }
    let told = bus.told();
    assert_eq!(told.iter().map(|change| line(change)).collect::<Vec<_>>(), expected);
    for change in told.iter().filter(|change| change.key.is_empty()) {
        assert!(change.before.is_none() && change.after.is_none(), "{change:?}");
        assert!(!change.occurred_at.is_empty(), "{change:?}");
    }
    let counted = format!("resolvespec_capture_unreadable_rows_total{{source=\"{SOURCE}\"}} {}", rows.len());
    assert!(metrics.render().contains(&counted), "{counted}");
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_not_be_read_keep_nobody_waiting_on_postgres() {
    set_aside(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_not_be_read_keep_nobody_waiting_on_mariadb() {
    set_aside(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_not_be_read_keep_nobody_waiting_on_sqlite() {
    set_aside(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_keys_that_are_too_long_for_nats_keep_nobody_waiting() {
    let long = "n".repeat(4000);
    let entities = format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: notes}}
spec: {{source: conformance, name: {long}}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: others}}
spec: {{source: conformance}}
"
    );
    let schema = "create table notes (id text primary key, body text); create table others (id integer primary key);";
    let captured = Captured::install(Kind::Sqlite, schema, &entities).await;
    let url = crate::support::nats::current();
    let name = format!("it_poison_{}", std::process::id());
    let connection = Connection::open(&Settings::new(vec![url.clone()])).await.expect("the test's NATS answers");
    let stream = StreamSettings { prefix: name.clone(), name: name.clone(), ..StreamSettings::default() };
    let bus = NatsBus::open(&connection, stream).await.expect("a stream can be made");
    let after = Position { epoch: bus.extent().await.expect("the bus answers").epoch, offset: 0 };
    let mut deliveries = bus.follow(&after).await.expect("it can be followed");
    captured.run(&format!("insert into notes values ('{}', 'x')", "k".repeat(2_000_000))).await;
    captured.run("insert into notes values ('short', 'x'); insert into others values (1)").await;
    let relay = captured.relay(Arc::new(bus));
    let end = CancellationToken::new();
    let mut events = Vec::new();
    let all = async {
        while events.len() < 3 {
            events.push(deliveries.next().await.expect("no end").expect("a delivery").event);
        }
    };
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(Duration::from_mins(1), all) => outcome.expect("everything is told"),
    }
    let Event::Omitted(first) = &events[0] else { panic!("a key of two megabytes was told") };
    assert_eq!((first.entity.len(), first.key.len()), (long.len(), 0));
    let Event::Change(second) = &events[1] else { panic!("{:?}", events[1]) };
    assert_eq!((&second.entity, second.key["id"].as_str()), (&long, Some("short")));
    let Event::Change(third) = &events[2] else { panic!("{:?}", events[2]) };
    assert_eq!(third.entity, "others");
    raw(&url).await.delete_stream(&name).await.expect("the test's stream can be deleted");
    captured.remove().await;
}
