//! The buses: one suite over memory and NATS, and what only NATS can suffer.

mod conformance;
mod incarnation;
mod nats_outage;

use crate::support::nats::{current, oldest, raw};
use async_trait::async_trait;
use futures_util::StreamExt;
use resolvespec::event::bus::{Bus, Deliveries, Delivery, Error, Event, MemoryBus, MemorySettings, NatsBus, StreamSettings};
use resolvespec::nats::{Connection, Settings};
use resolvespec::protocol::{Change, ChangeOperation, Position};
use serde_json::{Map, Value, json, value::to_raw_value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything a bus may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A bus of a test's own, and what can be asked of its kind.
#[async_trait]
trait Subject: Send + Sync {
    fn bus(&self) -> Arc<dyn Bus>;
    async fn remove(&self);
}

/// How much a bus of a test keeps.
#[derive(Clone, Copy)]
struct Bounds {
    changes: usize,
    change_bytes: usize,
}

const WIDE: Bounds = Bounds { changes: 100_000, change_bytes: 1 << 20 };

struct Memory(MemoryBus);

#[async_trait]
impl Subject for Memory {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.0.clone())
    }

    async fn remove(&self) {}
}

struct Nats {
    bus: NatsBus,
    name: String,
    raw: async_nats::jetstream::Context,
}

#[async_trait]
impl Subject for Nats {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.bus.clone())
    }

    async fn remove(&self) {
        self.raw.delete_stream(&self.name).await.expect("the test's stream can be deleted");
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Settings for a stream that no other test has.
fn stream_settings() -> StreamSettings {
    let name = format!("it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    StreamSettings { prefix: name.clone(), name, ..StreamSettings::default() }
}

async fn connection(url: &str) -> Connection {
    Connection::open(&Settings::new(vec![url.to_owned()])).await.expect("the test's NATS answers")
}

fn memory(bounds: Bounds) -> Memory {
    let settings =
        MemorySettings { max_changes: bounds.changes, max_change_bytes: bounds.change_bytes, ..MemorySettings::default() };
    Memory(MemoryBus::new(settings))
}

async fn nats(url: &str) -> Nats {
    let settings = stream_settings();
    let name = settings.name.clone();
    let bus = NatsBus::open(&connection(url).await, settings).await.expect("a stream can be made");
    Nats { bus, name, raw: raw(url).await }
}

/// A change whose key and id are a number.
fn change(number: u64) -> Change {
    let row = to_raw_value(&json!({"id": number, "price": "1.10"})).expect("JSON");
    Change {
        id: format!("change-{number}"),
        source: "shop".to_owned(),
        schema: "public".to_owned(),
        entity: "or.der *lines>".to_owned(),
        table: String::new(),
        serving: String::new(),
        operation: ChangeOperation::Create,
        key: Map::from_iter([("id".to_owned(), Value::from(number))]),
        before: None,
        after: Some(row),
        changed: Vec::new(),
        transaction: Some("17".to_owned()),
        user: None,
        tenant: None,
        occurred_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

fn changes(numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Change>> {
    numbers.into_iter().map(|number| Arc::new(change(number))).collect()
}

async fn position(bus: &dyn Bus, offset: u64) -> Position {
    Position { epoch: bus.extent().await.expect("the bus answers").epoch, offset }
}

async fn next(deliveries: &mut Deliveries) -> Result<Delivery, Error> {
    let next = timeout(DEADLINE, deliveries.next()).await.expect("something is delivered in time");
    next.expect("a follower ends with an error only")
}

/// The next deliveries as their offsets and the numbers of their changes.
async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<(u64, u64)> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let delivery = next(deliveries).await.expect("a delivery");
        let Event::Change(change) = delivery.event else { panic!("{delivery:?} is no whole change") };
        taken.push((delivery.offset, change.key["id"].as_u64().expect("a number")));
    }
    taken
}

fn is_gone<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Gone { .. }))
}
