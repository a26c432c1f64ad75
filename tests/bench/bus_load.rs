//! Publishes changes to a bus in NATS and follows them, and prints both rates: what `tests/bench/bus` measures with.
//!
//! `NATS_URL CHANGES BYTES CALL`: so many changes of so many bytes each, published so many a call.

use futures_util::StreamExt;
use resolvespec::event::bus::{Bus, NatsBus, StreamSettings};
use resolvespec::nats::{Connection, Settings};
use resolvespec::protocol::{Change, ChangeOperation, Position};
use serde_json::{Map, Value, value::to_raw_value};
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, changes, bytes, call] = arguments.as_slice() else { return Err("NATS_URL CHANGES BYTES CALL".into()) };
    let (changes, bytes, call): (u64, usize, usize) = (changes.parse()?, bytes.parse()?, call.parse()?);
    let connection = Connection::open(&Settings::new(vec![url.clone()])).await?;
    let settings = StreamSettings { name: "bench_bus".to_owned(), prefix: "bench_bus".to_owned(), ..StreamSettings::default() };
    let bus = NatsBus::open(&connection, settings).await?;
    let before = bus.extent().await?;
    let all = (0..changes).map(|number| change(before.latest + number, bytes)).collect::<Outcome<Vec<_>>>()?;
    let since = Instant::now();
    for part in all.chunks(call) {
        bus.publish(part).await?;
    }
    tell("publish", changes, since);
    let since = Instant::now();
    let mut deliveries = bus.follow(&Position { epoch: before.epoch, offset: before.latest }).await?;
    for _ in 0..changes {
        deliveries.next().await.ok_or("the follower ended")??;
    }
    tell("follow", changes, since);
    Ok(())
}

/// A change that takes about so many bytes as JSON.
fn change(number: u64, bytes: usize) -> Outcome<Arc<Change>> {
    let bare = Change {
        id: format!("bench-{number}"),
        source: "shop".to_owned(),
        schema: "public".to_owned(),
        entity: "orders".to_owned(),
        table: String::new(),
        serving: String::new(),
        operation: ChangeOperation::Create,
        key: Map::from_iter([("id".to_owned(), Value::from(number))]),
        before: None,
        after: None,
        changed: Vec::new(),
        transaction: None,
        user: None,
        tenant: None,
        occurred_at: "2026-01-01T00:00:00Z".to_owned(),
    };
    let taken = serde_json::to_vec(&bare)?.len() + r#","after":"""#.len();
    Ok(Arc::new(Change { after: Some(to_raw_value(&"x".repeat(bytes.saturating_sub(taken)))?), ..bare }))
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "the rates are what it is run for")]
fn tell(what: &str, changes: u64, since: Instant) {
    println!("{what} {:.0}", changes as f64 / since.elapsed().as_secs_f64());
}
