//! A storm: writers on three databases, one of them captured in two ways, and subscribers with filters of their own, through a
//! balancer over three replicas and through Mosquitto, while replicas, NATS, databases and Mosquitto are killed and started again at
//! random, each of them once at least. Afterwards each subscriber knows exactly what the database has, was told of every
//! acknowledged change in order, and of none that was not committed; and what was made over MQTT is there once.
//!
//! `tests/chaos/run --minutes N --seed S` makes a long one. What is random comes from the seed, which is printed; the moments
//! at which the machine does things do not.

mod ledger;
mod maker;
mod station;
mod storm;
mod subscriber;
mod world;
mod writer;

use ledger::{Ledger, Row};
use maker::{Made, Maker};
use station::Listener;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use subscriber::{Figures, Knowledge, Subscriber, Wanted};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use world::{SOURCES, World};

/// Seconds of the storm when nobody says how long.
const SHORT_SECONDS: u64 = 25;

/// A storm of this length cuts off sessions that have advanced.
const LONG: Duration = Duration::from_mins(1);

/// Subscribers of each database.
const SUBSCRIBERS: usize = 5;

/// Those over MQTT beside them: one for everything, one with a filter.
const LISTENERS: usize = 2;

/// Those who make rows over MQTT.
const MAKERS: usize = 3;

/// Writers of each database: those that go through the service, and those that know nothing of it.
const WRITERS: [usize; 2] = [2, 2];

/// How long everyone may take to know everything once the storm is over.
const CALM: Duration = Duration::from_secs(90);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// A subscriber at its work, and what it knows.
type Listening = (JoinHandle<Figures>, Arc<Knowledge>);

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the seed and the figures are for whoever runs it")]
async fn nobody_misses_or_invents_a_change_in_a_storm() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = number("CHAOS_SEED").unwrap_or(since.as_secs());
    let length = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SHORT_SECONDS));
    eprintln!("storm of {} s with CHAOS_SEED={seed}", length.as_secs());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::create().await;
    let ledger = Arc::new(Ledger::default());
    let (ended, ending) = watch::channel(false);
    let writing = Arc::new(AtomicBool::new(true));
    let tasks = TaskTracker::new();

    let mut subscribers: Vec<Listening> = Vec::new();
    for source in 0..SOURCES.len() {
        for number in 0..SUBSCRIBERS {
            let subscriber = Subscriber::new(source, number, &mut random, world.entrance(), Arc::clone(&ledger));
            let knowledge = subscriber.knowledge();
            subscribers.push((tasks.spawn(subscriber.run(ending.clone())), knowledge));
        }
        for number in SUBSCRIBERS..SUBSCRIBERS + LISTENERS {
            let wanted = if number == SUBSCRIBERS { Wanted::All } else { Wanted::any(&mut random) };
            let listener = Listener::new(source, number, wanted, world.broker(), Arc::clone(&ledger));
            let knowledge = listener.knowledge();
            subscribers.push((tasks.spawn(listener.run(ending.clone())), knowledge));
        }
    }
    // Who begins in the middle of the storm has missed nothing of what came before.
    begun(&mut subscribers).await;
    let mut writers = Vec::new();
    for source in 0..SOURCES.len() {
        let through = (0..WRITERS[0]).map(|_| writer::Through::Service(world.entrance()));
        let past = (0..WRITERS[1]).map(|_| writer::Through::Sql(world.database_url(source).to_owned()));
        for through in through.chain(past) {
            let writer = writer::Writer::new(source, through, random.u64(..), Arc::clone(&ledger));
            writers.push(tasks.spawn(writer.run(Arc::clone(&writing))));
        }
    }
    let makers: Vec<_> =
        (0..MAKERS).map(|number| tasks.spawn(Maker::new(number, world.broker()).run(Arc::clone(&writing)))).collect();
    let faults = storm::rage(&mut world, &mut random, length).await;
    world.restore_all().await;
    writing.store(false, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("the writer did not panic");
    }
    let making = made_once(&world, makers).await;
    let truth = truth(&world).await;
    settle(&truth, &mut subscribers).await;
    ended.send_replace(true);
    let mut total = Figures::default();
    for (task, knowledge) in subscribers {
        total.add(&task.await.expect("the subscriber did not panic"));
        knowledge.check_told(&ledger);
    }
    eprintln!("{faults}; {}; {making}; {total}", ledger.figures());
    assert!(faults.spared_nobody(), "{faults}");
    assert!(total.told >= 3 * ledger.length(), "three of each source want everything, and have to be told by the hub");
    assert_eq!(total.resyncs, 0, "nothing was lost, so nobody had to read again");
    assert!(total.advanced > 0 || length < LONG, "who comes back by a session goes on from what it has heard");
    world.remove().await;
}

/// Objects if something that was made over MQTT is not there once.
async fn made_once(world: &World, makers: Vec<JoinHandle<Made>>) -> String {
    let mut made = Vec::new();
    for maker in makers {
        made.push(maker.await.expect("the maker did not panic"));
    }
    let mut there = world.marks().await;
    for mark in made.iter().flat_map(|one| &one.done) {
        assert_eq!(there.remove(mark), Some(1), "how often '{mark}' is there");
    }
    for mark in made.iter().filter_map(|one| one.open.as_ref()) {
        assert!(there.remove(mark).is_none_or(|count| count == 1), "'{mark}' is there twice");
    }
    assert!(there.is_empty(), "nobody made {there:?}");
    let done: usize = made.iter().map(|one| one.done.len()).sum();
    let again: usize = made.iter().map(|one| one.again).sum();
    assert!(done > 0 && again > 0, "{done} were made, and {again} requests were interrupted");
    format!("{done} rows made over MQTT, asked for again {again} times")
}

/// What the databases have at the end, by source.
async fn truth(world: &World) -> Vec<BTreeMap<i64, Row>> {
    let mut truth = Vec::new();
    for source in 0..SOURCES.len() {
        truth.push(world.rows(source).await);
    }
    truth
}

/// Waits until everyone has a snapshot.
async fn begun(subscribers: &mut [Listening]) {
    let deadline = Instant::now() + CALM;
    for (task, knowledge) in subscribers {
        while !knowledge.has_begun() {
            wait(task, knowledge, deadline, "it has no snapshot").await;
        }
    }
}

/// Waits until everyone knows what is true.
async fn settle(truth: &[BTreeMap<i64, Row>], subscribers: &mut [Listening]) {
    let deadline = Instant::now() + CALM;
    for (task, knowledge) in subscribers {
        while let Some(difference) = knowledge.difference(&truth[knowledge.source]) {
            wait(task, knowledge, deadline, &difference).await;
        }
    }
}

/// The pause of asking again what should not be so any more, unless it is too late.
async fn wait(task: &mut JoinHandle<Figures>, knowledge: &Knowledge, deadline: Instant, what: &str) {
    if task.is_finished() {
        let panicked = task.await.map(|_| ());
        panic!("{} ended before its time: {panicked:?}", knowledge.name());
    }
    assert!(Instant::now() < deadline, "{what}; {}", knowledge.state());
    tokio::time::sleep(Duration::from_millis(50)).await;
}
