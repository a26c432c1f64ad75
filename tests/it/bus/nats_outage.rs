//! NATS is killed again and again while changes are published and followed: nothing acknowledged is lost, told twice or out
//! of order.

use super::*;
use crate::support::nats::OwnNats;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;
use tokio_util::task::TaskTracker;

const KILLS: u64 = 3;
const BETWEEN_KILLS: u64 = 1500;
const ALL: u64 = (KILLS + 1) * BETWEEN_KILLS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nats_is_killed() {
    let own = OwnNats::start("bus-outage");
    let settings = stream_settings();
    let bus: Arc<dyn Bus> = Arc::new(NatsBus::open(&connection(&own.url()).await, settings).await.expect("opened"));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let publisher = tasks.spawn(publish_all(Arc::clone(&bus), Arc::clone(&acknowledged), Arc::clone(&done)));
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let follower = {
        let acknowledged = Arc::clone(&acknowledged);
        tasks.spawn(async move {
            let mut taken = 0;
            while taken < acknowledged.load(Ordering::SeqCst).max(ALL) {
                taken += 1;
                assert_eq!(take(&mut deliveries, 1).await, [(taken, taken)], "in order, without gap, each once");
            }
            (taken, deliveries)
        })
    };
    for kill in 1..=KILLS {
        reaches(&acknowledged, kill * BETWEEN_KILLS).await;
        own.kill();
        became(false, &*bus).await;
        own.restart();
        became(true, &*bus).await;
    }
    reaches(&acknowledged, ALL).await;
    done.store(true, Ordering::SeqCst);
    let retries = publisher.await.expect("the publisher did not panic");
    assert!(retries > 0, "no publishing met a dead server, so nothing was tried");
    let (taken, mut deliveries) = follower.await.expect("the follower got everything");
    let all = acknowledged.load(Ordering::SeqCst);
    let rest: Vec<_> = (taken + 1..=all).map(|number| (number, number)).collect();
    assert_eq!(take(&mut deliveries, rest.len()).await, rest);
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!((extent.oldest, extent.latest), (0, all));
}

/// Publishes as a relay does, each batch until it is acknowledged; the number of failures.
async fn publish_all(bus: Arc<dyn Bus>, acknowledged: Arc<AtomicU64>, done: Arc<AtomicBool>) -> u64 {
    let mut retries = 0;
    while !done.load(Ordering::SeqCst) {
        let first = acknowledged.load(Ordering::SeqCst) + 1;
        let batch = changes(first..first + 37);
        let since = Instant::now();
        while let Err(error) = bus.publish(&batch).await {
            assert!(matches!(error, Error::Unavailable(_)), "{error}");
            assert!(since.elapsed() < DEADLINE, "{error}");
            retries += 1;
            // The pause of the retry, so that it does not spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        acknowledged.store(first + 36, Ordering::SeqCst);
    }
    retries
}

async fn reaches(counter: &AtomicU64, count: u64) {
    let since = Instant::now();
    while counter.load(Ordering::SeqCst) < count {
        assert!(since.elapsed() < DEADLINE, "{} of {count}", counter.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn became(connected: bool, bus: &dyn Bus) {
    let since = Instant::now();
    while bus.is_connected() != connected {
        assert!(since.elapsed() < DEADLINE, "is_connected stays {}", !connected);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
