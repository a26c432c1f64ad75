//! A storm: writers on three databases, one of them captured in two ways, and subscribers with filters of their own, through a
//! balancer over three replicas, while replicas, NATS and databases are killed and started again at random. Afterwards each
//! subscriber knows exactly what the database has, was told of every acknowledged change in order, and of none that was not
//! committed.
//!
//! `tests/chaos/run --minutes N --seed S` makes a long one. What is random comes from the seed, which is printed; the moments
//! at which the machine does things do not.

mod ledger;
mod storm;
mod subscriber;
mod world;
mod writer;

use ledger::{Ledger, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use subscriber::{Knowledge, Subscriber};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use world::{SOURCES, World};

/// Seconds of the storm when nobody says how long.
const SHORT_SECONDS: u64 = 25;

/// Subscribers of each database.
const SUBSCRIBERS: usize = 5;

/// Writers of each database: those that go through the service, and those that know nothing of it.
const WRITERS: [usize; 2] = [2, 2];

/// How long everyone may take to know everything once the storm is over.
const CALM: Duration = Duration::from_secs(90);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

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

    let mut subscribers = Vec::new();
    for source in 0..SOURCES.len() {
        for number in 0..SUBSCRIBERS {
            let subscriber = Subscriber::new(source, number, &mut random, world.entrance(), Arc::clone(&ledger));
            let knowledge = subscriber.knowledge();
            subscribers.push((tasks.spawn(subscriber.run(ending.clone())), knowledge));
        }
    }
    // Who begins in the middle of the storm has missed nothing of what came before.
    let everyone: Vec<Arc<Knowledge>> = subscribers.iter().map(|(_, knowledge)| Arc::clone(knowledge)).collect();
    begun(&everyone).await;
    let mut writers = Vec::new();
    for source in 0..SOURCES.len() {
        let through = (0..WRITERS[0]).map(|_| writer::Through::Service(world.entrance()));
        let past = (0..WRITERS[1]).map(|_| writer::Through::Sql(world.database_url(source).to_owned()));
        for through in through.chain(past) {
            let writer = writer::Writer::new(source, through, random.u64(..), Arc::clone(&ledger));
            writers.push(tasks.spawn(writer.run(Arc::clone(&writing))));
        }
    }
    let faults = storm::rage(&mut world, &mut random, length).await;
    world.restore_all().await;
    writing.store(false, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("the writer did not panic");
    }
    let truth = truth(&world).await;
    settle(&truth, &everyone).await;
    ended.send_replace(true);
    let mut total = subscriber::Figures::default();
    for (task, knowledge) in subscribers {
        total.add(&task.await.expect("the subscriber did not panic"));
        knowledge.check_told(&ledger);
    }
    eprintln!("{faults}; {}; {total}", ledger.figures());
    assert!(total.told >= 2 * ledger.length(), "two of each source want everything, and have to be told by the hub");
    assert_eq!(total.resyncs, 0, "nothing was lost, so nobody had to read again");
    world.remove().await;
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
async fn begun(everyone: &[Arc<Knowledge>]) {
    let deadline = Instant::now() + CALM;
    while let Some(late) = everyone.iter().find(|knowledge| !knowledge.has_begun()) {
        assert!(Instant::now() < deadline, "{} has no snapshot", late.name());
        // The pause of asking again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until everyone knows what is true.
async fn settle(truth: &[BTreeMap<i64, Row>], everyone: &[Arc<Knowledge>]) {
    let deadline = Instant::now() + CALM;
    for knowledge in everyone {
        while let Some(difference) = knowledge.difference(&truth[knowledge.source]) {
            assert!(Instant::now() < deadline, "{difference}");
            // The pause of asking again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
