//! Changes that were told, and of which the relay could not note that they were.

use super::{Captured, SOURCE};
use crate::support::database::Kind;
use crate::support::nats::raw;
use futures_util::StreamExt;
use resolvespec::event::bus::{Bus, Deliveries, Error, Event, NatsBus, StreamSettings};
use resolvespec::event::capture::Relay;
use resolvespec::nats::{Connection, Settings};
use resolvespec::protocol::Position;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SCHEMA: &str = "create table notes (id integer primary key, n integer);";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance}
";

/// For how long the bus drops what is published again.
const WINDOW: Duration = Duration::from_secs(4);

const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the relay until something has happened.
async fn while_it_relays<T>(relay: &Relay, happening: impl Future<Output = T>) -> T {
    let end = CancellationToken::new();
    tokio::select! {
        () = relay.run(&end) => panic!("the relay ended"),
        outcome = tokio::time::timeout(DEADLINE, happening) => outcome.expect("it happens in time"),
    }
}

/// The values of the next changes, or why there are no more.
async fn values(deliveries: &mut Deliveries, count: usize) -> Result<Vec<i64>, Error> {
    let mut values = Vec::new();
    while values.len() < count {
        let Event::Change(change) = deliveries.next().await.expect("no end without a reason")?.event else { panic!("a change") };
        let row: Value = serde_json::from_str(change.after.as_deref().expect("a row").get()).expect("JSON");
        values.push(row["n"].as_i64().expect("a number"));
    }
    Ok(values)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_and_not_noted_never_comes_after_what_was_told_later() {
    let captured = Captured::install(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let url = crate::support::nats::current();
    let name = format!("it_unmarked_{}", std::process::id());
    let connection = Connection::open(&Settings::new(vec![url.clone()])).await.expect("the test's NATS answers");
    let usual = StreamSettings { prefix: name.clone(), name: name.clone(), ..StreamSettings::default() };
    let bus = NatsBus::open(&connection, StreamSettings { duplicate_window: WINDOW, ..usual }).await;
    let bus = Arc::new(bus.expect("a stream can be made"));
    let after = Position { epoch: bus.extent().await.expect("the bus answers").epoch, offset: 0 };
    let mut deliveries = bus.follow(&after).await.expect("it can be followed");
    let relay = captured.relay(Arc::clone(&bus) as Arc<dyn Bus>);
    captured.run("create trigger unnoted before insert on resolvespec_published begin select raise(abort, 'not now'); end").await;
    captured.run("insert into notes values (1, 1); update notes set n = 2").await;
    let told = while_it_relays(&relay, values(&mut deliveries, 2)).await;
    assert_eq!(told.expect("nothing breaks off"), [1, 2]);

    // As long as that can't be noted nothing newer is told, however long it takes.
    captured.run("insert into notes values (2, 3)").await;
    let forgotten = async {
        while bus.latest_of(SOURCE).await.expect("the bus answers").expect("a change").is_remembered {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    while_it_relays(&relay, forgotten).await;
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!((extent.epoch, extent.latest), (after.epoch.clone(), 2));

    captured.run("drop trigger unnoted; update notes set n = 4 where id = 1").await;
    let gone = while_it_relays(&relay, values(&mut deliveries, 1)).await;
    assert!(matches!(gone, Err(Error::Gone { .. })), "{gone:?}");
    let anew = Position { epoch: bus.extent().await.expect("the bus answers").epoch, offset: 2 };
    assert_ne!(anew.epoch, after.epoch);
    let mut deliveries = bus.follow(&anew).await.expect("it can be followed");
    let told = while_it_relays(&relay, values(&mut deliveries, 4)).await;
    assert_eq!(told.expect("nothing breaks off"), [1, 2, 3, 4]);
    while_it_relays(&relay, captured.drained()).await;
    raw(&url).await.delete_stream(&name).await.expect("the test's stream can be deleted");
    captured.remove().await;
}
